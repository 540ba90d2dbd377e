"""Timelines of a job: beside the journal, never in memory as a whole, and never those of another file."""

import contextlib
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from spectag.errors import FileError, SaveError
from spectag.jobs.job import make_plan, run
from spectag.jobs.journal import Journal
from spectag.jobs.merge import ShardResults, read_in_order
from spectag.jobs.run import Run
from spectag.jobs.shards import Shard
from spectag.jobs.timelines import Timelines
from spectag.tag.results import ClipTags, Result, Timeline

LABELS = ("owl", "käuzchen", "fox")


def timeline(content: str) -> Timeline:
    """As many rows as letters; each file has its own scores."""
    rows = np.frombuffer(content.encode(), np.uint8)[:, None]
    return Timeline(LABELS, 0.16, (rows / np.array([256, 512, 1000])).round(6).astype(np.float32))


class Scores:
    """Scores files by their contents, and remembers which it read."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.read: list[str] = []
        self.stop_after = stop_after

    def __call__(self, files: Iterable[str | FileError]) -> Iterator[Result]:
        for file in files:
            if len(self.read) == self.stop_after:
                raise KeyboardInterrupt
            content = Path(str(file)).read_text()
            self.read.append(content)
            yield ClipTags(str(file), float(len(content)), (), timeline=timeline(content))


@pytest.fixture
def files(tmp_path: Path) -> list[str | FileError]:
    for content in ("rain", "hen", "robin", "wren"):
        (tmp_path / f"{content}.wav").write_text(content)
    return [str(path) for path in sorted(tmp_path.glob("*.wav"))]


def do(
    files: list[str | FileError], path: Path, scores: Scores, shard: str | None = None
) -> tuple[list[tuple[str | None, object]], list[str]]:
    """One run of a job: its timelines, and the files that it read."""
    same = Run("5f1c", {"timeline": True}, shard)
    journal = Journal.resume(path, same) if path.exists() else Journal.create(path, same)
    part = None if shard is None else Shard.parse(shard)
    try:
        results = [described(result) for result, _ in run(make_plan(files, journal, part), journal, scores)]
    finally:
        journal.close()
    return results, scores.read


def described(result: Result) -> tuple[str | None, object]:
    assert isinstance(result, ClipTags)
    assert result.timeline is not None
    return result.path, (result.timeline.labels, result.timeline.step, result.timeline.scores.tolist())


def expected(files: list[str | FileError]) -> list[tuple[str | None, object]]:
    return [described(result) for result in Scores()(files)]


def test_stopped_after_every_file(files: list[str | FileError], tmp_path: Path) -> None:
    for stop in range(4):
        path = tmp_path / f"{stop}.journal"
        with pytest.raises(KeyboardInterrupt):
            do(files, path, Scores(stop_after=stop))
        assert do(files, path, Scores()) == (expected(files), ["hen", "rain", "robin", "wren"][stop:])
        assert do(files, path, Scores()) == (expected(files), [])


def test_the_journal_has_none_of_the_scores(files: list[str | FileError], tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    do(files, path, Scores())
    _, *records, _ = map(json.loads, path.read_text().splitlines())
    assert [set(record["result"]["timeline"]) for record in records] == [{"step", "rows", "at"}] * 4
    size = Path(f"{path}.scores").stat().st_size
    header = len(Path(f"{path}.scores").read_bytes().partition(b"\n")[0]) + 1
    assert size - header == 4 * len(LABELS) * len("rainhenrobinwren")


@pytest.mark.parametrize("stop", [0, 1, 3, 4])
def test_scores_that_a_power_failure_lost(files: list[str | FileError], tmp_path: Path, stop: int) -> None:
    """Cut off at any byte, or gone: those files are read again, also if the next run is killed at once, when other
    scores come to lie where the lost ones were."""
    path = tmp_path / "a.journal"
    do(files, path, Scores())
    journal, scores = path.read_bytes(), Path(f"{path}.scores")
    whole = scores.read_bytes()
    order = list(reversed(files))  # other scores come first
    for cut in [None, *range(0, len(whole) + 1, 4)]:
        path.write_bytes(journal)
        scores.unlink(missing_ok=True)
        if cut is not None:
            scores.write_bytes(whole[:cut])
        killed = Scores(stop_after=stop)
        with contextlib.suppress(KeyboardInterrupt):
            do(order, path, killed)
        results, read = do(order, path, Scores())
        assert results == expected(order)
        assert (killed.read + read == []) == (cut == len(whole))


def test_shards(files: list[str | FileError], tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.journal" for n in (1, 2)]
    for n, path in enumerate(paths, 1):
        do(files, path, Scores(), f"{n}/2")
    shards = [ShardResults.read(path) for path in paths]
    assert [described(result) for _, result in read_in_order(shards)] == expected(files)
    Path(f"{shards[0].path}.scores").write_bytes(b"")
    with pytest.raises(SaveError, match="is damaged at byte"):
        list(read_in_order([ShardResults.read(path) for path in paths]))


def test_beginning_again_forgets_them(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    for labels in (LABELS, ("dog",)):
        journal = Journal.create(path, Run("5f1c"))
        about = journal.timelines.append(Timeline(labels, 0.5, np.ones((2, len(labels)), np.float32)))
        assert journal.timelines.read(about).labels == labels
        journal.close()


def test_little_memory(tmp_path: Path) -> None:
    """Ten hours of 527 labels are 0.5 GB, which is more than a small computer has."""
    there = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (40_000, 100))  # 16 MB
    there[:, 3] = np.linspace(0, 1, 40_001)[1:].round(6)
    long = Timeline(tuple(map(str, range(100))), 0.5, np.load(tmp_path / "a.npy", mmap_mode="r"))
    timelines = Timelines(tmp_path / "a.journal")
    tracemalloc.start()
    back = timelines.read(timelines.append(long))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6e6
    assert np.array_equal(back.scores, long.scores)
    timelines.close()


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from spectag.errors import SaveError
from spectag.jobs.timelines import Timelines
from spectag.tag.results import Timeline
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
timelines = Timelines(Path(sys.argv[1]))
one = timelines.append(Timeline(("owl",), 0.5, np.full((100, 1), 0.5, np.float32)))
try:
    timelines.append(Timeline(("owl",), 0.5, np.full((300, 1), 0.25, np.float32)))
except SaveError as error:
    print(error)
two = timelines.append(Timeline(("owl",), 0.5, np.full((100, 1), 0.75, np.float32)))
print(set(timelines.read(one).scores.ravel().tolist()), set(timelines.read(two).scores.ravel().tolist()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, timeout=600)
    assert done.stderr == ""
    assert done.stdout == (
        f"{path}.scores: cannot be written: File too large: mend that, and continue with --resume\n{{0.5}} {{0.75}}\n"
    )
