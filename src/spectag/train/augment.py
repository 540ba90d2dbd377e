"""Augmentation: all steps that turn a clip into the input of the network during training, in order.

The chain has three stages, of which the first two are the first functions in this file:

- :func:`build_example`, one clip at a time, on the CPU:
  excerpt -> gain -> cut to the window -> mix with another clip -> end early;
- :func:`build_inputs`, a batch at a time, on the training device:
  fbank -> equalise -> pad -> mask -> normalise -> add noise -> roll;
- :func:`spectag.train.patches.draw_patches`, a batch at a time: choose the patches that the network sees.

What moves sounds in time moves their events along (:mod:`spectag.train.events`); a mask in time leaves them, since it
hides a sound from the network and not from the one who listens.

Below the stages, each augmentation is a pair of functions. For example, ``draw_gain`` draws random parameters from a
NumPy generator, and ``gain`` applies given parameters to a tensor. All random numbers are drawn on the CPU, so a seed
gives the same result on every device. The order of the draws must not change: otherwise older runs could not be
resumed.

To add an augmentation, write its two functions, call them in the right place of a stage, and add its limits to
:class:`spectag.train.recipe.AugmentRecipe`. It must not draw any numbers while it is off. (Mixing and the early end are
exceptions: for compatibility with older runs, they each draw one number even while they are off.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spectag.audio.fbank import fbank, normalise
from spectag.audio.front_end import FRAME, FrontEnd
from spectag.train.events import Sound, excerpt_events, label_mixture
from spectag.train.recipe import AugmentRecipe
from spectag.train.rng import BatchRng, Rng

MIN_PERIOD = 1600  # samples = 0.1 s: the shortest clip that an excerpt repeats; shorter ones are padded first
QUIET = 1e-4  # full scale = 1: -80 dB, added to levels so that their ratio stays finite
KNOTS = 6  # points of a random equaliser curve

ReadClip = Callable[[int], Sound]
"""Reads the clip of an index."""


def build_example(index: int, read_clip: ReadClip, clips: int, samples: int, recipe: AugmentRecipe, rng: Rng) -> Sound:
    """Build a training example from a clip and, if the recipe mixes, another one.

    Args:
        index: of the clip.
        read_clip: reads it, and the clip that is mixed in.
        clips: number of clips that the other one is drawn from.
        samples: length of the network's window.
        recipe: which augmentations to apply.
        rng: draws all random numbers.

    Returns:
        the example: ``waveform [1..samples]``, ``target [C]``, 0..1, and its events, if those of all its clips are
        known. The target is that of the whole clips, except where their events are known: then it is what is heard in
        the example.

    >>> clips = [Sound(torch.ones(4000), torch.tensor([1.0, 0.0])), Sound(torch.zeros(4000), torch.tensor([0.0, 1.0]))]
    >>> recipe = spectag.train.recipe.AugmentRecipe(gain_db=6.0)
    >>> example = build_example(0, clips.__getitem__, 2, 1600, recipe, np.random.default_rng(0))
    >>> example.waveform.shape, example.target
    (torch.Size([1600]), tensor([1., 0.]))
    """

    def vary(clip: Sound) -> Sound:
        waveform, events = clip.waveform, clip.events
        if recipe.excerpt:
            drawn = draw_excerpt(recipe.speed, rng)
            if events is not None:
                period = find_period(waveform, drawn.silence)
                events = excerpt_events(events, period, drawn.start * period, drawn.rate, samples)
            waveform = excerpt(waveform, samples, drawn)
        if recipe.gain_db:
            waveform = gain(waveform, draw_gain(recipe.gain_db, rng))
        return Sound(waveform[:samples], clip.target, events)

    clip = vary(read_clip(index))
    waveform, parts = clip.waveform, [(clip, 1.0)]
    mixing = draw_mixing(clips, recipe.mix_rate, recipe.mix_alpha, rng)
    if mixing is not None:
        other = read_clip(mixing.partner)
        mix_waveforms = mix if recipe.mix_law == "linear" else mix_between
        other = vary(other)
        waveform = mix_waveforms(waveform, other.waveform, mixing.share)
        parts = [(clip, mixing.share), (other, 1 - mixing.share)]
    waveform = waveform[: draw_length(len(waveform), recipe.short_rate, rng)]
    return Sound(waveform, *label_mixture(parts, len(waveform)))


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


# Waveforms: one clip [N]


class Excerpt(NamedTuple):
    """Where an excerpt of a clip begins, and how fast it is played.

    Args:
        silence: share of the silence at the clip's end that is kept, 0..1.
        rate: playback rate; 2 plays twice as fast, an octave higher.
        start: where the excerpt begins, as a share of the clip without the silence that is not kept, 0..1.
    """

    silence: float
    rate: float
    start: float


def draw_excerpt(speed: float, rng: Rng) -> Excerpt:
    """Draw an excerpt. Its rate is log-uniform in ``[1 / speed, speed]``, and the other values are uniform.

    >>> draw_excerpt(1.0, np.random.default_rng(0)).rate
    1.0
    """
    silence = rng.uniform()
    rate = speed ** rng.uniform(-1, 1)
    return Excerpt(silence, rate, rng.uniform())


def excerpt(x: Tensor, samples: int, drawn: Excerpt) -> Tensor:
    """Take an excerpt ``[samples]`` of a clip ``[N]``. It wraps around at the end of the clip.

    Sample ``n`` is the clip at ``(start * period + rate * n) mod period``, interpolated linearly, see
    :func:`find_period`. The silence is shortened because some data sets pad short sounds with zeros. A short sound is
    thus repeated with pauses of random length.

    >>> excerpt(torch.arange(4000.0), 3, Excerpt(silence=1.0, rate=2.0, start=0.5))
    tensor([2000., 2002., 2004.])
    """
    period = find_period(x, drawn.silence)
    place = drawn.start * period + drawn.rate * torch.arange(samples, dtype=torch.float64)
    place = (place - period * (place / period).floor()).clamp_min_(0)  # place % period, which is several times slower
    left = place.int()
    x = functional.pad(x, (0, max(0, int(period) + 2 - len(x))))
    return torch.lerp(x.index_select(0, left), x.index_select(0, left + 1), (place - left).float())


def find_period(x: Tensor, silence: float) -> float:
    """Samples after which a clip ``[N]`` repeats: ``max(MIN_PERIOD, sound + silence * (N - sound))``.

    Sound is the length without the zeros at the end.

    >>> find_period(torch.tensor([1.0] * 2000 + [0.0] * 1000), silence=0.5)
    2500.0
    """
    sounding = x.numpy() != 0
    sound = len(x) - int(sounding[::-1].argmax()) if sounding.any() else len(x)
    return max(MIN_PERIOD, sound + silence * (len(x) - sound))


def draw_gain(limit: float, rng: Rng) -> float:
    """Draw a gain in decibels, uniform in ``[-limit, limit]``.

    >>> draw_gain(0.0, np.random.default_rng(0))
    0.0
    """
    return rng.uniform(-limit, limit)


def gain(x: Tensor, decibels: float) -> Tensor:
    """``x * 10 ** (decibels / 20)``.

    >>> gain(torch.ones(2), 20.0)
    tensor([10., 10.])
    """
    return x * float(10 ** (decibels / 20))


class Mixing(NamedTuple):
    """The index of the clip that is mixed in, and the share of the first clip in the mixture, 0..1.

    >>> Mixing(partner=3, share=0.5).partner
    3
    """

    partner: int
    share: float


def draw_mixing(clips: int, rate: float, alpha: float, rng: Rng) -> Mixing | None:
    """Draw, with probability ``rate``, a clip to mix in, and ``share ~ Beta(alpha, alpha)``; None for no mixing.

    The clip is drawn uniformly from the whole data set, as in the released code, even if balanced sampling is on.

    >>> draw_mixing(1, 1.0, 10.0, np.random.default_rng(0)).partner
    0
    """
    if rng.random() >= rate:
        return None
    partner = int(rng.integers(clips))
    return Mixing(partner, rng.beta(alpha, alpha))


def mix(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Mixup of waveforms (the paper): ``share * a + (1 - share) * b``, each minus its mean, the shorter zero-padded.

    >>> mix(torch.tensor([1.0, -1.0]), torch.tensor([2.0, -2.0]), 0.75)
    tensor([ 1.2500, -1.2500])
    """
    a, b = _align(a, b)
    return share * a + (1 - share) * b


