"""Decoding by FFmpeg (through PyAV), for what libsndfile does not read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from spectag.audio.heard import Heard, Pieces
from spectag.audio.lengths import asf_seconds, is_complete, mp3_seconds
from spectag.audio.pcm import full_scale
from spectag.audio.view import View
from spectag.errors import EmptyAudio, NoAudioStream, NotAudio, reason

_SLACK = 0.5  # s by which a container's duration may exceed its packets: encoder delay, the last video frame
# FFmpeg demuxers that read only the stream they are given. Playlists (hls, dash, concat, sdp) would open other files.
_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,loas,matroska,mlp,mov,mp3,mpc,mpc8,"
    "mpeg,mpegts,mxf,nut,ogg,oma,qoa,rm,shn,tak,truehd,tta,voc,w64,wav,wv,xwma"
)
# Demuxers of formats whose header states the duration of the sound, and those that state the longest of all streams.
# For all others FFmpeg guesses one from the bit rate.
_STATE_SOUND = {"ape", "mov,mp4,m4a,3gp,3g2,mj2", "tta", "wv"}
_STATE_LONGEST = {"flv", "matroska,webm"}
_DEFAULT = 1  # FFmpeg's AV_DISPOSITION_DEFAULT
_PROBE = "65536"  # bytes of a pipe that FFmpeg looks at, to find out what it is
_BUFFER = 4096  # bytes that FFmpeg asks a pipe for
_PIECE = 4096  # samples per channel
_PLANES = 8  # PyAV reads behind the planes of a frame with this many channels or more


def by_ffmpeg(view: View, name: str, *, refused: str, opened: bool = False, skip: int = 0) -> Pieces:
    """Decode a recording.

    Args:
        view: where it lies.
        name: what error messages call it.
        refused: what libsndfile says about it.
        opened: whether libsndfile recognised the format.
        skip: samples per channel that were decoded already.

    Yields:
        (rate in Hz, samples ``[n, channels]``), n >= 1.

    Returns:
        what was decoded, without the skipped part.

    Raises:
        NotAudio, NoAudioStream, EmptyAudio: see :mod:`spectag.errors`.
        AudioError: the stream itself fails.

    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros((100, 2)), 8000, format="WAV")
    >>> [(rate, samples.shape) for rate, samples in by_ffmpeg(View(file, "a.wav"), "a.wav", refused="not tried")]
    [(8000, (100, 2))]
    """
    view.find_end()
    track = _Track(name, refused, opened)
    yield from track.pieces(view, skip)
    if track.bad:
        track.heard.damage = f"{track.bad} damaged packet{'s' if track.bad > 1 else ''} skipped"
    elif track.lost:
        track.heard.damage = f"{track.lost:.2f} s are missing within it"
    return track.heard


def forward_frames(file: Any, name: str) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Decode sound as it comes, without going back: from a pipe.

    Args:
        file: has a method ``read``.
        name: what error messages call it.

    Yields:
        (rate in Hz, samples ``[n, channels]``). Damaged packets are skipped.

    Raises:
        NotAudio, NoAudioStream: see :mod:`spectag.errors`.

    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros((100, 2)), 8000, format="WAV")
    >>> _ = file.seek(0)
    >>> [(rate, samples.shape) for rate, samples in forward_frames(file, "a.wav")]
    [(8000, (100, 2))]
    """
    import av

    options = {"format_whitelist": _FORMATS, "probesize": _PROBE}
    try:
        container: Any = av.open(
            file, "r", container_options=options, io_open=_open_nothing, metadata_errors="replace", buffer_size=_BUFFER
        )
    except Exception as error:
        raise NotAudio(
            name, f"expected sound in a format that FFmpeg reads from a pipe, got another one ({reason(error)})"
        ) from None
    with container:
        sounds = [sound for sound in container.streams.audio if sound.codec_context is not None]
        if not sounds:
            raise NoAudioStream(name, "expected a sound track, got none: choose a stream with sound")
        as_floats = _Floats()
        for packet in container.demux(sounds[0]):
            try:
                decoded = [(frame.sample_rate, as_floats(frame)) for frame in packet.decode() if frame.samples]
            except Exception:  # PyAV raises more than FFmpegError for damaged packets
                continue
            yield from decoded


