"""Real files, made here with libsndfile and FFmpeg, through every door of spectag.audio.read."""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings, strategies as st

from spectag.audio import read as module
from spectag.audio.find import AUDIO_EXTENSIONS
from spectag.audio.read import SAMPLE_RATE, Waveform, read, resample
from spectag.audio.readers import Readers
from spectag.audio.source import Member, Segment, Source, describe
from spectag.errors import (
    AudioError,
    AudioNotFound,
    AudioWarning,
    EmptyAudio,
    InputError,
    NoAudioStream,
    NonFiniteAudio,
    NotAudio,
)

TONE = 1000  # Hz


def blocks(source: Source, seconds: float = 30.0) -> Iterator[Waveform]:
    return module.open(source).blocks(seconds)


@pytest.fixture(autouse=True)
def _no_warning() -> Iterator[None]:
    """A warning where none is expected fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def tone(rate: int, seconds: float = 1.0, channels: int = 1) -> np.ndarray:
    """[n, channels]: a sine, at full amplitude 0.5 in every channel."""
    wave = 0.5 * np.sin(2 * np.pi * TONE * np.arange(round(rate * seconds)) / rate)
    return np.repeat(wave.astype(np.float32)[:, None], channels, axis=1)


@pytest.mark.parametrize("rate", [7_999, 11_025, 22_050, 44_056, 96_000])
@pytest.mark.parametrize("samples", [17, 55_138])
def test_a_duration_is_exact_to_a_sample_of_the_file(tmp_path: Path, rate: int, samples: int) -> None:
    """Not only to one at 16 kHz: such errors add up over a sequence of files, in which Raven counts the time."""
    sf.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, samples), rate)
    recording, segment = module.open(tmp_path / "a.wav"), module.open(Segment(tmp_path / "a.wav", 0.0, 99.0))
    for one in (recording, segment):
        count = sum(len(block) for block in one.blocks(0.3))
        assert count / SAMPLE_RATE == pytest.approx(samples / rate, abs=0.5 / SAMPLE_RATE + 1e-9)
    assert recording.seconds == pytest.approx(samples / rate, abs=1e-9)
    assert segment.seconds == count / SAMPLE_RATE
    for _ in Readers().blocks(again := module.open(tmp_path / "a.wav")):
        pass
    assert again.seconds == recording.seconds


@cache
def encoded(
    format: str, subtype: str | None = None, rate: int = 44_100, channels: int = 2, seconds: float = 1
) -> bytes:
    stream = io.BytesIO()
    sf.write(stream, tone(rate, seconds, channels), rate, format=format, subtype=subtype)
    return stream.getvalue()


@cache
def muxed(
    format: str, codec: str | None, rate: int = 48_000, seconds: float = 1, video: str = "", flags: str = ""
) -> bytes:
    """What FFmpeg's encoders write; ``video`` is a codec, or empty for sound only."""
    opened: list[io.BytesIO] = []

    class Reopenable(io.BytesIO):  # faststart opens what it has written a second time
        def close(self) -> None:
            pass

    def reopen(*_: object) -> io.BytesIO:
        opened.append(Reopenable(stream.getvalue()))
        return opened[-1]

    stream = Reopenable()
    with av.open(stream, "w", format=format, options={"movflags": flags} if flags else {}, io_open=reopen) as container:
        picture = container.add_stream(video, rate=25, width=32, height=32, pix_fmt="yuv420p") if video else None
        sound = container.add_stream(codec, rate=rate, layout="mono") if codec else None
        if picture:
            for _ in range(round(25 * seconds)):
                container.mux(picture.encode(av.VideoFrame(32, 32, "yuv420p")))
            container.mux(picture.encode())
        if sound:
            frame = av.AudioFrame.from_ndarray(tone(rate, seconds).T, format="fltp", layout="mono")
            frame.sample_rate = rate
            fitting = av.AudioResampler(sound.format.name, "mono", rate, frame_size=sound.frame_size or 1024)
            for part in [*fitting.resample(frame), *fitting.resample(None)]:
                container.mux(sound.encode(part))
            container.mux(sound.encode())
    return stream.getvalue()


