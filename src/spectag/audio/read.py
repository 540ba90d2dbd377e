"""Any recording -> waveform: float32 ``[N]``, mono, 16 kHz, full scale = 1.0; in blocks, so hours cost no memory.

::

    source -> _opened (a seekable binary stream) -> decode.frames (rate, [n, channels]) -> _mono (rate, [n])
           -> _resampled ([m] at 16 kHz) -> _cut (blocks of one length)

Every arrow is a generator. Decoders get a stream that was opened here, never a name: a name could be a URL.
"""

from __future__ import annotations

import io
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray

from spectag.audio import decode
from spectag.errors import AudioError, AudioNotFound, EmptyAudio, InputError, NonFiniteAudio

File: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO | Member"
Source: TypeAlias = "File | Segment"

SAMPLE_RATE = 16_000  # Hz
LOWEST_RATE, HIGHEST_RATE = 1_000, 2_000_000  # Hz: from infrasound to hydrophones; beyond, a header is damaged
# Lower case, with the dot, as in Path.suffix.lower(): what a walk through a folder looks for.
AUDIO_EXTENSIONS = frozenset(
    f".{extension}"
    for extension in (
        *("aac", "ac3", "aif", "aifc", "aiff", "amr", "ape", "au", "caf", "flac", "m4a", "m4b", "mka", "mp2", "mp3"),
        *("oga", "ogg", "opus", "rf64", "snd", "spx", "tta", "w64", "wav", "wave", "weba", "wma", "wv"),
        *("3gp", "avi", "flv", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "ts", "webm", "wmv"),
    )
)


@dataclass(frozen=True)
class Member:
    """A file that lies as it is within another one, in a tar say.

    Args:
        path: the outer file.
        offset, size: where it begins there, and its length, in bytes.
    """

    path: str | os.PathLike[str]
    offset: int
    size: int


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording.

    What lies before it is decoded and dropped, since few formats can be entered in the middle to the sample.

    Args:
        file: the recording.
        start, end: seconds; None for its end. A stretch that reaches past the end is as long as there is sound.
    """

    file: File
    start: float = 0.0
    end: float | None = None


_SPOOL = 64 * 2**20  # bytes of a pipe that are kept in memory; the rest goes to a temporary file


def read(source: Source) -> NDArray[np.float32]:
    """Read a whole recording.

    Args:
        source: as for :func:`blocks`.

    Returns:
        waveform ``[N]``, float32, mono (channels averaged), 16 kHz, full scale = 1.0, N >= 1.

    Raises:
        AudioError, InputError: as :func:`blocks`.
    """
    return np.concatenate(list(blocks(source)))


def blocks(source: Source, *, seconds: float = 30.0) -> Iterator[NDArray[np.float32]]:
    """Read a recording of any length piece by piece, in bounded memory.

    Args:
        source: a path, the bytes of a file, or a binary file object (read from its beginning, left open; one that
            cannot seek, such as a pipe, is copied to a temporary file first). A URL is not opened.
        seconds: length of a piece, > 0; the result does not depend on it, beyond where the cuts are.

    Yields:
        consecutive pieces of the waveform, ``[seconds * 16000]``, the last one ``[1..seconds * 16000]``.

    Raises:
        AudioNotFound, NotAudio, NoAudioStream, EmptyAudio, NonFiniteAudio: see :mod:`spectag.errors`.
        AudioError: a directory, a file that may not or cannot be read, or an absurd sampling rate.
        InputError: ``source`` or ``seconds`` is nothing of the above.

    Warns:
        TruncatedAudioWarning: the recording ends or breaks before its header says; all that could be read is yielded.
    """
    if not 0 < seconds < math.inf:
        raise InputError(f"seconds: expected a positive number, got {seconds!r}")
    return _blocks(source, max(1, round(seconds * SAMPLE_RATE)))


def resample(waveform: NDArray[Any], rate: float) -> NDArray[np.float32]:
    """Bring samples in memory to what :func:`read` returns.

    Args:
        waveform: ``[N]`` or ``[N, channels]``; floats with full scale 1.0, or integer PCM of 8, 16 or 32 bits.
        rate: Hz, 1000 to 2000000.

    Returns:
        waveform ``[round(N * 16000 / rate) +- 1]``, float32, mono (channels averaged), 16 kHz, full scale = 1.0.

    Raises:
        InputError: another shape, type or rate.
        EmptyAudio, NonFiniteAudio: no sample, or NaN or infinite ones.
    """
    waveform, name = np.asarray(waveform), "<array>"
    if not isinstance(rate, (int, float, np.number)) or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InputError(f"rate: expected {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {rate!r}")
    # Above 32 bits full scale is unknown: NumPy makes int64 of any list of Python integers.
    if waveform.dtype.kind not in "iuf" or (waveform.dtype.kind in "iu" and waveform.dtype.itemsize > 4):
        raise InputError(f"waveform: expected floats or PCM of 8 to 32 bits, got {waveform.dtype}: convert it first")
    if waveform.ndim not in (1, 2) or 0 in waveform.shape[1:]:
        raise InputError(f"waveform: expected [N] or [N, channels], got {list(waveform.shape)}")
    if waveform.ndim == 2 and waveform.shape[1] > max(64, waveform.shape[0]):
        raise InputError(f"waveform: expected [N, channels], got {list(waveform.shape)}: transpose it")
    frames = decode.full_scale(waveform if waveform.ndim == 2 else waveform[:, None])
    pieces = list(_resampled(_mono([(rate, frames)] if len(frames) else [], name)))
    if not sum(map(len, pieces)):
        raise EmptyAudio(name, "expected at least one sample at 16 kHz, got none: check what made the array")
    return np.concatenate(pieces)


def describe(source: Source) -> str:
    """What messages call ``source``: its path, ``<bytes>`` or ``<stream>``; always printable, on one line."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "<bytes>"
    if isinstance(source, Member):
        return f"{describe(source.path)} (from byte {source.offset})"
    if isinstance(source, Segment):
        end = "end" if source.end is None else f"{source.end:g} s"
        return f"{describe(source.file)} ({source.start:g} s to {end})"
    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else getattr(source, "name", None)
    if not isinstance(name, str):  # the name of a pipe is its number
        return "<stream>"
    return name if name.isprintable() else ascii(name)


