"""Find events in scores over time: when a label begins to be heard, when it ends, and how sure that is. No torch here.

Two methods:

``change``
    An event begins and ends where the scores change most (sound event bounding boxes, Ebbers et al. 2024). Its score is
    the mean over its time. So its extent does not depend on a threshold, which only decides whether it is kept.
``threshold``
    An event is where the scores, smoothed by a median, stay above a low threshold and reach the threshold somewhere.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from spectag.choices import EVENT_METHOD, THRESHOLD, EventMethod
from spectag.errors import InputError
from spectag.tag.results import Event, Timeline

_TOGETHER = 32  # labels whose scores are copied together, since a table is stored row by row
_ROWS = 2**14
_EXACT = 1e-6  # s, or rows: differences of times that are products of a step are not exact
Span = tuple[int, int]  # first row, row behind the last


@dataclass(frozen=True)
class EventRule:
    """How events are found.

    Args:
        method: ``change`` or ``threshold``, see above.
        threshold: the score that an event needs, 0..1; None for the model's own thresholds of events, or 0.5 where it
            has none.
        low: ``threshold`` only: an event goes on as long as its scores are at least this share of the threshold, 0..1.
        smooth: seconds of the median, or over which scores are compared before and after a change.
        gap: events of one label that are at most this many seconds apart become one.
        shortest: events that are shorter, in seconds, are left out.
        merge: ``change`` only: neighbours become one, if the scores between them are at least this share of the higher
            of their scores, 0..1.

    Raises:
        InputError: a value out of its range.

    >>> EventRule(threshold=0.3).method
    'change'
    """

    method: EventMethod = EVENT_METHOD
    threshold: float | None = None
    low: float = 0.5
    smooth: float = 0.5
    gap: float = 0.0
    shortest: float = 0.0
    merge: float = 0.6

    def __post_init__(self) -> None:
        if self.method not in ("change", "threshold"):
            raise InputError(f"method must be change or threshold; got {self.method!r}")
        for name in ("threshold", "low", "merge"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{name} must be 0 to 1; got {value!r}")
        for name in ("smooth", "gap", "shortest"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InputError(f"{name} must be a number of seconds, at least 0; got {getattr(self, name)!r}")


def find_events(
    timeline: Timeline,
    duration: float,
    rule: EventRule = EventRule(),
    thresholds: Mapping[str, float] | None = None,
) -> tuple[Event, ...]:
    """Find the events of all labels.

    Args:
        timeline: the scores.
        duration: seconds of the recording; no event ends later.
        rule: how.
        thresholds: per label, where the rule has none.

    Returns:
        events in the order of their onsets, then of the labels.

    >>> scores = np.zeros((100, 1), np.float32)
    >>> scores[20:40] = 0.9
    >>> find_events(Timeline(("owl",), 0.1, scores), 10.0)
    (Event(label='owl', onset=2.0, offset=4.0, score=0.8999999761581421),)
    """
    found = []
    for column, scores in _columns(timeline.scores):
        label = timeline.labels[column]
        threshold = rule.threshold if rule.threshold is not None else (thresholds or {}).get(label, THRESHOLD)
        if len(scores) and scores.max() >= threshold:  # otherwise no mean of them reaches it
            found += [
                (first * timeline.step, column, Event(label, first * timeline.step, end, score))
                for first, last, score in _events(np.asarray(scores, np.float64), timeline.step, rule, threshold)
                if (end := min(last * timeline.step, duration)) - first * timeline.step >= rule.shortest - _EXACT
                and end > first * timeline.step
            ]
    return tuple(event for _, _, event in sorted(found, key=lambda item: item[:2]))


def find_events_at(
    timeline: Timeline, duration: float, rule: EventRule, thresholds: Iterable[float]
) -> list[tuple[Event, ...]]:
    """Find the events of all labels at each of several thresholds; otherwise as :func:`find_events`.

    >>> scores = np.zeros((100, 1), np.float32)
    >>> scores[20:40] = 0.75
    >>> [len(events) for events in find_events_at(Timeline(("owl",), 0.1, scores), 10.0, EventRule(), (0.5, 0.9))]
    [1, 0]
    """
    if rule.method == "threshold" or rule.gap:
        return [find_events(timeline, duration, replace(rule, threshold=threshold)) for threshold in thresholds]
    found = find_events(timeline, duration, replace(rule, threshold=0.0))  # no threshold moves their edges
    return [tuple(event for event in found if event.score >= threshold) for threshold in thresholds]


def _columns(scores: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The scores of each label. Of a file that is mapped into memory, little is in memory at a time."""
    rows, columns = scores.shape
    mapped = getattr(scores, "_mmap", None) if hasattr(mmap, "MADV_DONTNEED") else None
    for first in range(0, columns, _TOGETHER):
        block = np.empty((min(_TOGETHER, columns - first), rows), np.float32)
        for row in range(0, rows, _ROWS):
            block[:, row : row + _ROWS] = scores[row : row + _ROWS, first : first + _TOGETHER].T
            if mapped is not None:
                mapped.madvise(mmap.MADV_DONTNEED)
        yield from enumerate(block, first)


