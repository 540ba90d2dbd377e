"""Which labels a picture of a recording shows, and their scores over time in few columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag.pictures.spectrogram import COLUMNS
from spectag.tag.results import ClipTags, Event, Timeline

Floats: TypeAlias = "NDArray[np.float64]"

LABELS = 8  # rows of a picture


@dataclass(frozen=True, eq=False)
class Ribbon:
    """The scores of one label over time, and its events.

    Args:
        label: its name.
        edges: ``[n + 1]``, seconds at which the columns begin, and the end of the last one.
        scores: ``[n]``, the highest of each column, 0..1.
        events: of this label.

    >>> Ribbon("owl", np.array([0.0, 1.0]), np.array([0.5]), ()).scores
    array([0.5])
    """

    label: str
    edges: Floats
    scores: Floats
    events: tuple[Event, ...]


def choose_ribbons(clip: ClipTags, most: int = LABELS) -> list[Ribbon]:
    """The rows of a picture: labels with events first, those heard for longest before the others; then the tags.

    Without a timeline, the score of a tag is that of the whole recording.

    >>> from spectag.tag.results import Tag
    >>> clip = ClipTags("a.wav", 9.0, (Tag("owl", 0.5), Tag("fox", 0.25)), events=(Event("fox", 1.0, 2.0, 0.75),))
    >>> [ribbon.label for ribbon in choose_ribbons(clip)]
    ['fox', 'owl']
    """
    heard: dict[str, list[Event]] = {}
    for event in clip.events or ():
        heard.setdefault(event.label, []).append(event)
    longest = sorted(heard, key=lambda label: -sum(event.offset - event.onset for event in heard[label]))
    tags = {tag.label: tag.score for tag in clip.tags}
    ribbons = []
    for label in list(dict.fromkeys((*longest, *tags)))[:most]:
        if clip.timeline is not None and label in clip.timeline.labels and len(clip.timeline.scores):
            edges, scores = _pool(clip.timeline, clip.timeline.labels.index(label), clip.duration)
        else:
            edges, scores = np.array([0.0, clip.duration]), np.array([tags.get(label, 0.0)])
        ribbons.append(Ribbon(label, edges, scores, tuple(heard.get(label, ()))))
    return ribbons


def _pool(timeline: Timeline, column: int, duration: float) -> tuple[Floats, Floats]:
    scores = np.asarray(timeline.scores[:, column], np.float64)
    starts = np.arange(0, len(scores), -(-len(scores) // COLUMNS))
    return np.append(starts * timeline.step, duration), np.maximum.reduceat(scores, starts)
