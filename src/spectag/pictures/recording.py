"""The picture of one recording: its spectrogram, the scores of its best labels over time, and its events."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from spectag.files import replacing
from spectag.pictures.drawing import COLOURS, LOUD, Drawing, mark_time, picture_style, save, set_titles
from spectag.pictures.kinds import Kind, kind_of
from spectag.pictures.ribbons import Ribbon, choose_ribbons
from spectag.pictures.spectrogram import HIGH_HZ, LOW_HZ, Spectrogram, even_bands, mel
from spectag.score.plots import LINE, MUTED, shorten
from spectag.tag.clock import clock
from spectag.tag.results import ClipTags

RANGE = 65.0  # dB that are told apart
WIDTH, SPECTRUM, ROW, REST = 11.0, 2.8, 0.36, 1.05  # inches; the rest is title and axis
HERTZ = (100, 300, 1000, 2000, 4000, 8000)
SIDES = 2.6  # inches left and right of the axes, at most
FULL = 0.84  # of a row: the height of a score of 1
MARKED = 16  # events up to which each is marked in the spectrogram, too


def write_recording(path: Path, clip: ClipTags, spectrogram: Spectrogram) -> None:
    """Write the picture of a recording.

    Args:
        path: a file that ends in ``.png``, ``.svg`` or ``.html``; the last is a page that needs no other file.
        clip: its tags, events and timeline, as far as there are any.
        spectrogram: see :class:`spectag.pictures.spectrogram.WithSpectrogram`.

    Raises:
        InputError: another ending.
        SaveError: the file could not be written.

    >>> from spectag.tag.results import Tag
    >>> clip = ClipTags("rain.wav", 1.0, (Tag("Rain", 0.8),))
    >>> write_recording(Path("rain.png"), clip, Spectrogram(np.zeros((100, 128), np.float32), 1.0))
    >>> Path("rain.png").read_bytes()[1:4]
    b'PNG'
    """
    kind = kind_of(path)
    ribbons = choose_ribbons(clip)
    drawing = draw_recording(clip, spectrogram, ribbons, kind)
    if kind == "html":
        from spectag.pictures.page import write_recording_page

        write_recording_page(path, name_of(clip), _facts(clip), clip, ribbons, drawing)
    else:
        with replacing(path) as partial:
            partial.write_bytes(drawing.data)


def draw_recording(clip: ClipTags, spectrogram: Spectrogram, ribbons: list[Ribbon], kind: Kind) -> Drawing:
    """Draw a recording; see :func:`write_recording`.

    >>> clip = ClipTags("rain.wav", 1.0, ())
    >>> draw_recording(clip, Spectrogram(np.zeros((100, 128), np.float32), 1.0), [], "svg").alt
    'Spectrogram of rain.wav, 0:01'
    """
    seconds = max(clip.duration, 1e-3)
    with picture_style():
        heights = [SPECTRUM, ROW * len(ribbons)] if ribbons else [SPECTRUM]
        figure = Figure(figsize=(WIDTH, sum(heights) + REST))
        above, *below = figure.subplots(
            len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
        )[:, 0]
        _draw_spectrogram(above, spectrogram, seconds, kind)
        for axes in below:
            _draw_ribbons(axes, ribbons)
            above.tick_params(bottom=False, labelbottom=False)
        _mark_events(above, ribbons)
        mark_time((below or [above])[-1], seconds)
        name = name_of(clip)
        if kind != "html":  # its page says this
            set_titles(above, name, _facts(clip), 72 * (WIDTH - SIDES))
        words = "; ".join(f"{ribbon.label} up to {ribbon.scores.max():.2f}" for ribbon in ribbons)
        alt = f"Spectrogram of {name}, {clock(seconds)}" + (f", with scores over time: {words}" if words else "")
        return save(figure, kind, alt, [above, *below])


def name_of(clip: ClipTags) -> str:
    """The name of a recording, without its folders.

    >>> name_of(ClipTags("in/rain.wav", 1.0, ()))
    'rain.wav'
    """
    return "standard input" if clip.path == "-" else os.path.basename(clip.path or "") or "recording"


def _facts(clip: ClipTags) -> str:
    length = f"{clip.duration:.1f} s" if clip.duration < 60 else clock(clip.duration)
    if clip.events is None:
        return length
    count = len(clip.events)
    return f"{length}, {count or 'no'} event{'' if count == 1 else 's'}"


def _draw_spectrogram(axes: Axes, spectrogram: Spectrogram, seconds: float, kind: Kind) -> None:
    levels = even_bands(spectrogram.levels)
    low, high = mel(LOW_HZ), mel(HIGH_HZ)
    if levels.size:
        top = float(np.percentile(levels, 99.8))
        bottom = max(top - RANGE, float(np.percentile(levels, 20)))
        axes.imshow(
            levels.T,
            origin="lower",
            aspect="auto",
            interpolation="antialiased" if kind == "png" else "none",  # the viewer of an SVG does that
            extent=(0, seconds, low, high),
            cmap=LOUD,
            vmin=min(bottom, top - 20),
            vmax=top,
        )
    axes.set_ylim(low, high)
    axes.set_yticks(
        [mel(hertz) for hertz in HERTZ],
        [f"{hertz / 1000:g} kHz" if hertz >= 1000 else f"{hertz} Hz" for hertz in HERTZ],
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    for spine in axes.spines.values():
        spine.set_color(LINE)


def _draw_ribbons(axes: Axes, ribbons: list[Ribbon]) -> None:
    for row, (ribbon, colour) in enumerate(zip(ribbons, COLOURS, strict=False)):
        base = len(ribbons) - 1 - row
        axes.axhspan(base, base + FULL, color="#f3f5f7", linewidth=0)
        spans = [(event.onset, event.offset - event.onset) for event in ribbon.events]
        axes.broken_barh(spans, (base, FULL), facecolors=colour, alpha=0.22, linewidth=0)
        axes.broken_barh(spans, (base + FULL, 0.09), facecolors=colour, linewidth=0)
        axes.stairs(base + FULL * ribbon.scores, ribbon.edges, baseline=base, fill=True, color=colour, linewidth=0)
        peak = f"{ribbon.scores.max():.2f}"
        axes.annotate(
            peak, (1, base + FULL / 2), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            va="center", fontsize=8, color=MUTED,
        )  # fmt: skip
    axes.set_ylim(-0.06, len(ribbons) + 0.04)
    names = [shorten(ribbon.label, 30) for ribbon in ribbons]
    axes.set_yticks([len(ribbons) - 1 - row + FULL / 2 for row in range(len(ribbons))], names)
    axes.tick_params(left=False)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.spines["left"].set_visible(False)
    for label, colour in zip(axes.get_yticklabels(), COLOURS, strict=False):
        label.set_color(colour)


def _mark_events(axes: Axes, ribbons: list[Ribbon]) -> None:
    if sum(len(ribbon.events) for ribbon in ribbons) > MARKED:
        return
    for ribbon, colour in zip(ribbons, COLOURS, strict=False):
        for event in ribbon.events:
            for moment in (event.onset, event.offset):
                axes.axvline(moment, color=colour, linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.8)
