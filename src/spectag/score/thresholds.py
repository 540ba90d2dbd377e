"""Thresholds: from which score on a class is taken for present."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectag.errors import DataError, InputError
from spectag.score.scaling import FEWEST


@dataclass(frozen=True)
class Thresholds:
    """A threshold for each class.

    Args:
        values: ``[C]``, 0..1.
        own: whether a class has its own one, ``[C]``, rather than that of all classes together.
        reached: whether the wanted precision is reached, ``[C]``; true where none is wanted.

    >>> Thresholds(np.array([0.5]), np.array([True]), np.array([True])).values
    array([0.5])
    """

    values: NDArray[np.float64]
    own: NDArray[np.bool_]
    reached: NDArray[np.bool_]


def find_thresholds(
    targets: NDArray[Any], scores: NDArray[Any], precision: float | None = None, known: NDArray[np.int64] | None = None
) -> Thresholds:
    """Find a threshold for each class.

    Args:
        targets: ``[N, C]``, 0 or 1.
        scores: ``[N, C]``, 0..1, of clips that nothing was fitted on.
        precision: the wanted one, 0..1: the lowest threshold that reaches it, or the one of the highest precision if
            none does. None for the threshold of the highest F1.
        known: the classes that the data set knows; None for all.

    Returns:
        thresholds between the scores of neighbouring clips. Classes of fewer than five clips get the threshold that is
        best for all decisions together.

    Raises:
        InputError: ``precision`` is out of range.
        DataError: no class is present in any clip.

    >>> targets, scores = np.eye(2)[[0] * 5 + [1] * 5], np.repeat([[0.9, 0.2], [0.3, 0.6]], 5, axis=0)
    >>> find_thresholds(targets, scores).values
    array([0.6, 0.4])
    """
    if precision is not None and not 0 < precision <= 1:
        raise InputError(f"precision: expected more than 0 and at most 1, got {precision!r}")
    columns = np.arange(targets.shape[1]) if known is None else known
    if not targets.any():
        raise DataError("thresholds: no clip has a label of the model: nothing can be found")
    common, common_reached = find_threshold(targets[:, columns].ravel(), scores[:, columns].ravel(), precision)
    values, reached = np.full(targets.shape[1], common), np.full(targets.shape[1], common_reached)
    own = np.zeros(targets.shape[1], bool)
    for column in columns:
        if targets[:, column].sum() >= FEWEST:
            values[column], reached[column] = find_threshold(targets[:, column], scores[:, column], precision)
            own[column] = True
    return Thresholds(values, own, reached)


def find_threshold(targets: NDArray[Any], scores: NDArray[Any], precision: float | None = None) -> tuple[float, bool]:
    """The threshold of one class.

    Args:
        targets: ``[N]``, of which at least one is 1.
        scores: ``[N]``.
        precision: as for :func:`find_thresholds`.

    Returns:
        the threshold, and whether the wanted precision is reached.

    >>> find_threshold(np.array([1, 0, 1, 0]), np.array([1.0, 0.75, 0.5, 0.0]))
    (0.25, True)
    >>> find_threshold(np.array([1, 0, 1, 0]), np.array([1.0, 0.75, 0.5, 0.0]), precision=0.9)
    (0.875, True)
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(ranked[1:] != ranked[:-1], True)  # equal scores are taken together
    hits, taken = np.cumsum(targets[order])[last], np.flatnonzero(last) + 1
    ranked = ranked[last]
    below = np.append(ranked[1:], 0.0)
    limits = (ranked + below) / 2  # in the middle of the gap
    limits = np.where(limits > below, limits, ranked)  # the gap may be too small for a number
    reached = True
    if precision is None:
        f1 = 2 * hits / (taken + targets.sum())
        best = int(f1.argmax())
    else:
        share = hits / taken
        enough = np.flatnonzero(share >= precision)
        reached = bool(len(enough))
        best = int(enough[-1]) if reached else int(len(share) - 1 - share[::-1].argmax())
    return float(limits[best]), reached
