"""What a training clip goes through, as pure functions: tensors, options and a random generator in, tensors out.

Waveforms ``[N]`` are changed one by one, while an example is built; fbanks and inputs ``[B, T, F]`` as a batch, on the
training device. All that is drawn is drawn on the CPU from a NumPy generator, so that one seed means one result on any
device.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spectag.train.recipe import AugmentRecipe

Rng: TypeAlias = np.random.Generator
BatchRng: TypeAlias = "np.random.Generator | Rows"

MIN_PERIOD = 1600  # samples = 0.1 s: nothing shorter goes round
QUIET = 1e-4  # full scale = 1: -80 dB, keeps ratios of levels finite


class Rows:
    """A generator for one of several processes: draws for the batch of all of them, and gives this one's rows.

    So that processes together do what one would do with the whole batch.
    """

    def __init__(self, rng: Rng, rank: int, world: int) -> None:
        self._rng, self._mine, self._world = rng, slice(rank, None, world), world

    def uniform(self, low: Any, high: Any, size: Any) -> NDArray[np.float64]:
        """See :meth:`numpy.random.Generator.uniform`; the first axis is the batch. The others likewise."""
        return np.asarray(self._rng.uniform(low, high, self._all(size)))[self._mine]

    def random(self, size: Any, dtype: Any = np.float64) -> NDArray[Any]:
        return np.asarray(self._rng.random(self._all(size), dtype))[self._mine]

    def integers(self, low: int, high: int, size: Any) -> NDArray[np.int64]:
        return np.asarray(self._rng.integers(low, high, self._all(size)))[self._mine]

    def _all(self, size: Any) -> tuple[int, ...]:
        rows, *rest = (size,) if isinstance(size, int) else size
        return (rows * self._world, *rest)


def rng(*seeds: int) -> Rng:
    """A generator that follows from some numbers: a run's seed and an epoch, say; each combination its own stream."""
    return np.random.default_rng(seeds)


# Waveforms


def waveform(x: Tensor, samples: int, recipe: AugmentRecipe, rng: Rng) -> Tensor:
    """One clip ``[N]`` before mixing: a random excerpt or its beginning, and its level; at most ``samples`` long."""
    if recipe.excerpt:
        x = excerpt(x, samples, recipe.speed, rng)
    if recipe.gain_db:
        x = x * float(10 ** (rng.uniform(-recipe.gain_db, recipe.gain_db) / 20))
    return x[:samples]


def excerpt(x: Tensor, samples: int, speed: float, rng: Rng) -> Tensor:
    """A stretch of a clip from a random place on, at a random speed; the clip goes round until it is long enough.

    Silence at the end of a clip (data sets fill short sounds up with zeros) is shortened at random first, so that a
    short sound recurs, with pauses of any length up to its own.

    Args:
        x: ``[N]``.
        samples: wanted length.
        speed: greatest factor, drawn log-uniformly from ``[1 / speed, speed]``; pitch follows. Linear interpolation.

    Returns:
        ``[samples]``.
    """
    heard = x.numpy() != 0
    sound = len(x) - int(heard[::-1].argmax()) if heard.any() else len(x)
    period = max(MIN_PERIOD, sound + rng.uniform() * (len(x) - sound))
    rate = speed ** rng.uniform(-1, 1)
    place = rng.uniform() * period + rate * torch.arange(samples, dtype=torch.float64)
    place = (place - period * (place / period).floor()).clamp_min_(0)  # place % period, which is several times slower
    left = place.int()
    x = functional.pad(x, (0, max(0, int(period) + 2 - len(x))))
    return torch.lerp(x.index_select(0, left), x.index_select(0, left + 1), (place - left).float())


def mix(a: Tensor, b: Tensor, share: float) -> Tensor:
    """``share * a + (1 - share) * b``, each minus its mean; the shorter is padded with zeros (mixup on waveforms)."""
    a, b = _alike(a - a.mean(), b - b.mean())
    return share * a + (1 - share) * b


