"""Sound while it happens: a microphone, or a stream on standard input. It ends when its source does.

A source gives pieces ``(rate in Hz, samples [n, channels])``, as decoders do. A thread takes them from the device or
the pipe, so that nothing waits while the network computes (:class:`Live`).
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag.audio.ffmpeg import forward_frames
from spectag.audio.pcm import full_scale
from spectag.audio.read import Waveform, to_waveform
from spectag.audio.source import HIGHEST_RATE, LOWEST_RATE, MOST_CHANNELS
from spectag.choices import Encoding
from spectag.errors import AudioError, InputError, MissingExtra, SpectagError

Piece: TypeAlias = "tuple[float, NDArray[np.float32]]"

PIECE = 0.1  # s that are handed on together
HELD = 30.0  # s of sound that wait for the network at most
_DTYPES: dict[str, str] = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4", "u8": "u1"}


class Live:
    """Reads a source in a thread of its own, and hands out its waveform.

    Args:
        pieces: the source.
        name: what messages call it.
        lossy: whether a source that cannot wait, such as a microphone, loses what is not fetched in time. Otherwise it
            waits.

    Attributes:
        arrived: when the newest sound that was handed out arrived, by ``time.monotonic()``.
        lost: seconds of sound that were lost, since they were not fetched in time.
        overruns: how often that began.
        notes: problems of the sound, one line each.

    >>> live = Live(iter([(16_000, np.zeros((1600, 1), np.float32))] * 3), "test")
    >>> sum(len(block) for block in live.blocks())
    4800
    """

    def __init__(self, pieces: Iterable[Piece], name: str, *, lossy: bool = False) -> None:
        self.name = name
        self.arrived = time.monotonic()
        self.lost, self.overruns = 0.0, 0
        self.notes: list[str] = []
        self._pieces, self._lossy = pieces, lossy
        self._queue: queue.Queue[tuple[float, Piece] | BaseException | None] = queue.Queue(round(HELD / PIECE))
        self._stop = threading.Event()

    def blocks(self) -> Generator[Waveform, None, None]:
        """The waveform, ``[n]`` float32, mono, 16 kHz, in short pieces, until the source ends.

        Raises:
            AudioError: the source fails, or is no sound.
        """
        thread = threading.Thread(target=self._fetch, name="spectag-live", daemon=True)
        thread.start()
        try:
            yield from (block for block in to_waveform(self._fetched(), self.name, self.notes.append) if len(block))
        finally:
            self._stop.set()

    def _fetched(self) -> Iterator[Piece]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            self.arrived, piece = item
            yield piece

    def _fetch(self) -> None:
        end: BaseException | None = None
        try:
            losing = False
            for rate, samples in self._pieces:
                item = (time.monotonic(), (rate, samples))
                if not self._lossy:
                    self._put(item)
                else:
                    try:
                        self._queue.put_nowait(item)
                        losing = False
                    except queue.Full:
                        self.overruns += not losing
                        losing = True
                        self.lost += len(samples) / rate
                if self._stop.is_set():
                    return
        except SpectagError as error:
            end = error
        except Exception as error:
            end = AudioError(self.name, f"cannot be read: {error}")
        self._put(end)

    def _put(self, item: tuple[float, Piece] | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue


def raw(descriptor: int, rate: int, channels: int = 1, encoding: Encoding = "s16le") -> Iterator[Piece]:
    """Samples without a header, from a pipe.

    Args:
        descriptor: of the file to read.
        rate: Hz, 1000 to 2000000.
        channels: interleaved, 1 to 64.
        encoding: of a sample.

    Raises:
        InputError: a rate, a number of channels or an encoding out of its range.

    >>> there, here = os.pipe()
    >>> _ = os.write(here, bytes(3200)), os.close(here)
    >>> [(rate, len(samples)) for rate, samples in raw(there, 16_000)]
    [(16000, 1600)]
    """
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InputError(f"rate must be {LOWEST_RATE} to {HIGHEST_RATE} Hz; got {rate!r}")
    if not 1 <= channels <= MOST_CHANNELS:
        raise InputError(f"channels must be 1 to {MOST_CHANNELS}; got {channels!r}")
    if encoding not in _DTYPES:
        raise InputError(f"encoding must be one of {', '.join(_DTYPES)}; got {encoding!r}")
    dtype = np.dtype(_DTYPES[encoding])
    width = dtype.itemsize * channels
    rest = b""
    while data := os.read(descriptor, max(width, round(rate * PIECE) * width)):
        rest += data
        whole = len(rest) - len(rest) % width
        if whole:
            yield rate, full_scale(np.frombuffer(rest[:whole], dtype).reshape(-1, channels))
            rest = rest[whole:]


def stream(descriptor: int, name: str) -> Iterator[Piece]:
    """Any format that FFmpeg reads without going back, from a pipe: WAV, FLAC, MP3, Ogg, Matroska, MPEG-TS.

    Args:
        descriptor: of the file to read.
        name: what error messages call it.

    Raises:
        NotAudio, NoAudioStream: see :mod:`spectag.errors`.

    >>> import soundfile
    >>> soundfile.write("a.wav", np.zeros(1600), 16_000)
    >>> with open("a.wav", "rb") as file:
    ...     sum(len(samples) for rate, samples in stream(file.fileno(), "a.wav"))
    1600
    """
    return forward_frames(_Forward(descriptor), name)


class _Forward:
    """A pipe, which hands out what is there instead of waiting for more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, size: int) -> bytes:
        return os.read(self._descriptor, size)


def microphone(device: str | int | None = None, open_stream: Callable[..., Any] | None = None) -> Iterator[Piece]:
    """Record from a microphone until the caller stops asking.

    Args:
        device: its number, or a part of its name; None for the system's own choice.
        open_stream: makes the stream of the library `sounddevice`; None for the library's own.

    Raises:
        MissingExtra: `sounddevice` is not installed.
        AudioError: there is no such device, or it cannot be used.

    >>> next(microphone(open_stream=lambda **options: None))
    Traceback (most recent call last):
    spectag.errors.AudioError: microphone: cannot be opened: ...
    """
    name = "microphone" if device is None else f"microphone {device}"
    if open_stream is None:
        try:
            import sounddevice  # type: ignore[import-not-found, unused-ignore]
        except (ImportError, OSError) as error:  # OSError: the library PortAudio is missing
            raise MissingExtra("live", f"listening to a microphone ({error})") from error
        open_stream = sounddevice.InputStream
    heard: queue.SimpleQueue[tuple[float, NDArray[np.float32]]] = queue.SimpleQueue()

    def take(samples: NDArray[np.float32], frames: int, times: Any, status: Any) -> None:
        heard.put((recorder.samplerate, samples.copy()))

    try:
        recorder = open_stream(device=device, channels=1, dtype="float32", callback=take)
        recorder.start()
    except Exception as error:
        raise AudioError(name, f"cannot be opened: {error}: name another with --microphone") from error
    try:
        while True:
            yield heard.get()
    finally:
        recorder.close()
