"""The mean and standard deviation of the fbank over a data set, with which inputs are normalised."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from spectag.ahead import Watch, chain
from spectag.audio.read import SAMPLE_RATE, Waveform
from spectag.audio.readers import Readers
from spectag.audio.segments import group_segments, read_group
from spectag.audio.source import Segment, Source, describe
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
        jobs: number of recordings that are read at once. Files are decoded in other processes.
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
    def measured(blocks: Iterable[Waveform]) -> Moments | SpectagError:
        total = Moments()
        try:
            for piece in fbank_blocks(blocks if most is None else _first(blocks, most), front_end):
                variance, mean = torch.var_mean(piece.double(), correction=0)
                total += Moments(piece.numel(), float(mean), float(variance) * piece.numel())
        except (AudioError, InputError) as error:  # InputError: times that are no segment
            return error
        return total

    def all_measured(group: Sequence[tuple[Source, Source]]) -> Iterator[Moments | SpectagError]:
        read_now = read_group([source for _, source in group], read)
        for (given, _), (recording, blocks) in zip(group, read_now, strict=True):
            recording.name = describe(given)
            yield measured(blocks)

    stop = Event()
    read = partial(Readers().blocks, stop=stop)
    pairs = ((source, source if most is None else _shortened(source, most)) for source in sources)
    groups = group_segments(pairs, lambda pair: pair[1])
    total, failed = Moments(), []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the threads work on different clips; more of them would change the order of sums
    try:
        tasks = (partial(all_measured, group) for group in groups)
        for result in watch(chain(tasks, workers=jobs, items=1, stop=stop)):
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


def _shortened(source: Any, samples: int) -> Segment:
    """What begins with at least the first ``samples``, and ends soon after, so that the rest is not decoded."""
    whole = source if isinstance(source, Segment) else Segment(source)
    end = whole.start + (samples + 1) / SAMPLE_RATE
    return whole if whole.end is not None and whole.end <= end else replace(whole, end=end)


def _first(pieces: Iterable[Waveform], samples: int) -> Iterator[Waveform]:
    """The first samples. All pieces are drawn, so that whoever reads them comes to an end."""
    for piece in pieces:
        if samples > 0:
            yield piece[:samples]
        samples -= len(piece)