def mix_between(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Between-class mixing (Tokozume et al. 2018): as loud as ``share`` says whatever the clips' own levels are.

    ``(p a + (1 - p) b) / sqrt(p^2 + (1 - p)^2)`` with ``p = 1 / (1 + level_a / level_b * (1 - share) / share)``.
    """
    a, b = _alike(a - a.mean(), b - b.mean())
    level_a, level_b = (float(x.square().mean().sqrt()) + QUIET for x in (a, b))
    p = 1 / (1 + level_a / level_b * (1 - share) / max(share, QUIET))
    norm = float((p**2 + (1 - p) ** 2) ** 0.5)
    return p / norm * a + (1 - p) / norm * b


def _alike(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    size = max(len(a), len(b))
    return functional.pad(a, (0, size - len(a))), functional.pad(b, (0, size - len(b)))


# Spectrograms


def equalise(x: Tensor, decibels: float, rng: BatchRng, points: int = 6) -> Tensor:
    """Add a random smooth curve over frequency to each fbank ``[B, T, F]``, as other microphones and rooms would.

    Args:
        decibels: the curve runs through ``points`` values, uniform in +- so many decibels, linear in between.
    """
    nepers = decibels / 10 * np.log(10)  # fbank is the natural logarithm of power
    knots = torch.from_numpy(rng.uniform(-nepers, nepers, (len(x), 1, points)).astype(np.float32))
    curve = functional.interpolate(knots, size=x.shape[2], mode="linear", align_corners=True)
    return x + curve.to(x.device)


def mask(x: Tensor, time: int, freq: int, rng: BatchRng) -> Tensor:
    """SpecAugment as the released code: one band per axis, width uniform in [0, max), start uniform, set to 0.

    Args:
        x: fbank ``[B, T, F]``, not normalised.
        time, freq: the bands' upper limits in frames and mel bins; 0 for none.
    """
    for axis, limit in ((1, time), (2, freq)):
        if not limit:
            continue
        size = x.shape[axis]
        width = rng.uniform(0, min(limit, size), len(x))
        start = (rng.uniform(0, 1, len(x)) * (size - width)).astype(np.int64)
        end = start + width.astype(np.int64)
        place = np.arange(size)
        band = torch.from_numpy((place >= start[:, None]) & (place < end[:, None])).to(x.device)
        x = x.masked_fill(band[:, :, None] if axis == 1 else band[:, None, :], 0)
    return x


def noise_and_roll(x: Tensor, rng: BatchRng) -> Tensor:
    """Inputs ``[B, T, F]`` plus ``U(0, 1) * U(0, 1) / 10``, each clip's frames rolled by -10..9 (released code)."""
    noise = rng.random(x.shape, np.float32) * (rng.random((len(x), 1, 1), np.float32) / 10)
    x = x + torch.from_numpy(noise).to(x.device)
    shifts = torch.from_numpy(rng.integers(-10, 10, len(x))).to(x.device)
    frames = torch.arange(x.shape[1], device=x.device)
    source = (frames - shifts[:, None]) % x.shape[1]  # [B, T]
    return x.gather(1, source[:, :, None].expand_as(x))


def patches_to_keep(batch: int, grid: tuple[int, int], recipe: AugmentRecipe, rng: BatchRng) -> Tensor | None:
    """Indices ``[B, K]`` of the patches each clip shows the network, frequency-major; None for all.

    Patch dropout (Koutini et al. 2022, PaSST): whole rows and columns of patches first (structured), then any of what
    is left. Every clip keeps as many: ``K = round((1 - patch_drop) * f * t)`` of f rows and t columns kept.
    """
    if not (recipe.patch_drop or recipe.row_drop or recipe.column_drop):
        return None
    rows = _kept(batch, grid[0], recipe.row_drop, rng)
    columns = _kept(batch, grid[1], recipe.column_drop, rng)
    patches = (rows[:, :, None] * grid[1] + columns[:, None, :]).reshape(batch, -1)
    chosen = _kept(batch, patches.shape[1], recipe.patch_drop, rng)
    return torch.from_numpy(np.take_along_axis(patches, chosen, axis=1))


def _kept(batch: int, size: int, drop: float, rng: BatchRng) -> NDArray[np.int64]:
    """Ascending indices ``[B, round((1 - drop) * size)]``, at least one each."""
    if not drop:
        return np.tile(np.arange(size), (batch, 1))
    order = rng.random((batch, size)).argsort(1)
    return np.sort(order[:, : max(1, round((1 - drop) * size))], axis=1)
