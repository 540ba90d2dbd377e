"""Samples in memory, as other libraries hand them over."""

import io
import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from spectag.audio.read import open as open_recording, read
from spectag.audio.source import Member, Segment
from spectag.errors import AudioError, AudioNotFound, InputError


def noise(*shape: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 6, 64])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_channels_may_come_first_or_last(channels: int, rate: int) -> None:
    """The kind: a layout that another library returns is refused, or read as the other one. soundfile returns
    [N, channels]; torchaudio, and librosa with mono=False, return [channels, N]. An axis longer than 64 is time."""
    last = noise(3_000, channels)
    want = read((last, rate))
    for samples in (last.T, last.T.copy(), torch.from_numpy(last).T, torch.from_numpy(last.T.copy()).double()):
        np.testing.assert_allclose(read((samples, rate)), want, atol=1e-6)
    pcm = (last.T * 32_768).astype(np.int16)
    np.testing.assert_allclose(read((pcm, rate)), read((pcm.T, rate)))


@pytest.mark.parametrize("shape", [(2, 40), (1, 2), (63, 64), (65, 66), (100, 16_000)])
def test_a_layout_that_could_be_either_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="more samples than channels"):
        read((noise(*shape), 16_000))
    assert len(read((noise(*shape[::-1]), 16_000))) == shape[1]  # [N, channels] stays what it was


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_named_pipes_and_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind: something that was named, and that can be opened but may never end, or never begin. A pipe is read when
    a program writes to it, also one that begins later; otherwise it is an error. Devices and sockets are errors."""
    soundfile.write(tmp_path / "dawn.wav", noise(5_000), 16_000)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Timer(0.1, lambda: pipe.write_bytes((tmp_path / "dawn.wav").read_bytes()))
    writer.start()
    np.testing.assert_array_equal(read(pipe), read(tmp_path / "dawn.wav"))
    writer.join()
    threads = threading.active_count()
    monkeypatch.setattr("spectag.audio.source.WAIT", 0.1)
    with pytest.raises(AudioError, match=r"pipe: is a named pipe to which no program wrote within 0\.1 s: start that"):
        read(pipe)
    for _ in range(1000):
        if threading.active_count() == threads:
            break
        time.sleep(0.01)
    assert threading.active_count() == threads, "nobody waits any more"
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(AudioError, match="socket: expected a file or a pipe, got a socket"):
            read("socket")
    for device in ("/dev/zero", "/dev/null"):
        with pytest.raises(AudioError, match=f"{device}: expected a file or a pipe, got a device"):
            read(device)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_samples_are_not_taken_for_a_pair(count: int) -> None:
    for samples in (noise(count), torch.from_numpy(noise(count))):
        np.testing.assert_array_equal(read(samples), noise(count))
        np.testing.assert_array_equal(read((samples, 16_000)), noise(count))
    with pytest.raises(InputError, match=r"a tuple of two, \(samples, rate\)"):
        read((noise(9), 16_000, "dawn.wav"))
    with pytest.raises(InputError, match=r"expected 16 kHz mono samples \[N\], got shape \[9, 2\]"):
        read(noise(9, 2))


def test_a_file_at_the_very_end_of_another(tmp_path: Path) -> None:
    content = io.BytesIO()
    soundfile.write(content, noise(500), 16_000, format="WAV")
    data = content.getvalue()
    path = tmp_path / "clips.tar"
    path.write_bytes(b"in front" + data)
    np.testing.assert_array_equal(read(Member(path, 8, len(data))), read(data))
    with pytest.raises(AudioError, match=f"expected {len(data) + 1} bytes there, but the file ends before"):
        read(Member(path, 8, len(data) + 1))


def test_what_is_not_there_says_what_to_do() -> None:
    for name, advice in (("https://example.org/a.wav", "download it and pass the file"), ("a.wav", "check the path")):
        with pytest.raises(AudioNotFound, match=f"expected a file, found none: {advice}"):
            read(name)


@pytest.mark.parametrize("rate", [1_000, 2_000_000])
def test_the_lowest_and_the_highest_rate(rate: int) -> None:
    assert abs(len(read((noise(rate), rate))) - 16_000) <= 1
    for other in (999, 2_000_001, "16 kHz"):
        with pytest.raises(InputError, match="rate: expected 1000 to 2000000 Hz"):
            read((noise(9), other))


def test_a_dictionary_of_datasets(tmp_path: Path) -> None:
    """The kind: what `datasets` returns for an audio column, decoded or not, of one channel or [channels, N]."""
    samples = noise(5_000, 2)
    soundfile.write(tmp_path / "dawn.wav", samples, 22_050, subtype="FLOAT")
    content = (tmp_path / "dawn.wav").read_bytes()
    want = read((samples, 22_050))
    for source in (
        {"array": samples.T, "sampling_rate": 22_050, "path": "dawn.wav"},
        {"path": None, "array": samples.T.astype(np.float64), "sampling_rate": 22_050},
        {"array": samples.mean(1), "sampling_rate": np.int64(22_050)},
        {"bytes": content, "path": "dawn.wav"},
        {"bytes": content, "path": None},
        {"bytes": None, "path": str(tmp_path / "dawn.wav")},
        {"path": tmp_path / "dawn.wav"},
    ):
        recording = open_recording(source)
        np.testing.assert_allclose(np.concatenate(list(recording.blocks())), want, atol=1e-6)
        path = source.get("path")
        assert recording.path == (None if path is None else str(path))
        assert recording.name == (recording.path or ("<array>" if "array" in source else "<bytes>"))
    part = read(Segment({"bytes": content, "path": "dawn.wav"}, 0.1, 0.2))  # type: ignore[arg-type]
    np.testing.assert_array_equal(part, read(Segment(io.BytesIO(content), 0.1, 0.2)))


def test_a_row_of_datasets_is_refused() -> None:
    row = {"audio": {"array": noise(9), "sampling_rate": 16_000}, "label": 3}
    with pytest.raises(InputError, match=r"got 'audio', 'label': pass the value of the audio column"):
        read(row)
