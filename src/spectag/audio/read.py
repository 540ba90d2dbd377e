"""Any recording -> waveform: float32 ``[N]``, mono, 16 kHz, full scale = 1.0, in blocks, so memory stays bounded.

::

    source -> open_stream (seekable, binary) -> decode_samples (rate, [n, channels]) -> _mono (rate, [n])
           -> _resampled ([m] at 16 kHz) -> _segment -> _cut (blocks of one length)

Every arrow is a generator.
"""

from __future__ import annotations

import math
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
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
_HUGE = 1e12  # times full scale: the resampler may make infinity of what is far beyond
_STEP = 4096  # samples per channel that are judged together, or up to twice as many: are they silent, do they cancel
_ONES = np.ones(2 * _STEP, np.float32)
_LOST, _KEPT = 0.02, 0.05  # of the energy that unlike channels leave in their mean: less is lost; more is kept again
_FAINT = 1e-8  # mean square of a sound: below it channels may cancel as they like


@dataclass
class Recording:
    """One recording and what is known about it. The facts are filled in while its blocks are read.

    Args:
        source: what :func:`open` was given.
        path: the file as it was given, or the name of a named stream; None for arrays, bytes and unnamed streams.
        name: its name in messages.
        rate: sampling rate of the source in Hz, before resampling; 0 before the first block.
        channels: channels of the source, before mixing to mono; 0 before the first block.
        seconds: duration of what was read so far; after the last block to a sample of the source, at its own rate.
        peak: largest magnitude read so far, full scale = 1.0.
        progress: how much of the source was read so far, 0..1.
        silent: whether nothing but digital silence was read so far: every sample has the same value.
        notes: problems of the recording, one line each, without its name. Complete after the last block.
    """

    source: Source = field(repr=False)
    path: str | None
    name: str
    rate: float = 0.0
    channels: int = 0
    seconds: float = 0.0
    peak: float = 0.0
    progress: float = 0.0
    silent: bool = False
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
        self.rate, self.channels, self.peak, self.silent, self.notes = 0.0, 0, 0.0, True, []
        count = 0
        lengths: Counter[float] = Counter()  # samples of the source at each rate
        segment = self.source if isinstance(self.source, Segment) else Segment(self.source)  # type: ignore[arg-type]
        with self._samples(segment.file) as (pieces, share):
            waveform = to_waveform(self._noted(pieces, segment, lengths), self.name, self.notes.append)
            for block in _cut(_segment(waveform, segment, self.name), length):
                count += len(block)
                self.seconds = count / SAMPLE_RATE
                self.peak = max(self.peak, float(block.max()), -float(block.min()))
                self.progress = share()
                yield block
        if not count:
            raise EmptyAudio(self.name, "expected at least one sample at 16 kHz, got none: record or export it again")
        if segment is not self.source:
            self.seconds = sum(samples / rate for rate, samples in lengths.items())

    @contextmanager
    def _samples(
        self, source: File | Samples | tuple[Samples, float]
    ) -> Iterator[tuple[Iterable[tuple[float, Samples]], Callable[[], float]]]:
        """The pieces of the source, and how much of it was read when that is asked, 0..1."""
        source = unpack(source)
        if is_in_memory(source):
            yield array_samples(source, SAMPLE_RATE), lambda: 1.0  # type: ignore[arg-type]
            return
        with open_stream(source, self.name) as stream:  # type: ignore[arg-type]
            stream.seek(0, os.SEEK_END)
            size = stream.tell()
            yield decode_samples(stream, self.name, self.notes.append), lambda: min(1.0, stream.tell() / size)

    def _noted(
        self, pieces: Iterable[tuple[float, Samples]], segment: Segment, lengths: Counter[float]
    ) -> Iterator[tuple[float, Samples]]:
        place, value = 0.0, None  # s; the first sample of each channel
        for rate, samples in pieces:
            if not self.rate:
                self.rate, self.channels = rate, samples.shape[1]
            if self.silent:  # seldom for longer than one piece
                end = len(samples) if segment.end is None else max(0, round((segment.end - place) * rate))
                heard = samples[max(0, round((segment.start - place) * rate)) : end]
                if len(heard) and (value is None or len(value) != heard.shape[1]):  # the channels may change
                    value = heard[0]
                self.silent = not any((heard[at : at + _STEP] != value).any() for at in range(0, len(heard), _STEP))
                place += len(samples) / rate
            lengths[rate] += len(samples)
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
    """Show a recording's notes as Python warnings, for functions that cannot return them.

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


def to_waveform(pieces: Iterable[tuple[float, Samples]], name: str, note: Callable[[str], None]) -> Iterator[Waveform]:
    """Turn decoded samples into the waveform that everything else computes with, piece by piece.

    Args:
        pieces: (rate in Hz, float32 samples ``[n, channels]``), consecutive.
        name: what error messages call the recording.
        note: called with one line for each problem.

    Yields:
        ``[m]`` float32, mono, 16 kHz; m may be 0.

    Raises:
        AudioError: an absurd rate.
        NonFiniteAudio: NaN or infinite samples.

    >>> [len(piece) for piece in to_waveform([(32_000, np.zeros((32_000, 2), np.float32))], "dawn.wav", print)]
    [..., ...]
    """
    return _resampled(_mono(pieces, name, note))


def _mono(
    pieces: Iterable[tuple[float, Samples]], name: str, note: Callable[[str], None]
) -> Iterator[tuple[float, Waveform]]:
    """``[n, channels]`` -> ``[n]``, the mean of all channels, or one of them where they cancel each other: a cable with
    swapped wires, or one signal in opposite phases. Rates and values are checked."""
    start = lost = 0.0  # s: before this piece; of it where the mean cancelled
    alone = None  # the channel that is used there, always the same, since another one would have another phase
    cancels, weights = False, None
    for rate, samples in pieces:
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise AudioError(
                name, f"expected a sampling rate of {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {rate}: repair its header"
            )
        channels = samples.shape[1]
        if weights is None or len(weights) != channels:
            weights = np.full(channels, 1 / channels, np.float32)
        whole = channels == 1 or len(samples) < 2 * _STEP
        for part in [samples] if whole else np.array_split(samples, len(samples) // _STEP):
            with np.errstate(invalid="ignore", over="ignore"):
                mono = part @ weights  # ten times as fast as mean(axis=1)
                energy = float(mono @ mono)
                cancels = channels > 1 and _cancel(part, mono, energy, cancels)
            if cancels:
                alone = int(part.var(axis=0).argmax()) if alone is None or alone >= channels else alone
                lost += len(part) / rate
                mono = np.ascontiguousarray(part[:, alone])
                energy = float(mono @ mono)
            # The energy is not finite if a sample is not, or is huge: one pass instead of three.
            if not math.isfinite(energy) and not (finite := np.abs(mono) < _HUGE).all():
                at_time = start + int(finite.argmin()) / rate
                raise NonFiniteAudio(
                    name,
                    f"expected finite samples, got NaN, infinity or more than 1e12 at {at_time:.3f} s: export it again",
                )
            start += len(part) / rate
            yield rate, mono
    if alone is not None and lost > min(1.0, start / 10):
        note(
            f"its channels cancel when they are averaged, in {lost:.2f} s of {start:.2f} s: channel {alone + 1} alone "
            "is used there"
        )


def _cancel(samples: Samples, mono: Waveform, energy: float, before: bool) -> bool:
    """Whether the mean ``[n]`` of channels ``[n, channels]`` has almost nothing of their sound.

    The energies are those of the alternating parts, so a constant offset hides nothing. Channels that have nothing in
    common leave ``1 / channels**2`` of the sum of their energies in the mean.

    Args:
        energy: of the mean.
        before: whether they cancelled in the piece before. Then a little more may remain, so that the choice lasts.
    """
    share = (_KEPT if before else _LOST) / samples.shape[1] ** 2
    left = energy - float(mono @ _ONES[: len(mono)]) ** 2 / len(mono)
    if not left < share * float(np.vdot(samples, samples)):  # also where there is NaN
        return False
    whole = float(samples.var(axis=0, dtype=np.float64).sum()) * len(mono)
    return left < share * whole and whole > _FAINT * samples.size


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
        if place + len(piece) > first:  # no empty views, which would keep the pieces before the segment in memory
            yield piece[max(0, first - place) : None if last is None else max(0, last - place)]
        place += len(piece)
        if last is not None and place >= last:
            return
    if place <= first and place:
        raise beyond_end(name, place)


def beyond_end(name: str, samples: int) -> EmptyAudio:
    """The error of a segment that begins where its recording has ended.

    Args:
        name: of the segment.
        samples: of the whole recording, at 16 kHz.

    >>> str(beyond_end("dawn.wav (60 s to 70 s)", 672_000))
    'dawn.wav (60 s to 70 s): begins after the end of the recording, which is 42.000 s long: correct the times'
    """
    length = samples / SAMPLE_RATE
    return EmptyAudio(name, f"begins after the end of the recording, which is {length:.3f} s long: correct the times")


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
