"""The authors' checkpoints (``.pth``): the weights of an AST, and nothing that describes them.

Everything is inferred from the tensors, never from the file's name. What the tensors leave open is guessed in a stated
order, with a warning where the guess may be wrong, and can be given.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from spectag.errors import LabelMismatch, ShapeMismatch, SpectagWarning
from spectag.labels import LabelSet
from spectag.model import tensors
from spectag.model.adapt import Grid, State
from spectag.model.backbone import (
    MEL_BINS,
    STATISTICS_BY_LABELS,
    Backbone,
    make_card,
    make_config,
    measure_backbone,
    require_axes,
)
from spectag.model.card import UNTRAINED, default_activation
from spectag.model.checkpoint import Checkpoint
from spectag.model.fields import LARGEST
from spectag.model.given import Given, fresh_labels
from spectag.model.keys import KeyTable
from spectag.model.shapes import Shapes, network_shapes

PREDICTION = ("cpredlayer.0", "cpredlayer.2", "gpredlayer.0", "gpredlayer.2")
OFFICIAL = KeyTable(
    "the authors'",
    {
        "tokens": "v.cls_token v.dist_token",
        "pos_embed": "v.pos_embed",
        "patch_embed.proj": "v.patch_embed.proj",
        "blocks.*.norm1": "v.blocks.*.norm1",
        "blocks.*.attn.qkv": "v.blocks.*.attn.qkv",
        "blocks.*.attn.proj": "v.blocks.*.attn.proj",
        "blocks.*.norm2": "v.blocks.*.norm2",
        "blocks.*.mlp.fc1": "v.blocks.*.mlp.fc1",
        "blocks.*.mlp.fc2": "v.blocks.*.mlp.fc2",
        "norm": "v.norm",
        "head.norm": "mlp_head.0",
        "head.linear": "mlp_head.1",
    },
    # The ImageNet heads that the released code carries along.
    dropped=frozenset({"v.head.weight", "v.head.bias", "v.head_dist.weight", "v.head_dist.bias"}),
    # Of the authors' SSAST, which learns to recognise and to restore masked patches.
    pretraining=frozenset(
        {
            "mask_embed",
            "p_input_fdim",
            "p_input_tdim",
            *(f"{layer}.{kind}" for layer in PREDICTION for kind in ("weight", "bias")),
        }
    ),
)

PATCH = (16, 16)  # of every published AST
STRIDES = (10, 12, 14, 16)  # along both axes, as in the paper; in the order in which they are tried
LENGTHS = (1024, 512, 128, 998)  # frames: AudioSet, ESC-50, Speech Commands, and 10 s without padding
WHOLE_SECOND = 100  # frames, as the paper counts them


def read_official(path: Path, state: State, given: Given) -> Checkpoint:
    """Read a checkpoint that the released code wrote.

    Args:
        path: the file, for messages and provenance.
        state: its tensors by the table's names, with or without a head.
        given: options of the caller.

    Raises:
        ModelError: one of its subclasses; the message names the file.

    Warns:
        SpectagWarning: geometry, labels, statistics or activation are guessed.

    >>> config = spectag.ASTConfig(width=16, depth=1, heads=1)
    >>> state = tensors.from_ours(spectag.AST(config).state_dict(), OFFICIAL.rows(depth=1, tokens=2))
    >>> read_official(Path("a.pth"), state, Given()).card.config == config
    True
    """
    found = {key: tuple(value.shape) for key, value in state.items()}
    table = OFFICIAL.fitting(found)
    backbone = measure_backbone(found, table, tokens=2, path=path)
    if backbone.channels != 1:
        raise ShapeMismatch(f"{path}: expected a patch kernel of one channel, got {backbone.channels} channels")
    trained = table is OFFICIAL
    labels = _count_labels(path, found, given) if trained else fresh_labels(given, path)
    geometry = given if trained else _add_recorded(given, state, backbone.patch)
    stride, frames = _settle_grid(path, backbone, geometry)
    config = make_config(backbone, stride=stride, frames=frames, labels=len(labels), heads=given.heads, path=path)
    wanted = table.expected(network_shapes(config), config.depth, config.tokens)
    table.check_shapes(found, wanted, str(path))
    _warn_of_guesses(path, len(labels) if trained else None, given)
    what = "published checkpoint" if trained else "initial weights (AST without a head), untrained head"
    card = make_card(config, labels, "hanning", given, what, path)
    facts: dict[str, Any] = {} if trained else {**UNTRAINED}
    facts["geometry"] = _say_origin(given, geometry)
    if trained and given.labels is None and len(labels) in STATISTICS_BY_LABELS:
        facts["labels"] = f"guessed from {len(labels)} outputs"
    card = replace(card, provenance={**card.provenance, **facts})
    return Checkpoint(card, tensors.to_ours(state, table.rows(config.depth, config.tokens)))


def possible_grids(
    patches: int, stride: Grid | None, frames: int | None, patch: Grid = PATCH
) -> Iterator[tuple[Grid, int]]:
    """Strides (frequency, time) and lengths in frames that give a number of patches, the likeliest first.

    Equal strides of 10, 12, 14 and 16 are tried in this order, first with the lengths of the recipes, then with any:
    whole seconds before the shortest that fits. Other strides are tried only where a length is given. Patches of
    another size than 16 x 16 do not overlap.

    Args:
        patches: their number in the positional embedding.
        stride, frames: what is given; None where open.
        patch: size of a patch.

    >>> next(possible_grids(12 * 101, None, None))
    ((10, 10), 1024)
    """
    strides = [(s, s) for s in STRIDES] if patch == PATCH else [patch]
    if stride is not None:
        strides = [stride]
    if frames is not None:
        if stride is None and patch == PATCH:
            strides += [(f, t) for f in STRIDES for t in STRIDES if f != t]
        yield from ((s, frames) for s in strides if count_patches(s, frames, patch) == patches)
        return
    yield from ((s, length) for length in LENGTHS for s in strides if count_patches(s, length, patch) == patches)
    for s in strides:
        lengths = _possible_lengths(patches, s, patch)
        yield from ((s, length) for length in lengths if length % WHOLE_SECOND == 0)
        if lengths:
            yield (s, lengths[0])


def count_patches(stride: Grid, frames: int, patch: Grid = PATCH) -> int:
    """Patches in a spectrogram of 128 mel bins.

    >>> count_patches((10, 10), 1024)
    1212
    """
    if frames < patch[1]:
        return 0
    return ((MEL_BINS - patch[0]) // stride[0] + 1) * ((frames - patch[1]) // stride[1] + 1)


def _possible_lengths(patches: int, stride: Grid, patch: Grid) -> range:
    """All lengths that give a number of patches with this stride."""
    f = (MEL_BINS - patch[0]) // stride[0] + 1
    t, rest = divmod(patches, f)
    if rest or t < 1:
        return range(0)
    shortest = (t - 1) * stride[1] + patch[1]
    return range(shortest, shortest + stride[1])


def _add_recorded(given: Given, state: State, patch: Grid) -> Given:
    """Add what an SSAST records: its length. While it learns, its patches do not overlap."""
    if OFFICIAL.pretraining.isdisjoint(state):
        return given
    frames = state.get("p_input_tdim")
    recorded = int(frames) if frames is not None and frames.numel() == 1 and 0 < frames <= LARGEST else None
    return replace(given, stride=given.stride or patch, frames=given.frames or recorded)


def _settle_grid(path: Path, backbone: Backbone, given: Given) -> tuple[Grid, int]:
    """Stride and frames: what is given, else the likeliest."""
    patches, patch = backbone.patches, backbone.patch
    if patch[0] > MEL_BINS:
        raise ShapeMismatch(f"{path}: expected patches of at most {MEL_BINS} mel bins, got {patch}")
    fits = list(dict.fromkeys(possible_grids(patches, given.stride, given.frames, patch)))
    usual = [fit for fit in fits if fit[0][0] == fit[0][1] or patch != PATCH]
    if not fits:
        others = list(dict.fromkeys(possible_grids(patches, None, None, patch)))[:3]
        raise ShapeMismatch(
            f"{path}: {_say_wish(given)} cannot give its {patches} patches; what would fit: {_list_grids(others)}"
        )
    if given.stride is None and not usual and len(fits) > 1:
        raise ShapeMismatch(f"{path}: {patches} patches in {given.frames} frames: {_list_grids(fits)}? give stride=")
    stride, frames = (usual or fits)[0]
    others = list({fit[0]: fit for fit in reversed(fits) if fit[0] != stride}.values())[::-1]  # the likeliest of each
    # With a stride given, only lengths within one stride are possible, and a whole second among them is likely.
    likely = frames in LENGTHS or given.frames is not None or (given.stride is not None and frames % WHOLE_SECOND == 0)
    if others or not likely or (patch != PATCH and given.stride is None):
        also = f" ({_list_grids(others)} would fit, too)" if others else ""
        warnings.warn(
            f"{path}: stride {stride} and {frames} frames are a guess from {patches} patches: "
            f"give stride= and frames={also}",
            SpectagWarning,
            stacklevel=2,
        )
    return stride, frames


def _say_origin(given: Given, geometry: Given) -> str:
    if given.stride is not None and given.frames is not None:
        return "given, and fits the tensors"
    if geometry.stride is not None and geometry.frames is not None:
        return "recorded in the file"
    return "guessed from the number of patches"


def _count_labels(path: Path, found: Shapes, given: Given) -> LabelSet:
    (outputs,) = require_axes(found, "mlp_head.1.bias", "C", path)
    if given.num_labels not in (None, outputs):
        raise LabelMismatch(f"{path}: num_labels is {given.num_labels}, but the head has {outputs} outputs")
    return LabelSet.for_outputs(outputs)


def _say_wish(given: Given) -> str:
    stride = "equal strides of 10, 12, 14 or 16" if given.stride is None else f"stride {given.stride}"
    return stride if given.frames is None else f"{stride} with {given.frames} frames"


def _list_grids(fits: list[tuple[Grid, int]]) -> str:
    return " or ".join(f"stride {s} with {n} frames" for s, n in fits) or "give both stride= and frames="


def _warn_of_guesses(path: Path, outputs: int | None, given: Given) -> None:
    """Warn of what the number of outputs decides. That 527 are AudioSet's classes is taken for certain.

    Without a head only the statistics matter: labels and activation are those of the head to come.
    """
    if outputs == len(LabelSet.audioset()):
        return
    statistics = STATISTICS_BY_LABELS.get(outputs or 0, "audioset")
    guesses = {"statistics": f"statistics {statistics}"}
    if outputs in STATISTICS_BY_LABELS:
        guesses = {"labels": f"the labels of {statistics}", **guesses}
    if outputs is not None:
        guesses["activation"] = f"activation {default_activation(outputs)[0]}"
    guesses = {name: guess for name, guess in guesses.items() if name not in given.names()}
    if guesses:
        options = ", ".join(f"{name}=" for name in guesses)
        source = "guessed, as there is no head" if outputs is None else f"guessed from its {outputs} outputs"
        warnings.warn(f"{path}: {source}: {', '.join(guesses.values())}; give {options}", SpectagWarning, stacklevel=2)
