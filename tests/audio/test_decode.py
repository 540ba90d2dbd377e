"""What is there is heard, what is not there is said: joined, damaged and unusual recordings."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from recordings import ID3V1, ID3V2, RATE, ape, by_ffmpeg, by_soundfile, heard, patched, sound

from spectag.audio import ffmpeg, read
from spectag.audio.heard import Heard
from spectag.audio.read import SAMPLE_RATE
from spectag.errors import AudioError, NotAudio


def seconds(data: bytes) -> tuple[float, list[str]]:
    waveform, notes = heard(data)
    return len(waveform) / SAMPLE_RATE, notes


# many channels


@pytest.mark.parametrize("layout", ["7.1", "octagonal", "hexadecagonal"])
@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "aac"), ("matroska", "libopus"), ("matroska", "wavpack"), ("mov", "pcm_s16le")]
)
def test_eight_channels_and_more(container: str, codec: str, layout: str) -> None:
    """Kind: planar frames with 8 channels or more, behind whose planes PyAV reads. The process died."""
    channels = av.AudioLayout(layout).nb_channels
    samples = sound(rate=48_000, channels=channels) * np.linspace(0.1, 1, channels, dtype=np.float32)
    try:
        data = by_ffmpeg(container, codec, samples=samples, layout=layout)
    except av.FFmpegError:
        pytest.skip(f"FFmpeg does not write {layout} with {codec}")
    waveform, notes = heard(data)
    assert notes == []
    assert len(waveform) == pytest.approx(SAMPLE_RATE, abs=1000)
    plain = heard(by_soundfile("WAV", "FLOAT", samples.mean(axis=1), 48_000))[0]
    assert np.abs(waveform).max() == pytest.approx(np.abs(plain).max(), rel=0.3)


def test_packing_is_exact() -> None:
    """Kind: the same. Packed frames have the same samples as planar ones, for every type of sample."""
    rng = np.random.default_rng(0)
    for form, dtype in (("u8p", "u1"), ("s16p", "i2"), ("s32p", "i4"), ("fltp", "f4"), ("dblp", "f8")):
        data = rng.uniform(-1, 1, (4, 999)) if dtype[0] == "f" else rng.integers(0, 256, (4, 999 * int(dtype[1])))
        data = data.astype(dtype) if dtype[0] == "f" else data.astype(np.uint8).view(dtype)
        frame = av.AudioFrame.from_ndarray(data, format=form, layout="4.0")
        frame.sample_rate = 8000
        floats = ffmpeg._Floats()
        np.testing.assert_array_equal(floats._packed(frame), floats(frame))


def test_a_header_that_claims_more_channels() -> None:
    """Kind: damaged AAC headers that claim other numbers of channels in the middle of a file. The process died."""
    data = by_ffmpeg("adts", "aac")
    code = (
        "import io, sys, numpy as np; from spectag.audio import read; from spectag.errors import AudioError\n"
        "data = sys.stdin.buffer.read(); rng = np.random.default_rng(0)\n"
        "for number in range(150):\n"
        "    changed = bytearray(data)\n"
        "    for at in rng.integers(0, len(data), 12): changed[at] = rng.integers(256)\n"
        "    try: sum(map(len, read.open(bytes(changed)).blocks()))\n"
        "    except AudioError: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, b"")


# one after the other


def ogg(subtype: str, seconds: float = 1.0, rate: int = RATE, channels: int = 1, serial: int | None = None) -> bytes:
    """An Ogg file whose serial number is given."""
    if subtype == "FLAC":
        samples = sound(seconds=seconds, rate=rate, channels=channels)
        data = bytearray(by_ffmpeg("ogg", "flac", samples=samples, rate=rate, layout=("mono", "stereo")[channels - 1]))
    else:
        data = bytearray(by_soundfile("OGG", subtype, sound("rain", seconds, rate, channels), rate))
    at = 0
    while serial is not None and at < len(data):
        size = 27 + data[at + 26] + sum(data[at + 27 : at + 27 + data[at + 26]])
        data[at + 14 : at + 18] = struct.pack("<I", serial)
        data[at + 22 : at + 26] = bytes(4)
        data[at + 22 : at + 26] = struct.pack("<I", checksum(data[at : at + size]))
        at += size
    return bytes(data)


def checksum(page: bytes) -> int:
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
            value &= 0xFFFFFFFF
    return value


@pytest.mark.parametrize("serials", [(None, None), (7, 7), (7, 8)])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("VORBIS",), ("VORBIS",)),
        (("VORBIS", 0.5), ("VORBIS", 2.0)),  # a decoder that believes the last page would stop too early or too late
        (("VORBIS", 2.0), ("VORBIS", 0.5)),
        (("VORBIS",), ("VORBIS", 1.0, 44_100, 2)),
        (("OPUS", 1.0, 48_000), ("OPUS", 0.5, 48_000, 2)),
        (("OPUS", 1.0, 48_000), ("VORBIS",)),
        (("FLAC",), ("FLAC", 0.5, 44_100, 2)),
        (("VORBIS",), ("FLAC",)),
    ],
)
def test_chained_ogg(first: tuple, second: tuple, serials: tuple[int | None, int | None]) -> None:
    """Kind: Ogg streams one after the other, whatever their codec, rate, channels and serial numbers."""
    one, two = ogg(*first, serial=serials[0]), ogg(*second, serial=serials[1])
    parts = [heard(part)[0] for part in (one, two)]
    for data, expected in ((one + two, parts), (one + two + one, [*parts, parts[0]]), (one + ID3V1 + two, parts)):
        waveform, notes = heard(data)
        assert notes == []
        assert len(waveform) == pytest.approx(sum(map(len, expected)), abs=2)
        np.testing.assert_allclose(waveform[: len(parts[0]) - 800], parts[0][:-800], atol=1e-4)
        np.testing.assert_allclose(waveform[-len(expected[-1]) + 800 :], expected[-1][800:], atol=1e-4)


def test_many_links_take_no_time() -> None:
    """Kind: the same, of a radio station: each recording is looked at once, not once for each other."""
    link = ogg("VORBIS", 0.2)
    length, notes = seconds(link * 100)
    assert notes == []
    assert length == pytest.approx(20, abs=0.1)


def test_a_broken_link_is_said() -> None:
    """Kind: the last of several recordings is cut off, or cannot be read at all."""
    one = ogg("VORBIS")
    for rest in (one[: len(one) // 2], one[:60], one[:30] + bytes(3000)):
        length, notes = seconds(one + rest)
        assert length >= 1
        assert len(notes) == 1
        assert "cut off or damaged" in notes[0]


def test_joined_flac() -> None:
    """Kind: FLAC files one after the other, with tags between them, of other rates and channels."""
    one = by_soundfile("FLAC", "PCM_16")
    two = by_soundfile("FLAC", "PCM_24", sound("rain", 0.5, 44_100, 2), 44_100)
    for data in (one + two, one + ID3V1 + ID3V2 + two + ape(500), ID3V2 + one + ID3V1 + two, two + one):
        length, notes = seconds(data)
        assert notes == []
        assert length == pytest.approx(1.5, abs=0.001)


@pytest.mark.parametrize("format", ["WAV", "AIFF", "AU", "RF64", "W64", "CAF"])
def test_joined_files_with_sizes(format: str) -> None:
    """Kind: files one after the other, whose headers state where the first one ends."""
    length, notes = seconds(by_soundfile(format) + by_soundfile(format, None, sound("rain", 0.5)))
    assert notes == []
    assert length == pytest.approx(1.5, abs=0.001)


PIDS = {"mpegts_start_pid": "0x300"}
SERVICE = PIDS | {"mpegts_service_id": "7", "mpegts_pmt_start_pid": "0x1100"}


@pytest.mark.parametrize(
    ("codec", "rate", "layout", "options"),
    [
        ("aac", 48_000, "mono", {}),
        ("aac", 32_000, "mono", {}),
        ("aac", 48_000, "stereo", PIDS),
        ("aac", 44_100, "mono", SERVICE),
        ("mp2", 48_000, "mono", {}),
        ("ac3", 48_000, "mono", PIDS),
    ],
)
def test_programs_of_a_transport_stream(codec: str, rate: int, layout: str, options: dict[str, str]) -> None:
    """Kind: an MPEG transport stream whose program changes to other ids, codecs, rates and back again."""
    one = by_ffmpeg("mpegts", "aac")
    channels = av.AudioLayout(layout).nb_channels
    two = by_ffmpeg("mpegts", codec, samples=sound(rate=rate, channels=channels), rate=rate, layout=layout, **options)
    expected = [seconds(part)[0] for part in (one, two)]
    for data, total in ((one + two, sum(expected)), (one + two + one, sum(expected) + expected[0])):
        length, notes = seconds(data)
        assert notes == []
        assert length == pytest.approx(total, abs=0.06)


def test_joined_mp3() -> None:
    """Kind: MP3 files one after the other, with and without tags and cover art between them."""
    one, two = by_ffmpeg("mp3", "libmp3lame", rate=44_100), by_soundfile("MP3", "MPEG_LAYER_III", None)
    art = b"APIC" + struct.pack(">I", 40_000) + bytes(2) + np.random.default_rng(0).bytes(40_000)
    id3 = b"ID3\3\0\0" + bytes(len(art) >> shift & 127 for shift in (21, 14, 7, 0)) + art
    for data in (
        one + one,
        one + two,
        one + ID3V1 + one + ID3V1,
        id3 + one + ID3V1 + id3 + one,
        (one + ape(40_000)) * 2,
    ):
        length, notes = seconds(data)
        assert notes == []
        assert length == pytest.approx(2, abs=0.15)


# damage in the middle


@pytest.mark.parametrize("seed", range(12))
def test_damaged_flac(seed: int) -> None:
    """Kind: flipped bits in the middle of a FLAC cost the blocks that they are in, not the rest, and are said."""
    data = bytearray(by_soundfile("FLAC", "PCM_16", sound(seconds=5.0)))
    whole = heard(bytes(data))[0]
    rng = np.random.default_rng(seed)
    data[rng.integers(len(data) // 20, len(data))] ^= 1 << rng.integers(8)
    waveform, notes = heard(bytes(data))
    assert len(whole) - 2 * 4096 <= len(waveform) <= len(whole)
    assert len(notes) == 1
    assert "expected 5.00 s" in notes[0]
    assert "missing within it" in notes[0] or "skipped" in notes[0]
    same = 0  # no noise where the damaged block was: from both ends, the samples are those of the whole file
    while same < len(waveform) and waveform[same] == whole[same]:
        same += 1
    np.testing.assert_array_equal(waveform[same:], whole[len(whole) - len(waveform) + same :])


@pytest.mark.parametrize("tail", [ID3V1, ape(3000), ID3V1 + ID3V1, bytes(1), bytes(100_000), ape(100) + ID3V1])
@pytest.mark.parametrize("total", [SAMPLE_RATE, 0])
def test_tags_behind_flac(total: int, tail: bytes) -> None:
    """Kind: tags and zeros behind a FLAC, whether or not it knows its length, cost nothing."""
    whole = by_soundfile("FLAC", "PCM_16")
    waveform, notes = heard(patched(whole, 22, ">I", total) + tail)
    np.testing.assert_array_equal(waveform, heard(whole)[0])
    assert notes == []


@pytest.mark.parametrize("total", [1, 5000])
def test_a_flac_total_that_is_too_small(total: int) -> None:
    """Kind: the header counts fewer samples than there are."""
    whole = by_soundfile("FLAC", "PCM_16")
    waveform, notes = heard(patched(whole, 22, ">I", total) + ID3V1)
    np.testing.assert_array_equal(waveform, heard(whole)[0])
    assert notes == [f"the FLAC header states {total / RATE:.2f} s, the file holds 1.00 s: all of it is read"]


def test_lost_pages_of_ogg_are_said() -> None:
    """Kind: a damaged page of Ogg is dropped; the last page tells how much there was."""
    for subtype in ("VORBIS", "FLAC"):
        data = bytearray(ogg(subtype, 5.0))
        data[len(data) // 2] ^= 1
        length, notes = seconds(bytes(data))
        assert length < 4.9
        assert len(notes) == 1
        assert "expected 5.00 s" in notes[0]


# false alarms


@pytest.mark.parametrize("start", [0.0, 2.0])
@pytest.mark.parametrize(
    ("container", "codec", "picture"),
    [
        ("matroska", "aac", "mpeg4"),
        ("webm", "libopus", "libvpx"),
        ("asf", "wmav2", "msmpeg4"),
        ("flv", "aac", "flv"),
        ("mp4", "aac", "mpeg4"),
        ("avi", "mp3", "mpeg4"),
        ("mpegts", "aac", "mpeg2video"),
    ],
)
def test_a_picture_that_outlasts_the_sound(container: str, codec: str, picture: str, start: float) -> None:
    """Kind: a whole video whose sound begins later and ends earlier; half of it is cut off all the same."""
    rate = 48_000 if codec == "libopus" else 44_100
    samples = sound(rate=rate, channels=2)
    try:
        data = by_ffmpeg(
            container, codec, samples=samples, rate=rate, layout="stereo", picture=(picture, 6.0), start=start
        )
    except (av.FFmpegError, ValueError):
        pytest.skip(f"FFmpeg does not write {container} with {codec} and {picture}")
    length, notes = seconds(data)
    assert notes == []
    assert length == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("tail", [ID3V1, ape(300_000), ape(300_000) + ID3V1, bytes(5000)])
def test_what_is_behind_an_mp3(tail: bytes) -> None:
    """Kind: whole MP3 files with tags, also with cover art, and zeros behind them."""
    for data in (by_ffmpeg("mp3", "libmp3lame", rate=44_100), by_soundfile("MP3", "MPEG_LAYER_III")):
        length, notes = seconds(data + tail)
        assert notes == []
        assert length == pytest.approx(seconds(data)[0], abs=0.03)


@pytest.mark.parametrize(
    ("container", "codec"), [("asf", "wmav2"), ("flv", "aac"), ("matroska", "aac"), ("tta", "tta")]
)
def test_half_of_it_is_still_said(container: str, codec: str) -> None:
    """Kind: the counterpart of a false alarm: formats that state their length, cut in the middle."""
    data = by_ffmpeg(
        container, codec, samples=sound(seconds=4.0, rate=44_100, channels=2), rate=44_100, layout="stereo"
    )
    length, notes = seconds(data[: len(data) // 2])
    assert 1 < length < 3
    assert len(notes) == 1
    assert "expected 4.0" in notes[0]


# what is said


@pytest.mark.parametrize(
    ("promised", "damage", "said"),
    [
        (None, "", ""),
        (10.0, "", ""),
        (10.04, "", ""),
        (9.96, "", ""),
        (10.06, "", "expected 10.06 s, read 10.00 s: the recording is cut off or damaged; what"),
        (12.0, "a reason", "expected 12.00 s, read 10.00 s: the recording is cut off or damaged (a reason); what"),
        (10.04, "a reason", "read 10.00 s: the recording is cut off or damaged (a reason); what"),
        (None, "a reason", "read 10.00 s: the recording is cut off or damaged (a reason); what"),
        (9.94, "", "the AU header states 9.94 s, the file holds 10.00 s: all of it is read"),
        (0.0, "", "the AU header states 0.00 s, the file holds 10.00 s: all of it is read"),
    ],
)
def test_a_difference_of_more_than_5_hundredths_is_said(promised: float | None, damage: str, said: str) -> None:
    notes = Heard(10.0, 80_000, promised, damage).notes("AU")
    assert len(notes) == bool(said)
    assert "".join(notes).startswith(said)
    assert Heard(10.0, 80_000, promised, damage, ["a remark"]).notes("AU") == ["a remark", *notes]


def test_several_recordings_are_summed_up() -> None:
    """Promises that are kept, nearly or not made count as kept; the first damage and each remark are said once."""
    total = Heard(promised=0.0)
    total.add(Heard(1.0, 8000, 1.04, "", ["two tracks"]))
    assert (total.seconds, total.samples, total.promised, total.damage) == (1.0, 8000, 1.0, "")
    total.add(Heard(2.0, 32_000, 5.0, "first", ["two tracks", "a picture"]))
    assert (total.seconds, total.samples, total.promised) == (3.0, 40_000, 6.0)
    total.add(Heard(4.0, 32_000, None, "second"))
    total.add(Heard(4.0, 32_000, 1.0))
    assert (total.seconds, total.samples, total.promised) == (11.0, 104_000, 11.0)
    assert (total.damage, total.remarks) == ("first", ["two tracks", "a picture"])


# tracks and types of samples


def test_other_tracks_are_mentioned() -> None:
    """Kind: several sound tracks. The default one is taken where one is marked, and the others are mentioned."""
    data = by_ffmpeg("matroska", "libopus", "flac")
    length, notes = seconds(data)
    assert length == pytest.approx(1, abs=0.05)
    assert notes == ["it has 2 sound tracks: number 1 is used (opus, channels: 1)"]
    data = by_ffmpeg("mp4", "aac", "alac")  # whose first track is the default one
    data = data.replace(b"tkhd\0\0\0\2", b"tkhd\0\0\0\3").replace(b"tkhd\0\0\0\3", b"tkhd\0\0\0\2", 1)
    assert "number 2 is used (alac" in seconds(data)[1][0]


def test_a_track_without_a_decoder() -> None:
    """Kind: a first track of an unknown codec does not hide a second one; alone, it is named as the reason."""
    data = by_ffmpeg("matroska", "libopus", "flac").replace(b"A_OPUS", b"A_OPUX", 1)
    length, notes = seconds(data)
    assert length == pytest.approx(1, abs=0.05)
    assert notes == ["it has 2 sound tracks: number 2 is used (flac, channels: 1); 1 cannot be decoded"]
    with pytest.raises(NotAudio, match="expected a codec that FFmpeg knows"):
        heard(by_ffmpeg("matroska", "libopus").replace(b"A_OPUS", b"A_OPUX", 1))


def test_pcm_of_64_bits() -> None:
    """Kind: integer samples of 64 bits, of which NumPy knows but PyAV does not."""
    waveform, notes = heard(by_ffmpeg("wav", "pcm_s64le", rate=RATE, samples=sound()))
    np.testing.assert_allclose(waveform, sound()[:, 0], atol=1e-6)
    assert notes == []


def test_every_exception_of_a_decoder_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind: whatever a decoder raises, Python sees an AudioError with one line."""
    data = by_soundfile("WAV")
    for error in (RuntimeError("a\nb"), MemoryError(), IndexError("x"), AssertionError(), OverflowError("y")):

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("soundfile.SoundFile.read", fail)
        with pytest.raises(AudioError, match=f"cannot be decoded .{type(error).__name__}") as caught:
            read.read(data)
        assert "\n" not in str(caught.value)


