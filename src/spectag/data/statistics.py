"""The mean and standard deviation of the fbank over a data set, with which inputs are normalised."""

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
    """Count, mean, and sum of squared deviations from the mean. The sum of two is that of all values together.

    Chan et al. (1983): with d the difference of the means, ``mean = mean1 + d n2 / n`` and
    ``squares = squares1 + squares2 + d^2 n1 n2 / n``. No large numbers are subtracted from each other, so the deviation
    of a constant is exactly 0.

    >>> (Moments(2, 1.0, 0.0) + Moments(2, 3.0, 0.0)).std
    1.0
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
        """Standard deviation of the values themselves, ``sqrt(squares / count)``."""
        return math.sqrt(self.squares / self.count)


@dataclass(frozen=True)
class FbankStatistics:
    """What :func:`measure_statistics` measured.

    Args:
        mean, std: of the fbank, over all frames and bins, in natural log units.
        frames: number of frames of 10 ms that were measured.
        failed: the errors of the clips that could not be read. These clips are left out.

    >>> FbankStatistics(-6.0, 5.0, 98).failed
    ()
    """

    mean: float
    std: float
    frames: int
    failed: tuple[SpectagError, ...] = ()


def measure_statistics(
    sources: Iterable[Source],
    front_end: FrontEnd,
    jobs: int = 1,
    *,
    frames: int | None = None,
    watch: Watch[Moments | SpectagError] = lambda results: results,
) -> FbankStatistics:
    """Measure the mean and standard deviation of the fbank of clips. Each frame and bin has the same weight.

    The sums are computed in float64 and do not depend on the number of jobs, down to the last bit. Memory use does not
    grow with the length of the clips.

    Args:
        sources: recordings as :func:`spectag.audio.read.open` takes them, including waveforms ``[N]``.
        front_end: its window function and number of bins are used, but not its own statistics or number of frames.
        jobs: number of threads.
        frames: measure only the first N frames of each clip; None for all.
        watch: a function that all results pass through, for example a progress bar.

    Raises:
        DataError: no clip could be read.

    >>> from spectag.audio.front_end import FrontEnd
    >>> silence = np.zeros(16_000, np.float32)
    >>> found = measure_statistics([silence], FrontEnd())
    >>> found.frames, round(found.mean, 3), found.std
    (98, -15.942, 0.0)
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
        except (AudioError, InputError) as error:  # InputError: times that are no segment
            return error
        return total

    total, failed = Moments(), []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the threads work on different clips; more of them would change the order of sums
    try:
        for result in watch(in_order(measured, sources, jobs)):
            if isinstance(result, SpectagError):
                failed.append(result)
            else:
                total += result
    finally:
        torch.set_num_threads(threads)
    if not total.count:
        reason = f"; the first error: {failed[0]}" if failed else ": the data set is empty"
        raise DataError(f"statistics: expected clips that can be read, found none{reason}")
    return FbankStatistics(total.mean, total.std, total.count // front_end.mel_bins, tuple(failed))


def _first(pieces: Iterable[NDArray[np.float32]], most: int | None) -> Iterator[NDArray[np.float32]]:
    """The first ``most`` samples; no piece after the one that holds the last of them is read."""
    for piece in pieces:
        yield piece if most is None else piece[:most]
        if most is not None:
            most -= len(piece)
            if most <= 0:
                return
