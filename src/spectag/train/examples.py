"""Clips -> waveforms and targets: the memory of decoded waveforms, one training example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from spectag.audio.fbank import fbank
from spectag.audio.front_end import FRAME, HOP, FrontEnd, num_frames
from spectag.audio.read import SAMPLE_RATE, read
from spectag.audio.source import Segment, Source
from spectag.data.manifest import Clip, Manifest
from spectag.errors import AudioError, DataError
from spectag.train import augment
from spectag.train.recipe import AugmentRecipe
from spectag.train.sampler import Draw


class Waveforms(Sequence[Tensor]):
    """The waveforms ``[N]`` of some clips by position; decoded and resampled once while they fit the memory given.

    Args:
        clips: whose waveforms.
        cache_bytes: memory for decoded waveforms; what does not fit is decoded at every access.

    Raises:
        AudioError: on access, a clip that cannot be read.
    """

    def __init__(self, clips: Sequence[Clip], cache_bytes: float) -> None:
        self.clips = clips
        self._left = cache_bytes
        self._full = False
        self._kept: dict[int, Tensor] = {}
        self.failed: dict[int, AudioError] = {}  # what could not be read, as far as it was tried

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]  # no slices
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        if index in self.failed:
            raise self.failed[index]
        try:
            waveform = torch.from_numpy(read(self.clips[index].source))
        except AudioError as error:
            self.failed[index] = error
            raise
        self._keep(index, waveform)
        return waveform

    @property
    def complete(self) -> bool:
        """Whether nothing is left to decode."""
        return len(self._kept) + len(self.failed) == len(self.clips)

    def preload(self, threads: int = 2) -> None:
        """Decode in parallel until everything is kept or the memory is used up; a file of several clips once."""
        files = [
            list(group) for _, group in groupby(range(len(self)), lambda i: (self.clips[i].path, self.clips[i].place))
        ]
        with ThreadPoolExecutor(threads) as pool:
            for start in range(0, len(files), 4 * threads):
                if self._full:
                    break
                list(pool.map(self._load, files[start : start + 4 * threads]))

    def _load(self, indices: list[int]) -> None:
        """Keep the clips of one file."""
        pieces = [(i, part) for i in indices if isinstance(part := self.clips[i].source, Segment)]
        if len(pieces) > 1:
            ends = [part.end for _, part in pieces if part.end is not None]
            with suppress(AudioError):  # which clips it costs shows below
                whole = read(Segment(pieces[0][1].file, 0.0, max(ends) if len(ends) == len(pieces) else None))
                for index, part in pieces:
                    end = None if part.end is None else round(part.end * SAMPLE_RATE)
                    waveform = whole[round(part.start * SAMPLE_RATE) : end]
                    if len(waveform):
                        self._keep(index, torch.from_numpy(waveform.copy()))
        for index in indices:
            with suppress(AudioError):  # kept in ``failed``
                self[index]

    def sources(self) -> Iterator[Source | NDArray[np.float32]]:
        """For each clip its waveform as an array, or where to read what is not kept: nothing is decoded."""
        for index, clip in enumerate(self.clips):
            kept = self._kept.get(index)
            yield clip.source if kept is None else kept.numpy()

    def _keep(self, index: int, waveform: Tensor) -> None:
        if waveform.nbytes > self._left:
            self._full = True
        elif not self._full:
            self._left -= waveform.nbytes
            self._kept[index] = waveform


class Example(NamedTuple):
    """One training example, or a batch of them with a leading axis.

    Args:
        waveform: ``[N]``, as long as the network's window, zeros at the end.
        frames: how many frames of its fbank are sound, the rest being padding.
        target: ``[C]``, 0..1.
        clip: index of the clip drawn.
        broken: ``[2]``, indices of clips drawn that could not be read, so that others stand in for them; -1 for none.
    """

    waveform: Tensor
    frames: Tensor
    target: Tensor
    clip: Tensor
    broken: Tensor


class TrainingClips(Dataset[Example]):
    """Training examples: drawn, augmented as waveforms, mixed, cut or padded to the window.

    Args:
        waveforms: of the training clips.
        targets: ``[clips, C]``.
        front_end: whose window decides the length.
        recipe: what happens to a clip.
    """

    def __init__(self, waveforms: Waveforms, targets: Tensor, front_end: FrontEnd, recipe: AugmentRecipe) -> None:
        self.waveforms = waveforms
        self.targets = targets
        self.samples = FRAME + (front_end.frames - 1) * HOP
        self.recipe = recipe

    def __len__(self) -> int:
        return len(self.waveforms)

    def __getitem__(self, draw: Draw) -> Example:
        rng = augment.rng(draw.seed)
        broken: list[int] = []
        waveform, target = self._one(draw.clip, rng, broken)
        if rng.random() < self.recipe.mix_rate:
            # Drawn uniformly from the whole set, as the released code does also under balanced sampling.
            partner = int(rng.integers(len(self)))
            share = rng.beta(self.recipe.mix_alpha, self.recipe.mix_alpha)
            law = augment.mix if self.recipe.mix_law == "linear" else augment.mix_between
            other, other_target = self._one(partner, rng, broken)
            waveform = law(waveform, other, share)
            target = share * target + (1 - share) * other_target
        if rng.random() < self.recipe.short_rate:
            waveform = waveform[: int(rng.integers(FRAME, len(waveform) + 1))] if len(waveform) > FRAME else waveform
        padded = torch.nn.functional.pad(waveform, (0, self.samples - len(waveform)))
        numbers = (num_frames(len(waveform)), draw.clip, [*broken, -1, -1][:2])
        frames, clip, odd = map(torch.tensor, numbers)
        return Example(padded, frames, target, clip, odd)

    def _one(self, index: int, rng: augment.Rng, broken: list[int]) -> tuple[Tensor, Tensor]:
        """Waveform and target of a clip, or of the next one that can be read; what cannot joins ``broken``."""
        for place in chain(range(index, len(self)), range(index)):
            try:
                x = self.waveforms[place]
            except AudioError:
                broken.append(place)
                continue
            return augment.waveform(x, self.samples, self.recipe, rng), self.targets[place]
        raise DataError(
            f"not one of {len(self)} training clips can be read; the first error: {self.waveforms.failed[0]}"
        )


def targets(manifest: Manifest) -> Tensor:
    """``[clips, C]`` float32 of 0 and 1."""
    out = torch.zeros(len(manifest), len(manifest.labels))
    for row, clip in enumerate(manifest.clips):
        out[row, list(clip.labels)] = 1
    return out


def statistics(waveforms: Waveforms, front_end: FrontEnd) -> tuple[float, float]:
    """Mean and standard deviation of the fbank over all frames and bins, exact (float64 sums), one clip at a time.

    Clips that cannot be read are passed over.

    Raises:
        DataError: none can be read.
    """
    count, total, squares = 0, 0.0, 0.0
    for index in range(len(waveforms)):
        with suppress(AudioError):
            x = fbank(waveforms[index], window=front_end.window, mel_bins=front_end.mel_bins)
            x = x[: front_end.frames].double()
            count += x.numel()
            total += float(x.sum())
            squares += float(x.square().sum())
    if not count:
        raise DataError(f"not one of {len(waveforms)} training clips can be read; the first: {waveforms.failed[0]}")
    mean = total / count
    std = max(0.0, squares / count - mean**2) ** 0.5
    if not std:
        raise DataError(f"all {len(waveforms)} training clips are one and the same constant, digital silence perhaps")
    return mean, std
