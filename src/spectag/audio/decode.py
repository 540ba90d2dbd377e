"""An open recording -> samples: float32 ``[n, channels]`` at its own rate, full scale = 1.0, piece by piece.

libsndfile decodes the formats that it recognises, FFmpeg (through PyAV) all others. What is missing or damaged is
reported as a note.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, NoReturn

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from spectag.errors import AudioError, EmptyAudio, NoAudioStream, NotAudio

_CHUNK = 4096  # samples per channel and read: little memory even for 1024 channels, little lost with a damaged block
_SLACK = 0.5  # s by which a container's duration may exceed its packets: encoder delay, the last video frame
# FFmpeg demuxers that read only the stream they are given. Playlists (hls, dash, concat, sdp) would open other files.
_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,loas,matroska,mlp,mov,mp3,mpc,mpc8,"
    "mpeg,mpegts,mxf,nut,ogg,oma,qoa,rm,shn,tak,truehd,tta,voc,w64,wav,wv,xwma"
)
# Demuxers of formats whose header states a duration. For all others FFmpeg guesses one from the bit rate.
_STATE_DURATION = {"ape", "asf", "flv", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "tta", "wv"}


def decode_samples(
    stream: BinaryIO, name: str, note: Callable[[str], None]
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Decode a recording from its beginning, with the first decoder that knows its format.

    Args:
        stream: binary and seekable. It is neither closed nor rewound.
        name: what error messages call the recording.
        note: called with one line for each problem: the recording is shorter than its header states, or is damaged.

    Yields:
        (rate in Hz, samples ``[n, channels]``), n >= 1, at least once. Full scale is 1.0; samples may exceed it. The
        rate is that in the header.

    Raises:
        NotAudio, NoAudioStream, EmptyAudio: see :mod:`spectag.errors`.
        AudioError: the stream itself fails.

    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros((100, 2)), 8000, format="WAV")
    >>> [(rate, samples.shape) for rate, samples in decode_samples(file, "silence.wav", print)]
    [(8000, (100, 2))]
    """
    reader = _Reader(stream, name)
    try:
        yield from _by_soundfile(reader, name, note)
        return
    except _Refused as error:
        refused = error
    yield from _by_pyav(reader, name, note, refused)


