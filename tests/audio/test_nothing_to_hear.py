"""Silence throughout is known, and channels that cancel each other are heard."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spectag.audio.read import Recording, Segment, open as open_recording, read


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def listen(source: object) -> tuple[Recording, np.ndarray]:
    recording = open_recording(source)  # type: ignore[arg-type]
    return recording, np.concatenate(list(recording.blocks()))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("offset", [(0.0,), (0.25,), (0.0, 0.0), (0.5, -0.25)])
@pytest.mark.parametrize("length", [2, 5_000, 100_000])
def test_silence_throughout(rate: int, offset: tuple[float, ...], length: int) -> None:
    """The kind: nothing was recorded, and this shows nowhere. A microphone that was muted, a channel that was not
    connected: zeros, or the constant that a converter or A-law has in place of zero, at any rate."""
    samples = np.tile(np.array(offset, np.float32), (length, 1))
    recording, _ = listen((samples, rate))
    assert recording.silent
    samples[-1, -1] += 2**-23  # the last bit of 24 is enough
    assert not listen((samples, rate))[0].silent


@pytest.mark.parametrize("subtype", ["ALAW", "ULAW", "PCM_U8", "PCM_16", "IMA_ADPCM"])
def test_silence_in_files(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(50_000), 8_000, subtype=subtype)
    assert listen(tmp_path / "x.wav")[0].silent
    soundfile.write(tmp_path / "x.wav", noise(50_000), 8_000, subtype=subtype)
    assert not listen(tmp_path / "x.wav")[0].silent


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_silence_of_a_segment(rate: int) -> None:
    """Only what lies within the segment counts: sound before and behind it is not heard."""
    samples = np.concatenate([noise(rate), np.zeros(4 * rate, np.float32), noise(rate)])
    for start, end, silent in ((1.0, 5.0, True), (0.0, 1.0, False), (0.9, 3.0, False), (4.0, None, False)):
        assert listen(Segment((samples, rate), start, end))[0].silent == silent  # type: ignore[arg-type]


def test_what_was_not_read_is_not_silent() -> None:
    assert not open_recording("dawn.wav").silent


@pytest.mark.parametrize("gain", [1.0, 0.9, 1.1])
@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("channels", [2, 4])
def test_opposite_phases_are_heard_in_one_channel(tmp_path: Path, gain: float, rate: int, channels: int) -> None:
    """The kind: channels that cancel when averaged, so that a loud recording becomes silence. One of them is used, from
    the first sample on and always the same one, and a note says so. Also where the two are not quite equally loud, and
    where both have the same constant offset."""
    sound = noise(3 * rate)
    pairs = np.stack([gain * sound, -sound] * (channels // 2), axis=1)
    want = read((gain * sound if gain >= 1 else -sound, rate))
    for offset in (0.0, 0.01):
        recording, got = listen((pairs + np.float32(offset), rate))
        np.testing.assert_allclose(got[1_000:-1_000], want[1_000:-1_000] + offset, atol=1e-4)
        [note] = recording.notes
        assert "cancel when they are averaged, in 3.00 s of 3.00 s: channel" in note
        assert not recording.silent
    soundfile.write(tmp_path / "x.wav", pairs, rate, subtype="FLOAT")
    np.testing.assert_allclose(listen(tmp_path / "x.wav")[1], want, atol=1e-5)
    np.testing.assert_allclose(listen((pairs.T, rate))[1], want, atol=1e-5)


def test_a_part_in_opposite_phases(tmp_path: Path) -> None:
    """Two recordings that were joined: only where the channels cancel, one of them stands for the mean."""
    sound, other = noise(4 * 16_000), noise(4 * 16_000, seed=1)
    stereo = np.concatenate([np.stack([sound, other], 1), np.stack([sound, -sound], 1), np.stack([sound, sound], 1)])
    recording, got = listen((stereo, 16_000))
    want = np.concatenate([(sound + other) / 2, sound, sound])
    assert np.mean(np.abs(got - want) > 1e-3) < 0.03  # up to the steps in which this is judged
    [note] = recording.notes
    seconds = float(note.partition(", in ")[2].split()[0])
    assert seconds == pytest.approx(4, abs=0.6)


def test_ordinary_channels_are_averaged() -> None:
    """No false alarm: one channel silent, channels that have nothing in common, that are alike, delayed or partly in
    opposite phases, many channels of which one sounds, and noise of the last bit."""
    a, b = noise(48_000), noise(48_000, 1)
    zero = np.zeros_like(a)
    tone = np.sin(2 * np.pi * 440 / 16_000 * np.arange(48_000)).astype(np.float32)
    last_bit = 2**-15 * np.sign(a)
    for channels in (
        (a, zero),
        (zero, a),
        (a, b),
        (a, a),
        (a, np.roll(a, 20)),
        (tone, np.roll(tone, 12)),
        (a, -0.5 * a),
        (a + 0.3 * b, -a + 0.3 * b),
        (last_bit, -last_bit),
        (a, *[zero] * 31),
        (zero, zero),
    ):
        samples = np.stack(channels, axis=1)
        recording, got = listen((samples, 16_000))
        np.testing.assert_allclose(got, samples.mean(1), atol=1e-6)
        assert recording.notes == []


def test_the_case(shared: Path) -> None:
    path = shared / "cases" / "antiphase.wav"
    if not path.exists():
        pytest.skip(f"no {path}")
    recording, got = listen(path)
    np.testing.assert_allclose(got, soundfile.read(path)[0][:, 0], atol=1e-6)
    assert len(recording.notes) == 1


def test_silence_with_few_channels_before_sound_with_many():
    """The kind: what is remembered of one recording in a file does not fit the next, which has other channels."""
    parts = []
    for channels, level in ((2, 0.0), (6, 0.0), (1, 0.0), (6, 0.1)):
        file = io.BytesIO()
        samples = level * np.random.default_rng(0).standard_normal((8_000, channels))
        soundfile.write(file, samples, 16_000, format="FLAC")
        parts.append(file.getvalue())
    for count in range(1, 5):
        recording = open_recording(b"".join(parts[:count]))
        assert sum(map(len, recording.blocks())) == count * 8_000
        assert recording.silent == (count < 4)
