"""Mean and standard deviation of the fbank over a data set: what inputs are normalised with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spectag.ahead import Watch, in_order
from spectag.audio.read import open as open_recording
from spectag.audio.source import Source
from spectag.errors import AudioError, DataError, InputError, SpectagError

if TYPE_CHECKING:
    from spectag.audio.front_end import FrontEnd


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations from it; a sum of two is that of both together.

    Chan's formula: nothing large is subtracted from something large, so the deviation of a constant is 0 exactly.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        apart = other.mean - self.mean
        return Moments(
            count,
            self.mean + apart * (other.count / count),
            self.squares + other.squares + apart**2 * (self.count * other.count / count),
        )

    @property
    def std(self) -> float:
        """Standard deviation of what was counted (not an estimate for more)."""
        return math.sqrt(self.squares / self.count)


@dataclass(frozen=True)
class Statistics:
    """What was measured.

    Args:
        mean, std: of the fbank, over all frames and bins, in natural log units.
        frames: of 10 ms, how many were measured.
        failed: the errors of clips that could not be read and were left out.
    """

    mean: float
    std: float
    frames: int
    failed: tuple[SpectagError, ...] = ()


def statistics(
    sources: Iterable[Source],
    front_end: FrontEnd,
    jobs: int = 1,
    *,
    frames: int | None = None,
    watch: Watch[Moments | SpectagError] = lambda results: results,
) -> Statistics:
    """Measure the fbank of clips, neither masked nor mixed nor padded, each frame and bin weighing the same.

    In float64, a clip at a time and a clip in pieces; bit for bit the same for any number of jobs.

    Args:
        sources: what :func:`spectag.audio.read.open` takes, waveforms ``[N]`` included; drawn one by one.
        front_end: whose window and bands are used; not its own statistics, nor its number of frames.
        jobs: threads.
        frames: only the first so many of each clip; None for all.
        watch: what the clips' results pass through, a progress bar say.

    Raises:
        DataError: no clip could be read.
    """
    import torch

    from spectag.audio.fbank import fbank_blocks
    from spectag.audio.front_end import FRAME, HOP

    most = None if frames is None else FRAME + (frames - 1) * HOP  # samples

    @torch.inference_mode()
    def measured(source: Source) -> Moments | SpectagError:
        total = Moments()
        try:
            for piece in fbank_blocks(_first(open_recording(source).blocks(), most), front_end):
                variance, mean = torch.var_mean(piece.double(), correction=0)
                total += Moments(piece.numel(), float(mean), float(variance) * piece.numel())
        except (AudioError, InputError) as error:  # InputError: times that make no stretch
            return error
        return total

    total, failed = Moments(), []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the clips are what is shared out, and sums must not depend on more
    try:
        for result in watch(in_order(measured, sources, jobs)):
            if isinstance(result, SpectagError):
                failed.append(result)
            else:
                total += result
    finally:
        torch.set_num_threads(threads)
    if not total.count:
        reason = f"; the first: {failed[0]}" if failed else ": there are none"
        raise DataError(f"statistics: expected clips, could read none{reason}")
    return Statistics(total.mean, total.std, total.count // front_end.mel_bins, tuple(failed))


def _first(pieces: Iterable[NDArray[np.float32]], most: int | None) -> Iterator[NDArray[np.float32]]:
    """The first ``most`` samples; nothing is read past the piece that holds the last of them."""
    for piece in pieces:
        yield piece if most is None else piece[:most]
        if most is not None:
            most -= len(piece)
            if most <= 0:
                return
