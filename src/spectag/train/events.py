"""When the labels of a training example are heard: events that move with the sound through the augmentation.

Events are a tensor ``[E, 4]``, float64: the label, its onset and its offset in samples, and its share in the mixture.
No two events of one label and one clip overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spectag.audio.read import SAMPLE_RATE
from spectag.data.manifest import Clip


class Sound(NamedTuple):
    """A clip, or an example that is made of clips.

    Args:
        waveform: ``[N]``.
        target: ``[C]``, 0..1.
        events: ``[E, 4]``; None if it is not known when its labels are heard.

    >>> Sound(torch.zeros(4), torch.ones(1)).events is None
    True
    """

    waveform: Tensor
    target: Tensor
    events: Tensor | None = None


def events_of(clip: Clip) -> Tensor | None:
    """The events of a clip ``[E, 4]``; None if they are not known. A clip without labels has none.

    >>> events_of(Clip("1.wav", Path("1.wav"), (0,), events=((0, 0.5, 1.0),)))
    tensor([[0.0000e+00, 8.0000e+03, 1.6000e+04, 1.0000e+00]],
           dtype=torch.float64)
    """
    if clip.events is None:
        return None if clip.labels else torch.empty(0, 4, dtype=torch.float64)
    rows = [(label, onset * SAMPLE_RATE, offset * SAMPLE_RATE, 1.0) for label, onset, offset in clip.events]
    return torch.tensor(rows, dtype=torch.float64).view(-1, 4)


def excerpt_events(events: Tensor, period: float, start: float, rate: float, samples: int) -> Tensor:
    """Move events as :func:`spectag.train.augment.excerpt` moves the sound.

    An excerpt repeats the first ``period`` samples of a clip, so an event may be heard several times.

    Args:
        events: ``[E, 4]``, of the clip.
        period: samples after which the clip repeats.
        start: sample of the clip at which the excerpt begins.
        rate: playback rate.
        samples: length of the excerpt.

    >>> event = torch.tensor([[0.0, 100.0, 300.0, 1.0]])
    >>> excerpt_events(event, period=1000, start=200, rate=2.0, samples=1000)[:, 1:3]
    tensor([[   0.,   50.],
            [ 450.,  550.],
            [ 950., 1000.]])
    """
    events = cut_events(events, period)
    rounds = torch.arange(int((start + rate * samples) // period) + 1, dtype=events.dtype)
    moved = events.repeat_interleave(len(rounds), 0)
    moved[:, 1:3] = (moved[:, 1:3] + (rounds * period - start).repeat(len(events))[:, None]) / rate
    return cut_events(moved, samples)


def cut_events(events: Tensor, length: float) -> Tensor:
    """Cut events ``[E, 4]`` to the samples from 0 to a length. Those beyond are left out.

    >>> cut_events(torch.tensor([[0.0, -5.0, 5.0, 1.0], [1.0, 8.0, 12.0, 1.0]]), 8)
    tensor([[0., 0., 5., 1.]])
    """
    events = torch.cat([events[:, :1], events[:, 1:3].clamp(0, length), events[:, 3:]], 1)
    return events[events[:, 1] < events[:, 2]]


def label_mixture(parts: Sequence[tuple[Sound, float]], length: int) -> tuple[Tensor, Tensor | None]:
    """Label an example that is made of clips.

    Args:
        parts: the clips, moved as their sounds are, and their shares; 1 for each if they are simply added up.
        length: of the example in samples.

    Returns:
        the target ``[C]``, 0..1, which is the mixture of the clips' targets (their sum, at most 1); and the events
        ``[E, 4]``, which are those of all clips; None if those of one are not known. A label whose events all lie
        outside of the example does not count.

    >>> owl = Sound(torch.ones(100), torch.tensor([1.0, 0.0]))
    >>> fox = Sound(torch.ones(100), torch.tensor([0.0, 1.0]), torch.tensor([[1.0, 50.0, 80.0, 1.0]]))
    >>> label_mixture([(owl, 0.75), (fox, 0.25)], length=100)
    (tensor([0.7500, 0.2500]), None)
    >>> label_mixture([(fox, 1.0)], length=50)[0]
    tensor([0., 0.])
    """
    targets, events = [], []
    for sound, share in parts:
        target = sound.target
        if sound.events is not None:
            found = cut_events(sound.events, length)
            target = torch.zeros_like(target).index_fill_(0, found[:, 0].long(), 1)
            events.append(torch.cat([found[:, :3], found[:, 3:] * share], 1))
        targets.append(target if len(parts) == 1 else share * target)
    target = targets[0] if len(parts) == 1 else torch.stack(targets).sum(0).clamp(max=1)
    return target, torch.cat(events) if len(events) == len(parts) else None
