"""The picture of many recordings: in which hours each label is heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from spectag.files import replacing
from spectag.pictures.drawing import Drawing, picture_style, save, set_titles
from spectag.pictures.hours import Hours
from spectag.pictures.kinds import Kind, kind_of
from spectag.pictures.ribbons import Floats
from spectag.score.plots import INK, LINE, MUTED, shorten
from spectag.tag.clock import clock

LABELS = 30  # rows
WIDTH, ROW, ABOVE, REST = 11.0, 0.3, 0.45, 1.2  # inches: a row, the bars above, title and axis
SIDES = 3.1  # inches left and right of the axes, at most
HEARD = LinearSegmentedColormap.from_list("heard", ["#f0f3f6", "#cfe0ee", "#86b2d3", "#2f6da3", "#123a63"])


def write_overview(path: Path, hours: Hours, title: str) -> None:
    """Write the picture of many recordings.

    Args:
        path: a file that ends in ``.png``, ``.svg`` or ``.html``; the last is a page that needs no other file.
        hours: what is heard when.
        title: what the recordings are.

    Raises:
        InputError: another ending.
        SaveError: the file could not be written.

    >>> write_overview(Path("day.png"), Hours(["20260514_053000.wav"]), "a garden")
    >>> Path("day.png").read_bytes()[1:4]
    b'PNG'
    """
    kind = kind_of(path)
    drawing = draw_overview(hours, title, kind)
    if kind != "html":
        with replacing(path) as partial:
            partial.write_bytes(drawing.data)
        return
    from spectag.pictures.page import Spot, write_picture

    labels, columns = hours.labels()[:LABELS], hours.bins()
    left, top, right, bottom = drawing.box
    wide, high = (right - left) / columns, (bottom - top) / max(1, len(labels))
    spots = []
    for row, label in enumerate(labels):
        for column in range(columns):
            heard, recorded = hours.heard(label, column), hours.recorded(column)
            said = f"heard for {clock(heard)} of {clock(recorded)}" if recorded else "nothing recorded"
            lines = (name_column(hours, column), shorten(label, 40), said)
            spots.append(Spot(left + column * wide, top + row * high, wide, high, lines, drawing.size[0]))
    rows = [[label, str(hours.events[label]), clock(hours.heard(label))] for label in hours.labels()]
    write_picture(path, title, _facts(hours), drawing, spots, "Labels", ["label", "events", "heard for"], rows)


def name_column(hours: Hours, column: int) -> str:
    """From when to when a column is.

    >>> name_column(Hours(["20260514_053000.wav"]), 5)
    '05:00 to 06:00'
    """
    ends = (column * hours.minutes, (column + 1) * hours.minutes)
    return " to ".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in ends)


def draw_overview(hours: Hours, title: str, kind: Kind) -> Drawing:
    """Draw many recordings; see :func:`write_overview`.

    >>> draw_overview(Hours(["20260514_053000.wav"]), "a garden", "svg").alt
    'Overview of a garden: 0 recordings, 0:00'
    """
    labels, columns = hours.labels()[:LABELS], hours.bins()
    recorded = np.array([hours.recorded(column) for column in range(columns)])
    heard = np.array([[hours.heard(label, column) for column in range(columns)] for label in labels])
    with picture_style():
        heights = [ABOVE, ROW * max(1, len(labels))]
        figure = Figure(figsize=(WIDTH, sum(heights) + REST))
        above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": heights})
        _draw_recorded(above, recorded)
        _draw_heard(below, hours, labels, heard.reshape(len(labels), columns), recorded)
        every = 1 if columns <= 12 else 2
        places = range(0, columns + 1, every)
        below.set_xticks(places, [name_column(hours, column)[:5] for column in places])
        below.tick_params(axis="x", labelsize=8)
        below.set_xlim(0, columns)
        time = "hour of the day, from the names of the files" if hours.clock else "time, one file after the other"
        below.set_xlabel(f"{time}; numbers: % of the recorded time in which a label is heard")
        if kind != "html":  # its page says this
            set_titles(above, title, _facts(hours), 72 * (WIDTH - SIDES))
        best = "; ".join(f"{label} {clock(hours.heard(label))}" for label in labels)
        alt = f"Overview of {title}: {_facts(hours)}" + (f"; heard for: {best}" if best else "")
        return save(figure, kind, alt, [below])


def _draw_recorded(axes: Axes, recorded: Floats) -> None:
    """How much was recorded in each column."""
    most = float(recorded.max(initial=0.0))
    axes.bar(np.arange(len(recorded)) + 0.5, recorded, width=0.86, color="#b6c2cd", linewidth=0)
    axes.set_yticks([most], [f"{clock(most)} recorded"])
    axes.set_ylim(0, most or 1)
    axes.tick_params(bottom=False, labelbottom=False, left=False, labelsize=8)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_color(LINE)


def _draw_heard(axes: Axes, hours: Hours, labels: list[str], heard: Floats, recorded: Floats) -> None:
    """A row of cells per label. Where nothing was recorded there is none."""
    shares = 100 * heard / np.where(recorded > 0, recorded, 1)
    highest = max(1.0, float(shares.max(initial=0.0)))
    for row, label in enumerate(labels):
        for column in np.flatnonzero(recorded):
            share = shares[row, column]
            cell = Rectangle((column + 0.03, row + 0.05), 0.94, 0.9, facecolor=HEARD(share / highest), linewidth=0)
            axes.add_patch(cell)
            if share >= 0.05:
                colour = "#ffffff" if share > 0.55 * highest else INK
                said = f"{share:.1f}" if share < 9.95 else f"{share:.0f}"
                axes.text(column + 0.5, row + 0.52, said, ha="center", va="center", fontsize=6.5, color=colour)
        count = hours.events[label]
        axes.annotate(
            f"{count} event{'' if count == 1 else 's'}", (1, row + 0.5), (6, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="center", fontsize=8, color=MUTED,
        )  # fmt: skip
    if not labels:
        axes.text(0.5, 0.5, "no events", transform=axes.transAxes, ha="center", va="center", color=MUTED)
    axes.set_ylim(max(1, len(labels)), 0)
    axes.set_yticks(np.arange(len(labels)) + 0.5, [shorten(label, 30) for label in labels])
    axes.tick_params(left=False)
    axes.spines["left"].set_visible(False)


def _facts(hours: Hours) -> str:
    total = clock(sum(hours.recorded(column) for column in range(hours.bins())))
    facts = f"{hours.recordings} recording{'' if hours.recordings == 1 else 's'}, {total}"
    days = sorted(hours.days)
    if not days:
        return facts
    return f"{facts}, {days[0]}" if len(days) == 1 else f"{facts}, {len(days)} days from {days[0]} to {days[-1]}"
