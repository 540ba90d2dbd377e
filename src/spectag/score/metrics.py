"""Metrics, computed by scikit-learn from targets and scores; their names and how they are printed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from spectag.errors import InputError

# The figures over all clips, as fields of Metrics and as people call them, in the order in which they are shown.
FIGURES = {"accuracy": "accuracy", "mean_ap": "mAP", "mean_auc": "mAUC", "d_prime": "d-prime"}


@dataclass(frozen=True)
class Metrics:
    """Figures over N clips and C classes.

    A class without positives has no AP. A class without positives or without negatives has no AUC.

    Args:
        clips: N.
        accuracy: fraction of the clips whose highest score is that of the (first) true label, 0..1. It is the
            definition of the published code and is meaningful where each clip has exactly one label.
        mean_ap: mean of ``ap`` over the classes that have one (mAP), 0..1.
        mean_auc: mean of ``auc`` over the classes that have one (mAUC), 0..1.
        d_prime: ``sqrt(2) * Phi^-1(mAUC)``: how many standard deviations the scores of positives are above those of
            negatives. None where it is not finite.
        ap: average precision of each class, None where undefined.
        auc: area under the ROC curve of each class, None where undefined.

    >>> compute_metrics(np.array([[1, 0], [1, 0]]), np.array([[0.9, 0.1], [0.2, 0.8]])).ap
    (1.0, None)
    """

    clips: int
    accuracy: float
    mean_ap: float | None
    mean_auc: float | None
    d_prime: float | None
    ap: tuple[float | None, ...]
    auc: tuple[float | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def compute_metrics(targets: NDArray[Any], scores: NDArray[Any]) -> Metrics:
    """Accuracy, mAP, mAUC, d-prime, and the figures of each class.

    Args:
        targets: ``[N, C]``, 0 or 1.
        scores: ``[N, C]``, finite; higher means more likely.

    Raises:
        InputError: shapes that differ, no clips, targets other than 0 and 1, or scores that are not finite.

    >>> figures = compute_metrics(np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.1], [0.6, 0.4]]))
    >>> figures.accuracy, figures.mean_ap
    (0.5, 1.0)
    """
    if targets.ndim != 2 or targets.shape != scores.shape or not len(targets):
        raise InputError(
            f"compute_metrics: expected targets and scores of one shape [N, C], N >= 1; "
            f"got {list(targets.shape)} and {list(scores.shape)}"
        )
    if not np.isin(targets, (0, 1)).all():
        raise InputError("compute_metrics: expected targets of 0 and 1, got other values: pass targets before mixing")
    if not np.isfinite(scores).all():
        raise InputError("compute_metrics: expected finite scores, got NaN or infinity")
    ap: list[float | None] = []
    auc: list[float | None] = []
    for truth, score in zip(targets.T, scores.T, strict=True):
        ap.append(float(average_precision_score(truth, score)) if truth.any() else None)
        auc.append(float(roc_auc_score(truth, score)) if truth.any() and not truth.all() else None)
    mean_auc = _mean(auc)
    d_prime = math.inf if mean_auc is None else math.sqrt(2) * float(norm.ppf(mean_auc))
    return Metrics(
        clips=len(targets),
        accuracy=float((targets.argmax(1) == scores.argmax(1)).mean()),
        mean_ap=_mean(ap),
        mean_auc=mean_auc,
        d_prime=d_prime if math.isfinite(d_prime) else None,
        ap=tuple(ap),
        auc=tuple(auc),
    )


def format_figures(values: Mapping[str, Any], deviations: Mapping[str, float] | None = None) -> str:
    """Figures as a line of text, in the order of :data:`FIGURES`.

    Args:
        values: by the keys of :data:`FIGURES`; a figure that is missing or None is left out.
        deviations: standard deviations of the same figures; None for none.

    >>> format_figures({"mean_ap": 0.5, "accuracy": 0.75, "d_prime": None}, {"mean_ap": 0.01, "accuracy": 0.02})
    'accuracy 0.750 +- 0.020, mAP 0.500 +- 0.010'
    """
    return ", ".join(
        f"{text} {values[name]:.3f}" + (f" +- {deviations[name]:.3f}" if deviations else "")
        for name, text in FIGURES.items()
        if values.get(name) is not None
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