def test_samples_that_overflow() -> None:
    """Kind: finite samples so large that resampling makes infinity of them."""
    file = io.BytesIO(by_soundfile("WAV", "FLOAT", np.full(8000, 3e38, np.float32), 48_000))
    with pytest.raises(AudioError, match="expected finite samples"):
        read.read(file)


@pytest.mark.parametrize(
    ("name", "length", "notes"),
    [
        ("surround_7_1.m4a", 0.3, []),
        ("chained_vorbis.ogg", 5.0, []),
        ("good.flac", 5.8, []),
        ("bitflip.flac", 5.55, ["expected 5.80 s, read 5.54 s"]),
        ("id3v1.flac", 5.8, []),
        ("joined.mp3", 5.15, []),
        ("sound_late.mkv", 2.6, []),
        ("unknown_first.mka", 2.5, ["number 2 is used (opus"]),
        ("pcm64.wav", 0.5, []),
    ],
)
def test_the_cases(name: str, length: float, notes: list[str], shared: Path) -> None:
    if not (shared / "cases").is_dir():
        pytest.skip("no cases in the shared folder")
    recording = read.open(shared / "cases" / name)
    assert sum(map(len, recording.blocks())) / SAMPLE_RATE == pytest.approx(length, abs=0.03)
    assert len(recording.notes) == len(notes)
    assert all(part in note for part, note in zip(notes, recording.notes, strict=True))
