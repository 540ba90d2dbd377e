"""Training examples: decoded waveforms in memory, the example that a draw stands for, and batches of examples."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, groupby, takewhile
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from spectag.ahead import in_order
from spectag.audio.front_end import FRAME, HOP, FrontEnd, num_frames
from spectag.audio.segments import read_segments
from spectag.audio.source import Segment, Source
from spectag.choices import THRESHOLD
from spectag.data.manifest import Clip
from spectag.errors import AudioError, AudioWarning, DataError, InputError
from spectag.train.augment import build_example
from spectag.train.events import Sound, events_of
from spectag.train.rng import Rng, make_rng
from spectag.train.sampler import Draw
from spectag.train.sections import AugmentRecipe
from spectag.train.stand_ins import StandIns


class Waveforms(Sequence[Tensor]):
    """The waveforms ``[N]`` of clips, by position. Each is decoded and resampled once, if it fits into memory.

    Args:
        clips: the clips to read.
        cache_bytes: memory for decoded waveforms. Clips that do not fit are decoded at every access.

    Raises:
        AudioError: on access to a clip that cannot be read. It is not tried again.

    >>> Waveforms([], cache_bytes=1e9).complete
    True
    """

    def __init__(self, clips: Sequence[Clip], cache_bytes: float) -> None:
        self.clips = clips
        self._left = cache_bytes
        self._full = False
        self._kept: dict[int, Tensor] = {}
        self.failed: dict[int, AudioError] = {}  # by position; only what this process has tried to read

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]  # no slices
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        if index in self.failed:
            raise self.failed[index]
        [found] = read_segments([self.clips[index].source], _warn)
        if isinstance(found, Exception):
            if isinstance(found, AudioError):
                self.failed[index] = found
            raise found
        waveform = torch.from_numpy(found)
        self._keep(index, waveform)
        return waveform

    @property
    def complete(self) -> bool:
        """Whether all clips were decoded or failed."""
        return len(self._kept) + len(self.failed) == len(self.clips)

    def preload(self, threads: int = 2) -> None:
        """Decode clips in parallel until all are in memory, or the memory is full.

        A file that holds several clips is decoded once.
        """
        positions = range(len(self))
        files = [list(group) for _, group in groupby(positions, lambda i: (self.clips[i].path, self.clips[i].place))]
        for _ in in_order(self._load, takewhile(lambda _: not self._full, files), threads):
            pass

    def _load(self, indices: list[int]) -> None:
        """Load the clips of one file. The file is decoded once for all of its segments."""
        segments = [i for i in indices if isinstance(self.clips[i].source, Segment)]
        segments.sort(key=lambda i: self.clips[i].start or 0.0)
        for index, found in zip(segments, read_segments([self.clips[i].source for i in segments], _warn), strict=True):
            if isinstance(found, InputError):
                raise found
            if isinstance(found, AudioError):
                self.failed[index] = found
            else:
                self._keep(index, torch.from_numpy(found))
            if self._full:  # the rest of a long file need not be decoded
                return
        for index in set(indices).difference(segments):
            with suppress(AudioError):  # kept in ``failed``
                self[index]

    def sources(self) -> Iterator[Source | NDArray[np.float32]]:
        """Yield the waveform of each clip that is in memory, and the source of each other clip. Nothing is decoded."""
        for index, clip in enumerate(self.clips):
            kept = self._kept.get(index)
            yield clip.source if kept is None else kept.numpy()

    def _keep(self, index: int, waveform: Tensor) -> None:
        if waveform.nbytes > self._left:
            self._full = True
        elif not self._full:
            self._left -= waveform.nbytes
            self._kept[index] = waveform


def _warn(note: str) -> None:
    warnings.warn(note, AudioWarning, stacklevel=2)


class Unreadable(NamedTuple):
    """A clip that was drawn but could not be read.

    Args:
        clip: its id.
        error: the error of reading it. ``str(error)`` is one line that names the file.

    >>> str(Unreadable("1.wav", AudioError("1.wav", "no decoder recognises it")).error)
    '1.wav: no decoder recognises it'
    """

    clip: str
    error: AudioError


class Example(NamedTuple):
    """One training example.

    Args:
        waveform: ``[N]``, as long as the network's window, zeros at the end.
        frames: number of frames of its fbank that are sound. The others are padding.
        target: ``[C]``, 0..1.
        heard: indices of the clips in it: the one that was drawn, then the one mixed in; or those that stand in for
            them, see :mod:`spectag.train.stand_ins`.
        unreadable: clips that were drawn but could not be read.
        events: when its labels are heard, ``[E, 4]``, see :mod:`spectag.train.events`; None if that is not known.

    >>> Example(torch.zeros(880), frames=4, target=torch.zeros(2), heard=(7,)).unreadable
    ()
    """

    waveform: Tensor
    frames: int
    target: Tensor
    heard: tuple[int, ...]
    unreadable: tuple[Unreadable, ...] = ()
    events: Tensor | None = None


class Batch(NamedTuple):
    """B training examples.

    Args:
        waveform, frames, target: as of an example, ``[B, N]``, ``[B]``, ``[B, C]``.
        heard: the clips in each.
        unreadable: clips of all that could not be read.
        events: of all, ``[E, 5]``: the number of the example, the label, its onset and its offset in frames of 10 ms,
            and its share in the mixture.
        timed: whether the events of an example are known, ``[B]``. None if those of no example are.
        features: those of a teacher, ``[B, D]``, if it has any.

    >>> collate([Example(torch.zeros(880), 4, torch.zeros(2), (7,))]).frames
    tensor([4])
    """

    waveform: Tensor
    frames: Tensor
    target: Tensor
    heard: list[tuple[int, ...]]
    unreadable: list[Unreadable]
    events: Tensor | None = None
    timed: Tensor | None = None
    features: Tensor | None = None


def collate(examples: Sequence[Example]) -> Batch:
    """Make a batch of examples, as the ``collate_fn`` of a data loader.

    >>> batch = collate([Example(torch.zeros(880), 4, torch.zeros(2), (7,))] * 3)
    >>> batch.waveform.shape, batch.heard, batch.unreadable
    (torch.Size([3, 880]), [(7,), (7,), (7,)], [])
    """
    events = [
        functional.pad(example.events * torch.tensor([1, 1 / HOP, 1 / HOP, 1]), (1, 0), value=number).float()
        for number, example in enumerate(examples)
        if example.events is not None
    ]
    return Batch(
        torch.stack([example.waveform for example in examples]),
        torch.tensor([example.frames for example in examples]),
        torch.stack([example.target for example in examples]),
        [example.heard for example in examples],
        [clip for example in examples for clip in example.unreadable],
        torch.cat(events) if events else None,
        torch.tensor([example.events is not None for example in examples]) if events else None,
    )


class TrainingClips(Dataset[Example]):
    """Training examples: augmented waveforms, padded to the network's window. See :mod:`spectag.train.augment`.

    A clip that cannot be read is replaced by another one of its class, which follows from the draw's seed.

    Args:
        waveforms: of the training clips.
        targets: ``[clips, C]``, 0..1.
        front_end: its number of frames decides the length of the examples.
        recipe: which augmentations to apply.

    Raises:
        DataError: on access, none of the clips can be read.

    >>> import soundfile
    >>> soundfile.write("1.wav", np.ones(800) / 2, 16_000)
    >>> waveforms = Waveforms([Clip("1.wav", Path("1.wav"), (0,))], cache_bytes=1e9)
    >>> clips = TrainingClips(waveforms, np.ones((1, 1), np.float32), FrontEnd(frames=10), AugmentRecipe())
    >>> clips[Draw(clip=0, seed=0)].frames  # the other 7 are padding
    3
    """

    def __init__(
        self, waveforms: Waveforms, targets: NDArray[np.float32], front_end: FrontEnd, recipe: AugmentRecipe
    ) -> None:
        self.waveforms = waveforms
        self.targets = torch.from_numpy(targets)
        self.stand_ins = StandIns((targets >= THRESHOLD).astype(np.float32))
        self.samples = FRAME + (front_end.frames - 1) * HOP
        self.recipe = recipe

    def __len__(self) -> int:
        return len(self.waveforms)

    def __getitem__(self, draw: Draw) -> Example:
        heard: list[int] = []
        unreadable: list[Unreadable] = []
        rng_of_stand_ins = make_rng(draw.seed, 1)  # one of their own, so that the example is augmented as it would be

        def read_clip(index: int) -> Sound:
            place, waveform = self._read_or_replace(index, rng_of_stand_ins, unreadable)
            heard.append(place)
            return Sound(waveform, self.targets[place], events_of(self.waveforms.clips[place]))

        waveform, target, events = build_example(
            draw.clip, read_clip, len(self), self.samples, self.recipe, make_rng(draw.seed)
        )
        padded = functional.pad(waveform, (0, self.samples - len(waveform)))
        return Example(padded, num_frames(len(waveform)), target, tuple(heard), tuple(unreadable), events)

    def _read_or_replace(self, index: int, rng: Rng, unreadable: list[Unreadable]) -> tuple[int, Tensor]:
        """A clip or its stand-in: index and waveform. What is found to be unreadable is noted."""
        clips, failed = self.waveforms.clips, self.waveforms.failed
        for place in chain([index], self.stand_ins.draw(index, rng)):
            known = place != index and place in failed  # noted when it was tried first, not with every draw of a class
            try:
                return place, self.waveforms[place]
            except AudioError as error:
                if not known:
                    unreadable.append(Unreadable(clips[place].id, error))
        raise DataError(f"not one of {len(self)} training clips can be read; the first error: {failed[0]}")
