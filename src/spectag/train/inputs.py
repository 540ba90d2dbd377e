"""The second stage of augmentation: waveforms to augmented inputs of the network, a batch at a time.

:func:`build_inputs` has all steps in order; the pairs of functions below it act on spectrograms, see
:mod:`spectag.train.augment`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spectag.audio.fbank import fbank, normalise
from spectag.audio.front_end import FrontEnd
from spectag.train.rng import BatchRng
from spectag.train.sections import AugmentRecipe

KNOTS = 6  # points of a random equaliser curve


def build_inputs(
    waveform: Tensor, frames: Tensor, front_end: FrontEnd, recipe: AugmentRecipe, rng: BatchRng
) -> tuple[Tensor, NDArray[np.int64]]:
    """Turn a batch of waveforms into augmented inputs for the network.

    Args:
        waveform: ``[B, N]``, as long as the network's window, zeros at the end.
        frames: ``[B]``, number of frames of each clip that are sound. The rest is padding.
        front_end: computes and normalises the fbank.
        recipe: which augmentations to apply.
        rng: draws all random numbers.

    Returns:
        inputs ``[B, T, F]`` on the device of the waveform, and by how many frames each clip was rolled, ``[B]``.

    >>> front_end, recipe = spectag.FrontEnd(frames=4), spectag.train.recipe.AugmentRecipe(time_mask=2)
    >>> x, shifts = build_inputs(torch.zeros(2, 880), torch.tensor([4, 1]), front_end, recipe, np.random.default_rng(0))
    >>> x.shape, shifts
    (torch.Size([2, 4, 128]), array([0, 0]))
    """
    x = fbank(waveform, window=front_end.window, mel_bins=front_end.mel_bins)
    if recipe.equalise_db:
        x = equalise(x, draw_equaliser(len(x), recipe.equalise_db, rng))
    x = pad(x, frames)
    for axis, limit in ((1, recipe.time_mask), (2, recipe.freq_mask)):
        if limit:
            x = mask(x, axis, draw_bands(len(x), x.shape[axis], limit, rng))
    x = normalise(x, front_end.mean, front_end.std)
    shifts = np.zeros(len(x), np.int64)
    if recipe.noise_and_roll:
        x = add_noise(x, draw_noise(x.shape, rng))
        shifts = draw_shifts(len(x), rng)
        x = roll(x, shifts)
    return x, shifts


def draw_equaliser(batch: int, limit: float, rng: BatchRng) -> NDArray[np.float32]:
    """Draw curves ``[B, 1, KNOTS]``, uniform within ``limit`` decibels, in the fbank's natural logarithm of power.

    >>> draw_equaliser(2, 10.0, np.random.default_rng(0)).shape
    (2, 1, 6)
    """
    nepers = limit / 10 * np.log(10)
    return rng.uniform(-nepers, nepers, (batch, 1, KNOTS)).astype(np.float32)


def equalise(x: Tensor, knots: NDArray[np.float32]) -> Tensor:
    """Add a curve over frequency to each fbank ``[B, T, F]``, which imitates another microphone or room.

    The curve is linear between the ``knots`` ``[B, 1, K]``, its values at K equally spaced bins, first to last.

    >>> equalise(torch.zeros(1, 1, 5), np.array([[[0, 1, 0]]], np.float32))
    tensor([[[0.0000, 0.5000, 1.0000, 0.5000, 0.0000]]])
    """
    curve = functional.interpolate(torch.from_numpy(knots), size=x.shape[2], mode="linear", align_corners=True)
    return x + curve.to(x.device)


def pad(x: Tensor, frames: Tensor) -> Tensor:
    """Set all frames from ``frames[b]`` on to 0, the value that short recordings are padded with in tagging.

    >>> pad(torch.ones(1, 3, 1), torch.tensor([2])).flatten()
    tensor([1., 1., 0.])
    """
    padding = torch.arange(x.shape[1], device=x.device) >= frames[:, None]
    return x.masked_fill(padding[..., None], 0)


class Bands(NamedTuple):
    """A band of each clip along one axis: the indices ``start <= i < end``, ``[B]`` each."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]


def draw_bands(batch: int, size: int, limit: int, rng: BatchRng) -> Bands:
    """Draw a band per clip on an axis of ``size`` as the released SpecAugment does.

    The width is uniform in ``[0, min(limit, size))`` and the start in ``[0, size - width)``; both are rounded down.

    >>> draw_bands(batch=2, size=100, limit=1, rng=np.random.default_rng(0)).start.shape
    (2,)
    """
    width = rng.uniform(0, min(limit, size), batch)
    start = (rng.uniform(0, 1, batch) * (size - width)).astype(np.int64)
    return Bands(start, start + width.astype(np.int64))


def mask(x: Tensor, axis: int, bands: Bands) -> Tensor:
    """Set a band of each fbank ``[B, T, F]``, not normalised, to 0: in time (axis 1) or in frequency (axis 2).

    >>> mask(torch.ones(1, 4, 1), 1, Bands(np.array([1]), np.array([3]))).flatten()
    tensor([1., 0., 0., 1.])
    """
    place = np.arange(x.shape[axis])
    inside = torch.from_numpy((place >= bands.start[:, None]) & (place < bands.end[:, None])).to(x.device)
    return x.masked_fill(inside[:, :, None] if axis == 1 else inside[:, None, :], 0)


def draw_noise(shape: Sequence[int], rng: BatchRng) -> NDArray[np.float32]:
    """Draw noise ``[B, T, F]`` as the released code: uniform in [0, 1), times a level per clip, uniform in [0, 0.1).

    >>> draw_noise((2, 3, 4), np.random.default_rng(0)).shape
    (2, 3, 4)
    """
    noise = rng.random(tuple(shape), np.float32)
    level = rng.random((shape[0], 1, 1), np.float32)
    return np.asarray(noise * (level / 10), np.float32)


def add_noise(x: Tensor, noise: NDArray[np.float32]) -> Tensor:
    """``x + noise``, both ``[B, T, F]``.

    >>> add_noise(torch.ones(1, 1, 1), np.full((1, 1, 1), 0.5, np.float32))
    tensor([[[1.5000]]])
    """
    return x + torch.from_numpy(noise).to(x.device)


def draw_shifts(batch: int, rng: BatchRng) -> NDArray[np.int64]:
    """Draw a number of frames ``[B]`` for each clip, uniform in -10..9, as the released code.

    >>> draw_shifts(3, np.random.default_rng(0)).shape
    (3,)
    """
    return rng.integers(-10, 10, batch)


def roll(x: Tensor, shifts: NDArray[np.int64]) -> Tensor:
    """Shift the frames of each clip ``[B, T, F]`` to later times; the last ones wrap around to the beginning.

    >>> roll(torch.arange(4.0).view(1, 4, 1), np.array([1])).flatten()
    tensor([3., 0., 1., 2.])
    """
    frames = torch.arange(x.shape[1], device=x.device)
    source = (frames - torch.from_numpy(shifts).to(x.device)[:, None]) % x.shape[1]  # [B, T]
    return x.gather(1, source[:, :, None].expand_as(x))
