"""Metrics, computed from targets and scores; their names and how they are printed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag.choices import THRESHOLD
from spectag.errors import InputError

# The figures over all clips, as fields of Metrics and as people call them, in the order in which they are shown.
FIGURES = {
    "accuracy": "accuracy",
    "mean_ap": "mAP",
    "mean_auc": "mAUC",
    "d_prime": "d-prime",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
}
Thresholds: TypeAlias = "float | Sequence[float] | NDArray[np.floating[Any]]"  # one for all classes, or one each [C]


@dataclass(frozen=True)
class Metrics:
    """Figures over N clips and C classes, those of the data set and all others that the model answers with.

    A clip without labels is a negative: in it, every class is absent. A class that is present in no clip, or in every
    clip, has no AP and no AUC, since there is nothing to rank.

    Args:
        clips: N.
        negatives: how many of them have no label.
        accuracy: fraction of the clips whose highest score, among all C classes, is that of the true class, 0..1. None
            unless every clip has exactly one label and there are at least two classes.
        mean_ap: mean of ``ap`` over the classes that have one (mAP), 0..1.
        mean_ap_classes: the number of these classes, which are also those that have an AUC.
        mean_auc: mean of ``auc`` over the same classes (mAUC), 0..1.
        d_prime: ``sqrt(2) * Phi^-1(mAUC)``: how many standard deviations the scores of positives are above those of
            negatives. None where it is not finite.
        micro_f1: F1 of all decisions together, clips times classes: ``2 TP / (2 TP + FP + FN)``, 0..1. A class is
            taken for present where its score reaches its threshold. None if no class is present or taken for present.
        macro_f1: mean of ``f1`` over the classes that have one, 0..1.
        thresholds: those of F1: one for all classes, or one each.
        ap: average precision of each class, None where undefined.
        auc: area under the ROC curve of each class, None where undefined.
        f1: F1 of each class, None where it is present in no clip.

    >>> compute_metrics(np.array([[1, 0], [0, 0]]), np.array([[0.9, 0.1], [0.2, 0.8]])).ap
    (1.0, None)
    """

    clips: int
    negatives: int
    accuracy: float | None
    mean_ap: float | None
    mean_ap_classes: int
    mean_auc: float | None
    d_prime: float | None
    micro_f1: float | None
    macro_f1: float | None
    thresholds: float | tuple[float, ...]
    ap: tuple[float | None, ...]
    auc: tuple[float | None, ...]
    f1: tuple[float | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def compute_metrics(targets: NDArray[Any], scores: NDArray[Any], thresholds: Thresholds = THRESHOLD) -> Metrics:
    """Accuracy, mAP, mAUC, d-prime, F1, and the figures of each class.

    Args:
        targets: ``[N, C]``, 0 or 1. A row of zeros is a negative.
        scores: ``[N, C]``, finite; higher means more likely.
        thresholds: of F1: a class is taken for present where its score is at least this.

    Raises:
        InputError: shapes that differ, no clips, targets other than 0 and 1, scores that are not finite, or thresholds
            that do not fit.

    >>> figures = compute_metrics(np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.1], [0.6, 0.4]]))
    >>> figures.accuracy, figures.mean_ap, figures.micro_f1
    (0.5, 1.0, 0.5)
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
    limits = check_thresholds(thresholds, targets.shape[1])
    taken, present = scores >= limits, targets == 1
    ap, auc = _rank(present, scores)
    hits, sizes = (taken & present).sum(0), taken.sum(0) + present.sum(0)
    f1 = tuple(float(2 * h / n) if any_ else None for h, n, any_ in zip(hits, sizes, present.any(0), strict=True))
    mean_auc = _mean(auc)
    return Metrics(
        clips=len(targets),
        negatives=int((~present.any(1)).sum()),
        accuracy=top_1(targets, scores) if has_one_label_each(targets) else None,
        mean_ap=_mean(ap),
        mean_ap_classes=sum(value is not None for value in ap),
        mean_auc=mean_auc,
        d_prime=to_d_prime(mean_auc),
        micro_f1=float(2 * hits.sum() / sizes.sum()) if sizes.any() else None,
        macro_f1=_mean(f1),
        thresholds=float(limits) if limits.ndim == 0 else tuple(limits.tolist()),
        ap=ap,
        auc=auc,
        f1=f1,
    )


def _rank(present: NDArray[np.bool_], scores: NDArray[Any]) -> tuple[tuple[float | None, ...], ...]:
    """AP and AUC of each class, from the ranks of its clips among all.

    AP is the mean, over the positives, of the precision at their scores; AUC the fraction of pairs of a positive and a
    negative in which the positive scores higher, ties counting half (Mann-Whitney). Both are those of scikit-learn.
    """
    from scipy.stats import rankdata  # takes a second to load, so not before there is something to rank

    clips, classes = present.shape
    ap: list[float | None] = [None] * classes
    auc: list[float | None] = [None] * classes
    for column in range(classes):
        score, rows = np.asarray(scores[:, column], np.float64), np.flatnonzero(present[:, column])
        if 0 < len(rows) < clips:
            above = rankdata(-score, "max")[rows]  # number of clips with at least this score
            ap[column] = float((rankdata(-score[rows], "max") / above).mean())
            below = rankdata(score)[rows].sum() - len(rows) * (len(rows) + 1) / 2
            auc[column] = float(below / (len(rows) * (clips - len(rows))))
    return tuple(ap), tuple(auc)


