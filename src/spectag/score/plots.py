"""Plots as SVG images, for the pages of runs and sweeps.

Every function returns a :class:`Plot`. A page shows it as an image, so nothing in it can affect the page: no styles, no
ids, no scripts. Labels are untrusted: they are escaped, never read as markup or mathematics, and shortened to fit.
"""

from __future__ import annotations

import base64
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from spectag.files import replacing
from spectag.score.reliability import Reliability

Floats: TypeAlias = "NDArray[np.floating[Any]]"
FloatsWithGaps: TypeAlias = "Sequence[float | None] | Floats"  # None or NaN leaves a gap

INK, MUTED, LINE, PAPER = "#1b1f24", "#57606a", "#d0d7de", "#f3f5f7"  # those of a light page, of pages/style.css
SERIES = ("#0b5cad", "#a34700", "#00705a", "#8a2f95", "#b3261e")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 3)))  # tell series apart without colour
WIDTH = 4.2  # inches: legible on a phone
MARKED = 40  # points up to which each point of a curve gets a marker
COUNTED = 30  # classes up to which the cells of a confusion matrix have room for their counts
# Control characters, overrides of the writing direction, lone surrogates, and code points that XML forbids.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "spectag",  # the same plot gives the same file
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.08,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.5,
}


@dataclass(frozen=True)
class Plot:
    """A drawing and the same in words.

    Args:
        svg: a whole SVG file.
        alt: what it shows, for readers who cannot see it.

    >>> Plot("<svg/>", "nothing").uri
    'data:image/svg+xml;base64,PHN2Zy8+'
    """

    svg: str
    alt: str

    @property
    def uri(self) -> str:
        """The drawing as a data URI, the ``src`` of an image."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode("ascii")


def printable(text: object) -> str:
    """A text with ``\N{REPLACEMENT CHARACTER}`` for each character that would be invisible or mislead.

    >>> printable("rain\\x00")
    'rain\N{REPLACEMENT CHARACTER}'
    """
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(text))


@contextmanager
def style(**changes: Any) -> Iterator[None]:
    """Use Matplotlib's defaults with :data:`STYLE`, and restore the user's settings afterwards.

    >>> with style():
    ...     matplotlib.rcParams["font.size"]
    9.0
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of glyphs that the font here lacks: the browser draws them with another font
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | changes)
        yield


@style()
def plot_curves(rows: Sequence[Mapping[str, Any]], series: Mapping[str, str], unit: str = "") -> Plot:
    """Figures over epochs.

    Args:
        rows: one per epoch, with the key ``epoch``; a row may lack any other key.
        series: keys of ``rows`` and how to name them; one to five.
        unit: label of the vertical axis.

    >>> plot_curves([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}], {"loss": "loss"}).alt
    'Line chart over epochs: loss 2 at epoch 1, 1 at epoch 2'
    """
    figure, axes = _axes(WIDTH, 2.5)
    words = []
    for (key, label), colour, dashes in zip(series.items(), SERIES, DASHES, strict=False):
        points = [(row["epoch"], _number(row[key])) for row in rows if row.get(key) is not None and "epoch" in row]
        if not points:
            continue
        x, y = zip(*points, strict=True)
        axes.plot(x, y, color=colour, linestyle=dashes, label=label, marker="o" if len(x) <= MARKED else "")
        words.append(f"{label} {y[0]:.4g} at epoch {x[0]}, {y[-1]:.4g} at epoch {x[-1]}")
    axes.set_xlabel("epoch")
    axes.set_ylabel(unit)
    last = max((row.get("epoch", 1) for row in rows), default=1)
    axes.set_xlim(1 - 0.02 * last, 1.02 * last)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _plain_numbers(axes)
    if len(words) > 1:
        figure.legend(loc="outside upper left", ncols=len(words))
    return _save(figure, f"Line chart over epochs: {'; '.join(words)}")


