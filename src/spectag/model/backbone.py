"""What the tensors of a weight file show: the sizes of its encoder, and the card that follows from them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from spectag.audio.front_end import FrontEnd
from spectag.choices import Statistics, WindowFunction
from spectag.errors import ShapeMismatch, SpectagWarning
from spectag.labels import LabelSet
from spectag.model.card import Card, default_activation
from spectag.model.config import ASTConfig
from spectag.model.given import Given
from spectag.model.keys import KeyTable
from spectag.model.shapes import Shape, Shapes

# (mean, standard deviation) of the fbank with a Hann window, in natural-log units, from the released recipes.
STATISTICS: dict[Statistics, tuple[float, float]] = {
    "audioset": (FrontEnd.mean, FrontEnd.std),
    "esc50": (-6.6268077, 5.358466),
    "speech-commands": (-6.845978, 5.5654526),
}
STATISTICS_BY_LABELS: dict[int, Statistics] = {527: "audioset", 50: "esc50", 35: "speech-commands"}

MEL_BINS = 128  # of every published AST
HEAD_WIDTH = 64  # of every ViT, DeiT and published AST
PUBLISHED_WIDTHS = (192, 384, 768, 1024)  # tiny, small, base and large: with these, that is certain
NARROW_HEAD_WIDTH = 16  # of networks whose width is no multiple of 64: tests and toys
NORM_EPS = 1e-6  # of the released code; timm's default, not torch's


@dataclass(frozen=True)
class Backbone:
    """The sizes of an encoder, its patch kernel and its positional embedding.

    Args:
        width, depth, hidden: of the encoder; ``hidden`` is the width of its MLPs.
        tokens: class tokens.
        positions: rows of the positional embedding, those of the class tokens included.
        channels: input channels of the patch kernel.
        patch: size of the patch kernel, (frequency, time).

    >>> Backbone(768, 12, 3072, tokens=2, positions=1214, channels=1, patch=(16, 16)).patches
    1212
    """

    width: int
    depth: int
    hidden: int
    tokens: int
    positions: int
    channels: int
    patch: tuple[int, int]

    @property
    def patches(self) -> int:
        """Patches that the positional embedding is laid out for."""
        return self.positions - self.tokens


def measure_backbone(found: Shapes, table: KeyTable, tokens: int, path: Path) -> Backbone:
    """Measure an encoder by the shapes of its tensors.

    Args:
        found: shapes by the file's names.
        table: the names of that kind of file.
        tokens: class tokens.
        path: the file, for messages.

    Raises:
        KeyMismatch: tensors are missing or unexpected.
        ShapeMismatch: a tensor does not have as many axes as it should.

    >>> from spectag.model.deit import DEIT
    >>> from spectag.model.shapes import network_shapes
    >>> found = DEIT.expected(network_shapes(ASTConfig()), depth=12, tokens=2)
    >>> measure_backbone(found, DEIT, tokens=2, path=Path("deit.pth")).width
    768
    """
    depth = table.count_layers(found)
    rows = {row.ours: row for row in table.rows(max(depth, 1), tokens)}
    table.check_keys(found, [key for row in rows.values() for key in row.theirs], str(path))

    def shape(ours: str, axes: str) -> Shape:
        return require_axes(found, rows[ours].theirs[0], axes, path)

    _, positions, width = shape("pos_embed", "1, tokens + patches, D")
    _, channels, *patch = shape("patch_embed.proj.weight", "D, channels, f, t")
    hidden, _ = shape("blocks.0.mlp.fc1.weight", "hidden, D")
    return Backbone(width, depth, hidden, tokens, positions, channels, (patch[0], patch[1]))


def require_axes(found: Shapes, key: str, axes: str, path: Path) -> Shape:
    """The shape of a tensor that must have certain axes, none of them empty.

    Raises:
        ShapeMismatch: it has more, fewer or empty axes.

    >>> require_axes({"bias": (527,)}, "bias", "C", Path("ast.pth"))
    (527,)
    """
    shape = found[key]
    if len(shape) != len(axes.split(", ")) or min(shape) < 1:
        raise ShapeMismatch(f"{path}: {key}: expected shape [{axes}], got {list(shape)}")
    return shape


def make_config(
    backbone: Backbone, *, stride: tuple[int, int], frames: int, labels: int, heads: int | None, path: Path
) -> ASTConfig:
    """The geometry with these sizes.

    Args:
        backbone: what the tensors show.
        stride, frames, labels: what they leave open, see :class:`spectag.ASTConfig`.
        heads: attention heads, which no tensor shows; None for heads that are 64 wide.
        path: the file, for messages.

    Raises:
        ShapeMismatch: the sizes do not go together; the message names the file.

    Warns:
        SpectagWarning: the number of attention heads is a guess.

    >>> backbone = Backbone(192, 12, 768, tokens=2, positions=1214, channels=1, patch=(16, 16))
    >>> make_config(backbone, stride=(10, 10), frames=1024, labels=10, heads=None, path=Path("a.pth")).heads
    3
    """
    try:
        return ASTConfig(
            width=backbone.width,
            depth=backbone.depth,
            heads=_default_heads(backbone.width, path) if heads is None else heads,
            mlp_ratio=backbone.hidden / backbone.width,
            patch=backbone.patch,
            stride=stride,
            mel_bins=MEL_BINS,
            frames=frames,
            labels=labels,
            tokens=backbone.tokens,
            norm_eps=NORM_EPS,
        )
    except ShapeMismatch as error:
        raise ShapeMismatch(f"{path}: {error}") from error


def make_card(config: ASTConfig, labels: LabelSet, window: WindowFunction, given: Given, what: str, path: Path) -> Card:
    """The card of a weight file: statistics and activation follow from the number of labels, unless they are given.

    Args:
        config: the geometry.
        labels: names of the outputs.
        window: of the front end.
        given: options of the caller.
        what: the kind of file, for people.
        path: the file.

    >>> card = make_card(ASTConfig(), LabelSet.audioset(), "hanning", Given(), "published", Path("a.pth"))
    >>> card.activation, card.provenance["statistics"]
    ('sigmoid', 'audioset')
    """
    statistics = given.statistics or STATISTICS_BY_LABELS.get(len(labels), "audioset")
    mean, std = STATISTICS[statistics]
    activation, reason = default_activation(len(labels))
    return Card(
        config=config,
        front_end=FrontEnd(window=window, mel_bins=config.mel_bins, mean=mean, std=std, frames=config.frames),
        labels=labels,
        activation=activation,
        provenance={"source": path.name, "format": what, "statistics": statistics},
        activation_from=reason,
        format=what,
    )


def _default_heads(width: int, path: Path) -> int:
    size = next((size for size in (HEAD_WIDTH, NARROW_HEAD_WIDTH) if width % size == 0), None)
    if size is None:
        raise ShapeMismatch(f"width {width} leaves the number of attention heads open: give heads=")
    if width not in PUBLISHED_WIDTHS:
        warnings.warn(
            f"{path}: heads={width // size} is a guess from the width {width}: give heads=",
            SpectagWarning,
            stacklevel=2,
        )
    return width // size
