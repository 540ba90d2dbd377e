"""None of these: sounds that lie far from everything that a network knows.

The distance of a sound is the Mahalanobis distance from its features, scaled to unit length, to the nearest mean of a
class, with one covariance for all classes (Lee et al. 2018, "A Simple Unified Framework for Detecting
Out-of-Distribution Samples and Adversarial Attacks"). A sound is unknown where its distance is larger than that of
nearly all known sounds. Energy (Liu et al. 2020) needs no statistics, but tells them apart less well: see
docs/calibration.md.

No torch is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag.errors import DataError, InputError, ModelError, UnreadableModel

FEWEST_CLIPS = 20  # from which on a covariance is worth something
MOST_BYTES = 2**28  # that the file may have: a network of width 768 and 527 labels needs 4e6

Floats: TypeAlias = "NDArray[np.float32]"


@dataclass(frozen=True, eq=False)
class Unknown:
    """Tells known sounds from unknown ones, by features.

    Args:
        whitening: ``[D, D]``, after which features of known sounds have the same spread in all directions.
        means: of the classes, whitened, ``[K, D]``.
        distances: of known clips that the rest was not fitted on, ``[M]``, ascending.
        rate: share of known sounds that may be called unknown, more than 0 and less than 1.

    Raises:
        InputError: shapes that do not fit each other, values that are not finite, or a rate out of its range.

    >>> unknown = Unknown(np.eye(2), np.eye(2), np.linspace(0, 0.5, 99), rate=0.05)
    >>> unknown.measure(np.array([[3.0, 0.0], [-1.0, -1.0]])).round(2)
    array([0.  , 1.85], dtype=float32)
    >>> unknown.is_unknown(1.85), unknown.score(1.85)
    (True, 0.99)
    """

    whitening: NDArray[Any]
    means: NDArray[Any]
    distances: NDArray[Any]
    rate: float

    def __post_init__(self) -> None:
        for name in ("whitening", "means", "distances"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float32))
        width = self.means.shape[-1]
        shapes = [self.whitening.shape, self.means.shape, self.distances.shape]
        if shapes != [(width, width), (self.means.size // max(width, 1), width), (self.distances.size,)]:
            raise InputError(f"unknown: expected whitening [D, D], means [K, D] and distances [M], got {shapes}")
        if not self.means.size or not all(np.isfinite(a).all() for a in (self.whitening, self.means, self.distances)):
            raise InputError("unknown: expected finite numbers")
        if not isinstance(self.rate, float) or not 0 < self.rate < 1:
            raise InputError(f"unknown: rate: expected more than 0 and less than 1, got {self.rate!r}")
        if (np.diff(self.distances) < 0).any() or self._place > len(self.distances):
            least = math.ceil(1 / self.rate - 1e-9) - 1
            raise InputError(
                f"unknown: expected at least {least} distances in ascending order for a rate of {self.rate}"
            )

    @property
    def _place(self) -> int:
        # With this one of the ordered distances of M known sounds, a further one is above it with a probability of at
        # most the rate (split conformal prediction, Vovk et al. 2005).
        return math.ceil((1 - self.rate) * (len(self.distances) + 1) - 1e-9)

    @property
    def limit(self) -> float:
        """The largest distance of a sound that is known."""
        return float(self.distances[self._place - 1])

    def measure(self, features: NDArray[Any]) -> Floats:
        """Distances ``[B]`` of features ``[B, D]``."""
        x = unit(features) @ self.whitening.T
        squared = (x**2).sum(1)[:, None] - 2 * x @ self.means.T + (self.means**2).sum(1)
        distances: Floats = np.sqrt(squared.min(1).clip(0)).astype(np.float32)
        return distances

    def is_unknown(self, distance: float) -> bool:
        """Whether a sound at this distance is none of those that the network knows."""
        return bool(distance > self.limit)

    def score(self, distance: float) -> float:
        """How unusual a distance is, 0..1: about the share of known sounds that are nearer."""
        return float(np.searchsorted(self.distances, np.float32(distance)) / (len(self.distances) + 1))

    def describe(self) -> dict[str, Any]:
        """Plain values, for ``spectag info``."""
        return {"rate": self.rate, "limit": round(self.limit, 6), "clips": len(self.distances)}

    def arrays(self) -> dict[str, Floats]:
        """What the file holds, by name."""
        return {name: np.ascontiguousarray(getattr(self, name)) for name in ("whitening", "means", "distances")}


def unit(features: NDArray[Any]) -> NDArray[np.float64]:
    """Features ``[..., D]`` of unit length, which tell classes apart better (Müller and Hein 2025, "Mahalanobis++").

    >>> unit(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]])
    """
    features = np.asarray(features, np.float64)
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    units: NDArray[np.float64] = features / np.maximum(length, 1e-12)
    return units


def fit_unknown(
    features: NDArray[Any],
    clips: NDArray[np.int64],
    weights: NDArray[np.float64],
    targets: NDArray[Any],
    folds: NDArray[np.int64],
    rate: float,
) -> tuple[Unknown, NDArray[np.float64]]:
    """Fit class means and a covariance to known sounds, and the limit to those that lie outside of each fit.

    Args:
        features: ``[W, D]``, of all windows of all clips.
        clips: the clip that each window belongs to, ``[W]``, 0 .. N - 1.
        weights: of each window, ``[W]``; those of a clip sum to 1.
        targets: ``[N, C]``, 0 or 1. Clips without a label are not known sounds.
        folds: the fold of each clip, ``[N]``.
        rate: share of known sounds that may be called unknown.

    Returns:
        the fit, and the distance of each clip, ``[N]``, by statistics of the other folds.

    Raises:
        InputError: the rate is out of its range.
        DataError: too few clips.

    >>> rng = np.random.default_rng(0)
    >>> targets = np.eye(2)[[0, 1] * 50]
    >>> features = 5 * targets @ np.eye(2, 4) + rng.normal(size=(100, 4))
    >>> unknown, _ = fit_unknown(features, np.arange(100), np.ones(100), targets, np.arange(100) % 5, 0.05)
    >>> unknown.is_unknown(unknown.measure(np.array([[0.0, 0.0, 0.0, 9.0]]))[0])
    True
    """
    if not 0 < rate < 1:
        raise InputError(f"unknown: rate: expected more than 0 and less than 1, got {rate!r}")
    known = targets.any(1)
    least = max(FEWEST_CLIPS, math.ceil(1 / rate - 1e-9) - 1)
    if known.sum() < least:
        raise DataError(
            f"unknown: a false-alarm rate of {rate:g} needs at least {least} clips with labels, "
            f"got {int(known.sum())}: add recordings, or allow a higher rate"
        )
    x = unit(features)
    distance = np.zeros(len(targets))
    for fold in np.unique(folds):
        here = folds == fold
        whitening, means = _statistics(x, clips, targets * ~here[:, None])
        rows = Unknown(whitening, means, np.zeros(least + 1), rate).measure(features)
        mean = np.bincount(clips, weights * rows, len(targets))
        distance[here] = mean[here]
    whitening, means = _statistics(x, clips, targets)
    return Unknown(whitening, means, np.sort(distance[known]), float(rate)), distance


def _statistics(
    x: NDArray[np.float64], clips: NDArray[np.int64], targets: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A whitening ``[D, D]`` and the whitened means ``[K, D]`` of the classes that have clips."""
    labels = targets[clips] > 0  # [W, C]
    present = np.flatnonzero(labels.any(0))
    if not len(present):
        raise DataError("unknown: no clips with labels in some part of the data: add recordings")
    means = np.stack([x[labels[:, column]].mean(0) for column in present])
    spread = np.concatenate([x[labels[:, column]] - mean for column, mean in zip(present, means, strict=True)])
    values, vectors = np.linalg.eigh(shrunk_covariance(spread))
    if not values[0] > 1e-12 * values[-1] or not values[-1] > 0:
        raise DataError("unknown: all clips of a class have the same features: add recordings that differ")
    whitening = (vectors / np.sqrt(values)) @ vectors.T
    return whitening, means @ whitening