@style()
def plot_confusion(counts: NDArray[np.integer[Any]], labels: Sequence[str]) -> Plot:
    """A confusion matrix. The stronger the colour of a cell, the larger its share of the row.

    Args:
        counts: ``[C, C]``, clips by true class (row) and predicted class (column).
        labels: C names.

    >>> plot_confusion(np.array([[3, 1], [0, 4]]), ["cat", "dog"]).alt
    'Confusion matrix of 2 classes, rows true, columns predicted: 7 of 8 clips are on the diagonal'
    """
    classes = len(labels)
    side = 2.2 + (0.26 if classes <= COUNTED else 0.16) * classes
    figure, axes = _axes(side, side)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    rows, columns = np.nonzero(counts)
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    cells = np.stack((columns, rows), 1)[:, None, :] + corners
    strongest = 0.54 if classes <= COUNTED else 1.0  # a count stays legible on it
    strength = 0.08 + (strongest - 0.08) * shares[rows, columns]
    axes.add_collection(
        PolyCollection(list(cells), facecolors=[(SERIES[0], round(s, 2)) for s in strength], edgecolors="none")
    )
    if classes <= COUNTED:
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            size = 7 if counts[row, column] < 1000 else 5
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=size)
    axes.grid(classes > COUNTED)  # lines would cross the counts
    names, size = [shorten(label, 24) for label in labels], 8 if classes <= COUNTED else 7
    axes.set_xticks(range(classes), names, rotation=90, fontsize=size)
    axes.set_yticks(range(classes), names, fontsize=size)
    axes.set(xlabel="predicted", ylabel="true", xlim=(-0.5, classes - 0.5), ylim=(classes - 0.5, -0.5), aspect="equal")
    words = f"{int(np.trace(counts))} of {int(counts.sum())} clips are on the diagonal"
    return _save(figure, f"Confusion matrix of {classes} classes, rows true, columns predicted: {words}")


@style()
def plot_bars(values: Mapping[str, float], unit: str) -> Plot:
    """Horizontal bars, the first value at the top.

    Args:
        values: 0..1 by label.
        unit: label of the horizontal axis.

    >>> plot_bars({"cat": 0.5, "dog": 0.75}, "average precision").alt
    'Bar chart of average precision: cat 0.50; dog 0.75'
    """
    figure, axes = _axes(WIDTH, 0.7 + 0.19 * max(len(values), 1))
    heights = list(values.values())
    places = range(len(heights))
    axes.barh(places, heights, height=0.7, color=SERIES[0])
    for place, value in zip(places, heights, strict=True):
        axes.text(min(value, 1) + 0.015, place, f"{value:.2f}", va="center", fontsize=7)
    axes.set_yticks(places, [shorten(label, 32) for label in values], fontsize=8)
    axes.set(xlabel=unit, xlim=(0, 1.1), ylim=(len(heights) - 0.4, -0.6))
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.grid(False, axis="y")
    _plain_numbers(axes, "x")
    words = "; ".join(f"{label} {value:.2f}" for label, value in values.items())
    return _save(figure, f"Bar chart of {unit}: {words}")


@style()
def plot_precision_recall(lines: Sequence[tuple[str, float, Floats, Floats]]) -> Plot:
    """Precision over recall.

    Args:
        lines: label, average precision, recall and precision (0..1) of up to five classes.

    >>> plot_precision_recall([("cat", 1.0, np.array([0.0, 1.0]), np.array([1.0, 1.0]))]).alt
    'Precision over recall: cat, average precision 1.00'
    """
    figure, axes = _axes(WIDTH, 4)
    for (label, ap, recall, precision), colour, dashes in zip(lines, SERIES, DASHES, strict=False):
        text = f"{shorten(label, 40)}, AP {ap:.2f}"
        axes.plot(recall, precision, color=colour, linestyle=dashes, label=text, drawstyle="steps-post")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.05))
    _plain_numbers(axes)
    if lines:
        figure.legend(loc="outside upper left")
    words = "; ".join(f"{label}, average precision {ap:.2f}" for label, ap, *_ in lines)
    return _save(figure, f"Precision over recall: {words}")


