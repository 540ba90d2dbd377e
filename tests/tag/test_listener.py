"""Listening gives what detecting gives, while the sound is heard."""

import copy
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console
from sounds import noise

from spectag.audio import live
from spectag.cli.listen import _draw_tags
from spectag.errors import AudioError, InputError, ModelError, NotAudio
from spectag.model.bundle import Bundle
from spectag.tag.detector import Detector
from spectag.tag.events import EventRule
from spectag.tag.listener import Listener, Moment
from spectag.tag.results import Tag
from spectag.tag.tagger import Tagger

RATE = 16_000
LISTEN = [sys.executable, "-m", "spectag", "listen", "-"]


def pieces(waveform: np.ndarray, length: int = 1600) -> Iterator[np.ndarray]:
    yield from (waveform[at : at + length] for at in range(0, len(waveform), length))


def bursts(seconds: float, *spans: tuple[float, float]) -> np.ndarray:
    """Digital silence, which is never an event, and noise in between."""
    waveform = np.zeros(round(seconds * RATE), np.float32)
    for first, last in spans:
        waveform[round(first * RATE) : round(last * RATE)] = noise(round((last - first) * RATE))
    return waveform


@pytest.mark.parametrize("method", ["change", "threshold"])
@pytest.mark.parametrize("length", [160, 1600, 50_000])
def test_the_events_are_those_of_the_whole_recording(tagger: Tagger, method: str, length: int) -> None:
    waveform = bursts(30, (1, 3), (8, 11), (20, 24.5), (29, 30))
    rule = EventRule(method, threshold=0.2)
    moments = list(Listener(tagger, rule, hop=0.1).listen(pieces(waveform, length)))
    told = sorted((event for moment in moments for event in moment.events), key=lambda e: (e.onset, e.label))
    whole = sorted(Detector(tagger, rule, hop=0.1).detect(waveform).events or (), key=lambda e: (e.onset, e.label))
    assert len(whole) >= 4
    assert [event.label for event in told] == [event.label for event in whole]
    for one, other in zip(told, whole, strict=True):
        assert (one.onset, one.offset) == (pytest.approx(other.onset), pytest.approx(other.offset))
        assert one.score == pytest.approx(other.score, abs=1e-5)


def test_moments(tagger: Tagger) -> None:
    """One for each window, with the tags of that window; events are told soon after they have ended."""
    waveform = bursts(10, (2, 4))
    moments = list(Listener(tagger, EventRule(threshold=0.2), hop=0.25).listen(pieces(waveform)))
    windows = tagger.score_windows(waveform, hop=0.25)
    assert [moment.time for moment in moments[: len(windows.starts)]] == [
        pytest.approx((start + 50) / 100) for start in windows.starts
    ]
    for moment, scores, sound in zip(moments, windows.scores, windows.sound, strict=False):
        best = sorted((tag.score for tag in moment.tags), reverse=True)
        assert best == pytest.approx(sorted(scores.tolist(), reverse=True) if sound else [], abs=1e-5)
    told = next(moment.time for moment in moments if moment.events)
    assert 4 < told < 7


