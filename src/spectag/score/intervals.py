"""95 % intervals of the figures: how much they would change with other clips of the same kind.

They come from a bootstrap: the clips are drawn anew, with replacement and as many as there are, and the figures are
computed again, a thousand times. Clips of one group (takes of one recording, for example) are drawn together, since
they say less than as many independent clips. A draw holds some clips several times, which flatters the average
precision of rare classes; so the draws give the width of an interval, and the figure itself its place: the
quantiles are moved by the difference between the figure and the mean of the draws.

A draw is a row of weights, the number of times that each clip is drawn, and the weight at or above each positive clip
is a product of matrices. Nothing is sorted: 2,000 clips of 527 classes take a few seconds on one core.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag.errors import InputError
from spectag.score.metrics import Metrics, has_one_label_each, to_d_prime

RESAMPLES = 1000
FEWEST, WORK = 100, 2e11  # large sets get fewer draws: so many products of draws, clips and labels, but so many draws
TAILS = (0.025, 0.975)
MEMORY = 2**26  # elements of the largest arrays, 256 MiB in float32

Weights: TypeAlias = "NDArray[np.float32]"  # [B, N], whole numbers: how often each clip is drawn
Draws: TypeAlias = "NDArray[np.float64]"  # [B], one figure of each draw, NaN where it is undefined


@dataclass(frozen=True)
class Intervals:
    """95 % intervals, made by :func:`compute_intervals`.

    Args:
        bounds: lower and upper bound by the keys of :data:`spectag.score.metrics.FIGURES`. A figure is missing if it is
            undefined, or if all draws agree on it, as on a perfect figure: the bootstrap then knows no interval.
        resamples: number of draws.
        units: number of clips, or of groups of clips, that were drawn from.
        grouped: whether they are groups.

    >>> Intervals({"accuracy": (0.5, 0.75)}, 1000, 40, grouped=True).to_dict()["resampled"]
    {'units': 'groups', 'number': 40, 'draws': 1000}
    """

    bounds: Mapping[str, tuple[float, float]]
    resamples: int
    units: int
    grouped: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        units = "groups" if self.grouped else "clips"
        return {
            "intervals": {name: list(bounds) for name, bounds in self.bounds.items()},
            "resampled": {"units": units, "number": self.units, "draws": self.resamples},
        }


def compute_intervals(
    metrics: Metrics,
    targets: NDArray[Any],
    scores: NDArray[Any],
    groups: Sequence[str] | None = None,
    *,
    resamples: int | None = None,
    seed: int = 0,
) -> Intervals:
    """95 % intervals of figures.

    Where all answers are right, or all wrong, a bootstrap of the accuracy has no width. Its interval is then Wilson's.

    Args:
        metrics: the figures, which :func:`spectag.score.metrics.compute_metrics` made from the same targets and scores.
        targets: ``[N, C]``, 0 or 1.
        scores: ``[N, C]``, finite.
        groups: the name of each clip's group, N; an empty one for a clip on its own. None if all are on their own.
        resamples: number of draws, at least 1. The time grows with it, and with clips times labels. None for 1000, or
            fewer for more than about ten thousand clips, but at least 100.
        seed: of the draws; the same seed gives the same intervals.

    Raises:
        InputError: groups that are not N, or no draws.

    >>> targets, scores = np.eye(2)[[0, 0, 1, 1]], np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    >>> metrics = spectag.score.metrics.compute_metrics(targets, scores)
    >>> compute_intervals(metrics, targets, scores).units
    4
    """
    if resamples is None:
        resamples = int(np.clip(WORK // max(1, len(targets) * int(targets.sum())), FEWEST, RESAMPLES))
    if resamples < 1 or (groups is not None and len(groups) != len(targets)):
        got = f"{resamples} draws, {len(targets) if groups is None else len(groups)} groups for {len(targets)} clips"
        raise InputError(f"compute_intervals: expected at least 1 draw, and one group name for each clip; got {got}")
    unit, units = _units(groups, len(targets))
    figures, limits = metrics.to_dict(), np.asarray(metrics.thresholds)
    parts = [_draw_figures(weights, targets == 1, scores, limits) for weights in _draws(unit, units, resamples, seed)]
    bounds = {}
    for name in parts[0]:
        found = _interval(figures[name], np.concatenate([part[name] for part in parts]))
        if found is not None:
            bounds[name] = found
    if figures["accuracy"] in (0, 1) and units > 1:
        from scipy.stats import binomtest

        wilson = binomtest(round(figures["accuracy"] * units), units).proportion_ci(method="wilson")
        bounds["accuracy"] = (float(wilson.low), float(wilson.high))
    if "mean_auc" in bounds:
        low, high = map(to_d_prime, bounds["mean_auc"])
        if low is not None and high is not None:
            bounds["d_prime"] = (low, high)
    return Intervals(bounds, resamples, units, grouped=units < len(targets))


def _units(groups: Sequence[str] | None, clips: int) -> tuple[NDArray[np.int64], int]:
    """For each clip the number of its group, and the number of groups; a clip on its own is a group."""
    numbers: dict[object, int] = {}
    names: list[object] = [name or place for place, name in enumerate(groups or [""] * clips)]
    unit = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
    return unit, len(numbers)


def _draws(unit: NDArray[np.int64], units: int, resamples: int, seed: int) -> Iterator[Weights]:
    """All draws, as many at a time as memory allows."""
    rng = np.random.default_rng(seed)
    while resamples > 0:
        rows = min(resamples, max(1, MEMORY // len(unit)))
        drawn = rng.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        yield counts.astype(np.float32)[:, unit]
        resamples -= rows


def _draw_figures(
    weights: Weights, present: NDArray[np.bool_], scores: NDArray[Any], limits: NDArray[np.float64]
) -> dict[str, Draws]:
    """The figures of each draw, except for d-prime, which follows from mAUC."""
    total = weights.sum(1, dtype=np.float64)
    taken = scores >= limits
    positives, claims, hits = (
        _product(weights, flags).astype(np.float64) for flags in (present, taken, taken & present)
    )
    negatives = total[:, None] - positives
    precision, area = _ranked(weights, negatives, present, scores)
    with np.errstate(invalid="ignore", divide="ignore"):
        ranked = (positives > 0) & (negatives > 0)
        found = {
            "mean_ap": _nan_mean(np.where(ranked, precision / positives, np.nan)),
            "mean_auc": _nan_mean(np.where(ranked, area / (positives * negatives), np.nan)),
            "micro_f1": 2 * hits.sum(1) / (claims + positives).sum(1),
            "macro_f1": _nan_mean(np.where(positives > 0, 2 * hits / (claims + positives), np.nan)),
        }
    if has_one_label_each(present):
        right = present.argmax(1) == scores.argmax(1)
        found["accuracy"] = weights @ right.astype(np.float32) / total
    return found


def _ranked(
    weights: Weights, negatives: NDArray[np.float64], present: NDArray[np.bool_], scores: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two weighted sums over the positive clips of each class, ``[B, C]``: of the precision at the clip's score, and of
    the weight of the negative clips below it, where those of equal score count half.

    Args:
        negatives: the weight of the negative clips of each class, ``[B, C]``.
    """
    precision, area = (np.zeros((len(weights), present.shape[1])) for _ in range(2))
    classes, clips = np.nonzero(present.T)  # one pair for each positive, class by class
    width = max(1, min(512, MEMORY // 4 // len(present)))
    for start in range(0, len(classes), width):
        columns, rows = classes[start : start + width], clips[start : start + width]
        mine, others = scores[rows, columns], scores[:, columns]
        truth, above = present[:, columns], others >= mine
        own = weights[:, rows]  # [B, pairs]
        right, wrong = _product(weights, above & truth), _product(weights, above & ~truth)
        ties = (others == mine) & ~truth
        tied = np.flatnonzero(ties.any(0))
        below = negatives[:, columns] - wrong
        below[:, tied] += 0.5 * _product(weights, ties[:, tied])
        first = np.flatnonzero(np.diff(columns, prepend=-1))  # where each class begins
        share = own * right / np.maximum(right + wrong, 1)  # a clip that is not drawn weighs nothing
        precision[:, columns[first]] += np.add.reduceat(share, first, axis=1, dtype=np.float64)
        area[:, columns[first]] += np.add.reduceat(own * below, first, axis=1)
    return precision, area


def _product(weights: Weights, flags: NDArray[np.bool_]) -> Weights:
    """The weight of the flagged clips, ``[B, columns]``; whole numbers, exact in float32 up to 16 million."""
    return weights @ flags.astype(np.float32)


def _nan_mean(values: NDArray[np.float64]) -> Draws:
    """The mean over the classes that have a value, NaN where none has one."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0).sum(1) / known.sum(1), np.float64)


def _interval(figure: float | None, draws: Draws) -> tuple[float, float] | None:
    """The quantiles of the draws, moved so that the figure takes the place of their mean; within 0 to 1."""
    known = draws[np.isfinite(draws)]
    if figure is None or not len(known) or np.ptp(known) < 1e-9:
        return None
    low, high = np.clip(figure + np.quantile(known, TAILS) - known.mean(), 0, 1)
    return float(low), float(high)
