"""Thresholds of events: the score that an event of each class needs, by which F1 of events is highest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.special import expit

from spectag.choices import THRESHOLD
from spectag.errors import DataError
from spectag.score.events import COLLAR, COLLAR_RATE, FoundEvent, Times
from spectag.score.thresholds import Counts

Spans: TypeAlias = "Sequence[tuple[float, float]]"  # onsets and offsets

GRID: tuple[float, ...] = tuple(expit(np.linspace(-7, 7, 57)).tolist())  # that are tried; closer together near 0 and 1
_HALF = GRID.index(THRESHOLD)


@dataclass(frozen=True)
class EventThresholds:
    """The score that an event of each class needs.

    Args:
        values: ``[C]``, each one of ``GRID``.
        events: of each class in the data, ``[C]``.
        f1: mean F1 of the classes that are heard: at 0.5, and cross-validated at such thresholds.

    >>> EventThresholds(np.array([0.5]), np.array([10]), (0.25, 0.5)).to_dict()
    {'events': [10], 'event_f1': {'before': 0.25, 'after': 0.5}}
    """

    values: NDArray[np.float64]
    events: NDArray[np.int64]
    f1: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and the provenance of a bundle."""
        before, after = (round(value, 6) for value in self.f1)
        return {"events": self.events.tolist(), "event_f1": {"before": before, "after": after}}


class EventTally:
    """Counts true, found and right events of a data set, at each threshold of ``GRID``.

    Args:
        labels: the C classes of the model.
        folds: number of folds for cross-validation, at least 2.

    >>> from spectag.tag.results import Event
    >>> tally = EventTally(["owl"], folds=2)
    >>> for fold in (0, 1):
    ...     found = [[Event("owl", 1.0, 2.0, 0.3)] if limit <= 0.3 else [] for limit in GRID]
    ...     tally.add(fold, [(1.0, 2.0, "owl")], found)
    >>> chosen = tally.choose()
    >>> chosen.f1, chosen.values.round(2)
    ((0.0, 1.0), array([0.27]))
    """

    def __init__(self, labels: Sequence[str], folds: int) -> None:
        self._places = {name: place for place, name in enumerate(labels)}
        shape = len(GRID), folds, len(labels)
        self._right, self._found = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self._true = np.zeros(shape[1:], np.int64)

    def add(self, fold: int, true: Sequence[Times], found: Sequence[Sequence[FoundEvent]]) -> None:
        """Count the events of a recording.

        Args:
            fold: of the recording.
            true: its events.
            found: the events that are found at each threshold of ``GRID``.
        """
        spans = _by_label((label, onset, offset) for onset, offset, label in true)
        for label, times in spans.items():
            self._true[fold, self._places[label]] += len(times)
        for limit, events in enumerate(found):
            for label, times in _by_label((event.label, event.onset, event.offset) for event in events).items():
                place = self._places[label]
                self._found[limit, fold, place] += len(times)
                self._right[limit, fold, place] += count_right(spans.get(label, ()), times)

    def choose(self) -> EventThresholds:
        """Choose the threshold of each class.

        Raises:
            DataError: there are no events.
        """
        true = self._true.sum(0)
        if not true.any():
            raise DataError("thresholds of events: there are no events in the data set")
        classes = np.arange(len(true))
        right, found = np.zeros(len(true)), np.zeros(len(true))
        for fold in range(len(self._true)):
            others = np.arange(len(self._true)) != fold
            best = self._best(others)
            right += self._right[best, fold, classes]
            found += self._found[best, fold, classes]
        heard = true > 0
        before = Counts(self._right[_HALF].sum(0), self._found[_HALF].sum(0), true).f1[heard].mean()
        after = Counts(right, found, true).f1[heard].mean()
        best = self._best(np.ones(len(self._true), bool))
        return EventThresholds(np.array(GRID)[best], true, (float(before), float(after)))

    def _best(self, folds: NDArray[np.bool_]) -> NDArray[np.int64]:
        """For each class the place in ``GRID`` of the threshold that is best for the recordings of some folds."""
        counts = Counts(self._right[:, folds].sum(1), self._found[:, folds].sum(1), self._true[folds].sum(0))
        right, taken = (each.sum(1, keepdims=True) for each in (counts.right, counts.taken))
        every = Counts(right, taken, float(np.sum(counts.present)))
        best: NDArray[np.int64] = len(GRID) - 1 - counts.borrow(every).f1[::-1].argmax(0)
        return best


def count_right(true: Spans, found: Spans) -> int:
    """How many events of one class are right, as ``sed_eval`` counts them.

    An event is right if its onset is within 0.2 s of that of a true one, and its offset within 0.2 s or 20 % of the
    length of the true one. No true event counts twice.

    >>> count_right([(1.0, 2.0)], [(1.1, 2.1), (1.15, 2.0)])
    1
    """
    if not len(true) or not len(found):
        return 0
    (onsets, offsets), (starts, ends) = np.array(true).T[:, :, None], np.array(found).T
    fits = np.abs(onsets - starts) <= COLLAR
    fits &= np.abs(offsets - ends) <= np.maximum(COLLAR, COLLAR_RATE * (offsets - onsets))
    if fits.sum(0).max() <= 1 and fits.sum(1).max() <= 1:
        return int(fits.sum())
    return int((maximum_bipartite_matching(csr_array(fits)) >= 0).sum())


def _by_label(events: Iterable[tuple[str, float, float]]) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for label, onset, offset in events:
        found.setdefault(label, []).append((onset, offset))
    return found
