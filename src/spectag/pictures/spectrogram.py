"""The spectrogram of a recording of any length in few columns, from the windows that the network sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from spectag.audio.front_end import FRAMES_PER_SECOND
from spectag.audio.read import SAMPLE_RATE

if TYPE_CHECKING:
    from spectag.audio.read import Recording
    from spectag.tag.stream import Collector
    from spectag.tag.windows import Window

COLUMNS = 1200  # at most, about the pixels of a picture
LOW_HZ, HIGH_HZ = 20.0, SAMPLE_RATE / 2  # of the front end's filters
FLOOR = 2.0**-23  # power of silence there, see spectag.audio.fbank
LINES = 256  # of the spectrum, below Nyquist
DECIBELS = 10 / math.log(10)  # per neper of power
Clip = TypeVar("Clip")


@dataclass(frozen=True, eq=False)
class Spectrogram:
    """A spectrogram to look at.

    Args:
        levels: ``[columns, F]`` in dB, bands of equal width on the mel scale from 20 Hz to 8 kHz.
        seconds: length of the recording.

    >>> Spectrogram(np.zeros((100, 128), np.float32), 1.0).levels.shape
    (100, 128)
    """

    levels: NDArray[np.float32]
    seconds: float


class Pooling:
    """Pools frames to few columns while they come. Memory does not grow with the length of the recording.

    A column is the mean power of its frames. Each time that the columns are full, neighbours are joined.

    Args:
        columns: the largest number, at least 2.

    >>> pooling = Pooling(columns=100)
    >>> for piece in np.zeros((5, 1000, 128), np.float32):
    ...     pooling.add(piece)
    >>> pooling.levels().shape  # 64 frames each
    (79, 128)
    """

    def __init__(self, columns: int = COLUMNS) -> None:
        self.most = columns - columns % 2
        self.frames = 1  # of a column
        self._power: NDArray[np.float32] | None = None  # [most, F], sums over the frames of a column
        self._count = 0  # frames so far

    def add(self, fbank: NDArray[np.float32]) -> None:
        """Add frames ``[t, F]``, natural logarithms of power."""
        power = np.exp(fbank, dtype=np.float32)
        if self._power is None:
            self._power = np.zeros((self.most, power.shape[1]), np.float32)
        while len(power):
            if self._count == self.most * self.frames:
                self._join(self._power)
            taken = power[: self.most * self.frames - self._count]
            places = (self._count + np.arange(len(taken))) // self.frames
            starts = np.flatnonzero(np.diff(places, prepend=-1))
            self._power[places[starts]] += np.add.reduceat(taken, starts, axis=0)
            self._count += len(taken)
            power = power[len(taken) :]

    def levels(self) -> NDArray[np.float32]:
        """The columns so far, ``[n, F]`` in dB."""
        if self._power is None or not self._count:
            return np.zeros((0, 0), np.float32)
        used = -(-self._count // self.frames)
        counts = np.full(used, self.frames)
        counts[-1] = self._count - (used - 1) * self.frames
        mean = self._power[:used] / counts[:, None]
        levels: NDArray[np.float32] = (DECIBELS * np.log(mean)).astype(np.float32)
        return levels

    def _join(self, power: NDArray[np.float32]) -> None:
        half = self.most // 2
        power[:half] = power[0::2] + power[1::2]
        power[half:] = 0
        self.frames *= 2


class WithSpectrogram(Generic[Clip]):
    """A collector of a recording's windows that also makes a spectrogram of them; see :mod:`spectag.tag.stream`.

    Args:
        inner: what else is made of the windows.
        columns: see :class:`Pooling`.

    >>> class Nothing:
    ...     def add(self, window, *rows): ...
    ...     def end(self, recording): ...
    >>> from spectag.tag.windows import cut_windows
    >>> collector = WithSpectrogram(Nothing())
    >>> for window in cut_windows([torch.zeros(250, 128)], frames=100):
    ...     collector.add(window)
    >>> collector.end(spectag.Recording(None, None, "owl"))[1].levels.shape
    (250, 128)
    """

    def __init__(self, inner: Collector[Clip], columns: int = COLUMNS) -> None:
        self.inner = inner
        self._pooling = Pooling(columns)
        self._next = 0  # first frame that was not seen yet

    def add(self, window: Window, *rows: NDArray[np.float32]) -> None:
        new = window.fbank[max(0, self._next - window.start) :]
        self._pooling.add(new.numpy())
        self._next = window.start + len(window.fbank)
        self.inner.add(window, *rows)

    def end(self, recording: Recording) -> tuple[Clip, Spectrogram]:
        seconds = recording.seconds or self._next / FRAMES_PER_SECOND
        return self.inner.end(recording), Spectrogram(self._pooling.levels(), seconds)


def mel(hz: float) -> float:
    """The place of a frequency on the mel scale.

    >>> round(mel(1000))
    1000
    """
    return 1127 * math.log1p(hz / 700)


def even_bands(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Levels of bands as if all filters were alike, so that no stripes show.

    The lowest bands are narrower than the lines of the spectrum, 31 Hz. Some hold a whole line, some a part of one, and
    some none: their levels are scaled by what they hold, or taken from their neighbours.

    Args:
        levels: ``[columns, F]`` in dB, of filters as in :mod:`spectag.audio.fbank`.

    >>> even_bands(np.full((2, 128), -10, np.float32)).shape
    (2, 128)
    """
    bands = levels.shape[1] if levels.size else 0
    if bands < 2:
        return levels
    width = (mel(HIGH_HZ) - mel(LOW_HZ)) / (bands + 1)
    middles = mel(LOW_HZ) + width * np.arange(1, bands + 1)
    lines = np.array([mel(hertz) for hertz in np.arange(LINES) * SAMPLE_RATE / 2 / LINES])
    held = (1 - np.abs(lines[:, None] - middles) / width).clip(0).sum(0)  # lines in each band
    sure = np.flatnonzero(held > 0.25)
    if not len(sure):
        return levels
    heard = levels > DECIBELS * math.log(FLOOR) + 1
    scaled = np.where(heard, levels - 10 * np.log10(held.clip(0.25)), levels)
    right = np.searchsorted(sure, np.arange(bands)).clip(0, len(sure) - 1)
    left = (right - 1).clip(0)
    left, right = sure[left], sure[right]
    share = ((np.arange(bands) - left) / np.maximum(right - left, 1)).clip(0, 1)
    even: NDArray[np.float32] = ((1 - share) * scaled[:, left] + share * scaled[:, right]).astype(np.float32)
    return even