def assert_tone(waveform: np.ndarray, seconds: float = 1.0, amplitude: float = 0.5, padding: float = 0.05) -> None:
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert seconds - 0.01 <= len(waveform) / SAMPLE_RATE <= seconds + padding
    middle = waveform[2000:14000] * np.hanning(12000)  # Hann: half the amplitude, spread over 3 bins
    spectrum = np.abs(np.fft.rfft(middle)) / 3000
    assert abs(np.argmax(spectrum) * SAMPLE_RATE / 12000 - TONE) < 2
    assert spectrum.max() == pytest.approx(amplitude, rel=0.06)  # LAME turns down by 5 %


# formats


@pytest.mark.parametrize("subtype", sorted(sf.available_subtypes("WAV")))
def test_every_wav_subtype(subtype: str) -> None:
    channels = 1 if subtype.startswith(("GSM", "G72", "NMS")) else 2
    rate = 8000 if subtype.startswith(("G72", "NMS")) else 44_100
    try:
        data = encoded("WAV", subtype, rate, channels)
    except sf.LibsndfileError:
        pytest.skip("libsndfile cannot write it")
    assert_tone(read(data), padding=0.06)  # ADPCM pads to whole blocks


@pytest.mark.parametrize(
    ("format", "subtype", "rate"),
    [
        ("WAVEX", "PCM_24", 44_100),
        ("RF64", "PCM_16", 44_100),
        ("FLAC", "PCM_16", 44_100),
        ("FLAC", "PCM_24", 96_000),
        ("OGG", "VORBIS", 44_100),
        ("OGG", "OPUS", 48_000),
        ("MP3", "MPEG_LAYER_III", 44_100),
        ("AIFF", "PCM_16", 44_100),
        ("AIFF", "FLOAT", 22_050),
        ("W64", "PCM_16", 44_100),
        ("CAF", "PCM_16", 44_100),
        ("CAF", "ALAC_16", 44_100),
        ("AU", "PCM_16", 44_100),
    ],
)
def test_what_libsndfile_writes(format: str, subtype: str, rate: int) -> None:
    assert_tone(read(encoded(format, subtype, rate)), padding=0.001)


@pytest.mark.parametrize(
    ("format", "codec", "video"),
    [
        ("mp4", "aac", ""),
        ("mp4", "alac", ""),
        ("adts", "aac", ""),
        ("ogg", "libopus", ""),
        ("webm", "libopus", ""),
        ("webm", "libopus", "libvpx"),
        ("mp4", "aac", "mpeg4"),
        ("mov", "pcm_s24le", "mpeg4"),
        ("matroska", "pcm_f32le", ""),
        ("avi", "mp3", "mpeg4"),
        ("mpegts", "aac", ""),
        ("flv", "aac", ""),
        ("wv", "wavpack", ""),
        ("tta", "tta", ""),
        ("ac3", "ac3", ""),
    ],
)
def test_what_ffmpeg_writes(format: str, codec: str, video: str) -> None:
    assert_tone(read(muxed(format, codec, video=video)), padding=0.12)  # encoders fill their last frame


def test_paths_bytes_and_streams_are_the_same(tmp_path: Path) -> None:
    data = encoded("WAV", "PCM_16")
    path = tmp_path / "tone.mp3"  # the extension is not believed
    path.write_bytes(data)
    expected = read(data)
    stream = io.BytesIO(data)
    stream.seek(1000)  # read from the beginning all the same
    with path.open("rb") as buffered, path.open("rb", buffering=0) as raw:
        for source in (path, str(path), bytearray(data), stream, buffered, raw):
            np.testing.assert_array_equal(read(source), expected)  # type: ignore[arg-type]
        assert not buffered.closed
    assert not stream.closed


