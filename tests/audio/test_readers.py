"""A file that kills the process that reads it costs itself, and nothing else changes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spectag.audio.read import open as open_recording
from spectag.audio.readers import Readers
from spectag.audio.source import Member, Segment
from spectag.errors import AudioError, InputError

CRASHING = """
import ctypes, os, sys
sys.path.remove(os.path.dirname(__file__)); del sys.modules["soxr"]
import soxr
make, made = soxr.ResampleStream, []
def crashing(rate, *args, **options):
    made.append(rate)
    if rate == 8001 or (rate == 8002 and len(made) > 1):
        ctypes.string_at(0)
    if rate == 8003:
        os._exit(3)
    if rate == 8004 and len(made) > 1:
        class Late:
            def __init__(self): self.stream, self.count = make(rate, *args, **options), 0
            def resample_chunk(self, *args, **options):
                self.count += 1
                return ctypes.string_at(0) if self.count > 70 else self.stream.resample_chunk(*args, **options)
        return Late()
    return make(rate, *args, **options)
soxr.ResampleStream = crashing
"""


@pytest.fixture
def crashing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the path of processes that are started: there the resampler kills its process at 8001 Hz, at 8002 Hz
    if it is not the first one, ends it at 8003 Hz, and late in a recording at 8004 Hz if it is not the first."""
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "soxr.py").write_text(CRASHING)
    monkeypatch.syspath_prepend(folder)
    return folder


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def written(folder: Path, name: str, rate: int, seconds: float = 0.5) -> Path:
    soundfile.write(folder / name, noise(round(rate * seconds)), rate)
    return folder / name


def assert_same(readers: Readers, source: object) -> None:
    """What is read in another process is what is read here: samples, cuts, facts and notes."""
    here, there = open_recording(source), open_recording(source)  # type: ignore[arg-type]
    want, got = list(here.blocks()), list(readers.blocks(there))
    assert [len(block) for block in got] == [len(block) for block in want]
    for one, other in zip(want, got, strict=True):
        np.testing.assert_array_equal(one, other)
        assert other.flags.writeable
    assert vars(here) == vars(there)


def test_the_same_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readers = Readers(1)
    path = written(tmp_path, "caf\u00e9 \u2603.wav", 22_050, seconds=65)
    stereo = tmp_path / "stereo.flac"
    soundfile.write(stereo, np.stack([noise(9_000), -noise(9_000)], 1), 16_000)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(path.read_bytes()[:-10_000])
    outer = tmp_path / "outer.tar"
    outer.write_bytes(b"x" * 100 + path.read_bytes())
    member = Member(outer, 100, path.stat().st_size)
    for source in (path, str(stereo), cut, member, Segment(path, 1.0, 31.5), Segment(member, 2.0), path.read_bytes()):
        assert_same(readers, source)
    monkeypatch.chdir(tmp_path)  # after the process was started
    assert_same(readers, "cut.wav")
    with stereo.open("rb") as stream:
        assert_same(readers, stream)
    assert_same(readers, (noise(9_000), 22_050))


def test_errors_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("text")
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 16_000, subtype="FLOAT")
    good = written(tmp_path, "good.wav", 16_000)
    readers = Readers()
    for source in (
        tmp_path / "text.wav",
        tmp_path / "none.wav",
        "https://example.org/none.wav",
        tmp_path / "nan.wav",
        tmp_path,
        "a\0b",
        Segment(good, 2.0, 1.0),
        Segment(good, 9.0),
        Member(good, 10**9, 10),
    ):
        with pytest.raises((AudioError, InputError)) as here:
            list(open_recording(source).blocks())
        with pytest.raises((AudioError, InputError)) as there:
            list(readers.blocks(open_recording(source)))
        assert type(here.value) is type(there.value)
        assert here.value.args == there.value.args
    assert_same(readers, good)
    assert len(readers._idle) == 1  # one process read all of them


def test_a_crash_costs_its_recording(crashing: Path, tmp_path: Path) -> None:
    """The kind: a decoder kills its process. The recording is an error that names the signal or the exit code, those
    before and after it are read, and so is one at which a process dies only of what it read before."""
    readers = Readers(1)
    first = written(tmp_path, "first.wav", 8_000)
    for rate, reason in ((8_001, "SIGSEGV"), (8_003, "exit code 3")):
        assert_same(readers, first)
        with pytest.raises(AudioError, match=rf"bad{rate}.wav: the decoder crashed \({reason}\): convert"):
            list(readers.blocks(open_recording(written(tmp_path, f"bad{rate}.wav", rate))))
    for rate, seconds in ((8_002, 1.0), (8_004, 70.0)):  # the second one after two of its three blocks
        assert_same(readers, first)
        assert_same(readers, written(tmp_path, f"odd{rate}.wav", rate, seconds))


def test_a_process_that_is_killed_is_replaced(tmp_path: Path) -> None:
    readers = Readers(2)
    path = written(tmp_path, "x.wav", 16_000)
    for _ in range(3):
        assert_same(readers, path)
        readers._idle[-1]._process.kill()
        readers._idle[-1]._process.wait()


@pytest.mark.parametrize("executable", ["", "/no/such/program", "/bin/false"])
def test_where_no_process_can_be_started(tmp_path: Path, executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    readers = Readers(2)
    for _ in range(2):
        assert_same(readers, written(tmp_path, "x.wav", 22_050))
    assert readers._idle == []


def test_a_program_that_is_no_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started again, a frozen program would do all of its work again."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(subprocess, "Popen", None)
    assert_same(Readers(1), written(tmp_path, "x.wav", 22_050))


def test_closing_early_ends_the_process(tmp_path: Path) -> None:
    readers = Readers(1)
    process = readers._idle[0]._process
    blocks = readers.blocks(open_recording(written(tmp_path, "x.wav", 8_000, seconds=70)))
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert process.returncode is not None
    assert readers._idle == []
    other = Readers(1)
    process = other._idle[0]._process
    del other
    assert process.returncode is not None


LEFT_ALONE = """
import sys, time
from spectag.audio.read import open
from spectag.audio.readers import Readers
readers = Readers(2)
blocks = readers.blocks(open(sys.argv[1]))
next(blocks)
print(*(reader._process.pid for reader in [*readers._idle, blocks.gi_frame.f_locals["reader"]]), flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="other signals there")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_no_process_is_left_behind(tmp_path: Path, number: signal.Signals) -> None:
    """One waits for a request, one is in the middle of a recording."""
    path = written(tmp_path, "x.wav", 8_000, seconds=70)
    command = [sys.executable, "-c", LEFT_ALONE, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        children = list(map(int, parent.stdout.readline().split()))
        assert len(children) == 2
        parent.send_signal(number)
    until = time.monotonic() + 60
    while any(map(_is_alive, children)):
        assert time.monotonic() < until, "a process was left behind"
        time.sleep(0.01)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False


FORKED = """
import os, sys
from spectag.audio.read import open
from spectag.audio.readers import Readers
readers = Readers(1)
def read(): return [len(block) for block in readers.blocks(open(sys.argv[1]))] == [8000]
assert read()
child = os.fork()
assert all(read() for _ in range(5))
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork_both_have_their_own(tmp_path: Path) -> None:
    path = written(tmp_path, "x.wav", 8_000)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, path], capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stderr) == (0, "")