@dataclass
class _Track:
    """One sound track of a container, and what is known of it after decoding.

    Args:
        name, refused, opened: as for :func:`by_ffmpeg`.
        silent: indices of tracks that gave no sample.
        heard: the result.
        bad: packets that could not be decoded.
        lost: seconds that are missing in the middle of a FLAC file, whose blocks are numbered.
    """

    name: str
    refused: str
    opened: bool
    silent: set[int] = field(default_factory=set)
    heard: Heard = field(default_factory=Heard)
    bad: int = 0
    lost: float = 0.0

    def pieces(self, view: View, skip: int) -> Iterator[tuple[float, NDArray[np.float32]]]:
        """Decode the track, or the next one where it gives no sample."""
        with self._open(view) as container:
            sound, able = self._choose(container)
            yield from _joined(self._decoded(container, sound, view, skip))
        view.check()
        if self.heard.samples or skip:
            return
        if able > 1:
            self.silent.add(sound.index)
            self.bad = 0
            yield from self.pieces(view, skip)
            return
        damage = f"{self.bad} damaged packet{'s' if self.bad > 1 else ''}" if self.bad else self.heard.damage
        error = NotAudio if damage and not self.opened else EmptyAudio
        raise error(self.name, f"expected a sound track, got no sample ({damage or 'it is empty'}): export it again")

    def _open(self, view: View) -> Any:
        import av  # slow to import, and most recordings do not need it

        # Passed as `options` they would apply to the streams too, where PyAV before 18 overruns an array (FLV crashes).
        options = {"format_whitelist": _FORMATS}
        view.seek(0)
        try:
            return av.open(view, "r", container_options=options, io_open=_open_nothing, metadata_errors="replace")
        except Exception as error:
            view.check()
            if self.opened:
                text = f"expected a recording, got no sample ({self.refused}): export it again"
                raise EmptyAudio(self.name, text) from None
            raise NotAudio(
                self.name,
                f"expected an audio or video file, got content that no decoder reads (libsndfile: {self.refused}; "
                f"FFmpeg: {reason(error)}): check that it is complete and what its extension says",
            ) from None

    def _choose(self, container: Any) -> tuple[Any, int]:
        """The track to decode, and how many tracks there are that FFmpeg has a decoder for."""
        sounds = container.streams.audio
        able = [sound for sound in sounds if sound.codec_context is not None and sound.index not in self.silent]
        if not able and sounds:
            raise NotAudio(self.name, "expected a codec that FFmpeg knows, got another one: export it again")
        if not able:
            kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
            raise NoAudioStream(self.name, f"expected a sound track, got only {kinds}: choose a file with sound")
        chosen = next((sound for sound in able if int(sound.disposition) & _DEFAULT), able[0])
        if len(sounds) > 1:
            codec, channels = chosen.codec_context.name, chosen.codec_context.channels
            number = sounds.index(chosen) + 1
            unknown = sum(sound.codec_context is None for sound in sounds)
            self.heard.remarks = [
                f"it has {len(sounds)} sound tracks: number {number} is used ({codec}, channels: {channels})"
                + (f"; {unknown} cannot be decoded" if unknown else "")
            ]
        return chosen, len(able)

    def _decoded(
        self, container: Any, sound: Any, view: View, skip: int
    ) -> Iterator[tuple[float, NDArray[np.float32]]]:
        promised, scope = _promised(container, sound, view)
        if sound.codec_context.name == "flac":  # otherwise a damaged block is heard as noise
            sound.codec_context.options = {"err_detect": "crccheck+explode"}
        packets, as_floats = container.demux(scope), _Floats()
        ticks = {stream.index: float(stream.time_base or 0) for stream in container.streams}  # s
        numbered, place = container.format.name == "flac", 0  # the sample that is due
        reached, at = 0.0, 0  # s: the end of the packets; samples of the track
        while True:
            try:
                packet = next(packets, None)
            except IndexError:  # PyAV, where streams appear while it reads
                packet = None
            except Exception as error:
                self.heard.damage = reason(error)
                packet = None
            if packet is None:
                break
            index = packet.stream.index
            if promised and packet.pts is not None:
                reached = max(reached, (packet.pts + (packet.duration or 0)) * ticks[index])
            if index != sound.index:
                continue
            frames: list[Any] = []
            decoded = []
            try:
                frames = [frame for frame in packet.decode() if frame.samples and frame.sample_rate > 0]
                decoded = [(frame.sample_rate, as_floats(frame)) for frame in frames]
            except Exception:  # PyAV raises more than FFmpegError for damaged packets; each is counted and reported
                self.bad += bool(bytes(packet).strip(b"\0"))  # zeros are padding
            for frame in frames if numbered else ():
                at_place = place if frame.pts is None else frame.pts
                self.lost += max(0, at_place - place) / frame.sample_rate
                place = at_place + frame.samples
            for rate, samples in decoded:
                at += len(samples)
                samples = samples[max(0, len(samples) - max(0, at - skip)) :]
                if len(samples):
                    yield rate, samples
                    self.heard.samples += len(samples)
                    self.heard.seconds += len(samples) / rate
        if reached + _SLACK < promised and not is_complete(view.read_at, view.begin, view.end):
            self.heard.promised = promised


