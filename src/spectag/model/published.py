"""Weight files that do not describe themselves: released AST checkpoints, and DeiT/ViT state dicts as initial weights.

Everything is inferred from the tensors, never from the file name. What the tensors leave open is guessed in a stated
order, and can be given.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import get_args

import torch

from spectag.audio.front_end import FrontEnd
from spectag.choices import Channels, Positions, Statistics, WindowFunction
from spectag.errors import InputError, LabelMismatch, NotAModel, ShapeMismatch, SpectagWarning
from spectag.labels import LabelSet
from spectag.model import adapt, convert, tensors
from spectag.model.adapt import Grid, State
from spectag.model.card import UNTRAINED, Card
from spectag.model.config import ASTConfig
from spectag.model.directory import default_activation
from spectag.model.fields import CONFIG
from spectag.model.shapes import Shapes, network_shapes

# (mean, standard deviation) of the fbank with a Hann window, in natural-log units: the released recipes.
STATISTICS: dict[Statistics, tuple[float, float]] = {
    "audioset": (FrontEnd.mean, FrontEnd.std),
    "esc50": (-6.6268077, 5.358466),
    "speech-commands": (-6.845978, 5.5654526),
}
STATISTICS_BY_LABELS: dict[int, Statistics] = {527: "audioset", 50: "esc50", 35: "speech-commands"}

MEL_BINS = 128  # of every published AST
HEAD_WIDTH = 64  # of ViT and DeiT
NARROW_HEAD_WIDTH = 16  # of networks too narrow for 64: tests, toys
NORM_EPS = 1e-6  # of the released code; timm's, not torch's default
STRIDES = (10, 12, 14, 16)  # equal ones that the paper reports, in the order tried
LENGTHS = (1024, 512, 128, 998)  # frames: AudioSet, ESC-50, Speech Commands; 10 s without padding
WHOLE_SECOND = 100  # frames, as the paper counts
HEAD_SEED = 0  # an untrained head is the same at every load


@dataclass(frozen=True)
class Options:
    """What the caller settles, see :func:`spectag.model.bundle.load`."""

    stride: tuple[int, int] | None = None
    frames: int | None = None
    heads: int | None = None
    statistics: Statistics | None = None
    labels: LabelSet | None = None
    num_labels: int | None = None
    channels: Channels = "mean"
    positions: Positions = "bilinear"

    def __post_init__(self) -> None:
        if self.stride is not None:
            whole = isinstance(self.stride, (tuple, list)) and all(isinstance(n, int) and n > 0 for n in self.stride)
            if not whole or len(self.stride) != 2:
                raise InputError(f"stride: expected two positive whole numbers (frequency, time), got {self.stride!r}")
            object.__setattr__(self, "stride", tuple(self.stride))
        for name in ("frames", "heads", "num_labels"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InputError(f"{name}: expected a positive whole number, got {value!r}")
        if self.statistics is not None and self.statistics not in get_args(Statistics):
            raise InputError(f"statistics: expected one of {', '.join(STATISTICS)}; got {self.statistics!r}")
        if self.channels not in get_args(Channels):
            raise InputError(f"channels must be one of {', '.join(get_args(Channels))}; got {self.channels!r}")
        if self.labels is not None and self.num_labels not in (None, len(self.labels)):
            raise InputError(f"num_labels is {self.num_labels}, but {len(self.labels)} labels are given")


def read(path: Path, options: Options) -> tuple[Card, State]:
    """Card and weights (this package's names) of a ``.pth`` or ``.safetensors`` file.

    Raises:
        ModelError: one of its subclasses; the message names the file.
    """
    state = convert.strip_parallel(tensors.read_weights(path))
    layout = convert.require_layout(state, str(path))
    if layout == "published":
        if options.channels != Options.channels:
            raise InputError(f"{path}: channels= is for initial weights; the kernel of a checkpoint has one channel")
        return _checkpoint(path, state, options)
    if layout == "timm":
        return _initial_weights(path, state, options)
    raise NotAModel(f"{path}: weights of transformers' AST without their {CONFIG}: give the directory with both")


def grids(patches: int, stride: tuple[int, int] | None, frames: int | None) -> Iterator[tuple[Grid, int]]:
    """Strides (frequency, time) and lengths in frames that give so many patches, likeliest first.

    Equal strides of 10, 12, 14, 16 are tried in this order, first with the lengths of the recipes, then with any: whole
    seconds before the shortest that fits. Other strides are tried only where a length is given.
    """
    if stride is not None and frames is not None:
        yield from ((stride, frames) for _ in range(_count(stride, frames) == patches))
        return
    strides = [(s, s) for s in STRIDES] if stride is None else [stride]
    if frames is not None:
        unequal = [(f, t) for f in STRIDES for t in STRIDES if f != t]
        yield from ((s, frames) for s in strides + unequal if _count(s, frames) == patches)
        return
    yield from ((s, length) for length in LENGTHS for s in strides if _count(s, length) == patches)
    for s in strides:
        if span := _span(patches, s):
            yield from ((s, n) for n in span if n % WHOLE_SECOND == 0)
            yield (s, span[0])


def _count(stride: tuple[int, int], frames: int, patch: Grid = (16, 16)) -> int:
    if frames < patch[1]:
        return 0
    return ((MEL_BINS - patch[0]) // stride[0] + 1) * ((frames - patch[1]) // stride[1] + 1)


def _span(patches: int, stride: tuple[int, int]) -> range:
    """All lengths that give so many patches with this stride."""
    f = (MEL_BINS - 16) // stride[0] + 1
    t, rest = divmod(patches, f)
    if rest or t < 1:
        return range(0)
    shortest = (t - 1) * stride[1] + 16
    return range(shortest, shortest + stride[1])


def _checkpoint(path: Path, state: State, options: Options) -> tuple[Card, State]:
    found = {key: tuple(value.shape) for key, value in state.items()}
    size = _backbone(path, found, "published", tokens=2)
    if size.patch != (16, 16) or size.channels != 1:
        raise ShapeMismatch(
            f"{path}: expected a kernel of one channel and 16 x 16, got {size.channels} and {size.patch}"
        )
    stride, frames, guessed = _settle(path, size.positions - size.tokens, options)
    count = found["mlp_head.1.bias"][0]
    if options.num_labels not in (None, count):
        raise LabelMismatch(f"{path}: num_labels is {options.num_labels}, but the head has {count} outputs")
    config = _config(path, size, stride, frames, count, options)
    wanted = convert.expected("published", network_shapes(config), size.depth, size.tokens)
    convert.check(found, wanted, "published", str(path))
    labels = options.labels or LabelSet.for_outputs(count)
    card = _card(config, labels, options, "hanning", "published checkpoint", path)
    card.provenance["geometry"] = "guessed from the number of patches" if guessed else "given, and fits the tensors"
    return card, convert.to_ours(state, "published", size.depth, size.tokens)


def _initial_weights(path: Path, state: State, options: Options) -> tuple[Card, State]:
    found = {key: tuple(value.shape) for key, value in state.items()}
    size = _backbone(path, found, "timm", tokens=2 if "dist_token" in found else 1)
    if size.channels not in (1, 3):
        raise ShapeMismatch(f"{path}: patch_embed.proj.weight: expected 3 colour channels, got {size.channels}")
    side = isqrt(size.positions - size.tokens)
    if side * side != size.positions - size.tokens:
        raise ShapeMismatch(f"{path}: pos_embed: expected {size.tokens} + n * n positions, got {size.positions}")
    labels = options.labels
    if labels is None:
        labels = LabelSet.audioset() if options.num_labels is None else LabelSet.for_outputs(options.num_labels)
    stride, frames = options.stride or (STRIDES[0], STRIDES[0]), options.frames or LENGTHS[0]
    config = _config(path, size, stride, frames, len(labels), options)
    image = network_shapes(config)
    image["patch_embed.proj.weight"] = (size.width, size.channels, *size.patch)
    image["pos_embed"] = (1, size.positions, size.width)
    convert.check(found, convert.expected("timm", image, size.depth, size.tokens), "timm", str(path))
    adapted = adapt.adapt(
        convert.to_ours(state, "timm", size.depth, size.tokens),
        (side, side),
        config.grid,
        tokens=size.tokens,
        patch=config.patch,
        labels=len(labels),
        channels=options.channels,
        mode=options.positions,
        generator=torch.Generator().manual_seed(HEAD_SEED),
    )
    card = _card(config, labels, options, "hamming", "initial weights (DeiT/ViT), untrained head", path)
    card.provenance.update(UNTRAINED)
    card.provenance["initial_weights"] = {"image_grid": [side, side], "channels": options.channels}
    return card, adapted


@dataclass(frozen=True)
class _Size:
    """What the tensors show: of the encoder, the kernel and the positional embedding."""

    width: int
    depth: int
    hidden: int
    tokens: int
    positions: int
    channels: int
    patch: Grid


def _backbone(path: Path, found: Shapes, layout: convert.Layout, tokens: int) -> _Size:
    depth = convert.count_layers(found, layout)
    rows = {row.ours: row for row in convert.rows(layout, max(depth, 1), tokens)}
    convert.check_keys(found, [key for row in rows.values() for key in row.theirs], layout, str(path))

    def shape(ours: str, axes: str) -> tuple[int, ...]:
        key = rows[ours].theirs[0]
        if len(found[key]) != len(axes.split(", ")) or min(found[key]) < 1:
            raise ShapeMismatch(f"{path}: {key}: expected shape [{axes}], got {list(found[key])}")
        return found[key]

    _, positions, width = shape("pos_embed", "1, tokens + patches, D")
    _, channels, *patch = shape("patch_embed.proj.weight", "D, channels, f, t")
    hidden, _ = shape("blocks.0.mlp.fc1.weight", "hidden, D")
    if layout == "published":
        shape("head.linear.bias", "C")
    return _Size(width, depth, hidden, tokens, positions, channels, (patch[0], patch[1]))


def _config(path: Path, size: _Size, stride: Grid, frames: int, labels: int, options: Options) -> ASTConfig:
    try:
        return ASTConfig(
            width=size.width,
            depth=size.depth,
            heads=_heads(size.width, options.heads),
            mlp_ratio=size.hidden / size.width,
            patch=size.patch,
            stride=stride,
            mel_bins=MEL_BINS,
            frames=frames,
            labels=labels,
            tokens=size.tokens,
            norm_eps=NORM_EPS,
        )
    except ShapeMismatch as error:
        raise ShapeMismatch(f"{path}: {error}") from error


def _heads(width: int, heads: int | None) -> int:
    """Heads are not visible in the tensors: 64-wide ones, as in every ViT and DeiT, where that divides the width."""
    if heads is None:
        fitting = next((size for size in (HEAD_WIDTH, NARROW_HEAD_WIDTH) if width % size == 0), None)
        if fitting is None:
            raise ShapeMismatch(f"width {width} leaves the number of attention heads open: give heads=")
        heads = width // fitting
    return heads


def _card(config: ASTConfig, labels: LabelSet, options: Options, window: WindowFunction, what: str, path: Path) -> Card:
    statistics = options.statistics or STATISTICS_BY_LABELS.get(len(labels), "audioset")
    mean, std = STATISTICS[statistics]
    activation, reason = default_activation(len(labels))
    return Card(
        config=config,
        front_end=FrontEnd(window=window, mel_bins=config.mel_bins, mean=mean, std=std, frames=config.frames),
        labels=labels,
        activation=activation,
        activation_from=reason,
        format=what,
        provenance={"source": path.name, "format": what, "statistics": statistics},
    )


def _settle(path: Path, patches: int, options: Options) -> tuple[tuple[int, int], int, bool]:
    """Stride, frames, and whether they were guessed."""
    fits = list(dict.fromkeys(grids(patches, options.stride, options.frames)))
    equal = [fit for fit in fits if fit[0][0] == fit[0][1]]
    given = options.stride is not None and options.frames is not None
    if not fits:
        others = list(dict.fromkeys(grids(patches, None, None)))[:3]
        raise ShapeMismatch(
            f"{path}: {_wish(options)} cannot give its {patches} patches; what would fit: {_list(others)}"
        )
    if options.stride is None and not equal and len(fits) > 1:
        raise ShapeMismatch(f"{path}: {patches} patches in {options.frames} frames: {_list(fits)}? give stride=")
    stride, frames = (equal or fits)[0]
    # With a stride given, the length is known but for less than a stride, and a whole second in there is likely.
    whole = options.stride is not None and frames % WHOLE_SECOND == 0
    if options.frames is None and frames not in LENGTHS and not whole:
        warnings.warn(
            f"{path}: stride {stride} and {frames} frames are a guess from {patches} patches: give stride= and frames=",
            SpectagWarning,
            stacklevel=2,
        )
    return stride, frames, not given


def _wish(options: Options) -> str:
    stride = "equal strides of 10, 12, 14 or 16" if options.stride is None else f"stride {options.stride}"
    return stride if options.frames is None else f"{stride} with {options.frames} frames"


def _list(fits: list[tuple[Grid, int]]) -> str:
    return " or ".join(f"stride {s} with {n} frames" for s, n in fits) or "give both stride= and frames="