def full_scale(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Convert integer PCM to float32 with full scale 1.0; floats only change their type.

    Signed PCM is divided by ``2 ** (bits - 1)``. Unsigned PCM is centred on half its range first.

    >>> full_scale(np.array([-128, 0, 64], np.int8))
    array([-1. ,  0. ,  0.5], dtype=float32)
    >>> full_scale(np.array([0, 128, 192], np.uint8))
    array([-1. ,  0. ,  0.5], dtype=float32)
    """
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # values too large for float32 become infinite, which is reported later
            return samples.astype(np.float32, copy=False)
    half = 2.0 ** (8 * samples.dtype.itemsize - 1)
    return ((samples - half if samples.dtype.kind == "u" else samples) / half).astype(np.float32)


def reason(error: Exception) -> str:
    """The message of an exception without the number and the file name that Python adds.

    >>> reason(OSError(28, "No space left on device", "out.wav"))
    'No space left on device'
    """
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class _Reader:
    """The stream for C code: it has no name to guess a format from, and raises no exceptions.

    The decoders' callbacks would print an exception instead of raising it, so it is kept for :meth:`check`.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._error: BaseException | None = None

    def check(self) -> None:
        """Raise the exception that stopped :meth:`read`, if there was one: a failing disk, Ctrl-C."""
        if isinstance(self._error, Exception):
            raise AudioError(self._name, f"cannot be read: {reason(self._error)}") from self._error
        if self._error is not None:
            raise self._error

    def read(self, size: int) -> bytes:
        data = b""
        try:  # raw streams may return less than asked for, which decoders would take for the end
            while len(data) < size and (more := self._stream.read(size - len(data))):
                data = data + more if data else more
        except BaseException as error:
            self._error = error
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with suppress(OSError, ValueError):  # damaged headers send decoders to impossible places
            self._stream.seek(offset, whence)
            return self.tell()
        return -1

    def tell(self) -> int:
        return self._stream.tell()


# libsndfile


class _Refused(Exception):
    """libsndfile does not read this file; ``opened``: it recognised the format but returned no sample."""

    def __init__(self, reason: str, *, opened: bool = False, malformed: bool = False) -> None:
        super().__init__(reason)
        self.opened = opened
        self.malformed = malformed


class _Forward(sf.SoundFile):  # type: ignore[misc]
    """Reads without the seek that soundfile adds to every read, which halves the speed of FLAC."""

    def seekable(self) -> bool:
        return False


def _by_soundfile(
    reader: _Reader, name: str, note: Callable[[str], None]
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    reader.seek(0)
    head = reader.read(3)
    if head[:2] == b"\xff\xfe":  # PowerShell's "tool > file.wav"; FFmpeg would take it for MPEG layer I
        raise NotAudio(name, "expected an audio or video file, got UTF-16 text: export it again")
    if head == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):  # MP3: libmpg123 prints to stderr
        raise _Refused("not tried")
    reader.seek(0)
    try:
        file = _Forward(reader)
    except sf.LibsndfileError as error:
        reader.check()
        why = error.error_string.rstrip(".")
        why = "a sampling rate or number of channels below 1" if "SF_INFO" in why else why
        raise _Refused(why, malformed=error.code == 3) from None
    with file:
        if file.subtype.startswith("MPEG"):
            raise _Refused("not tried")
        if not file.frames and _means_empty(file.extra_info, reader):
            raise EmptyAudio(name, "expected a recording, got a header and 0 samples: record or export it again")
        done, damage = 0, ""  # samples per channel
        while True:
            try:
                piece = file.read(_CHUNK, dtype="float32", always_2d=True)
            except sf.LibsndfileError as error:
                damage = error.error_string.rstrip(".")
                break
            if not len(piece):
                break
            yield file.samplerate, piece
            done += len(piece)
        reader.check()
        if not done:
            raise _Refused(damage or "it ends before the first", opened=True)
        if file.format == "OGG" and not _ends_as_ogg(reader):
            damage = damage or "the last Ogg page is missing"
        expected = done + _missing(file.extra_info, done)
        if file.frames < 2**63 - 1:  # the largest number stands for "unknown"
            expected = max(expected, file.frames)
    if damage or done < expected:
        note(_describe_loss(done / file.samplerate, expected / file.samplerate if done < expected else 0, damage))


def _means_empty(info: str, reader: _Reader) -> bool:
    """Whether a WAV header of 0 samples is final. Otherwise its writer could not go back and fill in the sizes."""
    riff = re.search(r"^RIFF : (\d+)", info, re.MULTILINE)
    return riff is not None and int(riff[1]) + 8 >= reader.seek(0, os.SEEK_END)


def _missing(info: str, done: int) -> int:
    """Number of samples that the header states in addition to the ``done`` ones that were read, by libsndfile's log.

    The log has ``data : declared (should be present)`` for WAV, AIFF and AU, and only the outermost chunk for W64 and
    RF64. A writer that cannot seek back leaves a size that means "unknown": 0, or just below 2 or 4 GiB.
    """
    sizes = re.search(r"(?:data|SSND|riff|Riff size|Data Size +) : (\d+) \(should be (\d+)\)", info)
    if sizes is None:
        return 0
    declared, present = int(sizes[1]), int(sizes[2])
    unknown = (declared + 2**16) % 2**31 <= 2**16
    return 0 if unknown or declared <= present else max(1, round(done * (declared / max(1, present) - 1)))


def _ends_as_ogg(reader: _Reader) -> bool:
    """Whether the last page of an Ogg stream is complete and has the end-of-stream flag."""
    end = reader.seek(0, os.SEEK_END)
    reader.seek(max(0, end - 2**17))  # a page takes 65307 bytes at most
    tail = reader.read(2**17)
    page = tail[tail.rfind(b"OggS") :]
    return len(page) > 27 and bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


# FFmpeg


def _by_pyav(
    reader: _Reader, name: str, note: Callable[[str], None], refused: _Refused
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    import av  # slow to import, and most recordings do not need it

    failures = (av.FFmpegError, OSError, ValueError)
    # Passed as `options` they would apply to the streams too, where PyAV before 18 overruns an array (FLV crashes).
    options = {"format_whitelist": _FORMATS}
    reader.seek(0)
    try:
        container: Any = av.open(
            reader, "r", container_options=options, io_open=_open_nothing, metadata_errors="replace"
        )
    except failures as error:
        reader.check()
        if refused.opened:
            raise EmptyAudio(name, f"expected a recording, got no sample ({refused}): export it again") from None
        raise NotAudio(
            name,
            f"expected an audio or video file, got content that no decoder reads (libsndfile: {refused}; "
            f"FFmpeg: {reason(error)}): check that it is complete and what its extension says",
        ) from None
    with container:
        if not container.streams.audio:
            kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
            raise NoAudioStream(name, f"expected a sound track, got only {kinds}: choose a file with sound")
        sound = container.streams.audio[0]
        promised, scope = _promised(container, sound, reader)
        reached = done = 0.0  # s: the end of the packets; the sound decoded
        bad, damage = 0, "libsndfile calls it malformed" if refused.malformed else ""
        packets = container.demux(scope)
        while True:
            try:
                packet = next(packets, None)
            except failures as error:
                damage = reason(error)
                break
            if packet is None:
                break
            if packet.pts is not None:
                reached = max(reached, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index != sound.index:
                continue
            try:
                decoded = packet.decode()
            except failures:
                bad += 1
                continue
            for frame in decoded:
                yield frame.sample_rate, _to_array(frame)
                done += frame.samples / frame.sample_rate
    reader.check()
    if bad:
        damage = f"{bad} damaged packet{'s' if bad > 1 else ''} skipped"
    if not done:
        error_type = NotAudio if damage and not refused.opened else EmptyAudio
        raise error_type(name, f"expected a sound track, got no sample ({damage or 'it is empty'}): export it again")
    cut_off = reached + _SLACK < promised
    if cut_off or damage:
        note(_describe_loss(done, promised if cut_off else 0, damage))


def _open_nothing(*_: object) -> NoReturn:
    raise PermissionError("a recording may not open other files")


def _promised(container: Any, sound: Any, reader: _Reader) -> tuple[float, list[Any]]:
    """The duration in seconds that the header states (0 if it states none), and the streams that it applies to."""
    kind = container.format.name
    if kind not in _STATE_DURATION and not (kind == "mp3" and _counts_mp3_frames(reader)):
        return 0.0, [sound]
    if sound.duration:
        return float(sound.duration * sound.time_base), [sound]
    return (container.duration or 0) / 1e6, list(container.streams)


def _counts_mp3_frames(reader: _Reader) -> bool:
    """Whether the first MP3 frame is a Xing or Info header, which states the length."""
    here = reader.tell()  # FFmpeg continues from this position
    reader.seek(0)
    tag = reader.read(10)
    size = 10 + sum(byte << 7 * place for place, byte in enumerate(tag[:5:-1])) if tag[:3] == b"ID3" else 0
    reader.seek(size)
    head = reader.read(2048)
    reader.seek(here)
    return b"Xing" in head or b"Info" in head


def _to_array(frame: Any) -> NDArray[np.float32]:
    array = frame.to_ndarray()  # planar: [channels, n]; packed: [1, n * channels]
    return full_scale(array.T if frame.format.is_planar else array.reshape(frame.samples, -1))


def _describe_loss(seconds: float, expected: float, damage: str) -> str:
    length = f"expected {expected:.2f} s, read {seconds:.2f} s" if expected else f"read {seconds:.2f} s"
    because = f" ({damage})" if damage else ""
    return (
        f"{length}: the recording is cut off or damaged{because}; what could be read is used: "
        "copy or export it again if the rest matters"
    )
