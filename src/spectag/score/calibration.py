"""Calibration of a model on labelled clips: its scores, its thresholds, and how good both are on other clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectag.choices import THRESHOLD
from spectag.errors import DataError
from spectag.score.reliability import Reliability, measure_reliability
from spectag.score.scaling import Method, Outputs, Scaling, choose_method, fit_scaling, make_folds
from spectag.score.thresholds import Thresholds, find_thresholds


@dataclass(frozen=True)
class Decisions:
    """How well classes are found, at some thresholds.

    Args:
        precision: share of the clips taken for a class that are right, ``[C]``; NaN where none is taken.
        recall: share of the clips of a class that are found, ``[C]``; NaN where there are none.
        f1: of each class, ``[C]``; NaN where there are no clips.
        macro_f1: mean over the classes that have clips.
        micro_f1: of all decisions together.

    >>> decisions = judge(np.array([[1], [0]]), np.array([[True], [True]]))
    >>> decisions.precision, decisions.recall, round(decisions.macro_f1, 3)
    (array([0.5]), array([1.]), 0.667)
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    macro_f1: float
    micro_f1: float


def judge(targets: NDArray[Any], taken: NDArray[np.bool_]) -> Decisions:
    """Compare decisions with what is right.

    Args:
        targets: ``[N, C]``, 0 or 1, with at least one 1.
        taken: ``[N, C]``, whether a class is taken for present.

    >>> judge(np.array([[1], [1]]), np.array([[True], [False]])).recall
    array([0.5])
    """
    present = targets == 1
    hits, takes, positives = (taken & present).sum(0), taken.sum(0), present.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(positives > 0, 2 * hits / (takes + positives), np.nan)
        return Decisions(
            precision=hits / takes,
            recall=hits / positives,
            f1=f1,
            macro_f1=float(np.nanmean(f1)),
            micro_f1=float(2 * hits.sum() / (takes.sum() + positives.sum())),
        )


