"""Augmentation: all steps that turn a clip into the input of the network during training, in order.

The chain has three stages:

- :func:`build_example` in this file, one clip at a time, on the CPU:
  excerpt -> gain -> cut to the window -> mix with other clips -> room, background, filter -> end early;
- :func:`spectag.train.inputs.build_inputs`, a batch at a time, on the training device:
  fbank -> equalise -> pad -> mask -> normalise -> add noise -> roll;
- :func:`spectag.train.patches.draw_patches`, a batch at a time: choose the patches that the network sees.

What moves sounds in time moves their events along (:mod:`spectag.train.events`); a mask in time leaves them, since it
hides a sound from the network and not from the one who listens.

Each augmentation is a pair of functions. For example, ``draw_gain`` draws random parameters from a
NumPy generator, and ``gain`` applies given parameters to a tensor. All random numbers are drawn on the CPU, so a seed
gives the same result on every device. The order of the draws must not change: otherwise older runs could not be
resumed.

To add an augmentation, write its two functions, call them in the right place of a stage, and add its limits to
:class:`spectag.train.sections.AugmentRecipe`. It must not draw any numbers while it is off. (Mixing and the early end
are exceptions: for compatibility with older runs, they each draw one number even while they are off.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from spectag.audio.front_end import FRAME
from spectag.train.acoustics import (
    add_background,
    draw_background,
    draw_filter,
    draw_room,
    filter_sound,
    overlay,
    reverberate,
)
from spectag.train.events import Sound, excerpt_events, label_mixture
from spectag.train.rng import Rng
from spectag.train.sections import AugmentRecipe

MIN_PERIOD = 1600  # samples = 0.1 s: the shortest clip that an excerpt repeats; shorter ones are padded first
QUIET = 1e-4  # full scale = 1: -80 dB, added to levels so that their ratio stays finite

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
    >>> recipe = spectag.train.sections.AugmentRecipe(gain_db=6.0)
    >>> example = build_example(0, clips.__getitem__, 2, 1600, recipe, np.random.default_rng(0))
    >>> example.waveform.shape, example.target
    (torch.Size([1600]), tensor([1., 0.]))
    """

    def vary(clip: Sound) -> Sound:
        waveform, events = clip.waveform, clip.events
        if recipe.pause_rate and rng.random() < recipe.pause_rate:
            waveform = functional.pad(waveform, (0, max(0, samples - len(waveform))))
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
    if recipe.mix_law == "overlay":
        for partner, level in draw_overlay(clips, recipe, rng):
            other = vary(read_clip(partner))
            waveform = overlay(waveform, other.waveform, level)
            parts.append((other, 1.0))
    elif (mixing := draw_mixing(clips, recipe.mix_rate, recipe.mix_alpha, rng)) is not None:
        other = read_clip(mixing.partner)
        mix_waveforms = mix if recipe.mix_law == "linear" else mix_between
        other = vary(other)
        waveform = mix_waveforms(waveform, other.waveform, mixing.share)
        parts = [(clip, mixing.share), (other, 1 - mixing.share)]
    waveform = record(waveform, recipe, rng)
    waveform = waveform[: draw_length(len(waveform), recipe.short_rate, rng)]
    return Sound(waveform, *label_mixture(parts, len(waveform)))


def record(x: Tensor, recipe: AugmentRecipe, rng: Rng) -> Tensor:
    """Let a sound be heard in a random room, before a random background, through a random filter.

    >>> record(torch.ones(4), AugmentRecipe(), np.random.default_rng(0))  # the recipe has none of them
    tensor([1., 1., 1., 1.])
    """
    if recipe.room_rate and rng.random() < recipe.room_rate:
        x = reverberate(x, draw_room(rng))
    if recipe.background_rate and rng.random() < recipe.background_rate:
        x = add_background(x, draw_background(len(x), rng))
    if recipe.filter_db:
        x = filter_sound(x, draw_filter(recipe.filter_db, rng))
    return x


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


def draw_overlay(clips: int, recipe: AugmentRecipe, rng: Rng) -> list[tuple[int, float]]:
    """Draw the clips that are laid over the first one, and their levels in decibels relative to it.

    With probability ``mix_rate`` there are 1 to ``mix_most - 1`` of them.

    >>> draw_overlay(1, AugmentRecipe(mix_rate=1.0, mix_db=0.0), np.random.default_rng(0))
    [(0, 0.0)]
    """
    if rng.random() >= recipe.mix_rate:
        return []
    others = int(rng.integers(1, recipe.mix_most))
    return [(int(rng.integers(clips)), rng.uniform(-recipe.mix_db, recipe.mix_db)) for _ in range(others)]


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
