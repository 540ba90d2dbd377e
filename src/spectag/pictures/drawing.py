"""What all pictures have in common: their style, their axes of time, and their files."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from spectag.pictures.kinds import Kind
from spectag.score.plots import INK, MUTED, printable, shorten, style
from spectag.tag.clock import clock

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b3478f", "#a87000", "#2f8fc4", "#6a51a3", "#4d4d4d")  # after Okabe, Ito
LOUD = LinearSegmentedColormap.from_list("loud", ["#ffffff", "#dbe8f2", "#8fb8d6", "#3c78ad", "#174672", "#081f38"])
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
TICKS = 12  # of an axis of time, at most
PIXELS = 160  # per inch, of PNG
# After the font that Matplotlib brings; for labels in other scripts, where they are installed.
FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans", "Arial Unicode MS", "PingFang SC")


@dataclass(frozen=True)
class Drawing:
    """A drawing and where its axes are.

    Args:
        data: a PNG or SVG file.
        alt: what it shows, for readers who cannot see it.
        size: width and height in points.
        box: left, top, right and bottom of the axes of time, in points from the upper left corner.

    >>> Drawing(b"<svg/>", "nothing", (72.0, 36.0), (0.0, 0.0, 72.0, 36.0)).size
    (72.0, 36.0)
    """

    data: bytes
    alt: str
    size: tuple[float, float]
    box: tuple[float, float, float, float]


@contextmanager
def picture_style() -> Iterator[None]:
    """Dark on white, with fonts for labels in other scripts.

    >>> with picture_style():
    ...     Figure().get_facecolor()
    (1.0, 1.0, 1.0, 1.0)
    """
    installed = {font.name for font in font_manager.fontManager.ttflist}
    family = [name for name in FONTS if name in installed]
    white = {"figure.facecolor": "#ffffff", "savefig.facecolor": "#ffffff", "axes.facecolor": "#ffffff"}
    with style(**white, **{"axes.grid": False, "font.family": family, "savefig.dpi": PIXELS, "figure.dpi": PIXELS}):
        yield


def set_titles(axes: Axes, title: str, facts: str, points: float) -> None:
    """Put a title above the left of the axes and facts above the right, the title cut to the room that is left.

    Args:
        axes: to put them above.
        title, facts: one line each.
        points: width of the axes, about.

    >>> axes = Figure().add_subplot()
    >>> set_titles(axes, "W" * 90, "5.0 s", 500.0)
    >>> len(axes.get_title("left"))
    37
    """
    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties(weight="bold")))
    font.set_size(11, 72)
    shown, length = shorten(title, 200), 200
    while True:
        font.set_text(shown)
        if length <= 8 or font.get_width_height()[0] / 64 + 6 * len(facts) + 20 <= points:
            break
        length = min(length, len(shown)) - 1
        shown = shorten(title, length)
    axes.set_title(shown, loc="left", fontsize=11, fontweight="bold", color=INK, pad=8)
    axes.set_title(facts, loc="right", fontsize=9, color=MUTED, pad=8)


def save(figure: Figure, kind: Kind, alt: str, axes: list[Axes]) -> Drawing:
    """Draw a figure as PNG, or as SVG for the other kinds.

    Args:
        figure: to draw.
        kind: of the picture.
        alt: what it shows.
        axes: those whose horizontal axis is time.

    >>> with picture_style():
    ...     figure = Figure(figsize=(2, 1))
    ...     drawing = save(figure, "svg", "nothing", [figure.add_subplot()])
    >>> drawing.data[:5], drawing.size
    (b'<?xml', (144.0, 72.0))
    """
    alt = printable(alt)
    file = io.BytesIO()
    if kind == "png":
        figure.savefig(file, format="png", metadata={"Title": alt, "Software": "spectag"})
    else:
        figure.savefig(file, format="svg", metadata={"Title": alt, "Date": None, "Creator": None})
    width, height = (72 * inches for inches in figure.get_size_inches())
    boxes = [part.get_position() for part in axes]
    box = (
        min(box.x0 for box in boxes) * width,
        (1 - max(box.y1 for box in boxes)) * height,
        max(box.x1 for box in boxes) * width,
        (1 - min(box.y0 for box in boxes)) * height,
    )
    return Drawing(file.getvalue(), alt, (float(width), float(height)), box)


def mark_time(axes: Axes, seconds: float) -> None:
    """Ticks of an axis of time: seconds up to a minute, then ``m:ss`` and ``h:mm:ss``.

    >>> axes = Figure().add_subplot()
    >>> mark_time(axes, 7200.0)
    >>> [clock(tick) for tick in axes.get_xticks()][:3]
    ['0:00', '10:00', '20:00']
    """
    step = next((step for step in STEPS if seconds / step <= TICKS), math.ceil(seconds / TICKS / 86_400) * 86_400)
    count = int(seconds / step + 1e-6) + 1
    axes.xaxis.set_major_locator(FixedLocator([n * step for n in range(count)]))

    def name(value: float, _: Any) -> str:
        return f"{value:g}" if seconds <= 60 else clock(value)

    axes.xaxis.set_major_formatter(FuncFormatter(name))
    axes.set_xlim(0, seconds)
    axes.set_xlabel(f"time ({'s' if seconds <= 60 else 'm:ss' if seconds < 3600 else 'h:mm:ss'})")