def test_memory_does_not_grow(tagger: Tagger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sound that does not end is divided, so that the rows that are kept stay few."""
    monkeypatch.setattr("spectag.tag.listener.LONGEST", 5.0)
    waveform = noise(20 * RATE)
    moments = list(Listener(tagger, EventRule(threshold=0.0, merge=0.0), hop=0.25).listen(pieces(waveform)))
    longest = max(event.offset - event.onset for moment in moments for event in moment.events)
    assert 0 < longest <= 5.0 + 1.0


def test_scores_that_are_no_numbers_are_said(bundle: Bundle) -> None:
    bundle = copy.deepcopy(bundle)
    with torch.no_grad():
        bundle.network.head.linear.bias[0] = float("nan")
    with pytest.raises(ModelError, match="NaN or infinite values"):
        list(Listener(Tagger(bundle), hop=0.25).listen(pieces(noise(RATE))))


def test_nothing_and_next_to_nothing(tagger: Tagger) -> None:
    listener = Listener(tagger)
    assert list(listener.listen([])) == []
    assert [len(moment.tags) for moment in listener.listen([noise(100)])] == [4]
    with pytest.raises(InputError, match="top_k"):
        list(listener.listen([], top_k=0))


# sources


@pytest.mark.parametrize("encoding", ["s16le", "s32le", "f32le", "u8"])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_without_a_header(encoding: str, channels: int) -> None:
    """However the pipe divides them, also in the middle of a sample."""
    dtype = np.dtype(live._DTYPES[encoding])
    waveform = noise(2000).reshape(-1, channels)
    scale = 2.0 ** (8 * dtype.itemsize - 1)
    data = waveform if dtype.kind == "f" else (waveform * scale + (scale if dtype.kind == "u" else 0)).round()
    sent = data.astype(dtype).tobytes() + b"\0" * (dtype.itemsize * channels - 1)
    there, here = os.pipe()

    def send() -> None:
        for at in range(0, len(sent), 7):
            os.write(here, sent[at : at + 7])
        os.close(here)

    sender = threading.Thread(target=send)
    sender.start()
    got = list(live.raw(there, RATE, channels, encoding))  # type: ignore[arg-type]
    sender.join()
    os.close(there)
    np.testing.assert_allclose(np.concatenate([samples for _, samples in got]), waveform, atol=1.01 / scale)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
def test_formats_from_a_pipe(format: str, tmp_path: Path) -> None:
    """Nothing at the beginning is lost while the format is found out."""
    path = tmp_path / "a"
    waveform = noise(3 * 44_100)
    soundfile.write(path, waveform, 44_100, format=format)
    with path.open("rb") as file:
        pipe = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        assert pipe.stdout is not None
        got = np.concatenate([samples[:, 0] for _, samples in live.stream(pipe.stdout.fileno(), "-")])
        pipe.communicate()
    assert abs(len(got) - len(waveform)) <= (3000 if format == "MP3" else 0)
    if format != "MP3":
        assert np.corrcoef(got, waveform)[0, 1] > (0.8 if format == "OGG" else 0.999999)


def test_a_slow_network_makes_a_pipe_wait_and_a_microphone_lose() -> None:
    block = (RATE, np.zeros((1600, 1), np.float32))
    patient = live.Live((block for _ in range(1000)), "pipe")
    assert sum(map(len, patient.blocks())) == 1000 * 1600
    assert (patient.lost, patient.overruns) == (0, 0)

    done = threading.Event()

    def source() -> Iterator[tuple[float, np.ndarray]]:
        yield from (block for _ in range(400))
        done.set()

    hasty = live.Live(source(), "microphone", lossy=True)
    blocks = hasty.blocks()
    heard = len(next(blocks))
    done.wait(60)  # 40 s of sound came meanwhile, and 30 s are kept
    heard += sum(map(len, blocks))
    assert hasty.overruns == 1
    assert hasty.lost + heard / RATE == pytest.approx(40)
    assert hasty.lost == pytest.approx(10, abs=0.3)


def test_errors_of_a_source_are_those_of_the_listener() -> None:
    def broken() -> Iterator[tuple[float, np.ndarray]]:
        yield RATE, np.zeros((1600, 1), np.float32)
        raise OSError("unplugged")

    with pytest.raises(AudioError, match="microphone: cannot be read: unplugged"):
        list(live.Live(broken(), "microphone").blocks())
    there, here = os.pipe()
    os.write(here, b"no sound at all" * 100)
    os.close(here)
    with pytest.raises(NotAudio, match="a format that FFmpeg reads from a pipe"):
        list(live.stream(there, "-"))
    os.close(there)


def test_a_microphone() -> None:
    """The library `sounddevice` calls back from a thread of its own; here a thread does that without it."""

    class Recorder:
        samplerate = 48_000.0

        def __init__(self, *, callback: object, **options: object) -> None:
            self.callback, self.options, self.closed = callback, options, False
            recorders.append(self)

        def start(self) -> None:
            threading.Thread(target=self.callback, args=(np.ones((480, 1), np.float32), 480, None, None)).start()

        def close(self) -> None:
            self.closed = True

    recorders: list[Recorder] = []
    source = live.microphone("USB", Recorder)
    rate, samples = next(source)
    assert (rate, samples.shape) == (48_000.0, (480, 1))
    assert recorders[0].options["device"] == "USB"
    source.close()  # type: ignore[attr-defined]
    assert recorders[0].closed

    def missing(**_: object) -> None:
        raise ValueError("no such device")

    with pytest.raises(AudioError, match="microphone: cannot be opened: no such device: name another with --mic"):
        next(live.microphone(None, missing))


# the command


def test_the_command_hears_a_pipe_at_any_speed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(8 * RATE), RATE)
    done = subprocess.run(
        [*LISTEN, "-f", "jsonl", "--hop", "1"],
        input=(tmp_path / "a.wav").read_bytes(),
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    moments = [json.loads(line) for line in done.stdout.splitlines()]
    assert moments[-1]["time"] == pytest.approx(8.0, abs=0.05)
    assert b"listened to 8.0 s; answers took" in done.stderr


def test_labels_with_brackets_are_no_markup() -> None:
    """Kind: a label that rich takes for markup ended the command with a traceback, or was not shown."""
    console = Console(file=io.StringIO(), width=100)
    console.print(_draw_tags(Moment(1.0, (Tag("owl [/x]", 0.5), Tag("horn [honking]", 0.25)), ())))
    shown = console.file.getvalue()
    assert "owl [/x]" in shown
    assert "horn [honking]" in shown
    assert shown.count("█") == 10 + 5


def test_ctrl_c_is_the_usual_end() -> None:
    process = subprocess.Popen(
        [*LISTEN, "--rate", "16000", "--hop", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write((noise(4 * RATE) * 32767).astype("<i2").tobytes())
    process.stdin.flush()
    assert process.stdout.readline().startswith(b"     2.")  # the first window, although the pipe is still open
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, b"Traceback" in error) == (0, False), error
    assert b"listened to" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rate", "10"], "rate must be 1000 to 2000000 Hz; got 10"),
        (["--rate", "16000", "--channels", "100"], "channels must be 1 to 64; got 100"),
        (["--encoding", "u8"], "--channels and --encoding are about samples without a header: add --rate"),
        ([], "expected sound in a format that FFmpeg reads from a pipe"),
        (["--hop", "9"], "hop must be more than 0 and at most a window"),
    ],
)
def test_wrong_use(options: list[str], message: str) -> None:
    done = subprocess.run([*LISTEN, *options], input=b"text", capture_output=True, text=False, timeout=300)
    assert done.returncode in (1, 2)
    assert message in " ".join(done.stderr.decode().split())
    assert b"Traceback" not in done.stderr