@style()
def plot_sweep(labels: Sequence[str], means: FloatsWithGaps, stds: FloatsWithGaps, metric: str) -> Plot:
    """A metric for each setting of a sweep, with error bars.

    Args:
        labels: one per setting, in order.
        means: one per setting.
        stds: standard deviations, a gap where there is only one run.
        metric: label of the vertical axis.

    >>> plot_sweep(["lr=0.1", "lr=0.2"], [0.5, 0.625], [None, 0.01], "accuracy").alt
    'accuracy for each setting: lr=0.1 0.5; lr=0.2 0.625 ± 0.01'
    """
    centres, spreads = ([_number(value) for value in values] for values in (means, stds))
    figure, axes = _axes(max(WIDTH, 1 + 0.28 * len(labels)), 3.2)
    axes.grid(False, axis="x")
    axes.errorbar(range(len(labels)), centres, spreads, fmt="o", markersize=5, capsize=4, color=SERIES[0])
    names = [shorten(label, 32) for label in labels]
    crowded = sum(map(len, names)) > 55
    axes.set_xticks(range(len(labels)), names, rotation=90 if crowded else 0)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_ylabel(metric)
    _plain_numbers(axes, "y")
    words = "; ".join(
        f"{label} {centre:.4g}" + (f" ± {spread:.2g}" if math.isfinite(spread) else "")
        for label, centre, spread in zip(labels, centres, spreads, strict=True)
        if math.isfinite(centre)
    )
    return _save(figure, f"{metric} for each setting: {words}")


@style()
def plot_reliability(before: Reliability, after: Reliability, path: Path) -> str:
    """How often decisions are right, by their scores, before and after a calibration. Draws into a file.

    Args:
        before, after: see :func:`spectag.score.reliability.measure_reliability`.
        path: a name that ends in ``.svg`` or ``.png``.

    Returns:
        the same in words.

    Raises:
        SaveError: the file cannot be written.

    >>> one = Reliability(np.array([0.25, 0.75]), np.array([0.3, 0.6]), np.array([10, 10]))
    >>> plot_reliability(one, one, Path("reliability.svg"))
    'Reliability diagram: calibration error 0.100 before, 0.100 after'
    """
    figure = Figure(figsize=(WIDTH, 1.4 * WIDTH))
    upper, lower = figure.subplots(2, 1, height_ratios=[3.4, 1], sharex=True)
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=DASHES[2], label="as often right as the score says")
    bins = len(before.counts)
    for place, (name, each) in enumerate({"before": before, "after": after}.items()):
        some, colour = each.counts > 0, SERIES[1 - place]
        size = 12 + 60 * np.sqrt(each.counts[some] / max(1, each.counts.max()))
        label = f"{name}, error {each.error:.3f}"
        upper.plot(each.scores[some], each.right[some], color=colour, linestyle=DASHES[1 - place], label=label)
        upper.scatter(each.scores[some], each.right[some], s=size, color=colour, alpha=0.85, zorder=3)
        left = (np.arange(bins) + 0.08 + 0.43 * place) / bins
        lower.bar(left, each.counts / max(1, each.counts.sum()), 0.41 / bins, align="edge", color=colour)
    upper.set(ylabel="share that is right", xlim=(0, 1.03), ylim=(0, 1.06))
    lower.set(xlabel="score", ylabel="share of all")
    for axes in (upper, lower):
        _plain_numbers(axes)
    figure.legend(*upper.get_legend_handles_labels(), loc="outside upper left")
    alt = f"Reliability diagram: calibration error {before.error:.3f} before, {after.error:.3f} after"
    metadata = {"Title": alt, "Date": None, "Creator": None} if path.suffix.lower() == ".svg" else {"Title": alt}
    with replacing(path) as partial:
        figure.savefig(partial, format=path.suffix[1:].lower(), metadata=metadata, dpi=200)
    return alt


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def _plain_numbers(axes: Axes, which: str = "xy") -> None:
    for axis in (getattr(axes, f"{letter}axis") for letter in which):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def shorten(label: str, length: int) -> str:
    """A label on one line, with ``…`` for what would not fit.

    >>> shorten("Dog bark", 5)
    'Dog …'
    """
    text = " ".join(printable(label).split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _save(figure: Figure, alt: str) -> Plot:
    alt = printable(alt)
    file = io.StringIO()
    metadata = {"Title": alt, "Date": None, "Creator": None}
    FigureCanvasSVG(figure).print_svg(file, metadata=metadata)  # type: ignore[no-untyped-call]  # savefig draws twice
    return Plot(file.getvalue(), alt)