@pytest.mark.parametrize("data", [encoded("WAV"), muxed("mp4", "aac")], ids=["libsndfile", "ffmpeg"])
def test_a_pipe(data: bytes) -> None:
    end, start = os.pipe()

    def feed() -> None:
        with os.fdopen(start, "wb") as pipe:
            pipe.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(end, "rb") as pipe:
        np.testing.assert_array_equal(read(pipe), read(data))
    feeder.join()


def test_a_stream_that_gives_little_at_a_time() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 777))

    for data in (encoded("WAV"), encoded("MP3")):
        np.testing.assert_array_equal(read(Slow(data)), read(data))


def test_nothing_is_decoded_before_it_is_asked_for() -> None:
    assert len(next(blocks(encoded("WAV"), seconds=0.1))) == 1600
    blocks("nowhere.wav")  # raises when it is iterated


def test_the_first_block_needs_little_of_the_file() -> None:
    """A search for another recording behind this one would read all of it."""

    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 120 * SAMPLE_RATE)
    for form in ("FLAC", "WAV"):
        file = Counting()
        sf.write(file, samples, SAMPLE_RATE, format=form)
        file.count = 0
        next(blocks(file, seconds=1.0))
        assert file.count < 0.2 * len(file.getvalue())


# arithmetic


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16_000, 2), (44_100, 3), (96_000, 2), (192_000, 8)])
def test_a_tone_survives_any_rate(rate: int, channels: int) -> None:
    waveform = read(encoded("WAV", "FLOAT", rate, channels))
    assert len(waveform) == SAMPLE_RATE
    ideal = tone(SAMPLE_RATE)[:, 0]
    np.testing.assert_allclose(waveform[1000:-1000], ideal[1000:-1000], atol=1e-4)


def test_channels_are_averaged() -> None:
    frames = np.random.default_rng(0).uniform(-1, 1, (5000, 6)).astype(np.float32)
    stream = io.BytesIO()
    sf.write(stream, frames, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    np.testing.assert_allclose(read(stream), frames.mean(axis=1), atol=1e-6)


def test_at_16_khz_samples_come_as_they_are() -> None:
    frames = np.random.default_rng(0).uniform(-1, 1, 9000).astype(np.float32)
    frames[3] = 1.5  # beyond full scale is the recording's business
    stream = io.BytesIO()
    sf.write(stream, frames, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    np.testing.assert_array_equal(read(stream), frames)


@pytest.mark.parametrize("samples", [1, 2, 399, 400, 401, 4095, 4096, 4097])
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_lengths(samples: int, rate: int) -> None:
    stream = io.BytesIO()
    sf.write(stream, np.full(samples, 0.25), rate, format="WAV")
    if round(samples * SAMPLE_RATE / rate) == 0:
        with pytest.raises(EmptyAudio, match="at least one sample at 16 kHz"):
            read(stream)
    else:
        assert abs(len(read(stream)) - samples * SAMPLE_RATE / rate) <= 1


@settings(max_examples=30, deadline=None)
@given(
    rate=st.sampled_from([8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000]),
    samples=st.integers(400, 30_000),
    length=st.integers(50, 20_000),
)
def test_blocks_leave_no_trace(rate: int, samples: int, length: int) -> None:
    frames = np.random.default_rng(samples).uniform(-1, 1, (samples, 2)).astype(np.float32)
    stream = io.BytesIO()
    sf.write(stream, frames, rate, format="WAV", subtype="FLOAT")
    whole = resample(frames, rate)  # in one piece
    pieces = list(blocks(stream, seconds=length / SAMPLE_RATE))
    assert all(len(piece) == length for piece in pieces[:-1])
    assert 1 <= len(pieces[-1]) <= length
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)
    assert abs(len(whole) - samples * SAMPLE_RATE / rate) <= 1


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_block_length_is_checked(seconds: float) -> None:
    with pytest.raises(InputError, match="seconds: expected a positive number"):
        blocks(encoded("WAV"), seconds=seconds)


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    pytest.importorskip("resource")  # not on Windows

    def peak(seconds: int) -> int:
        path = tmp_path / f"{seconds}.wav"
        with sf.SoundFile(path, "w", 96_000, 2, "PCM_16") as file:
            for _ in range(seconds):
                file.write(np.zeros((96_000, 2), np.int16))
        code = (
            "import resource, sys; from spectag.audio.read import open; "
            "sum(map(len, open(sys.argv[1]).blocks(seconds=5))); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        kib = int(subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True).stdout)
        return kib * (1 if sys.platform == "darwin" else 1024)

    # 3 more minutes are 66 MiB of file, 132 MiB as float32 and 11 MiB as waveform.
    assert peak(200) - peak(20) < 6 * 2**20


# arrays


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "float16", "float32", "float64"])
def test_arrays_of_any_type(dtype: str) -> None:
    wave = tone(44_100, channels=2)
    if np.dtype(dtype).kind != "f":
        half = 2 ** (8 * np.dtype(dtype).itemsize - 1)
        wave = (wave.astype(float) * half + (half if dtype.startswith("u") else 0)).round()
    assert_tone(resample(wave.astype(dtype), 44_100))


