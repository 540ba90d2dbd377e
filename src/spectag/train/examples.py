"""Clips -> waveforms and targets: the memory of decoded waveforms, the order of an epoch, one training example."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from spectag.audio.fbank import FRAME, HOP, FrontEnd, num_frames
from spectag.audio.read import Source, read
from spectag.data.manifest import Clip, Manifest
from spectag.errors import AudioError
from spectag.train import augment
from spectag.train.recipe import AugmentRecipe


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

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]  # no slices
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        waveform = torch.from_numpy(read(self.clips[index].source))
        self._keep(index, waveform)
        return waveform

    @property
    def complete(self) -> bool:
        """Whether nothing is left to decode."""
        return len(self._kept) == len(self.clips)

    def preload(self, threads: int = 2) -> list[AudioError]:
        """Decode in parallel until everything is kept or the memory is used up; the errors of what cannot be read."""

        def error(index: int) -> AudioError | None:
            try:
                self[index]
            except AudioError as error:
                return error
            return None

        errors: list[AudioError] = []
        with ThreadPoolExecutor(threads) as pool:
            for start in range(0, len(self), 4 * threads):
                if self._full:
                    break
                chunk = range(start, min(start + 4 * threads, len(self)))
                errors += [e for e in pool.map(error, chunk) if e is not None]
        return errors

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


class Draw(NamedTuple):
    """Which clip comes next, and the seed of everything that is random about it."""

    clip: int
    seed: int


class EpochSampler(Sampler[Draw]):
    """Every clip once per epoch, in an order that depends on the seed and the epoch only.

    Lightning calls ``set_epoch``; the seeds make each example the same whichever worker builds it.
    """

    def __init__(self, clips: int, seed: int) -> None:
        self.clips = clips
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose which epoch's order the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.clips

    def __iter__(self) -> Iterator[Draw]:
        rng = augment.rng(self.seed, self.epoch)
        order, seeds = rng.permutation(self.clips), rng.integers(2**62, size=self.clips)
        return (Draw(int(clip), int(seed)) for clip, seed in zip(order, seeds, strict=True))


class Example(NamedTuple):
    """One training example, or a batch of them with a leading axis.

    Args:
        waveform: ``[N]``, as long as the network's window, zeros at the end.
        frames: how many frames of its fbank are sound, the rest being padding.
        target: ``[C]``, 0..1.
    """

    waveform: Tensor
    frames: Tensor
    target: Tensor


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
        waveform, target = self._one(draw.clip, rng), self.targets[draw.clip]
        if rng.random() < self.recipe.mix_rate:
            # Drawn uniformly from the whole set, as the released code does also under balanced sampling.
            partner = int(rng.integers(len(self)))
            share = rng.beta(self.recipe.mix_alpha, self.recipe.mix_alpha)
            law = augment.mix if self.recipe.mix_law == "linear" else augment.mix_between
            waveform = law(waveform, self._one(partner, rng), share)
            target = share * target + (1 - share) * self.targets[partner]
        if rng.random() < self.recipe.short_rate:
            waveform = waveform[: int(rng.integers(FRAME, len(waveform) + 1))] if len(waveform) > FRAME else waveform
        padded = torch.nn.functional.pad(waveform, (0, self.samples - len(waveform)))
        return Example(padded, torch.tensor(num_frames(len(waveform))), target)

    def _one(self, index: int, rng: augment.Rng) -> Tensor:
        return augment.waveform(self.waveforms[index], self.samples, self.recipe, rng)


def targets(manifest: Manifest) -> Tensor:
    """``[clips, C]`` float32 of 0 and 1."""
    out = torch.zeros(len(manifest), len(manifest.labels))
    for row, clip in enumerate(manifest.clips):
        out[row, list(clip.labels)] = 1
    return out


def statistics(waveforms: Iterable[Tensor], front_end: FrontEnd) -> tuple[float, float]:
    """Mean and standard deviation of the fbank over all frames and bins, exact (float64 sums), one clip at a time."""
    count, total, squares = 0, 0.0, 0.0
    for waveform in waveforms:
        x = front_end.fbank(waveform)[: front_end.frames].double()
        count += x.numel()
        total += float(x.sum())
        squares += float(x.square().sum())
    mean = total / count
    return mean, (squares / count - mean**2) ** 0.5
