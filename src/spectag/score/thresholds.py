"""Thresholds: from which score on a class is taken for present, or an event is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag.errors import DataError, InputError

Floats: TypeAlias = "NDArray[np.float64]"

BORROWED = 20  # cases of all classes together that each class borrows: the best of 0 to 80, see docs/log.md


@dataclass(frozen=True)
class Thresholds:
    """A threshold for each class.

    Args:
        values: ``[C]``, 0..1.
        reached: whether the wanted precision is reached, ``[C]``; true where none is wanted.

    >>> Thresholds(np.array([0.5]), np.array([True])).values
    array([0.5])
    """

    values: Floats
    reached: NDArray[np.bool_]


class Counts(NamedTuple):
    """What is decided at some thresholds.

    Args:
        right: decisions for a class that are right.
        taken: decisions for a class.
        present: cases in which it is present.

    >>> Counts(np.array([4.0, 2.0]), np.array([8.0, 2.0]), 4.0).f1.round(3)
    array([0.667, 0.667])
    """

    right: Floats
    taken: Floats
    present: Floats | float

    @property
    def f1(self) -> Floats:
        """F1; 0 where nothing is taken and nothing present."""
        f1: Floats = 2 * self.right / np.maximum(self.taken + self.present, 1e-12)
        return f1

    @property
    def precision(self) -> Floats:
        """Share of the decisions that are right; 0 where there are none."""
        precision: Floats = self.right / np.maximum(self.taken, 1e-12)
        return precision

    def borrow(self, all: Counts, cases: float = BORROWED) -> Counts:
        """The same with as many further cases in which the class is present, which are like those of all classes.

        A threshold that rests on few cases is thereby drawn to that of all classes together, and one that rests on many
        is not (shrinkage, empirical Bayes).

        >>> few, all = Counts(np.array([1.0]), np.array([1.0]), 1.0), Counts(np.array([50.0]), np.array([100.0]), 100.0)
        >>> few.borrow(all, 9).precision
        array([0.55])
        """
        share = cases / np.maximum(all.present, 1e-12)
        return Counts(
            self.right + share * all.right, self.taken + share * all.taken, self.present + share * all.present
        )


def find_thresholds(
    targets: NDArray[Any],
    scores: NDArray[Any],
    precision: float | None = None,
    known: NDArray[np.int64] | None = None,
    borrowed: float = BORROWED,
) -> Thresholds:
    """Find a threshold for each class.

    Args:
        targets: ``[N, C]``, 0 or 1.
        scores: ``[N, C]``, 0..1.
        precision: the wanted one, 0..1: the lowest threshold that reaches it, or the one of the highest precision if
            none does. None for the threshold of the highest F1.
        known: the classes that the data set knows; None for all.
        borrowed: see :meth:`Counts.borrow`.

    Returns:
        thresholds between the scores of neighbouring clips. Classes of no clips get the one that is best for all
        decisions together.

    Raises:
        InputError: ``precision`` is out of range.
        DataError: no class is present in any clip.

    >>> targets, scores = np.eye(2)[[0] * 5 + [1] * 5], np.repeat([[0.9, 0.2], [0.3, 0.6]], 5, axis=0)
    >>> find_thresholds(targets, scores).values
    array([0.6 , 0.45])
    """
    if precision is not None and not 0 < precision <= 1:
        raise InputError(f"precision: expected more than 0 and at most 1, got {precision!r}")
    columns = np.arange(targets.shape[1]) if known is None else known
    if not targets.any():
        raise DataError("thresholds: no clip has a label of the model: nothing can be found")
    all_classes = _Ranked.of(targets[:, columns].ravel(), scores[:, columns].ravel())
    common, reached = _choose(all_classes.between(), all_classes, None, precision, 0)
    values, is_reached = np.full(targets.shape[1], common), np.full(targets.shape[1], reached)
    for column in columns[targets[:, columns].any(0)]:
        own = _Ranked.of(targets[:, column], scores[:, column])
        limits = np.union1d(own.between(), common)
        values[column], is_reached[column] = _choose(limits, own, all_classes, precision, borrowed)
    return Thresholds(values, is_reached)


class _Ranked(NamedTuple):
    """Decisions in the order of their scores: the scores, ascending, and how many of the n highest are right."""

    scores: Floats
    right: Floats

    @classmethod
    def of(cls, targets: NDArray[Any], scores: NDArray[Any]) -> _Ranked:
        order = np.argsort(scores)
        return cls(scores[order], np.append(0.0, np.cumsum(targets[order][::-1])))

    def between(self) -> Floats:
        """Thresholds in the middle between neighbouring scores, and below the lowest, ascending."""
        above = np.unique(self.scores)
        below = np.append(0.0, above[:-1])
        middle = (above + below) / 2
        return np.where(middle > below, middle, above)  # the gap may be too small for a number

    def at(self, limits: Floats) -> Counts:
        """What is decided at some thresholds."""
        taken = len(self.scores) - np.searchsorted(self.scores, limits)
        return Counts(self.right[taken], taken.astype(np.float64), float(self.right[-1]))


def _choose(
    limits: Floats, own: _Ranked, all_classes: _Ranked | None, precision: float | None, borrowed: float
) -> tuple[float, bool]:
    """The best of some thresholds, ascending, and whether the wanted precision is reached there."""
    counts = own.at(limits)
    if all_classes is not None:
        counts = counts.borrow(all_classes.at(limits), borrowed)
    if precision is None:
        return float(limits[len(limits) - 1 - counts.f1[::-1].argmax()]), True
    enough = np.flatnonzero(counts.precision >= precision - 1e-12)
    best = enough[0] if len(enough) else len(limits) - 1 - counts.precision[::-1].argmax()
    return float(limits[best]), bool(len(enough))
