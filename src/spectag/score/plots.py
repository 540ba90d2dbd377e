"""Figures as SVG that a page can hold: text stays text, colours are the page's, ids are unique to the figure.

Every function returns the text of one ``<svg>`` with an accessible name. Labels are untrusted: they are escaped, never
read as markup or mathematics, and shortened where there is no room.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.floating[Any]]"
Gappy: TypeAlias = "Sequence[float | None] | Floats"

INK, MUTED, LINE = "#1b1f24", "#57606a", "#d0d7de"
SERIES = ("#0b5cad", "#a34700", "#00705a", "#8a2f95", "#b3261e")
# What each colour of a figure is called in pages/style.css, which has another value for it on dark paper.
THEME = {INK: "ink", MUTED: "muted", LINE: "line"} | {c: f"c{n}" for n, c in enumerate(SERIES, 1)}
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 3)))  # series differ without colour, too
MARKED = 40  # curves of so many points show them
COUNTED = 30  # a confusion matrix of so many classes has room for its counts
UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spectag",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
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


def printable(text: object) -> str:
    """A text without control characters, lone surrogates and overrides of the writing direction."""
    return UNFIT.sub("\N{REPLACEMENT CHARACTER}", str(text))


@contextmanager
def _style() -> Iterator[None]:
    """Matplotlib's defaults and ours, whatever the user has set; put back afterwards."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of glyphs that the measuring font lacks: the browser will draw them
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


@_style()
def curves(name: str, rows: Sequence[Mapping[str, Any]], series: Mapping[str, str], unit: str = "") -> str:
    """Figures over epochs.

    Args:
        name: unique among the page's figures.
        rows: one per epoch, with ``epoch``; a series may be missing from some.
        series: keys of ``rows`` -> names for the reader; one to five.
        unit: of the vertical axis.
    """
    figure, axes = _axes(4.6, 2.7)
    told = []
    for (key, label), colour, dashes in zip(series.items(), SERIES, DASHES, strict=False):
        points = [(row["epoch"], _number(row[key])) for row in rows if row.get(key) is not None and "epoch" in row]
        if not points:
            continue
        x, y = zip(*points, strict=True)
        axes.plot(x, y, color=colour, linestyle=dashes, label=label, marker="o" if len(x) <= MARKED else "")
        told.append(f"{label} {y[0]:.4g} at epoch {x[0]}, {y[-1]:.4g} at epoch {x[-1]}")
    axes.set_xlabel("epoch")
    axes.set_ylabel(unit)
    last = max((row.get("epoch", 1) for row in rows), default=1)
    axes.set_xlim(0, last * 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _plain_numbers(axes)
    if len(told) > 1:
        figure.legend(loc="outside upper left", ncols=len(told))
    return _svg(figure, name, f"Line chart over epochs: {'; '.join(told)}")


@_style()
def confusion(name: str, counts: NDArray[np.integer[Any]], labels: Sequence[str]) -> str:
    """A confusion matrix: rows true, columns predicted; the stronger the colour, the larger the share of the row.

    Args:
        name: unique among the page's figures.
        counts: ``[C, C]`` clips.
        labels: C names.
    """
    classes = len(labels)
    side = 2.2 + (0.26 if classes <= COUNTED else 0.16) * classes
    figure, axes = _axes(side, side)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    rows, columns = np.nonzero(counts)
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    cells = np.stack((columns, rows), 1)[:, None, :] + corners
    strongest = 0.54 if classes <= COUNTED else 1.0  # a count is legible on it, on light paper and on dark
    strength = 0.08 + (strongest - 0.08) * shares[rows, columns]
    axes.add_collection(
        PolyCollection(list(cells), facecolors=[(SERIES[0], round(s, 2)) for s in strength], edgecolors="none")
    )
    if classes <= COUNTED:
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            size = 7 if counts[row, column] < 1000 else 5
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=size)
    names, size = [_short(label, 24) for label in labels], 8 if classes <= COUNTED else 7
    axes.set_xticks(range(classes), names, rotation=90, fontsize=size)
    axes.set_yticks(range(classes), names, fontsize=size)
    axes.set(xlabel="predicted", ylabel="true", xlim=(-0.5, classes - 0.5), ylim=(classes - 0.5, -0.5), aspect="equal")
    right = int(np.trace(counts))
    told = f"{right} of {int(counts.sum())} clips on the diagonal; the most frequent confusions are in the table below"
    return _svg(figure, name, f"Confusion matrix of {classes} classes, rows true, columns predicted: {told}")