def shrunk_covariance(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariance ``[D, D]`` of centred rows ``[n, D]``, shrunk towards a multiple of the identity.

    Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional covariance matrices": without it, the
    covariance of few clips has no inverse.

    >>> shrunk_covariance(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    array([[0.5, 0. ],
           [0. , 0.5]])
    """
    n, width = x.shape
    sample = x.T @ x / n
    mean = float(np.trace(sample)) / width
    apart = float((sample**2).sum()) / width - mean**2  # how far the sample is from the target
    noise = (float(((x**2).sum(1) ** 2).sum()) / n - float((sample**2).sum())) / (n * width)
    share = 1.0 if apart <= 0 else min(1.0, noise / apart)
    shrunk: NDArray[np.float64] = (1 - share) * sample + share * mean * np.eye(width)
    return shrunk


def write_unknown(unknown: Unknown, path: Path) -> None:
    """Write the arrays as a safetensors file.

    >>> write_unknown(Unknown(np.eye(2), np.eye(2), np.zeros(99), 0.05), Path("unknown.safetensors"))
    """
    from safetensors.numpy import save

    path.write_bytes(save(unknown.arrays()))


def read_unknown(path: Path, rate: float, width: int) -> Unknown:
    """Read the arrays of a bundle.

    Args:
        path: a safetensors file.
        rate: the stated false-alarm rate.
        width: of the network's features, D.

    Raises:
        UnreadableModel: the file is missing, damaged or too large.
        ModelError: its arrays do not fit.

    >>> write_unknown(Unknown(np.eye(2), np.eye(2), np.zeros(99), 0.05), Path("unknown.safetensors"))
    >>> read_unknown(Path("unknown.safetensors"), 0.05, width=2).rate
    0.05
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        if path.stat().st_size > MOST_BYTES:
            raise UnreadableModel(f"{path}: larger than {MOST_BYTES // 2**20} MiB: restore it")
        arrays = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise UnreadableModel(f"{path}: cannot read it: {error}") from error
    if sorted(arrays) != ["distances", "means", "whitening"]:
        raise ModelError(f"{path}: expected the arrays distances, means, whitening; got {str(sorted(arrays))[:80]}")
    if any(array.dtype != np.float32 for array in arrays.values()):
        raise ModelError(f"{path}: expected float32 arrays")
    if arrays["means"].ndim != 2 or arrays["means"].shape[1] != width:
        raise ModelError(f"{path}: means: expected [K, {width}], got {list(arrays['means'].shape)}")
    try:
        return Unknown(arrays["whitening"], arrays["means"], arrays["distances"], rate)
    except InputError as error:
        raise ModelError(f"{path}: {error}") from error
