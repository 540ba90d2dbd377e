"""What a caller may pass as a recording, and how it becomes a stream for a decoder or samples.

Decoders get a stream that was opened here, never a name, since a name could be a URL.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag.audio.pcm import full_scale
from spectag.errors import AudioError, AudioNotFound, EmptyAudio, InputError, reason

File: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO | Member"
Samples: TypeAlias = "NDArray[Any]"  # or a tensor; [N] or [N, channels]
Source: TypeAlias = "File | Segment | Samples | tuple[Samples, float] | Mapping[str, Any]"

MOST_CHANNELS = 64  # of samples in memory: an axis that is longer is time
LOWEST_RATE, HIGHEST_RATE = 1_000, 2_000_000  # Hz: infrasound to hydrophones; beyond, a header is damaged

WAIT = 10.0  # s for a program that writes to a named pipe
_SPOOL = 64 * 2**20  # bytes of a pipe that are kept in memory; the rest goes to a temporary file


@dataclass(frozen=True)
class Member:
    """A file stored unchanged inside another file, such as a tar archive.

    Args:
        path: the outer file.
        offset, size: where it begins there, and its length, in bytes.

    >>> Member("clips.tar", offset=512, size=20_480).size
    20480
    """

    path: str | os.PathLike[str]
    offset: int
    size: int


@dataclass(frozen=True)
class Segment:
    """A part of a recording, from one time to another.

    The recording is decoded from its beginning and the part before ``start`` is dropped, since few formats can be
    entered in the middle with sample accuracy.

    Args:
        file: the recording.
        start, end: seconds; None for the end of the recording. A segment that reaches beyond the end stops there.

    >>> Segment("dawn.wav", 60.0, 70.0).end
    70.0
    """

    file: File
    start: float = 0.0
    end: float | None = None


def describe(source: Source) -> str:
    """The name of a source in messages: its path, ``<bytes>``, ``<stream>`` or ``<array>``; printable, on one line.

    >>> describe(Segment("dawn.wav", 60.0))
    'dawn.wav (60 s to end)'
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "<bytes>"
    if isinstance(source, Member):
        return f"{describe(source.path)} (from byte {source.offset})"
    if isinstance(source, Segment):
        end = "end" if source.end is None else f"{source.end:g} s"
        return f"{describe(source.file)} ({source.start:g} s to {end})"
    if isinstance(source, Mapping) and not isinstance(source.get("path"), (str, os.PathLike)):
        return "<array>" if "array" in source else "<bytes>"
    if isinstance(source, Mapping):
        return describe(source["path"])
    if is_in_memory(source):
        return "<array>"
    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else getattr(source, "name", None)
    if not isinstance(name, str):  # the name of a pipe is its number
        return "<stream>"
    return name if name.isprintable() else ascii(name)


def path_of(source: Source) -> str | None:
    """The path as it was given, or the name of a named stream; None for arrays, bytes and unnamed streams.

    >>> path_of(Path("dawn.wav")), path_of(b"RIFF")
    ('dawn.wav', None)
    """
    if isinstance(source, (Segment, Member)):
        return describe(source)
    if isinstance(source, Mapping):
        return path_of(source.get("path"))  # type: ignore[arg-type]
    name = getattr(source, "name", None) if hasattr(source, "read") else source
    return os.fsdecode(name) if isinstance(name, (str, os.PathLike)) else None


def unpack(source: Any) -> Any:
    """The recording in an audio dictionary of `datasets`, decoded or not; anything else as it is.

    Raises:
        InputError: a dictionary without the keys of one.

    >>> unpack({"path": "dawn.wav", "bytes": None}), unpack({"array": "[N]", "sampling_rate": 48_000})
    ('dawn.wav', ('[N]', 48000))
    """
    if not isinstance(source, Mapping):
        return source
    if "array" in source and "sampling_rate" in source:
        return source["array"], source["sampling_rate"]
    content = source.get("path") if source.get("bytes") is None else source["bytes"]
    if content is None:
        keys = ", ".join(map(repr, source)) or "none"
        raise InputError(
            f"expected a dictionary with the keys 'array' and 'sampling_rate', or 'bytes' or 'path', got {keys}: pass "
            "the value of the audio column"
        )
    return content


def is_in_memory(source: object) -> bool:
    """Whether a source is an array, a tensor, or a tuple of samples and rate. This does not import torch.

    >>> is_in_memory(np.zeros(3)), is_in_memory("dawn.wav")
    (True, False)
    """
    return isinstance(source, (np.ndarray, tuple)) or (hasattr(source, "detach") and hasattr(source, "numpy"))


