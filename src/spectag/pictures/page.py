"""A picture as a page of HTML: with what is under the pointer in words, and a table below. It has no scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spectag.pictures.drawing import Drawing
from spectag.pictures.ribbons import Ribbon
from spectag.score.page import write_page
from spectag.score.plots import shorten
from spectag.tag.clock import clock
from spectag.tag.results import ClipTags

MOMENTS = 240  # columns that answer to the pointer
ROWS = 500  # of the table
LINE, LETTER = 13, 5.4  # points: height of a line, width of a letter, about


@dataclass(frozen=True)
class Spot:
    """A part of a picture that answers to the pointer.

    Args:
        x, y, width, height: in points, from the upper left corner.
        lines: what it says.
        picture: width of the whole picture in points.

    >>> Spot(560.0, 10.0, 5.0, 90.0, ("0:05", "owl 0.90"), picture=600.0).left  # on the left of the pointer
    496.8
    """

    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]
    picture: float

    @property
    def wide(self) -> float:
        """Width of the box with the words."""
        return round(12 + LETTER * max(map(len, self.lines)), 1)

    @property
    def high(self) -> float:
        """Height of the box with the words."""
        return LINE * len(self.lines) + 6

    @property
    def left(self) -> float:
        """Left side of the box, which stays within the picture."""
        right = self.x + self.width + 8
        return right if right + self.wide < self.picture else self.x - 8 - self.wide

    @property
    def top(self) -> float:
        """Upper side of the box."""
        return self.y + 6


def write_picture(
    path: Path,
    title: str,
    note: str,
    drawing: Drawing,
    spots: Sequence[Spot],
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> None:
    """Write a page with a picture and a table.

    Args:
        path: the HTML file.
        title: its heading.
        note: a line below the heading.
        drawing: an SVG.
        spots: parts of the picture that answer to the pointer.
        caption, columns, rows: of the table; its first columns are words, the others numbers.

    Raises:
        SaveError: the file could not be written.

    >>> drawing = Drawing(b"<svg/>", "nothing", (72.0, 36.0), (0.0, 0.0, 72.0, 36.0))
    >>> write_picture(Path("owl.html"), "owl.wav", "", drawing, [], "Events", ["label"], [["owl"]])
    >>> "<h1>owl.wav</h1>" in Path("owl.html").read_text("utf-8")
    True
    """
    write_page(
        path,
        "picture.html",
        title=title,
        note=note,
        uri="data:image/svg+xml;base64," + base64.b64encode(drawing.data).decode("ascii"),
        alt=drawing.alt,
        size=drawing.size,
        spots=spots,
        caption=caption,
        columns=columns,
        rows=rows[:ROWS],
        left_off=max(0, len(rows) - ROWS),
    )


def write_recording_page(
    path: Path, title: str, note: str, clip: ClipTags, ribbons: Sequence[Ribbon], drawing: Drawing
) -> None:
    """Write the page of a recording: under the pointer the time and the scores, below a table of events, or of tags.

    Raises:
        SaveError: the file could not be written.

    >>> drawing = Drawing(b"<svg/>", "nothing", (72.0, 36.0), (0.0, 0.0, 72.0, 36.0))
    >>> write_recording_page(Path("owl.html"), "owl.wav", "5.0 s", ClipTags("owl.wav", 5.0, ()), [], drawing)
    """
    left, top, right, bottom = drawing.box
    width = (right - left) / MOMENTS
    spots = []
    for moment in range(MOMENTS):
        time = (moment + 0.5) / MOMENTS * clip.duration
        lines = [clock(time, 0 if clip.duration > 2 * MOMENTS else 1)]
        for ribbon in ribbons:
            column = int(np.clip(np.searchsorted(ribbon.edges, time, "right") - 1, 0, len(ribbon.scores) - 1))
            heard = any(event.onset <= time < event.offset for event in ribbon.events)
            lines.append(f"{ribbon.scores[column]:.2f} {shorten(ribbon.label, 30)}{' ●' if heard else ''}")
        spots.append(Spot(left + moment * width, top, width, bottom - top, tuple(lines), drawing.size[0]))
    if clip.events is not None:
        columns = ["label", "onset", "offset", "score"]
        rows = [[e.label, clock(e.onset, 2), clock(e.offset, 2), f"{e.score:.2f}"] for e in clip.events]
        write_picture(path, title, note, drawing, spots, "Events", columns, rows)
    else:
        rows = [[tag.label, f"{tag.score:.2f}"] for tag in clip.tags]
        write_picture(path, title, note, drawing, spots, "Tags", ["label", "score"], rows)