@dataclass(frozen=True)
class Calibration:
    """A calibration, and what it is worth. Figures after it are cross-validated.

    Args:
        method: how the logits are scaled.
        scaling: the map of the logits, fitted on all clips.
        losses: cross-validated log loss by method.
        thresholds: from which score on a class is taken for present.
        folds: the fold of each clip, ``[N]``.
        columns: the classes that the data set knows, ``[K]``.
        positives: clips of each class, ``[C]``.
        reliability: before and after.
        decisions: before, at 0.5, and after, over the classes that the data set knows, ``[K]``.
        groups: number of groups of clips.

    >>> logits = np.tile([[3.0, 0.0], [0.0, 3.0]], (20, 1))
    >>> targets = np.eye(2)[[0, 1, 0, 0, 1, 1, 0, 1] * 5]
    >>> calibration = calibrate(Outputs.of_clips(logits, targets, "softmax"))
    >>> calibration.method, calibration.reliability[1].error < calibration.reliability[0].error
    ('temperature', True)
    """

    method: Method
    scaling: Scaling
    losses: dict[Method, float]
    thresholds: Thresholds
    folds: NDArray[np.int64]
    columns: NDArray[np.int64]
    positives: NDArray[np.int64]
    reliability: tuple[Reliability, Reliability]
    decisions: tuple[Decisions, Decisions]
    groups: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and the provenance of a bundle. Lists are over all classes of the model."""
        before, after = self.decisions
        return {
            "method": self.method,
            "scale": _rounded(self.scaling.scale),
            "offset": _rounded(self.scaling.offset),
            "clips": len(self.folds),
            "groups": self.groups,
            "folds": int(self.folds.max()) + 1,
            "positives": self.positives.tolist(),
            "log_loss": {"before": round(self.losses["none"], 6), "after": round(self.losses[self.method], 6)},
            "ece": dict(zip(("before", "after"), (round(r.error, 6) for r in self.reliability), strict=True)),
            "macro_f1": {"before": round(before.macro_f1, 6), "after": round(after.macro_f1, 6)},
            "micro_f1": {"before": round(before.micro_f1, 6), "after": round(after.micro_f1, 6)},
        }


def calibrate(outputs: Outputs, groups: Sequence[str] | None = None, precision: float | None = None) -> Calibration:
    """Calibrate scores and find thresholds.

    Args:
        outputs: of N clips that the network was not trained on.
        groups: the group of each clip, N, as for :func:`spectag.score.scaling.make_folds`.
        precision: the wanted one, as for :func:`spectag.score.thresholds.find_thresholds`; None for the highest F1.

    Raises:
        DataError: no class is both present in some clips and absent from others, or there is only one group of clips.
        InputError: ``precision`` is out of range.

    >>> logits = np.tile([[9.0, 0.0], [0.0, 9.0]], (20, 1))  # right in 4 of 5 cases
    >>> targets = np.eye(2)[[0, 1, 0, 1, 0, 1, 0, 1, 1, 0] * 4]
    >>> found = calibrate(Outputs.of_clips(logits, targets, "softmax"))
    >>> found.positives.tolist(), found.losses[found.method] < found.losses["none"]
    ([20, 20], True)
    """
    targets, columns = outputs.targets, outputs.columns
    positives = targets.sum(0).astype(np.int64)
    clips = len(targets)
    if not ((positives > 0) & (positives < clips))[columns].any():
        found = "no clip has a label" if not positives.any() else "every clip has the same labels"
        raise DataError(f"calibration: {found}: expected clips with and clips without some label, so add recordings")
    folds = make_folds(targets, None if groups is None else list(groups))
    method, losses = choose_method(outputs, folds)
    before = outputs.scores()
    after, taken = decide(outputs, method, folds, precision)
    scaling = fit_scaling(outputs, method)
    names = None if groups is None else [name for name in groups if name]
    return Calibration(
        method=method,
        scaling=scaling,
        losses=losses,
        thresholds=find_thresholds(targets, outputs.scores(scaling), precision, columns),
        folds=folds,
        columns=columns,
        positives=positives,
        reliability=(_reliability(outputs, before), _reliability(outputs, after)),
        decisions=(
            judge(targets[:, columns], before[:, columns] >= THRESHOLD),
            judge(targets[:, columns], taken[:, columns]),
        ),
        groups=clips if names is None else len(set(names)) + clips - len(names),
    )


def decide(
    outputs: Outputs, method: Method, folds: NDArray[np.int64], precision: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Decide about each clip by a map and thresholds that were found on the other folds.

    Args:
        outputs: of N clips.
        method: of scaling.
        folds: the fold of each clip, ``[N]``.
        precision: as for :func:`calibrate`.

    Returns:
        scores ``[N, C]``, and whether each class is taken for present, ``[N, C]``.

    Raises:
        DataError: all labels are in one fold.

    >>> outputs = Outputs.of_clips(np.array([[3.0, 0.0], [0.0, 3.0]] * 2), np.eye(2)[[0, 1] * 2], "softmax")
    >>> decide(outputs, "temperature", np.array([0, 0, 1, 1]))[1][0]
    array([ True, False])
    """
    scores, taken = np.zeros(outputs.targets.shape), np.zeros(outputs.targets.shape, bool)
    for fold in np.unique(folds):
        here = folds == fold
        rest = outputs.take(~here)
        if not rest.targets.any():
            raise DataError("calibration: all labels are in one group of clips: add recordings of other groups")
        fitted = fit_scaling(rest, method)
        limits = find_thresholds(rest.targets, rest.scores(fitted), precision, outputs.columns).values
        scores[here] = outputs.take(here).scores(fitted)
        taken[here] = scores[here] >= limits
    return scores, taken


def _reliability(outputs: Outputs, scores: NDArray[np.float64]) -> Reliability:
    if outputs.activation == "softmax":
        return measure_reliability(outputs.targets, scores, "softmax")
    return measure_reliability(outputs.targets[:, outputs.columns], scores[:, outputs.columns], "sigmoid")


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 6) for value in values]