def array_samples(source: Samples | tuple[Samples, float], rate: float) -> list[tuple[float, Samples]]:
    """Convert samples in memory to what the decoders yield.

    Args:
        source: ``[N]``, or ``(samples, rate)`` with samples ``[N]``, ``[N, channels]``, or ``[channels, N]`` with at
            most 64 channels and more than 64 samples; floats, or integer PCM of 8 to 32 bits.
        rate: Hz, for a source that does not say.

    Returns:
        one piece, (rate, float32 ``[n, channels]``); none if the array is empty.

    Raises:
        InputError: another type, shape or rate.

    >>> [(rate, samples.shape) for rate, samples in array_samples((np.zeros((9, 2)), 44_100), 16_000)]
    [(44100.0, (9, 2))]
    """
    pair = isinstance(source, tuple) and len(source) == 2
    samples, rate = source if pair else (source, rate)
    if hasattr(samples, "detach"):  # a tensor, also one of a type that NumPy does not have
        samples = samples.detach().cpu()
        samples = (samples.float() if samples.is_floating_point() else samples).numpy()
    if not isinstance(samples, np.ndarray):
        raise InputError("expected a 16 kHz mono array or tensor [N], or a tuple of two, (samples, rate)")
    if not pair and samples.ndim != 1:
        raise InputError(
            f"expected 16 kHz mono samples [N], got shape {list(samples.shape)}: pass (samples, rate) with samples "
            "[N, channels]"
        )
    if not isinstance(rate, (int, float, np.number)) or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InputError(f"rate: expected {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {rate!r}")
    # The full scale of wider integers is unknown: NumPy makes int64 of any list of Python integers.
    if samples.dtype.kind not in "iuf" or (samples.dtype.kind in "iu" and samples.dtype.itemsize > 4):
        raise InputError(f"waveform: expected floats or PCM of 8 to 32 bits, got {samples.dtype}: convert it first")
    if samples.ndim not in (1, 2) or 0 in samples.shape[1:]:
        raise InputError(f"waveform: expected [N] or [N, channels], got {list(samples.shape)}")
    if not len(samples):
        return []
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        if not samples.shape[0] <= MOST_CHANNELS < samples.shape[1]:
            raise InputError(
                f"waveform: expected [N, channels] with more samples than channels, got {list(samples.shape)}: pass "
                "samples [N] of one channel"
            )
        samples = samples.T
    return [(float(rate), full_scale(samples if samples.ndim == 2 else samples[:, None]))]


@contextmanager
def open_stream(source: File, name: str) -> Iterator[BinaryIO]:
    """Open a file as a seekable binary stream. A stream that was passed in is left open.

    Args:
        source: see :data:`File`.
        name: what error messages call it.

    Raises:
        AudioNotFound, EmptyAudio: see :mod:`spectag.errors`.
        AudioError: a directory, or a file that cannot be read.
        InputError: ``source`` is nothing that can be opened.

    >>> with open_stream(b"RIFF", "<bytes>") as stream:
    ...     stream.read()
    b''
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        with _seekable(io.BytesIO(source), name) as stream:
            yield stream
    elif isinstance(source, (str, os.PathLike)):
        with _open(source, name) as file, _seekable(file, name) as stream:
            yield stream
    elif isinstance(source, Member):
        with _open(source.path, name) as file:
            if source.offset + source.size > os.fstat(file.fileno()).st_size:  # checked before memory is allocated
                raise AudioError(name, f"expected {source.size} bytes there, but the file ends before: it was cut off")
            file.seek(source.offset)
            content = file.read(source.size)
        with _seekable(io.BytesIO(content), name) as stream:
            yield stream
    elif hasattr(source, "read"):
        with _seekable(source, name) as stream:
            yield stream
    else:
        raise InputError(
            f"source: expected a path, bytes, a binary file object, an array or (array, rate), "
            f"got {type(source).__name__}"
        )


def _open(path: str | os.PathLike[str], name: str) -> BinaryIO:
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISFIFO(mode):
            return _open_pipe(path, name)
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):  # these may never end
            what = "socket" if stat.S_ISSOCK(mode) else "device"
            raise AudioError(name, f"expected a file or a pipe, got a {what}: record from it with another program")
        return Path(path).open("rb")
    except FileNotFoundError:
        hint = "download it and pass the file" if "://" in name else "check the path"
        raise AudioNotFound(name, f"expected a file, found none: {hint}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if os.path.isdir(path):
            raise AudioError(name, "expected a file, got a directory: name a file in it") from None
        raise AudioError(name, f"cannot be opened: {reason(error)}") from error


def _open_pipe(path: str | os.PathLike[str], name: str) -> BinaryIO:
    """Open a pipe. Opening one that has a name waits for a program that writes to it, which may never come."""
    opened: SimpleQueue[BinaryIO | OSError] = SimpleQueue()

    def wait() -> None:
        try:
            opened.put(open(path, "rb"))  # noqa: SIM115
        except OSError as error:
            opened.put(error)

    threading.Thread(target=wait, daemon=True).start()
    try:
        stream = opened.get(timeout=WAIT)
    except Empty:
        with suppress(OSError):  # a writer, so that the thread ends
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        what = f"is a named pipe to which no program wrote within {WAIT:g} s"
        raise AudioError(name, f"{what}: start that program first") from None
    if isinstance(stream, OSError):
        raise stream
    return stream


@contextmanager
def _seekable(stream: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """``stream`` itself, or a copy in a temporary file where it cannot seek, since decoders jump back and forth."""
    with tempfile.SpooledTemporaryFile(_SPOOL) as spool:  # on the disk only beyond _SPOOL
        try:
            if not isinstance(stream.read(0), bytes):
                raise AudioError(name, "expected a binary file object, got a text one: open it with mode 'rb'")
            # Before Python 3.11 a SpooledTemporaryFile has no seekable().
            if not getattr(stream, "seekable", lambda: True)():
                shutil.copyfileobj(stream, spool, 2**20)
                stream = spool  # type: ignore[assignment]
            size = stream.seek(0, os.SEEK_END) or stream.tell()
        except (OSError, ValueError) as error:
            raise AudioError(name, f"cannot be read: {reason(error)}") from error
        if not size:
            raise EmptyAudio(name, "expected a recording, got 0 bytes: copy or export it again")
        yield stream
