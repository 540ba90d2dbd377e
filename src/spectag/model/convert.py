"""Key tables: the names that other implementations give to the tensors of this network.

One row per module, one column per layout. What another layout keeps apart is listed in the order of joining: the class
tokens along axis 1; query, key and value along axis 0. A ``*`` stands for the number of the layer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from spectag.errors import KeyMismatch, NotAModel, ShapeMismatch
from spectag.model.adapt import State
from spectag.model.shapes import Shape, Shapes

Layout = Literal["published", "timm", "transformers", "transformers-5"]

COLUMNS: tuple[Layout, ...] = ("published", "timm", "transformers", "transformers-5")
HUGGING_FACE = "audio_spectrogram_transformer"  # "@" in the tables below

# fmt: off
# Parameters of their own: this package's name, then one column per layout.
PARAMETERS: tuple[tuple[str, ...], ...] = (
    ("tokens", "v.cls_token v.dist_token", "cls_token dist_token",
     "@.embeddings.cls_token @.embeddings.distillation_token",
     "@.embeddings.cls_token @.embeddings.distillation_token"),
    ("pos_embed", "v.pos_embed", "pos_embed", "@.embeddings.position_embeddings", "@.embeddings.position_embeddings"),
)
# Modules with a weight and a bias, likewise; empty where the layout has no such module.
MODULES: tuple[tuple[str, ...], ...] = (
    ("patch_embed.proj", "v.patch_embed.proj", "patch_embed.proj",
     "@.embeddings.patch_embeddings.projection", "@.embeddings.patch_embeddings.projection"),
    ("blocks.*.norm1", "v.blocks.*.norm1", "blocks.*.norm1",
     "@.encoder.layer.*.layernorm_before", "@.layers.*.layernorm_before"),
    ("blocks.*.attn.qkv", "v.blocks.*.attn.qkv", "blocks.*.attn.qkv",
     "@.encoder.layer.*.attention.attention.query "
     "@.encoder.layer.*.attention.attention.key "
     "@.encoder.layer.*.attention.attention.value",
     "@.layers.*.attention.q_proj @.layers.*.attention.k_proj @.layers.*.attention.v_proj"),
    ("blocks.*.attn.proj", "v.blocks.*.attn.proj", "blocks.*.attn.proj",
     "@.encoder.layer.*.attention.output.dense", "@.layers.*.attention.o_proj"),
    ("blocks.*.norm2", "v.blocks.*.norm2", "blocks.*.norm2",
     "@.encoder.layer.*.layernorm_after", "@.layers.*.layernorm_after"),
    ("blocks.*.mlp.fc1", "v.blocks.*.mlp.fc1", "blocks.*.mlp.fc1",
     "@.encoder.layer.*.intermediate.dense", "@.layers.*.mlp.fc1"),
    ("blocks.*.mlp.fc2", "v.blocks.*.mlp.fc2", "blocks.*.mlp.fc2",
     "@.encoder.layer.*.output.dense", "@.layers.*.mlp.fc2"),
    ("norm", "v.norm", "norm", "@.layernorm", "@.layernorm"),
    ("head.norm", "mlp_head.0", "", "classifier.layernorm", "classifier.layernorm"),
    ("head.linear", "mlp_head.1", "", "classifier.dense", "classifier.dense"),
)
# fmt: on

# Read by nobody: the ImageNet heads that the published code carries along, and DeiT's own.
DROPPED: dict[Layout, tuple[str, ...]] = {
    "published": ("v.head.weight", "v.head.bias", "v.head_dist.weight", "v.head_dist.bias"),
    "timm": ("head.weight", "head.bias", "head_dist.weight", "head_dist.bias"),
    "transformers": (),
    "transformers-5": (),
}
PARALLEL = "module."  # what torch.nn.DataParallel puts before every key


@dataclass(frozen=True)
class Row:
    """One tensor of this network and what it is joined from: ``ours = cat(theirs, axis)``."""

    ours: str
    theirs: tuple[str, ...]
    axis: int


def rows(layout: Layout, depth: int, tokens: int) -> Iterator[Row]:
    """The table of one layout, spelled out for so many layers and class tokens."""
    column = 1 + COLUMNS.index(layout)
    for cells in PARAMETERS:
        theirs = _names(cells[column])
        yield Row(cells[0], theirs[:tokens] if cells[0] == "tokens" else theirs, axis=1)
    for cells in MODULES:
        for layer in range(depth if "*" in cells[0] else 1) if cells[column] else ():
            for kind in ("weight", "bias"):
                names = [f"{name}.{kind}".replace("*", str(layer)) for name in (cells[0], *_names(cells[column]))]
                yield Row(names[0], tuple(names[1:]), axis=0)


def _names(cell: str) -> tuple[str, ...]:
    return tuple(name.replace("@", HUGGING_FACE) for name in cell.split())


def recognise(keys: Iterable[str]) -> Layout | None:
    """The layout that most of these keys (without ``module.``) are written in.

    None where not even half of the table (of one layer, so that a missing tensor is an error of its own) is there.
    """
    keys = set(keys)
    tables = {layout: {key for row in rows(layout, 1, 2) for key in row.theirs} for layout in COLUMNS}
    best = max(COLUMNS, key=lambda layout: len(tables[layout] & keys))
    return best if 2 * len(tables[best] & keys) >= len(tables[best]) else None


def strip_parallel(state: State) -> State:
    """Without the prefix ``module.``, where every key has it."""
    if state and all(key.startswith(PARALLEL) for key in state):
        return {key[len(PARALLEL) :]: value for key, value in state.items()}
    return state


def count_layers(keys: Collection[str], layout: Layout) -> int:
    """Encoder layers: one more than the highest layer number among the keys, at most the number of keys."""
    column = 1 + COLUMNS.index(layout)
    before = next(_names(cells[column])[0].split("*")[0] for cells in MODULES if "*" in cells[0])
    numbers = (key[len(before) :].split(".")[0] for key in keys if key.startswith(before))
    # More layers than keys cannot all be there: the rest is reported as unexpected.
    return max((int(n) + 1 for n in numbers if n.isdecimal() and len(n) < 6 and int(n) < len(keys)), default=0)


def expected(layout: Layout, ours: Mapping[str, Shape], depth: int, tokens: int) -> Shapes:
    """The shapes that a file in this layout must hold for these shapes of ours."""
    out: Shapes = {}
    for row in rows(layout, depth, tokens):
        shape = list(ours[row.ours])
        if len(row.theirs) > 1:
            shape[row.axis] //= len(row.theirs)
        out |= dict.fromkeys(row.theirs, tuple(shape))
    return out


def check_keys(found: Collection[str], wanted: Collection[str], layout: Layout, source: str) -> None:
    """Every wanted tensor, and nothing else but what the layout drops on purpose.

    Raises:
        KeyMismatch: tensors missing or unexpected; the message names them.
    """
    missing = [key for key in wanted if key not in found]
    unexpected = [key for key in found if key not in wanted and key not in DROPPED[layout]]
    if missing or unexpected:
        parts = [f"{what} {_some(keys)}" for what, keys in (("missing", missing), ("unexpected", unexpected)) if keys]
        raise KeyMismatch(f"{source}: not the tensors of this network: {'; '.join(parts)}")


def check(found: Mapping[str, Shape], wanted: Mapping[str, Shape], layout: Layout, source: str) -> None:
    """As :func:`check_keys`, and every wanted tensor in its shape.

    Raises:
        KeyMismatch: tensors missing or unexpected.
        ShapeMismatch: a tensor of another shape.
    """
    check_keys(found, wanted, layout, source)
    for key, shape in wanted.items():
        if tuple(found[key]) != shape:
            raise ShapeMismatch(f"{source}: {key}: expected shape {list(shape)}, got {list(found[key])}")


def to_ours(state: State, layout: Layout, depth: int, tokens: int) -> State:
    """Checked tensors of one layout under this package's names."""
    return {row.ours: _join([state[key] for key in row.theirs], row.axis) for row in rows(layout, depth, tokens)}


def from_ours(state: State, layout: Layout, depth: int, tokens: int) -> State:
    """This package's tensors under the names of one layout: :func:`to_ours` the other way."""
    out: State = {}
    for row in rows(layout, depth, tokens):
        parts = state[row.ours].chunk(len(row.theirs), row.axis)
        out |= {key: part.contiguous() for key, part in zip(row.theirs, parts, strict=True)}
    return out


def _join(parts: list[Tensor], axis: int) -> Tensor:
    return torch.cat(parts, axis) if len(parts) > 1 else parts[0]


def require_layout(keys: Iterable[str], source: str) -> Layout:
    """As :func:`recognise`, but unknown keys are an error.

    Raises:
        NotAModel: none of the known layouts; the message shows some keys.
    """
    keys = list(keys)
    layout = recognise(keys)
    if layout is None:
        raise NotAModel(
            f"{source}: not the weights of an Audio Spectrogram Transformer or a DeiT/ViT; holds {_some(keys)}"
        )
    return layout


def _some(keys: list[str], count: int = 3) -> str:
    more = f" and {len(keys) - count} more" if len(keys) > count else ""
    return ", ".join(keys[:count]) + more if keys else "none"