def _events(
    scores: NDArray[np.float64], step: float, rule: EventRule, threshold: float
) -> Iterator[tuple[int, int, float]]:
    """(first row, row behind the last, score) of the events of one label."""
    total = np.concatenate([[0.0], np.cumsum(scores)])
    width = max(1, round(rule.smooth / step))
    if rule.method == "change":
        spans = _merged(_between_changes(total, max(1, width // 2)), total, rule.merge)
        spans = [span for span in spans if _mean(total, span) >= threshold]
    else:
        spans = _above(_median(scores, width), threshold, threshold * rule.low)
    for first, last in _joined(spans, rule.gap / step):
        yield first, last, min(1.0, float(_mean(total, (first, last))))


# by changes


def _between_changes(total: NDArray[np.float64], half: int) -> list[Span]:
    """From each largest rise to the next largest fall. Scores are zero before the beginning and behind the end.

    Args:
        total: the sum of the scores in front of each row, ``[N + 1]``.
        half: rows in front of a place, and behind it, whose means are compared.
    """
    rows = len(total) - 1
    padded = np.concatenate([np.zeros(half), total, np.full(half, total[-1])])
    # The mean of what follows a place less the mean of what precedes it; places -1 .. rows + 1
    change = np.zeros(rows + 3)
    change[1:-1] = (padded[2 * half :] - 2 * padded[half:-half] + padded[: -2 * half]) / half
    here, before, after = change[1:-1], change[:-2], change[2:]
    rises = np.flatnonzero((here > 0) & (here >= before) & (here > after))  # the last of equal ones
    falls = np.flatnonzero((here < 0) & (here < before) & (here <= after))
    places = np.concatenate([rises, falls])
    order = np.argsort(places, kind="stable")
    is_rise = np.concatenate([np.ones(len(rises), bool), np.zeros(len(falls), bool)])[order]
    spans: list[Span] = []
    start, best = -1, 0.0  # the largest rise of several in a row
    end, least = -1, 0.0  # the largest fall
    for place, rise in zip(places[order].tolist(), is_rise.tolist(), strict=True):
        size = float(here[place])
        if rise:
            if end >= 0:
                spans.append((start, end))
                start, best, end, least = -1, 0.0, -1, 0.0
            if size > best:
                start, best = place, size
        elif start >= 0 and size < least:
            end, least = place, size
    if end >= 0:
        spans.append((start, end))
    return spans


def _merged(spans: list[Span], total: NDArray[np.float64], share: float) -> list[Span]:
    """Neighbours become one where the scores between them hardly fall."""
    merged: list[Span] = []
    for span in spans:
        while merged:
            before = merged[-1]
            higher = max(_mean(total, before), _mean(total, span))
            if _mean(total, (before[1], span[0])) < share * higher:
                break
            span = (merged.pop()[0], span[1])
        merged.append(span)
    return merged


def _mean(total: NDArray[np.float64], span: Span) -> float:
    first, last = span
    return float(total[last] - total[first]) / max(1, last - first)


# by a threshold


def _median(scores: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The median over ``width`` rows around each row, made odd; the first and last scores go on beyond the ends."""
    half = width // 2
    if half == 0:
        return scores
    views = sliding_window_view(np.pad(scores, half, mode="edge"), 2 * half + 1)
    most = max(1, 2**22 // (2 * half + 1))  # rows at once: a median copies its windows
    return np.concatenate([np.median(views[at : at + most], axis=1) for at in range(0, len(views), most)])


def _above(scores: NDArray[np.float64], high: float, low: float) -> list[Span]:
    """Where the scores are at least ``low``, and ``high`` somewhere."""
    above = np.concatenate([[False], scores >= low, [False]])
    edges = np.flatnonzero(above[1:] != above[:-1]).reshape(-1, 2).tolist()
    return [(first, last) for first, last in edges if scores[first:last].max() >= high]


def _joined(spans: list[Span], gap: float) -> list[Span]:
    """Neighbours that are at most ``gap`` rows apart become one."""
    joined: list[Span] = []
    for first, last in spans:
        if joined and gap > 0 and first - joined[-1][1] <= gap + _EXACT:
            first = joined.pop()[0]
        joined.append((first, last))
    return joined