def _blocks(source: Source, length: int) -> Iterator[NDArray[np.float32]]:
    name = describe(source)
    part = source if isinstance(source, Segment) else Segment(source)
    with _opened(part.file, name) as stream:
        block = None
        for block in _cut(_stretch(_resampled(_mono(decode.frames(stream, name), name)), part, name), length):
            yield block
        if block is None:
            raise EmptyAudio(name, "expected at least one sample at 16 kHz, got none: record or export it again")


# source -> stream


@contextmanager
def _opened(source: File, name: str) -> Iterator[BinaryIO]:
    """A binary stream that can seek; what was opened here is closed here."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        with _seekable(io.BytesIO(source), name) as stream:
            yield stream
    elif isinstance(source, (str, os.PathLike)):
        with _open(source, name) as file, _seekable(file, name) as stream:
            yield stream
    elif isinstance(source, Member):
        with _open(source.path, name) as file:
            if source.offset + source.size > os.fstat(file.fileno()).st_size:  # before that much memory is asked for
                raise AudioError(name, f"expected {source.size} bytes there, but the file ends before: it was cut off")
            file.seek(source.offset)
            content = file.read(source.size)
        with _seekable(io.BytesIO(content), name) as stream:
            yield stream
    elif hasattr(source, "read"):
        with _seekable(source, name) as stream:
            yield stream
    else:
        raise InputError(f"source: expected a path, bytes or a binary file object, got {type(source).__name__}")


def _open(path: str | os.PathLike[str], name: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        hint = "download it and pass the file" if "://" in name else "check the path"
        raise AudioNotFound(name, f"expected a file, found none: {hint}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if os.path.isdir(path):
            raise AudioError(name, "expected a file, got a directory: name a file in it") from None
        raise AudioError(name, f"cannot be opened: {decode.reason(error)}") from error


@contextmanager
def _seekable(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """``stream`` itself, or a copy in a temporary file: decoders jump to and fro."""
    with tempfile.SpooledTemporaryFile(_SPOOL) as spool:  # touches the disk only past _SPOOL
        try:
            if not isinstance(stream.read(0), bytes):
                raise AudioError(name, "expected a binary file object, got a text one: open it with mode 'rb'")
            # Before Python 3.11 a SpooledTemporaryFile has no seekable().
            if not getattr(stream, "seekable", lambda: True)():
                shutil.copyfileobj(stream, spool, 2**20)
                stream = spool  # type: ignore[assignment]
            size = stream.seek(0, os.SEEK_END) or stream.tell()
        except (OSError, ValueError) as error:
            raise AudioError(name, f"cannot be read: {decode.reason(error)}") from error
        if not size:
            raise EmptyAudio(name, "expected a recording, got 0 bytes: copy or export it again")
        yield stream


# frames -> waveform


def _mono(
    pieces: Iterable[tuple[float, NDArray[np.float32]]], name: str
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """``[n, channels]`` -> ``[n]``, the mean of all channels; checks rate and values."""
    start = 0.0  # s
    for rate, frames in pieces:
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise AudioError(
                name, f"expected a sampling rate of {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {rate}: repair its header"
            )
        with np.errstate(invalid="ignore", over="ignore"):
            # A product with 1 / channels is ten times as fast as mean(axis=1).
            mono = frames @ np.full(frames.shape[1], 1 / frames.shape[1], np.float32)
        finite = np.isfinite(mono)
        if not finite.all():
            at = start + int(finite.argmin()) / rate
            raise NonFiniteAudio(name, f"expected finite samples, got NaN or infinity at {at:.3f} s: export it again")
        start += len(frames) / rate
        yield rate, mono


def _resampled(pieces: Iterable[tuple[float, NDArray[np.float32]]]) -> Iterator[NDArray[np.float32]]:
    """Each stretch of one rate (nearly always the whole) through one resampler: cuts between pieces leave no trace."""
    for rate, stretch in groupby(pieces, key=itemgetter(0)):
        if rate == SAMPLE_RATE:
            yield from (mono for _, mono in stretch)
            continue
        resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        for _, mono in stretch:
            yield resampler.resample_chunk(mono)
        yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def _stretch(pieces: Iterable[NDArray[np.float32]], part: Segment, name: str) -> Iterator[NDArray[np.float32]]:
    """The samples from ``part.start`` to ``part.end``; nothing is decoded past it."""
    if not 0 <= part.start < math.inf or (part.end is not None and not part.start < part.end < math.inf):
        raise InputError(f"{name}: expected 0 <= start < end in seconds, got {part.start!r} and {part.end!r}")
    first = round(part.start * SAMPLE_RATE)
    last = None if part.end is None else round(part.end * SAMPLE_RATE)
    place = 0
    for piece in pieces:
        yield piece[max(0, first - place) : None if last is None else max(0, last - place)]
        place += len(piece)
        if last is not None and place >= last:
            return


def _cut(pieces: Iterable[NDArray[np.float32]], length: int) -> Iterator[NDArray[np.float32]]:
    """The same samples in blocks of ``length``, the last one shorter; never an empty one."""
    held: list[NDArray[np.float32]] = []
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