def has_one_label_each(targets: NDArray[Any]) -> bool:
    """Whether an accuracy makes sense: there are clips, each has exactly one label, and there are several classes.

    >>> has_one_label_each(np.eye(2)), has_one_label_each(np.ones((2, 2))), has_one_label_each(np.zeros((2, 2)))
    (True, False, False)
    """
    return len(targets) > 0 and targets.shape[1] > 1 and bool((targets.sum(1) == 1).all())


def top_1(targets: NDArray[Any], scores: NDArray[Any]) -> float:
    """Fraction of the clips whose highest score is that of the first true label, 0..1, as the published code has it.

    It is an accuracy only where :func:`has_one_label_each`.

    >>> top_1(np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.1], [0.6, 0.4]]))
    0.5
    """
    return float((targets.argmax(1) == scores.argmax(1)).mean())


def to_d_prime(mean_auc: float | None) -> float | None:
    """``sqrt(2) * Phi^-1(mAUC)``; None where it is not finite.

    >>> to_d_prime(0.5), to_d_prime(1.0)
    (0.0, None)
    """
    from scipy.special import ndtri

    value = math.inf if mean_auc is None else math.sqrt(2) * float(ndtri(mean_auc))
    return value if math.isfinite(value) else None


def check_thresholds(thresholds: Thresholds, classes: int) -> NDArray[np.float64]:
    """Thresholds as an array, ``[]`` or ``[C]``.

    Raises:
        InputError: they are neither one number nor one for each class, or not all 0 to 1.

    >>> check_thresholds([0.5, 0.25], 2)
    array([0.5 , 0.25])
    """
    limits = np.asarray(thresholds, np.float64)
    if limits.shape not in ((), (classes,)) or not ((limits >= 0) & (limits <= 1)).all():
        got = f"{thresholds!r:.60}"
        raise InputError(f"thresholds: expected one number, or one for each of {classes} classes, 0 to 1; got {got}")
    return limits


def format_figures(values: Mapping[str, Any], deviations: Mapping[str, float] | None = None) -> str:
    """Figures as a line of text, in the order of :data:`FIGURES`.

    Args:
        values: by the keys of :data:`FIGURES`; a figure that is missing or None is left out. If there are
            ``intervals``, and what :func:`name_scopes` needs, they are printed too.
        deviations: standard deviations of the same figures; None for none.

    >>> format_figures({"mean_ap": 0.5, "accuracy": 0.75, "d_prime": None}, {"mean_ap": 0.01, "accuracy": 0.02})
    'accuracy 0.750 +- 0.020, mAP 0.500 +- 0.010'
    >>> format_figures({"mean_ap": 0.5, "mean_ap_classes": 10, "intervals": {"mean_ap": [0.4, 0.6]}})
    'mAP 0.500 over 10 classes (0.400 to 0.600)'
    """
    intervals, scopes = values.get("intervals") or {}, name_scopes(values)

    def describe(name: str) -> str:
        spread = f" +- {deviations[name]:.3f}" if deviations else ""
        scope = f" {scopes[name]}" if name in scopes else ""
        interval = " ({:.3f} to {:.3f})".format(*intervals[name]) if name in intervals else ""
        return f"{FIGURES[name]} {values[name]:.3f}{spread}{scope}{interval}"

    known = [describe(name) for name in FIGURES if values.get(name) is not None]
    return ", ".join(known) or "no figure is defined for these clips"


def name_scopes(values: Mapping[str, Any]) -> dict[str, str]:
    """What a figure is over, or which threshold it is at, in words, by the keys of :data:`FIGURES`.

    Args:
        values: as :meth:`Metrics.to_dict` returns them; what is missing is left out.

    >>> name_scopes({"mean_ap_classes": 10, "thresholds": 0.5})["macro_f1"]
    'at threshold 0.5'
    """
    classes, thresholds = values.get("mean_ap_classes"), values.get("thresholds")
    scopes: dict[str, str] = {}
    if classes:
        scopes |= dict.fromkeys(("mean_ap", "mean_auc"), f"over {classes} {'class' if classes == 1 else 'classes'}")
    if thresholds is not None:
        text = f"at threshold {thresholds:g}" if isinstance(thresholds, float) else "at a threshold per class"
        scopes |= dict.fromkeys(("micro_f1", "macro_f1"), text)
    return scopes


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