def test_an_array_of_one_channel() -> None:
    np.testing.assert_array_equal(resample(tone(8000)[:, 0], 8000), resample(tone(8000), 8000.0))


@pytest.mark.parametrize(
    ("waveform", "rate", "message"),
    [
        (np.zeros(9), 0, "rate: expected 1000 to 2000000 Hz, got 0"),
        (np.zeros(9), float("nan"), "rate: expected"),
        (np.zeros(9), "16000", "rate: expected"),
        (np.zeros((100, 16_000)), 16_000, r"more samples than channels, got \[100, 16000\]"),
        (np.zeros((2, 2, 2)), 16_000, r"expected \[N\] or \[N, channels\], got \[2, 2, 2\]"),
        (np.zeros(()), 16_000, r"expected \[N\]"),
        (np.zeros((5, 0)), 16_000, r"expected \[N\]"),
        ([1, 2, 3], 16_000, "got int64: convert it first"),
        (np.zeros(9, complex), 16_000, "got complex128"),
        (np.zeros(9, bool), 16_000, "got bool"),
    ],
)
def test_arrays_that_cannot_be(waveform: np.ndarray, rate: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resample(waveform, rate)


def test_arrays_without_samples_or_sense() -> None:
    for shape in (0, (0, 2)):
        with pytest.raises(EmptyAudio):
            resample(np.zeros(shape), 16_000)
    with pytest.raises(NonFiniteAudio, match=r"<array>: .* at 0\.500 s"):
        resample(np.where(np.arange(16_000) == 8000, np.nan, 0), 16_000)


# errors


def failure(kind: type[AudioError], source: object) -> str:
    with pytest.raises(AudioError) as caught:
        read(source)  # type: ignore[arg-type]
    assert type(caught.value) is kind
    message = str(caught.value)
    assert message.startswith(describe(source) + ": ")  # type: ignore[arg-type]
    assert "\n" not in message
    return message


def test_what_is_not_there(tmp_path: Path) -> None:
    assert "found none" in failure(AudioNotFound, tmp_path / "none.wav")
    assert "got a directory" in failure(AudioError, tmp_path)
    assert "null byte" in failure(AudioError, "a\0b.wav")
    assert "too long" in failure(AudioError, "a" * 5000)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.wav"
    path.write_bytes(encoded("WAV"))
    path.chmod(0)
    assert "Permission denied" in failure(AudioError, path)


def test_sources_of_the_wrong_kind(tmp_path: Path) -> None:
    for source in (None, 3, [1.0]):
        with pytest.raises(InputError, match="expected a path, bytes, a binary file object"):
            read(source)  # type: ignore[arg-type]
    assert "mode 'rb'" in failure(AudioError, io.StringIO("text"))
    closed = io.BytesIO(b"x")
    closed.close()
    assert "closed" in failure(AudioError, closed)


@pytest.mark.parametrize(
    "content",
    [
        b"This is not sound.\n" * 50,
        "This is not sound.\r\n".encode("utf-16") * 50,
        b"<!DOCTYPE html><html>",
        bytes(5000),
        b"R",
        b"RIFF\x24\x00\x00\x00WAVE",
        b"\xff\xfb\x90\x00" + b"no frame" * 400,
        b"ID3\x03\x00\x00\x00\x00\x1f\x76" + b"text" * 2000,
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        np.random.default_rng(3).bytes(20_000),
    ],
)
def test_not_audio(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    assert "expected an audio or video file" in failure(NotAudio, path)


def test_utf16_text_is_told() -> None:
    """PowerShell's ">" makes it of what a program writes. FFmpeg takes some of it for MPEG layer I."""
    with pytest.raises(NotAudio, match="got UTF-16 text"):
        read("sound".encode("utf-16"))


def test_a_video_without_sound() -> None:
    assert "got only video" in failure(NoAudioStream, muxed("mp4", None, video="mpeg4"))


def test_no_samples() -> None:
    header = encoded("WAV", "PCM_16", seconds=0)
    assert "got 0 bytes" in failure(EmptyAudio, b"")
    assert "0 samples" in failure(EmptyAudio, header)
    tagged = header[:4] + struct.pack("<I", 36 + 1008) + header[8:] + b"LIST" + struct.pack("<I", 1000) + bytes(1000)
    assert "0 samples" in failure(EmptyAudio, tagged)  # a player that guesses would take the tags for sound
    for format in ("FLAC", "AIFF", "OGG", "W64"):
        failure(EmptyAudio, encoded(format, seconds=0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_samples(value: float) -> None:
    frames = tone(8000, channels=2)
    frames[6000, 1] = value
    stream = io.BytesIO()
    sf.write(stream, frames, 8000, format="WAV", subtype="FLOAT")
    assert "at 0.750 s" in failure(NonFiniteAudio, stream)


@pytest.mark.parametrize("rate", [0, 1, 999, 2_000_001, 2**31 - 1, 2**32 - 1])
def test_absurd_rates(rate: int) -> None:
    data = bytearray(encoded("WAV", "PCM_16"))
    data[24:28] = struct.pack("<I", rate)
    with pytest.raises(AudioError, match="sampling rate"):
        read(bytes(data))


def test_a_stream_that_fails() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 50_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    for data in (encoded("WAV"), muxed("matroska", "pcm_f32le")):  # and no warning that it is truncated
        assert "cannot be read: Input/output error" in failure(AudioError, Failing(data))


# cut in the middle


def patched(data: bytes, riff: int | None, size: int | None) -> bytes:
    """A WAV file with other sizes in its header."""
    changed, at = bytearray(data), data.index(b"data") + 4
    if riff is not None:
        changed[4:8] = struct.pack("<I", riff)
    if size is not None:
        changed[at : at + 4] = struct.pack("<I", size)
    return bytes(changed)


@pytest.mark.parametrize(
    ("data", "states_length"),
    [
        (encoded("WAV", "PCM_16"), True),
        (encoded("WAV", "IMA_ADPCM"), True),
        (encoded("WAVEX", "PCM_24"), True),
        (encoded("RF64", "PCM_16"), True),
        (encoded("W64", "PCM_16"), True),
        (encoded("AIFF", "PCM_16"), True),
        (encoded("AU", "PCM_16"), True),
        (encoded("CAF", "PCM_16"), True),
        (encoded("FLAC", "PCM_16"), True),
        (encoded("OGG", "VORBIS", seconds=30), False),
        (muxed("ogg", "libopus", seconds=3), False),  # its first page takes a second
        (encoded("MP3", "MPEG_LAYER_III", seconds=2), True),
        (muxed("mp4", "aac", seconds=2, flags="+faststart"), True),
        (muxed("webm", "libopus", seconds=2), True),
        (muxed("webm", "libopus", seconds=2, video="libvpx"), True),
    ],
)
def test_half_a_file(data: bytes, states_length: bool, tmp_path: Path) -> None:
    path = tmp_path / "half"
    path.write_bytes(data[: len(data) // 2])
    whole = read(data)
    with pytest.warns(AudioWarning) as caught:
        half = read(path)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert message.startswith(f"{path}: ")
    told = re.search(r"read ([\d.]+) s", message)
    assert told
    assert float(told[1]) == pytest.approx(len(half) / SAMPLE_RATE, abs=0.01)
    assert ("expected" in message) == states_length
    assert 0.2 * len(whole) < len(half) < 0.8 * len(whole)
    assert_tone(np.tile(half[: len(half) // 160 * 160][1600:-1600], 20)[:16_000])  # 160: 10 periods


def test_a_cut_that_leaves_nothing() -> None:
    assert "0 samples" in failure(EmptyAudio, encoded("WAV", "PCM_16")[:44])
    whole = muxed("mp4", "aac", seconds=2)  # the index is at the end
    failure(NotAudio, whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("riff", "size"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF),  # FFmpeg
        (0x7FFFFFFF, 0x7FFFFFFF - 36),
        (0x7FFFF024, 0x7FFFF000),  # SoX
        (0x80000024, 0x80000000),  # arecord
        (0, None),
        (5000, None),
    ],
)
def test_wav_headers_that_do_not_know(riff: int, size: int | None) -> None:
    data = encoded("WAV", "PCM_16")
    np.testing.assert_array_equal(read(patched(data, riff, size)), read(data))


@pytest.mark.parametrize("tail", [b"junkjunk", b"x", b"LIST" + struct.pack("<I", 1000) + b"short"])
def test_odd_trailing_chunks(tail: bytes) -> None:
    data = encoded("WAV", "PCM_16")
    np.testing.assert_array_equal(read(data + tail), read(data))
    odd = encoded("WAV", "PCM_U8", 16_000, 1, 401 / 16_000)
    assert len(read(odd[:-1])) == 401  # without the byte that makes the chunk even


def test_headers_are_not_trusted() -> None:
    data = bytearray(encoded("FLAC", "PCM_16"))
    data[21] |= 0x0F  # the number of samples: 36 bits
    data[22:26] = b"\xff" * 4
    with pytest.warns(AudioWarning, match=r"expected 15582\d\d\.\d\d s, read 1\.00 s"):
        assert_tone(read(bytes(data)))
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # unknown, as a stream has it
    assert_tone(read(bytes(data)))


def test_damage_in_the_middle() -> None:
    mp3 = encoded("MP3", "MPEG_LAYER_III", seconds=3)
    middle = len(mp3) // 2
    with pytest.warns(AudioWarning, match="damaged packet"):
        damaged = read(mp3[:middle] + np.random.default_rng(0).bytes(2000) + mp3[middle + 2000 :])
    assert 2.4 * SAMPLE_RATE < len(damaged) <= 3.1 * SAMPLE_RATE


# security


@pytest.mark.parametrize("name", ["http://localhost/x.wav", "file:x.wav", "concat:x.wav|x.wav", "pipe:0", "-"])
def test_protocols_are_file_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.wav").write_bytes(encoded("WAV"))
    failure(AudioNotFound, name)


@pytest.mark.parametrize("form", ["hls", "ffconcat", "sdp", "dash", "edl"])
def test_playlists_open_nothing(form: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.ts"
    secret.write_bytes(muxed("mpegts", "aac"))
    text = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{secret}'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "dash": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        f'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><BaseURL>{secret}</BaseURL></MPD>',
        "edl": f"# mpv EDL v0\n{secret}\n",
    }[form]
    for suffix in (".m3u8", ".wav"):
        path = tmp_path / f"list{suffix}"
        path.write_text(text)
        failure(NotAudio, path)
    if form == "hls":  # the danger is real: FFmpeg left alone follows the list
        with av.open(str(tmp_path / "list.m3u8")) as container:
            assert container.streams.audio


def test_nothing_is_printed(tmp_path: Path) -> None:
    mp3 = encoded("MP3", "MPEG_LAYER_III")
    middle = len(mp3) // 2
    for number, data in enumerate(
        [
            mp3[:middle],
            mp3[:1000],
            mp3[:middle] + bytes(3000) + mp3[middle:],
            b"\xff\xfb" + bytes(9000),
            encoded("FLAC", "PCM_16")[:20_000],
            muxed("mp4", "aac", flags="+faststart")[:8000],
            encoded("OGG", "VORBIS")[:5000],
            b"text" * 99,
        ]
    ):
        (tmp_path / str(number)).write_bytes(data)
    code = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        "from spectag.audio.read import read, AudioError\n"
        "for path in sys.argv[1:]:\n"
        "    try: read(path)\n"
        "    except AudioError: pass\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, tmp_path.iterdir())], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


# the rest


def test_names_in_messages() -> None:
    assert describe(b"") == "<bytes>"
    assert describe(io.BytesIO()) == "<stream>"
    assert describe(Path("a") / "ü.wav") == str(Path("a") / "ü.wav")
    assert describe("a\nb") == "'a\\nb'"  # stays one line
    assert describe("\udcff.wav").isascii()  # an undecodable file name can be printed


def test_extensions() -> None:
    assert {".wav", ".flac", ".mp3", ".ogg", ".m4a", ".opus", ".webm", ".mp4"} <= AUDIO_EXTENSIONS
    assert all(extension == extension.lower() and extension.startswith(".") for extension in AUDIO_EXTENSIONS)
    assert not {".txt", ".csv", ".json", ".m3u8"} & AUDIO_EXTENSIONS


def test_real_recordings() -> None:
    paths = sorted((Path(__file__).parents[2] / "examples").glob("*.ogg"))
    assert len(paths) == 10
    for path in paths:
        waveform = read(path)
        assert abs(len(waveform) - sf.info(path).duration * SAMPLE_RATE) <= 1
        assert 1e-4 < np.abs(waveform).max() < 2


def test_a_stretch_and_a_file_within_a_file(tmp_path):
    """Both to the sample, through the resampler too."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * 44_100).astype(np.float32)
    path = tmp_path / "noise.flac"
    sf.write(path, noise, 44_100)
    whole = read(path)
    np.testing.assert_array_equal(read(Segment(path, 0.5, 1.25)), whole[8_000:20_000])
    np.testing.assert_array_equal(read(Segment(path, 2.5)), whole[40_000:])
    np.testing.assert_array_equal(read(Segment(path, 2.5, 9)), whole[40_000:])
    np.testing.assert_array_equal(np.concatenate(list(blocks(Segment(path, 0.1, 2.9), seconds=0.3))), whole[1600:46400])
    outer = tmp_path / "outer.bin"
    content = path.read_bytes()
    outer.write_bytes(b"x" * 7 + content + b"y" * 9)
    member = Member(outer, 7, len(content))
    np.testing.assert_array_equal(read(member), whole)
    np.testing.assert_array_equal(read(Segment(member, 1)), whole[16_000:])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: Segment(p, 5), EmptyAudio, r"noise\.wav \(5 s to end\): begins after the end of the recording"),
        (lambda p: Segment(p, 1, 0.5), InputError, "expected 0 <= start < end"),
        (lambda p: Segment(p, float("nan")), InputError, "expected 0 <= start < end"),
        (lambda p: Member(p, 0, 10**9), AudioError, "the file ends before"),
        (lambda p: Segment("no such.wav", 1), AudioNotFound, "expected a file, found none"),
    ],
)
def test_impossible_stretches(tmp_path, make, error, message):
    sf.write(tmp_path / "noise.wav", np.ones(1600, np.float32) / 2, 16_000)
    with pytest.raises(error, match=message):
        read(make(tmp_path / "noise.wav"))