@_style()
def bars(name: str, values: Mapping[str, float], unit: str) -> str:
    """Horizontal bars from the first value down; the axis is 0..1."""
    figure, axes = _axes(4.6, 0.7 + 0.19 * max(len(values), 1))
    heights = list(values.values())
    places = range(len(heights))
    axes.barh(places, heights, height=0.7, color=SERIES[0])
    for place, value in zip(places, heights, strict=True):
        axes.text(min(value, 1) + 0.015, place, f"{value:.2f}", va="center", fontsize=7)
    axes.set_yticks(places, [_short(label, 32) for label in values], fontsize=8)
    axes.set(xlabel=unit, xlim=(0, 1.1), ylim=(len(heights) - 0.4, -0.6))
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.grid(False, axis="y")
    _plain_numbers(axes, "x")
    told = "; ".join(f"{label} {value:.2f}" for label, value in values.items())
    return _svg(figure, name, f"Bar chart of {unit}: {told}")


@_style()
def precision_recall(name: str, lines: Sequence[tuple[str, float, Floats, Floats]]) -> str:
    """Precision over recall.

    Args:
        name: unique among the page's figures.
        lines: label, average precision, recall and precision (0..1) of up to five classes.
    """
    figure, axes = _axes(4.6, 4.2)
    for (label, ap, recall, precision), colour, dashes in zip(lines, SERIES, DASHES, strict=False):
        text = f"AP {ap:.2f}  {_short(label, 40)}"
        axes.plot(recall, precision, color=colour, linestyle=dashes, label=text, drawstyle="steps-post")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.05))
    _plain_numbers(axes)
    if lines:
        figure.legend(loc="outside upper left")
    told = "; ".join(f"{label}, average precision {ap:.2f}" for label, ap, *_ in lines)
    return _svg(figure, name, f"Precision over recall: {told}")


@_style()
def sweep_figure(
    labels: Sequence[str], means: Gappy, stds: Gappy, metric: str, *, name: str = "sweep", standalone: bool = False
) -> str:
    """A metric for each setting of a sweep, with error bars.

    Args:
        labels: one per setting, in order.
        means: one per setting; None or NaN leaves a gap.
        stds: standard deviations, None or NaN where there is but one run.
        metric: name of the vertical axis.
        name: unique among the page's figures.
        standalone: True for a file of its own, on light paper; False for a page of :func:`spectag.score.report`.
    """
    centres, spreads = ([_number(value) for value in values] for values in (means, stds))
    figure, axes = _axes(max(4.6, 1 + 0.28 * len(labels)), 3.2)
    axes.grid(False, axis="x")
    axes.errorbar(range(len(labels)), centres, spreads, fmt="o", markersize=5, capsize=4, color=SERIES[0])
    names = [_short(label, 32) for label in labels]
    crowded = sum(map(len, names)) > 55
    axes.set_xticks(range(len(labels)), names, rotation=90 if crowded else 0)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_ylabel(metric)
    _plain_numbers(axes, "y")
    told = "; ".join(
        f"{label} {centre:.4g}" + (f" ± {spread:.2g}" if math.isfinite(spread) else "")
        for label, centre, spread in zip(labels, centres, spreads, strict=True)
        if math.isfinite(centre)
    )
    return _svg(figure, name, f"{metric} for each setting: {told}", standalone)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def _plain_numbers(axes: Axes, which: str = "xy") -> None:
    for axis in (getattr(axes, f"{letter}axis") for letter in which):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _short(label: str, length: int) -> str:
    text = " ".join(printable(label).split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _svg(figure: Figure, name: str, alt: str, standalone: bool = False) -> str:
    """Matplotlib's SVG without what would reach beyond the figure: global styles, ids, fixed colours, namespaces."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=not standalone, metadata={"Date": None})
    text = re.sub(r"<!DOCTYPE[^>]*>", "", file.getvalue())
    root = ElementTree.fromstring(text)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    ids = {old: f"{name}-{number}" for number, old in enumerate(sorted(used), 1)}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for child in [c for c in element if c.tag.rpartition("}")[2] in ("metadata", "style")]:
            element.remove(child)
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            key = key.rpartition("}")[2]
            if key == "id":
                if value in ids:
                    element.set(key, ids[value])
                continue
            value = re.sub(r"\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), value)
            value = re.sub(r"(url\(#|^#)([\w-]+)", lambda m: m[1] + ids[m[2]] if m[2] in ids else m[0], value)
            value = re.sub(r"font-family: [^;]*;|rotate\(-0 [^)]*\)", "", value)
            if not standalone:
                value = re.sub("#[0-9a-f]{6}", lambda m: f"var(--{THEME[m[0]]})" if m[0] in THEME else m[0], value)
            if value.strip():
                element.set(key, " ".join(value.split()))
        if not (element.text or "").strip():
            element.text = None
        element.tail = None
    if standalone:
        root.set("xmlns", "http://www.w3.org/2000/svg")
    else:
        root.attrib.pop("version", None)
    root.attrib |= {"role": "img", "aria-label": printable(alt)}
    root.attrib |= {"stroke-linejoin": "round", "font-family": "system-ui, sans-serif"}
    return ElementTree.tostring(root, encoding="unicode")
