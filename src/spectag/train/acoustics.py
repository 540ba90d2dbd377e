"""What a room, its background and a microphone do to a sound: waveforms ``[N]``, varied as they could be recorded.

Unlike the equaliser and the masks of :mod:`spectag.train.augment`, these act on the sound itself, so a teacher hears
them, too. Each is a pair of functions, as there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectag.audio.read import SAMPLE_RATE
from spectag.train.rng import Rng

KNOTS = 8  # points of a random filter curve
TAPS = 256  # samples of its response
BLOCK = 2048  # samples that are filtered at once
DECAY = 0.1, 1.5  # s: the time in which a room's response falls by 60 dB
WET = -25.0, 0.0  # dB: the energy of the response, relative to the direct sound
ABOVE_NOISE = 0.0, 40.0  # dB: the level of the sound, relative to the background
QUIET = 1e-4  # full scale = 1: the level that digital silence is taken to have


class Room(NamedTuple):
    """The response of a room to an impulse: ``1`` at once, then the echoes ``[M]``, whose first is a sample later.

    >>> Room(np.zeros(3, np.float32)).echoes.shape
    (3,)
    """

    echoes: NDArray[np.float32]


def draw_room(rng: Rng) -> Room:
    """Draw a room: noise that decays exponentially, by 60 dB within a log-uniform time, and with a random energy.

    >>> bool(np.square(draw_room(np.random.default_rng(0)).echoes).sum() <= 1)  # 0 dB at most
    True
    """
    seconds = np.exp(rng.uniform(*np.log(DECAY)))
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    echoes = rng.standard_normal(len(time), np.float32) * np.exp(-np.log(1e3) * time / seconds)
    level = 10 ** (rng.uniform(*WET) / 20)
    return Room(np.asarray(echoes * (level / np.linalg.norm(echoes)), np.float32))


def reverberate(x: Tensor, room: Room) -> Tensor:
    """Convolve a sound with the response of a room. It keeps its length.

    >>> reverberate(torch.tensor([1.0, 0.0, 0.0]), Room(np.array([0.5, 0.25], np.float32)))
    tensor([1.0000, 0.5000, 0.2500])
    """
    echoes = torch.from_numpy(room.echoes)[: max(0, len(x) - 1)]
    response = torch.cat([torch.ones(1), echoes])
    size = _fft_size(len(x) + len(response))
    spectrum = torch.fft.rfft(x, size) * torch.fft.rfft(response, size)
    out: Tensor = torch.fft.irfft(spectrum, size)[: len(x)]
    return out


class Background(NamedTuple):
    """Noise: its power falls as ``1 / f ** colour``.

    Args:
        phases: of its spectrum, ``[M // 2 + 1]`` in radians; M is at least the length of the sound.
        colour: 0 for white, 1 for pink, 2 for brown noise.
        below: its level relative to the sound, in decibels below it.
    """

    phases: NDArray[np.float32]
    colour: float
    below: float


def draw_background(samples: int, rng: Rng) -> Background:
    """Draw noise between white and brown, as loud as the sound at most.

    >>> draw_background(16, np.random.default_rng(0)).phases.shape
    (9,)
    """
    phases = rng.random(_fft_size(samples) // 2 + 1, np.float32) * np.float32(2 * np.pi)
    return Background(phases, rng.uniform(0, 2), rng.uniform(*ABOVE_NOISE))


def add_background(x: Tensor, background: Background) -> Tensor:
    """Add noise to a sound ``[N]``. Levels are roots of mean squares over the whole of it.

    >>> noise = Background(np.zeros(9, np.float32), colour=0.0, below=20.0)
    >>> added = add_background(torch.ones(16), noise) - 1
    >>> round(float(added.square().mean().sqrt()), 3)
    0.1
    """
    place = torch.arange(len(background.phases)).clamp(min=1)
    spectrum = torch.polar(place ** (-background.colour / 2), torch.from_numpy(background.phases))
    noise: Tensor = torch.fft.irfft(spectrum, 2 * (len(place) - 1))[: len(x)]
    level = max(_level(x), QUIET) * 10 ** (-background.below / 20)
    return x + noise * (level / max(_level(noise), 1e-20))


def draw_filter(limit: float, rng: Rng) -> NDArray[np.float32]:
    """Draw a filter curve ``[KNOTS]``, uniform within ``limit`` decibels.

    >>> draw_filter(6.0, np.random.default_rng(0)).shape
    (8,)
    """
    return rng.uniform(-limit, limit, KNOTS).astype(np.float32)


def filter_sound(x: Tensor, curve: NDArray[np.float32]) -> Tensor:
    """Filter a sound ``[N]`` by a curve in decibels, without changing its phases.

    The curve is linear between its knots, which are equally spaced on the mel scale, ``1127 ln(1 + f / 700)``, from 0
    to half the sample rate. The filter has a finite response, which smooths the curve over about 60 Hz.

    >>> filter_sound(torch.tensor([1.0, -1.0, 1.0, -1.0]), np.full(8, 20.0, np.float32))  # ten times as loud
    tensor([ 10., -10.,  10., -10.])
    """
    frequency = np.fft.rfftfreq(TAPS, 1 / SAMPLE_RATE)
    place = np.log1p(frequency / 700) / np.log1p(SAMPLE_RATE / 2 / 700) * (len(curve) - 1)
    gain = 10 ** (np.interp(place, np.arange(len(curve)), curve) / 20)
    response = torch.from_numpy(np.fft.fftshift(np.fft.irfft(gain, TAPS)).astype(np.float32))
    # Overlap-save: of each block, what the end of the block would wrap around into is left out.
    hop = BLOCK - TAPS + 1
    blocks = -(-len(x) // hop)
    before = TAPS - 1 - TAPS // 2
    padded = torch.nn.functional.pad(x, (before, blocks * hop + TAPS - 1 - before - len(x)))
    spectrum = torch.fft.rfft(padded.unfold(0, BLOCK, hop)) * torch.fft.rfft(response, BLOCK)
    filtered: Tensor = torch.fft.irfft(spectrum, BLOCK)[:, TAPS - 1 :].flatten()[: len(x)]
    return filtered


def overlay(x: Tensor, other: Tensor, level: float) -> Tensor:
    """Add another sound at a level in decibels, relative to the first one's. The longer one gives the length.

    Levels are roots of mean squares. The result is made quieter where it would exceed full scale.

    >>> overlay(torch.tensor([0.5, -0.5]), torch.tensor([0.1, 0.1]), level=-6.0206).round(decimals=2)
    tensor([ 0.7500, -0.2500])
    """
    size = max(len(x), len(other))
    scale = (_level(x) + QUIET) / (_level(other) + QUIET) * 10 ** (level / 20)
    total = torch.nn.functional.pad(x, (0, size - len(x))) + scale * torch.nn.functional.pad(
        other, (0, size - len(other))
    )
    return total / total.abs().max().clamp(min=1)


def _level(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def _fft_size(samples: int) -> int:
    """The next length whose transform is fast: 2^a, or 3 or 5 times that."""
    power = max(16, 1 << max(0, samples - 1).bit_length())
    return min(size for size in (power * 5 // 8, power * 3 // 4, power) if size >= samples)