def _joined(pieces: Iterable[tuple[float, NDArray[np.float32]]]) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """The same samples in fewer pieces: frames are short, and each piece costs the same."""
    for (rate, channels), run in groupby(pieces, key=lambda piece: (piece[0], piece[1].shape[1])):
        held: list[NDArray[np.float32]] = []
        size = 0
        for _, samples in chain(run, [(rate, None)]):
            if samples is not None:
                held.append(samples)
                size += len(samples)
            if size >= _PIECE or (size and samples is None):
                yield rate, np.concatenate(held, out=np.empty((size, channels), np.float32))
                held, size = [], 0


class _Floats:
    """Frames -> float32 ``[n, channels]``."""

    def __init__(self) -> None:
        self._resampler: tuple[Any, Any] = (None, None)  # what it is for, and itself

    def __call__(self, frame: Any) -> NDArray[np.float32]:
        planar, channels = frame.format.is_planar, frame.layout.nb_channels
        if (planar and channels >= _PLANES) or frame.format.name.startswith("s64"):  # which NumPy is not given
            return self._packed(frame)
        array = frame.to_ndarray()  # planar: [channels, n]; packed: [1, n * channels]
        return full_scale(array.T if planar else array.reshape(frame.samples, -1))

    def _packed(self, frame: Any) -> NDArray[np.float32]:
        import av

        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if self._resampler[0] != kind:
            self._resampler = kind, av.AudioResampler("flt", frame.layout, frame.sample_rate)
        frames = self._resampler[1].resample(frame)
        return np.concatenate([part.to_ndarray().reshape(part.samples, -1) for part in frames])


def _open_nothing(*_: object) -> NoReturn:
    raise PermissionError("a recording may not open other files")


def _promised(container: Any, sound: Any, view: View) -> tuple[float, list[Any]]:
    """The seconds that the header promises, 0 if it does not say, and the streams that the promise is about."""
    kind = container.format.name
    if kind in ("mp3", "asf"):
        here = view.tell()  # FFmpeg goes on from here
        seconds = (mp3_seconds if kind == "mp3" else asf_seconds)(view.read_at, view.begin)
        view.seek(here)
        return seconds, [sound] if kind == "mp3" else list(container.streams)
    if kind in _STATE_SOUND and sound.duration:
        return float(sound.duration * sound.time_base), [sound]
    if kind in _STATE_SOUND | _STATE_LONGEST:
        return (container.duration or 0) / 1e6, list(container.streams)
    return 0.0, [sound]