def mix_between(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Between-class mixing (Tokozume et al. 2018): the levels of the clips are equalised, and the power is kept.

    ``(p a + (1 - p) b) / sqrt(p^2 + (1 - p)^2)`` with ``p = 1 / (1 + level_a / level_b * (1 - share) / share)``; a
    level is the root of the mean square. The shorter clip is padded with zeros.

    >>> mix_between(torch.tensor([1.0, -1.0]), torch.tensor([2.0, -2.0]), 0.5)  # as loud as each other
    tensor([ 1.7889, -1.7889])
    """
    a, b = _align(a, b)
    level_a = float(a.square().mean().sqrt()) + QUIET
    level_b = float(b.square().mean().sqrt()) + QUIET
    p = 1 / (1 + level_a / level_b * (1 - share) / max(share, QUIET))
    norm = float((p**2 + (1 - p) ** 2) ** 0.5)
    return p / norm * a + (1 - p) / norm * b


def _align(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract the mean of each clip, and pad the shorter one with zeros."""
    size = max(len(a), len(b))
    return functional.pad(a - a.mean(), (0, size - len(a))), functional.pad(b - b.mean(), (0, size - len(b)))


def draw_length(samples: int, rate: float, rng: Rng) -> int:
    """Draw the length of a clip: with probability ``rate`` uniform in ``[FRAME, samples]``, otherwise ``samples``.

    The network thus learns to handle the padding of short recordings.

    >>> draw_length(16000, 0.0, np.random.default_rng(0))
    16000
    """
    if rng.random() < rate and samples > FRAME:
        return int(rng.integers(FRAME, samples + 1))
    return samples


# Spectrograms: a batch [B, T, F]


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
