"""A file that hangs its decoder or makes it allocate too much costs itself, and nothing else changes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spectag.audio.limits import FileLimits, Guard, resident_mebibytes
from spectag.audio.read import open as open_recording
from spectag.audio.readers import Readers
from spectag.errors import AudioError, InputError

# In the processes that read, the resampler hangs at 8001 Hz, at 8002 Hz after two blocks, and fills memory at 8003 Hz,
# at 8004 Hz only if the process has read something else before.
MISBEHAVING = """
import os, sys, time
sys.path.remove(os.path.dirname(__file__)); del sys.modules["soxr"]
import soxr
make, made = soxr.ResampleStream, []
def misbehaving(rate, *args, **options):
    made.append(rate)
    if rate == 8001:
        time.sleep(600)
    if rate == 8003 or (rate == 8004 and len(made) > 1):
        kept = []
        for _ in range(128):
            kept.append(b"x" * 2**24)
            time.sleep(0.002)
        time.sleep(600)
    if rate == 8002:
        class Late:
            def __init__(self): self.stream, self.count = make(rate, *args, **options), 0
            def resample_chunk(self, *args, **options):
                self.count += 1
                return time.sleep(600) if self.count > 70 else self.stream.resample_chunk(*args, **options)
        return Late()
    return make(rate, *args, **options)
soxr.ResampleStream = misbehaving
"""


@pytest.fixture
def misbehaving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "soxr.py").write_text(MISBEHAVING)
    monkeypatch.syspath_prepend(folder)


def written(folder: Path, rate: int, seconds: float = 0.5) -> Path:
    path = folder / f"{rate}.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(round(rate * seconds)), rate)
    return path


def read(readers: Readers, path: Path) -> int:
    return sum(len(block) for block in readers.blocks(open_recording(path)))


def test_nobody_wants_the_rest(misbehaving: None, tmp_path: Path) -> None:
    """After Ctrl-C, a decoder that hangs is ended at once."""
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    readers = Readers(limits=FileLimits(seconds=300))
    with pytest.raises(AudioError, match="reading was interrupted"):
        list(readers.blocks(open_recording(written(tmp_path, 8_001)), stop))
    assert read(readers, written(tmp_path, 16_000)) == 8_000  # they go on


@pytest.mark.parametrize(("rate", "seconds"), [(8001, 0.5), (8002, 70.0)])
def test_a_decoder_that_hangs(misbehaving: None, tmp_path: Path, rate: int, seconds: float) -> None:
    """At once, or after two of three blocks. The process is replaced; no second one is tried, which would hang too."""
    readers = Readers(1, limits=FileLimits(seconds=5.0))
    good, bad = written(tmp_path, 8000), written(tmp_path, rate, seconds)
    assert read(readers, good) == 8_000
    [first] = readers._idle
    with pytest.raises(AudioError, match=rf"{rate}.wav: its decoder delivered nothing for 5 s.*--file-timeout"):
        read(readers, bad)
    assert first._process.returncode == -signal.SIGKILL
    assert read(readers, good) == 8_000


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is only checked where /proc is")
def test_a_decoder_that_fills_memory(misbehaving: None, tmp_path: Path) -> None:
    readers = Readers(limits=FileLimits(mebibytes=400))
    good = written(tmp_path, 8000)
    assert read(readers, good) == 8_000
    with pytest.raises(AudioError, match=r"8003.wav: its decoder took more than 400 MiB of memory.*--file-memory"):
        read(readers, written(tmp_path, 8003))
    assert read(readers, good) == 8_000
    assert read(readers, written(tmp_path, 8004)) == 8_000  # another process did not need so much


def test_waiting_for_the_network_does_not_count(tmp_path: Path) -> None:
    """The kind: a slow network makes files fail that are sound. Nothing is watched while a block is worked on."""
    readers = Readers()
    watched, watching = [], readers._guard.watching

    def counted(process: object, stop: object) -> object:
        watched.append(process)
        return watching(process, stop)  # type: ignore[arg-type]

    readers._guard.watching = counted  # type: ignore[assignment,method-assign]
    lengths = []
    for block in readers.blocks(open_recording(written(tmp_path, 8000, 100.0))):
        lengths.append(len(block))
        assert not readers._guard._watched
        assert len(watched) == len(lengths)
    assert sum(lengths) == 1_600_000


@pytest.mark.parametrize(
    ("times", "killed"), [((5.0, 20.0, 25.0), False), ((1.0, 2.5, 4.0, 5.5, 7.0, 8.5, 9.9, 11.0), True)]
)
def test_a_job_that_is_stopped_for_a_while(times: tuple[float, ...], killed: bool) -> None:
    """Ctrl-Z and fg: the time between two looks that are far apart is nobody's fault."""
    guard = Guard(FileLimits(seconds=10.0))
    guard._running = True  # no thread: this test looks itself
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.PIPE)
    try:
        with guard.watching(process) as watched:
            began = watched.until - 10.0
            guard._inspected = began
            for seconds in times:
                assert guard._inspect(began + seconds) == 1
        assert watched.hung == killed
        assert watched.exceeded.startswith("its decoder delivered nothing for 10 s") == killed
        assert guard._inspect(began) == 0
    finally:
        process.kill()
        process.communicate()


def test_the_guard_ends_when_there_is_nothing_to_watch() -> None:
    guard = Guard(FileLimits())
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process, guard.watching(process):  # type: ignore[arg-type]
        assert guard._running
    until = time.monotonic() + 60
    while guard._running:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_memory_of_this_process() -> None:
    if sys.platform == "linux":
        before = resident_mebibytes(os.getpid())
        kept = np.ones(2**24)
        assert resident_mebibytes(os.getpid()) - before == pytest.approx(128, abs=20)
        del kept


@pytest.mark.parametrize("limits", [{"seconds": 0.0}, {"mebibytes": -1}, {"seconds": float("nan")}])
def test_limits_that_are_none(limits: dict[str, float]) -> None:
    with pytest.raises(InputError, match="must be more than 0"):
        FileLimits(**limits)
