"""Any recording -> waveform: float32 ``[N]``, mono, 16 kHz, full scale = 1.0, in blocks, so memory stays bounded.

::

    source -> open_stream (seekable, binary) -> decode_samples (rate, [n, channels]) -> _mono (rate, [n])
           -> _resampled ([m] at 16 kHz) -> _segment -> _cut (blocks of one length)

Every arrow is a generator.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray

from spectag.audio.decode import decode_samples
from spectag.audio.source import (
    HIGHEST_RATE,
    LOWEST_RATE,
    File,
    Samples,
    Segment,
    Source,
    array_samples,
    describe,
    is_in_memory,
    open_stream,
    path_of,
    unpack,
)
from spectag.errors import AudioError, AudioWarning, EmptyAudio, InputError, NonFiniteAudio

Waveform: TypeAlias = "NDArray[np.float32]"  # [N], mono, 16 kHz, full scale = 1.0

SAMPLE_RATE = 16_000  # Hz
BLOCK = 30.0  # s


@dataclass
class Recording:
    """One recording and what is known about it. The facts are filled in while its blocks are read.

    Args:
        source: what :func:`open` was given.
        path: the file as it was given, or the name of a named stream; None for arrays, bytes and unnamed streams.
        name: what messages call it.
        rate: sampling rate of the source in Hz, before resampling; 0 before the first block.
        channels: channels of the source, before mixing to mono; 0 before the first block.
        seconds: duration of what was read so far.
        peak: largest magnitude read so far, full scale = 1.0.
        notes: what is odd about the recording, one line each, without its name. Complete after the last block.
    """

    source: Source = field(repr=False)
    path: str | None
    name: str
    rate: float = 0.0
    channels: int = 0
    seconds: float = 0.0
    peak: float = 0.0
    notes: list[str] = field(default_factory=list)

    def blocks(self, seconds: float = BLOCK) -> Iterator[Waveform]:
        """Read the recording piece by piece, in bounded memory, and fill in the facts.

        Args:
            seconds: length of a piece, > 0. It only decides where the cuts are.

        Yields:
            consecutive pieces of the waveform, ``[seconds * 16000]``, the last one ``[1..seconds * 16000]``.

        Raises:
            AudioNotFound, NotAudio, NoAudioStream, EmptyAudio, NonFiniteAudio: see :mod:`spectag.errors`.
            AudioError: a directory, a file that cannot be read, or an absurd sampling rate.
            InputError: the source or ``seconds`` is not one of the values above.

        >>> recording = open((np.zeros((96_000, 2)), 48_000))
        >>> [len(block) for block in recording.blocks(seconds=1.5)]
        [24000, 8000]
        >>> recording.rate, recording.channels, recording.seconds
        (48000.0, 2, 2.0)
        """
        if not 0 < seconds < math.inf:
            raise InputError(f"seconds: expected a positive number, got {seconds!r}")
        return self._blocks(max(1, round(seconds * SAMPLE_RATE)))

    def _blocks(self, length: int) -> Iterator[Waveform]:
        self.rate, self.channels, self.peak, self.notes = 0.0, 0, 0.0, []
        count = 0
        segment = self.source if isinstance(self.source, Segment) else Segment(self.source)  # type: ignore[arg-type]
        with self._samples(segment.file) as pieces:
            waveform = _resampled(_mono(self._noted(pieces), self.name))
            for block in _cut(_segment(waveform, segment, self.name), length):
                count += len(block)
                self.seconds = count / SAMPLE_RATE
                self.peak = max(self.peak, float(block.max()), -float(block.min()))
                yield block
        if not count:
            raise EmptyAudio(self.name, "expected at least one sample at 16 kHz, got none: record or export it again")

    @contextmanager
    def _samples(self, source: File | Samples | tuple[Samples, float]) -> Iterator[Iterable[tuple[float, Samples]]]:
        source = unpack(source)
        if is_in_memory(source):
            yield array_samples(source, SAMPLE_RATE)  # type: ignore[arg-type]
            return
        with open_stream(source, self.name) as stream:  # type: ignore[arg-type]
            yield decode_samples(stream, self.name, self.notes.append)

    def _noted(self, pieces: Iterable[tuple[float, Samples]]) -> Iterator[tuple[float, Samples]]:
        for rate, samples in pieces:
            if not self.rate:
                self.rate, self.channels = rate, samples.shape[1]
            yield rate, samples


def open(source: Source) -> Recording:
    """Describe a recording; nothing is read yet.

    Args:
        source: one of

            - a path. A URL is not opened;
            - the bytes of a file, or a binary file object. The latter is read from its beginning and left open; if it
              cannot seek (a pipe), it is copied to a temporary file first;
            - a :class:`Segment` or :class:`Member` of these;
            - samples: a 16 kHz mono array or tensor ``[N]``;
            - ``(samples, rate)``: samples ``[N]``, ``[N, channels]`` as soundfile returns them or ``[channels, N]`` as
              torchaudio does, and the rate in Hz;
            - an audio dictionary of `datasets`: ``{"array", "sampling_rate"}``, or undecoded ``{"path", "bytes"}``.

            Samples are floats with full scale 1.0, or integer PCM of 8 to 32 bits.

    Returns:
        the recording; :meth:`Recording.blocks` reads it.

    >>> open("dawn.wav").name
    'dawn.wav'
    """
    return Recording(source, path_of(source), describe(source))


def read(source: Source) -> Waveform:
    """Read a whole recording.

    Args:
        source: as for :func:`open`.

    Returns:
        waveform ``[N]``, float32, mono (channels averaged), 16 kHz, full scale = 1.0, N >= 1.

    Raises:
        AudioError, InputError: as :meth:`Recording.blocks`.

    Warns:
        AudioWarning: for each of the recording's notes; it is cut off or damaged, for example.

    >>> read((np.zeros(44_100), 44_100)).shape
    (16000,)
    """
    recording = open(source)
    waveform = np.concatenate(list(recording.blocks()))
    warn(recording)
    return waveform


def warn(recording: Recording) -> None:
    """Show a recording's notes as Python warnings, for functions whose result has no room for them.

    >>> warn(open("dawn.wav"))  # nothing was read, so there is nothing to warn about
    """
    for note in recording.notes:
        warnings.warn(f"{recording.name}: {note}", AudioWarning, stacklevel=3)


def resample(waveform: Samples, rate: float) -> Waveform:
    """Convert samples in memory to what :func:`read` returns.

    Args:
        waveform: ``[N]`` or ``[N, channels]``; floats with full scale 1.0, or integer PCM of 8, 16 or 32 bits.
        rate: Hz, 1000 to 2000000.

    Returns:
        waveform ``[round(N * 16000 / rate) +- 1]``, float32, mono (channels averaged), 16 kHz, full scale = 1.0.

    Raises:
        InputError: another shape, type or rate.
        EmptyAudio, NonFiniteAudio: no sample, or NaN or infinite ones.

    >>> resample(np.zeros((48_000, 2)), 48_000).shape
    (16000,)
    """
    return np.concatenate(list(open((np.asarray(waveform), rate)).blocks()))


# samples -> waveform


def _mono(pieces: Iterable[tuple[float, Samples]], name: str) -> Iterator[tuple[float, Waveform]]:
    """``[n, channels]`` -> ``[n]``, the mean of all channels. Rates and values are checked."""
    start = 0.0  # s
    for rate, samples in pieces:
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise AudioError(
                name, f"expected a sampling rate of {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {rate}: repair its header"
            )
        with np.errstate(invalid="ignore", over="ignore"):
            # A product with 1 / channels is ten times as fast as mean(axis=1).
            mono = samples @ np.full(samples.shape[1], 1 / samples.shape[1], np.float32)
        finite = np.isfinite(mono)
        if not finite.all():
            at = start + int(finite.argmin()) / rate
            raise NonFiniteAudio(name, f"expected finite samples, got NaN or infinity at {at:.3f} s: export it again")
        start += len(samples) / rate
        yield rate, mono


def _resampled(pieces: Iterable[tuple[float, Waveform]]) -> Iterator[Waveform]:
    """The waveform at 16 kHz. Neighbours of one rate share a resampler, so the cuts between them leave no trace."""
    for rate, run in groupby(pieces, key=itemgetter(0)):
        if rate == SAMPLE_RATE:
            yield from (mono for _, mono in run)
            continue
        resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        for _, mono in run:
            yield resampler.resample_chunk(mono)
        yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def _segment(pieces: Iterable[Waveform], segment: Segment, name: str) -> Iterator[Waveform]:
    """The samples from ``segment.start`` to ``segment.end``. Nothing is decoded beyond the end."""
    start, end = segment.start, segment.end
    if not 0 <= start < math.inf or (end is not None and not start < end < math.inf):
        raise InputError(f"{name}: expected 0 <= start < end in seconds, got {start!r} and {end!r}")
    first = round(start * SAMPLE_RATE)
    last = None if end is None else round(end * SAMPLE_RATE)
    place = 0
    for piece in pieces:
        yield piece[max(0, first - place) : None if last is None else max(0, last - place)]
        place += len(piece)
        if last is not None and place >= last:
            return


def _cut(pieces: Iterable[Waveform], length: int) -> Iterator[Waveform]:
    """The same samples in blocks of ``length``, the last one shorter but never empty."""
    held: list[Waveform] = []
    size = 0
    for piece in pieces:
        while size + len(piece) >= length:
            piece, rest = np.split(piece, [length - size])
            yield np.concatenate([*held, piece])
            held, size, piece = [], 0, rest
        held.append(piece)
        size += len(piece)
    if size:
        yield np.concatenate(held)
