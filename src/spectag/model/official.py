"""The authors' checkpoints (``.pth``): the weights of an AST, and nothing that describes them.

Everything is inferred from the tensors, never from the file's name. What the tensors leave open is guessed in a stated
order, with a warning where the guess may be wrong, and can be given.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from spectag.errors import LabelMismatch, ShapeMismatch, SpectagWarning
from spectag.labels import LabelSet
from spectag.model import tensors
from spectag.model.adapt import Grid, State
from spectag.model.backbone import (
    MEL_BINS,
    STATISTICS_BY_LABELS,
    make_card,
    make_config,
    measure_backbone,
    require_axes,
)
from spectag.model.card import default_activation
from spectag.model.checkpoint import Checkpoint
from spectag.model.given import Given
from spectag.model.keys import KeyTable
from spectag.model.shapes import network_shapes

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
)

PATCH = (16, 16)  # of every published AST
STRIDES = (10, 12, 14, 16)  # along both axes, as in the paper; in the order in which they are tried
LENGTHS = (1024, 512, 128, 998)  # frames: AudioSet, ESC-50, Speech Commands, and 10 s without padding
WHOLE_SECOND = 100  # frames, as the paper counts them


def read_official(path: Path, state: State, given: Given) -> Checkpoint:
    """Read a checkpoint that the released code wrote.

    Args:
        path: the file, for messages and provenance.
        state: its tensors, without the prefix ``module.``.
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
    backbone = measure_backbone(found, OFFICIAL, tokens=2, path=path)
    if backbone.patch != PATCH or backbone.channels != 1:
        raise ShapeMismatch(
            f"{path}: expected a patch kernel of one channel and {PATCH}, "
            f"got {backbone.channels} channels and {backbone.patch}"
        )
    (outputs,) = require_axes(found, "mlp_head.1.bias", "C", path)
    if given.num_labels not in (None, outputs):
        raise LabelMismatch(f"{path}: num_labels is {given.num_labels}, but the head has {outputs} outputs")
    stride, frames = _settle_grid(path, backbone.patches, given)
    config = make_config(backbone, stride=stride, frames=frames, labels=outputs, heads=given.heads, path=path)
    wanted = OFFICIAL.expected(network_shapes(config), config.depth, config.tokens)
    OFFICIAL.check_shapes(found, wanted, str(path))
    _warn_of_guesses(path, outputs, given)
    card = make_card(config, LabelSet.for_outputs(outputs), "hanning", given, "published checkpoint", path)
    settled = given.stride is not None and given.frames is not None
    geometry = "given, and fits the tensors" if settled else "guessed from the number of patches"
    card = replace(card, provenance={**card.provenance, "geometry": geometry})
    return Checkpoint(card, tensors.to_ours(state, OFFICIAL.rows(config.depth, config.tokens)))


def possible_grids(patches: int, stride: Grid | None, frames: int | None) -> Iterator[tuple[Grid, int]]:
    """Strides (frequency, time) and lengths in frames that give a number of patches, the likeliest first.

    Equal strides of 10, 12, 14 and 16 are tried in this order, first with the lengths of the recipes, then with any:
    whole seconds before the shortest that fits. Other strides are tried only where a length is given.

    Args:
        patches: their number in the positional embedding.
        stride, frames: what is given; None where open.

    >>> next(possible_grids(12 * 101, None, None))
    ((10, 10), 1024)
    """
    strides = [(s, s) for s in STRIDES] if stride is None else [stride]
    if frames is not None:
        if stride is None:
            strides += [(f, t) for f in STRIDES for t in STRIDES if f != t]
        yield from ((s, frames) for s in strides if count_patches(s, frames) == patches)
        return
    yield from ((s, length) for length in LENGTHS for s in strides if count_patches(s, length) == patches)
    for s in strides:
        lengths = _possible_lengths(patches, s)
        yield from ((s, length) for length in lengths if length % WHOLE_SECOND == 0)
        if lengths:
            yield (s, lengths[0])


def count_patches(stride: Grid, frames: int) -> int:
    """Patches of 16 x 16 in a spectrogram of 128 mel bins.

    >>> count_patches((10, 10), 1024)
    1212
    """
    if frames < PATCH[1]:
        return 0
    return ((MEL_BINS - PATCH[0]) // stride[0] + 1) * ((frames - PATCH[1]) // stride[1] + 1)


def _possible_lengths(patches: int, stride: Grid) -> range:
    """All lengths that give a number of patches with this stride."""
    f = (MEL_BINS - PATCH[0]) // stride[0] + 1
    t, rest = divmod(patches, f)
    if rest or t < 1:
        return range(0)
    shortest = (t - 1) * stride[1] + PATCH[1]
    return range(shortest, shortest + stride[1])


def _settle_grid(path: Path, patches: int, given: Given) -> tuple[Grid, int]:
    """Stride and frames: what is given, else the likeliest."""
    fits = list(dict.fromkeys(possible_grids(patches, given.stride, given.frames)))
    equal = [fit for fit in fits if fit[0][0] == fit[0][1]]
    if not fits:
        others = list(dict.fromkeys(possible_grids(patches, None, None)))[:3]
        raise ShapeMismatch(
            f"{path}: {_say_wish(given)} cannot give its {patches} patches; what would fit: {_list_grids(others)}"
        )
    if given.stride is None and not equal and len(fits) > 1:
        raise ShapeMismatch(f"{path}: {patches} patches in {given.frames} frames: {_list_grids(fits)}? give stride=")
    stride, frames = (equal or fits)[0]
    # With a stride given, only lengths within one stride are possible, and a whole second among them is likely.
    likely = frames in LENGTHS or (given.stride is not None and frames % WHOLE_SECOND == 0)
    if given.frames is None and not likely:
        warnings.warn(
            f"{path}: stride {stride} and {frames} frames are a guess from {patches} patches: give stride= and frames=",
            SpectagWarning,
            stacklevel=2,
        )
    return stride, frames


def _say_wish(given: Given) -> str:
    stride = "equal strides of 10, 12, 14 or 16" if given.stride is None else f"stride {given.stride}"
    return stride if given.frames is None else f"{stride} with {given.frames} frames"


def _list_grids(fits: list[tuple[Grid, int]]) -> str:
    return " or ".join(f"stride {s} with {n} frames" for s, n in fits) or "give both stride= and frames="


def _warn_of_guesses(path: Path, outputs: int, given: Given) -> None:
    """Warn of what the number of outputs decides. That 527 are AudioSet's classes is taken for certain."""
    if outputs == len(LabelSet.audioset()):
        return
    statistics = STATISTICS_BY_LABELS.get(outputs, "audioset")
    guesses = {"statistics": f"statistics {statistics}", "activation": f"activation {default_activation(outputs)[0]}"}
    if outputs in STATISTICS_BY_LABELS:
        guesses = {"labels": f"the labels of {statistics}", **guesses}
    guesses = {name: guess for name, guess in guesses.items() if name not in given.names()}
    if guesses:
        options = ", ".join(f"{name}=" for name in guesses)
        warnings.warn(
            f"{path}: guessed from its {outputs} outputs: {', '.join(guesses.values())}; give {options}",
            SpectagWarning,
            stacklevel=2,
        )
