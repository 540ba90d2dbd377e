"""From targets and scores to the figures of the field, computed by scikit-learn."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from spectag.errors import InputError

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Metrics:
    """Figures over N clips and C classes. A class without positives (or without negatives) has no AP and no AUC.

    Args:
        clips: N.
        accuracy: share of the clips whose highest score is at the (first) true label, 0..1: the published code's
            definition, of use for single-label sets.
        mean_ap: mean of ``ap`` over the classes that have one (mAP), 0..1.
        mean_auc: mean of ``auc`` likewise (mAUC), 0..1.
        d_prime: ``sqrt(2) * Phi^-1(mAUC)``, the separation of positives and negatives in standard deviations.
        ap: average precision per class, None where undefined.
        auc: area under the ROC curve per class, None where undefined.
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


def metrics(targets: Floats, scores: Floats) -> Metrics:
    """Accuracy, mAP, mAUC, d-prime and the figures per class.

    Args:
        targets: ``[N, C]``, 0 or 1.
        scores: ``[N, C]``, finite; the higher, the likelier.

    Raises:
        InputError: shapes that differ, no clips, targets other than 0 and 1, or scores that are not finite.
    """
    if targets.ndim != 2 or targets.shape != scores.shape or not len(targets):
        raise InputError(
            f"metrics: expected targets and scores of one shape [N, C], N >= 1; "
            f"got {list(targets.shape)} and {list(scores.shape)}"
        )
    if not np.isin(targets, (0, 1)).all():
        raise InputError("metrics: expected targets of 0 and 1; mixed targets cannot be scored")
    if not np.isfinite(scores).all():
        raise InputError("metrics: expected finite scores, got NaN or infinity")
    ap: list[float | None] = []
    auc: list[float | None] = []
    for column in range(targets.shape[1]):
        truth, score = targets[:, column], scores[:, column]
        both = 0 < truth.sum() < len(truth)
        ap.append(float(average_precision_score(truth, score)) if truth.any() else None)
        auc.append(float(roc_auc_score(truth, score)) if both else None)
    mean_auc = _mean(auc)
    d_prime = None if mean_auc is None else math.sqrt(2) * float(norm.ppf(mean_auc))
    return Metrics(
        clips=len(targets),
        accuracy=float((targets.argmax(1) == scores.argmax(1)).mean()),
        mean_ap=_mean(ap),
        mean_auc=mean_auc,
        d_prime=d_prime if d_prime is not None and math.isfinite(d_prime) else None,
        ap=tuple(ap),
        auc=tuple(auc),
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
