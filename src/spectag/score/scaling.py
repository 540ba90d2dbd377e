"""A scale and an offset of the logits, so that a score is the share of the cases in which it is right (calibration).

A sound that gets the score 0.8 should be right in 80 % of the cases. Networks are often surer than that. Three remedies
are compared by cross-validation, and the one with the lowest log loss is taken, or none:

================  ====================================================================================================
``temperature``   one scale for all classes (Guo et al. 2017, "On Calibration of Modern Neural Networks")
``platt``         one scale and one offset for all classes, sigmoid only (Platt 1999)
``classes``       a scale and an offset for each class: Platt scaling (sigmoid), vector scaling (softmax). Classes of
                  few clips keep the common ones
================  ====================================================================================================

All of them are affine maps of the logits, which fit into the weights of a linear head. The score of a clip is the
weighted mean of the scores of its windows, and this mean is what is fitted: the logits of the windows are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, softmax

from spectag.choices import Activation
from spectag.errors import DataError, InputError

Floats: TypeAlias = "NDArray[np.float64]"
Method = Literal["none", "temperature", "platt", "classes"]

FOLDS = 5
FEWEST = 5  # clips with and without a class, from which on it gets parameters of its own
_LEAST = 1e-12  # score in logarithms


@dataclass(frozen=True)
class Outputs:
    """What a network says about the windows of N clips, and what is right.

    Args:
        logits: ``[W, C]``, of all windows of all clips.
        clips: the clip that each window belongs to, ``[W]``, 0 .. N - 1.
        weights: of each window, ``[W]``; those of a clip sum to 1.
        targets: ``[N, C]``, 0 or 1. A row of zeros is a clip without a label.
        activation: turns logits into scores.
        known: classes that the data set knows, ``[C]``; None for all. What it does not know may be heard unnoticed.

    Raises:
        InputError: shapes that do not fit each other.

    >>> outputs = Outputs.of_clips(np.array([[0.0, 0.0]]), np.array([[1, 0]]), "softmax")
    >>> outputs.scores()
    array([[0.5, 0.5]])
    """

    logits: Floats
    clips: NDArray[np.int64]
    weights: Floats
    targets: NDArray[np.int64]
    activation: Activation
    known: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        shapes = [array.shape for array in (self.logits, self.clips, self.weights, self.targets)]
        windows, (clips, classes) = self.logits.shape[:1], self.targets.shape
        if shapes != [(*windows, classes), windows, windows, (clips, classes)]:
            raise InputError(f"calibration: expected logits, clips, weights, targets of fitting shapes, got {shapes}")

    @classmethod
    def of_clips(cls, logits: Floats, targets: NDArray[Any], activation: Activation) -> Outputs:
        """Outputs of clips of one window each, ``[N, C]``."""
        logits = np.asarray(logits, np.float64)
        return cls(logits, np.arange(len(logits)), np.ones(len(logits)), np.asarray(targets), activation)

    @property
    def columns(self) -> NDArray[np.int64]:
        """The classes that the data set knows, ``[K]``."""
        known = np.ones(self.targets.shape[1], bool) if self.known is None else self.known
        return np.flatnonzero(known)

    def take(self, clips: NDArray[np.bool_]) -> Outputs:
        """Some of the clips, ``[N]`` true or false."""
        windows = clips[self.clips]
        places = np.cumsum(clips) - 1
        return replace(
            self,
            logits=self.logits[windows],
            clips=places[self.clips[windows]],
            weights=self.weights[windows],
            targets=self.targets[clips],
        )

    def scores(self, scaling: Scaling | None = None) -> Floats:
        """The scores of the clips, ``[N, C]``, with scaled logits."""
        logits = self.logits if scaling is None else scaling.apply(self.logits)
        return self._mean(_activate(logits, self.activation))

    def _mean(self, rows: Floats) -> Floats:
        total = np.zeros(self.targets.shape)
        np.add.at(total, self.clips, self.weights[:, None] * rows)
        return total


@dataclass(frozen=True)
class Scaling:
    """An affine map of logits: ``scale * logits + offset``.

    Args:
        scale: ``[C]``, more than 0.
        offset: ``[C]``.

    >>> Scaling(np.array([2.0, 1.0]), np.array([0.0, 0.5])).apply(np.array([[1.0, 1.0]]))
    array([[2. , 1.5]])
    """

    scale: Floats
    offset: Floats

    @classmethod
    def identity(cls, classes: int) -> Scaling:
        """The map that changes nothing."""
        return cls(np.ones(classes), np.zeros(classes))

    def apply(self, logits: Floats) -> Floats:
        """Scale logits ``[..., C]``."""
        return self.scale * logits + self.offset


def fit_scaling(outputs: Outputs, method: Method) -> Scaling:
    """Fit a map of the logits by maximum likelihood.

    Few clips must not give extreme parameters. So a weak normal prior of width 1 keeps the logarithm of a scale, and an
    offset, near those that all classes have in common, and these near 1 and 0.

    Args:
        outputs: of clips that the network was not trained on.
        method: see above.

    Raises:
        InputError: an unknown method, or ``platt`` for a softmax, whose common offset changes nothing.

    >>> logits = np.repeat([[2.0, 0.0]], 10, axis=0)
    >>> targets = np.eye(2)[[0] * 6 + [1] * 4]
    >>> bool(fit_scaling(Outputs.of_clips(logits, targets, "softmax"), "temperature").scale[0] < 1)  # it was too sure
    True
    """
    if method not in get_args(Method) or (method == "platt" and outputs.activation == "softmax"):
        raise InputError(f"method: expected one of {', '.join(methods(outputs.activation))}; got {method!r}")
    classes = outputs.targets.shape[1]
    common = Scaling.identity(classes)
    if method == "none":
        return common
    every = np.zeros(classes, np.int64)  # all classes share the parameters of number 0
    common = _fit(
        outputs, common, every, every if outputs.activation == "sigmoid" and method != "temperature" else None
    )
    if method != "classes" or not (own := _well_supported(outputs)).any():
        return common
    numbers = np.where(own, np.cumsum(own) - 1, -1)
    return _fit(outputs, common, numbers, numbers)


def methods(activation: Activation) -> tuple[Method, ...]:
    """The methods that there are for an activation.

    >>> methods("softmax")
    ('none', 'temperature', 'classes')
    """
    return tuple(name for name in get_args(Method) if name != "platt" or activation == "sigmoid")


def log_loss(outputs: Outputs, scores: Floats) -> float:
    """Mean log loss of the scores ``[N, C]`` of clips, in nats.

    Sigmoid: over all decisions about the classes that the data set knows. Softmax: over the clips that have a label,
    ``-log(score of the label)``; of several labels, their mean.

    >>> outputs = Outputs.of_clips(np.zeros((1, 2)), np.array([[1, 0]]), "softmax")
    >>> round(log_loss(outputs, outputs.scores()), 4)
    0.6931
    """
    total, count = _loss(outputs, scores)[:2]
    return total / max(count, 1)


def choose_method(outputs: Outputs, folds: NDArray[np.int64]) -> tuple[Method, dict[Method, float]]:
    """Choose the method of the lowest log loss on clips that it was not fitted on; a simpler one if they are equal.

    Args:
        outputs: of N clips.
        folds: the fold of each clip, ``[N]``, see :func:`make_folds`.

    Returns:
        the method, and the cross-validated log loss of each.

    >>> outputs = Outputs.of_clips(np.tile([[3.0, 0.0]], (40, 1)), np.eye(2)[[0, 0, 0, 1] * 10], "softmax")
    >>> method, losses = choose_method(outputs, np.arange(40) // 4 % 5)
    >>> losses[method] < losses["none"]
    True
    """
    losses = {
        method: log_loss(outputs, cross_validate(outputs, method, folds)) for method in methods(outputs.activation)
    }
    return min(losses, key=lambda method: round(losses[method], 6)), losses


def cross_validate(outputs: Outputs, method: Method, folds: NDArray[np.int64]) -> Floats:
    """The scores of all clips ``[N, C]``, each with a map that was fitted on the other folds.

    >>> outputs = Outputs.of_clips(np.zeros((4, 2)), np.eye(2)[[0, 1, 0, 1]], "softmax")
    >>> cross_validate(outputs, "temperature", np.array([0, 0, 1, 1]))[0]
    array([0.5, 0.5])
    """
    scores = np.zeros(outputs.targets.shape)
    for fold in np.unique(folds):
        here = folds == fold
        scores[here] = outputs.take(here).scores(fit_scaling(outputs.take(~here), method))
    return scores


def make_folds(targets: NDArray[Any], groups: list[str] | None = None, folds: int = FOLDS) -> NDArray[np.int64]:
    """Divide clips into folds of about the same classes. Clips of one group stay together.

    Args:
        targets: ``[N, C]``.
        groups: the group of each clip, N; an empty name for a clip that is a group of its own. None if every clip is.
        folds: their number; fewer where there are fewer groups.

    Returns:
        the fold of each clip, ``[N]``.

    Raises:
        DataError: there are fewer than two groups.

    >>> make_folds(np.eye(2)[[0, 0, 1, 1]], ["a", "a", "", "b"], folds=2).tolist()
    [0, 0, 1, 0]
    """
    names = [f"={n}" if not name else f" {name}" for n, name in enumerate(groups or [""] * len(targets))]
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    group_of = np.array([places[name] for name in names], np.int64)
    folds = min(folds, len(places))
    if folds < 2:
        raise DataError(f"cross-validation: expected clips of at least two groups, got {len(places)}: add recordings")
    with_none = np.concatenate([targets, targets.sum(1, keepdims=True) == 0], 1).astype(np.int64)
    counts = np.zeros((len(places), with_none.shape[1]), np.int64)
    np.add.at(counts, group_of, with_none)
    rarity = np.where(counts > 0, (counts > 0).sum(0), len(places) + 1)  # groups of each label that a group has
    clips = np.bincount(group_of)
    have, sizes = np.zeros((folds, counts.shape[1])), np.zeros(folds)
    fold_of = np.zeros(len(places), np.int64)
    for group in sorted(range(len(places)), key=lambda g: (rarity[g].min(), -counts[g].sum())):
        label = int(rarity[group].argmin())
        fold = min(range(folds), key=lambda f: (have[f, label], sizes[f]))
        fold_of[group] = fold
        have[fold] += counts[group]
        sizes[fold] += clips[group]
    return fold_of[group_of]


def _well_supported(outputs: Outputs) -> NDArray[np.bool_]:
    """Classes with enough clips for parameters of their own, ``[C]``."""
    positives = outputs.targets.sum(0)
    enough: NDArray[np.bool_] = (positives >= FEWEST) & (len(outputs.targets) - positives >= FEWEST)
    enough[np.setdiff1d(np.arange(len(enough)), outputs.columns)] = False
    return enough


def _activate(logits: Floats, activation: Activation) -> Floats:
    scores: Floats = expit(logits) if activation == "sigmoid" else softmax(logits, axis=1)
    return scores


def _fit(outputs: Outputs, start: Scaling, scales: NDArray[np.int64], offsets: NDArray[np.int64] | None) -> Scaling:
    """Fit parameters that lie around a start.

    Args:
        scales, offsets: for each class the number of the parameter that it has, -1 for that of the start; None for no
            offsets.
    """
    n = int(scales.max()) + 1
    m = 0 if offsets is None else int(offsets.max()) + 1
    log_start = np.log(start.scale)

    def scaling(parameters: Floats) -> Scaling:
        log_scale = log_start + np.where(scales >= 0, parameters[:n][scales], 0)
        offset = start.offset if offsets is None else start.offset + np.where(offsets >= 0, parameters[n:][offsets], 0)
        return Scaling(np.exp(log_scale), offset)

    def objective(parameters: Floats) -> tuple[float, Floats]:
        here = scaling(parameters)
        logits = here.apply(outputs.logits)
        rows = _activate(logits, outputs.activation)
        total, _, slope = _loss(outputs, outputs._mean(rows))
        slope = outputs.weights[:, None] * slope[outputs.clips]  # of the loss, by the score of each window
        if outputs.activation == "sigmoid":
            slope = slope * rows * (1 - rows)
        else:
            slope = rows * (slope - (slope * rows).sum(1, keepdims=True))
        gradient = np.zeros(n + m)
        np.add.at(gradient, scales[scales >= 0], (slope * outputs.logits).sum(0)[scales >= 0] * here.scale[scales >= 0])
        if offsets is not None:
            np.add.at(gradient, n + offsets[offsets >= 0], slope.sum(0)[offsets >= 0])
        prior = float((parameters**2).sum()) / 2
        return total + prior, gradient + parameters

    found = minimize(objective, np.zeros(n + m), jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    return scaling(found.x)


def _loss(outputs: Outputs, scores: Floats) -> tuple[float, int, Floats]:
    """Sum of the losses, how many they are, and the derivative of the sum by the scores ``[N, C]``."""
    targets = outputs.targets.astype(np.float64)
    inside = np.clip(scores, _LEAST, 1 - _LEAST)
    if outputs.activation == "sigmoid":
        known = np.zeros(targets.shape[1])
        known[outputs.columns] = 1
        losses = -(targets * np.log(inside) + (1 - targets) * np.log1p(-inside)) * known
        return (
            float(losses.sum()),
            int(len(targets) * known.sum()),
            (inside - targets) / (inside * (1 - inside)) * known,
        )
    labels = targets.sum(1, keepdims=True)
    shares = targets / np.maximum(labels, 1)
    return float(-(shares * np.log(inside)).sum()), int((labels > 0).sum()), -shares / inside
