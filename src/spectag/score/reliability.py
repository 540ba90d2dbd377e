"""Reliability: whether scores are the shares of the cases in which they are right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectag.choices import Activation
from spectag.errors import InputError

BINS = 15  # as in the literature


@dataclass(frozen=True)
class Reliability:
    """Decisions in bins of their scores.

    Args:
        scores: mean score of each bin, ``[B]``; NaN for an empty one.
        right: share of the decisions in each bin that are right, ``[B]``; NaN for an empty one.
        counts: decisions in each bin, ``[B]``.

    >>> Reliability(np.array([0.9]), np.array([0.5]), np.array([10])).error
    0.4
    """

    scores: NDArray[np.float64]
    right: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def error(self) -> float:
        """The expected calibration error (ECE): mean distance of score and share, over all decisions, 0..1."""
        distances = np.nan_to_num(np.abs(self.scores - self.right))
        return float(self.counts @ distances / max(1, self.counts.sum()))


def measure_reliability(
    targets: NDArray[Any], scores: NDArray[Any], activation: Activation, bins: int = BINS
) -> Reliability:
    """Put decisions into bins of equal width (Naeini et al. 2015, Guo et al. 2017).

    With softmax, a clip is one decision: for the label of its highest score. A clip without that label is one that is
    wrong. With sigmoid, every class of every clip is a decision.

    Args:
        targets: ``[N, C]``, 0 or 1.
        scores: ``[N, C]``, 0..1.
        activation: that made the scores.
        bins: their number.

    Raises:
        InputError: no clips, or shapes that differ.

    >>> measure_reliability(np.array([[1], [0]]), np.array([[0.8], [0.8]]), "sigmoid").error.__round__(3)
    0.3
    """
    if not len(targets) or targets.shape != scores.shape:
        raise InputError(
            f"reliability: expected targets and scores of one shape [N, C], N >= 1; "
            f"got {list(targets.shape)} and {list(scores.shape)}"
        )
    if activation == "softmax":
        rows, best = np.arange(len(scores)), scores.argmax(1)
        sure, right = scores[rows, best], targets[rows, best]
    else:
        sure, right = scores.ravel(), targets.ravel()
    places = np.minimum((sure * bins).astype(int), bins - 1)
    counts = np.bincount(places, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(np.bincount(places, sure, bins) / counts, np.bincount(places, right, bins) / counts, counts)
