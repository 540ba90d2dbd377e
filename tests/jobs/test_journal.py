"""The journal: whatever is left of it after a kill, a full disk or a damaged disk, it goes on from there."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spectag.errors import SaveError
from spectag.jobs.journal import FORMAT, Journal
from spectag.jobs.run import Run
from spectag.version import __version__

RUN = Run("5f1c", {"top-k": 5})


def record(n: int) -> dict[str, Any]:
    return {"path": f"caf\udce9 {n}.wav", "error": "x" * n}


def filled(path: Path, count: int) -> Journal:
    journal = Journal.create(path, RUN)
    for n in range(count):
        place, back = journal.append(record(n))
        assert back == record(n) == journal.read(place)
    return journal


def contents(journal: Journal, count: int) -> list[int]:
    """Which of the records 0..count-1 it has; they must be right."""
    found = [(n, place) for n in range(count) if (place := journal.find(record(n)["path"])) is not None]
    assert all(journal.read(place) == record(n) for n, place in found)
    return [n for n, _ in found]


def test_cut_off_at_any_byte(tmp_path: Path) -> None:
    """SIGKILL at any moment leaves a beginning of the file. All whole records are there, and the next ones fit on."""
    path = tmp_path / "a.journal"
    filled(path, 5).close()
    whole = path.read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        journal = Journal.resume(path, RUN)
        complete = max(0, sum(end <= cut for end in ends) - 1)
        assert contents(journal, 5) == list(range(complete))
        assert journal.records == complete
        for n in range(complete, 5):
            journal.append(record(n))
        journal.close()
        assert path.read_bytes() == whole


def test_the_last_record_of_a_file_counts(tmp_path: Path) -> None:
    journal = filled(tmp_path / "a.journal", 3)
    for error in ("old", "new"):
        journal.append({"path": "a.wav", "error": error})
    journal.close()
    journal = Journal.resume(tmp_path / "a.journal", RUN)
    place = journal.find("a.wav")
    assert place is not None
    assert journal.read(place)["error"] == "new"
    assert journal.find("b.wav") is None


def test_damaged_lines_are_left_out(tmp_path: Path) -> None:
    """A power failure may leave anything in the middle. Those files are read again."""
    path = tmp_path / "a.journal"
    filled(path, 5).close()
    lines = path.read_bytes().splitlines(keepends=True)
    for damage in (b"\0" * 20 + b"\n", b"[1]\n", b"{}\n", b'{"path": 3}\n', b"\xff\xfe\n"):
        path.write_bytes(b"".join([*lines[:3], damage, *lines[4:]]))
        journal = Journal.resume(path, RUN)
        assert contents(journal, 5) == [0, 1, 3, 4]
        journal.close()


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (b"", "found something else"),
        (b"RIFF\n", "found something else"),
        (b"[]\n", "found something else"),
        (json.dumps({"journal": FORMAT + 1}).encode() + b"\n", "one of a newer spectag"),
        (json.dumps({"journal": FORMAT, "model": "5f1c"}).encode() + b"\n", "first line is damaged"),
        (json.dumps({"journal": FORMAT, "model": "5f1c", "options": 3}).encode() + b"\n", "first line is damaged"),
    ],
)
def test_what_is_no_journal(tmp_path: Path, first: bytes, message: str) -> None:
    path = tmp_path / "a.journal"
    path.write_bytes(first + b"rest\n")
    with pytest.raises(SaveError, match=message):
        Journal.resume(path, RUN)
    assert path.read_bytes() == first + b"rest\n"


def test_another_file_without_an_end_of_line_is_not_destroyed(tmp_path: Path) -> None:
    """A journal whose first line was torn is begun again, and nothing else is."""
    path = tmp_path / "a.journal"
    path.write_bytes(b"notes of a year")
    with pytest.raises(SaveError, match="found something else"):
        Journal.resume(path, RUN)
    assert path.read_bytes() == b"notes of a year"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Run("5f1c", {"top-k": 3}), "was made with --top-k 5, not with --top-k 3"),
        (Run("5f1c", {"top-k": 5, "threshold": 0.5}), "was made with no --threshold, not with --threshold 0.5"),
        (Run("5f1c", {"top-k": 5, "events": True}), "was made with no --events, not with --events"),
        (Run("beef", {"top-k": 5}), "was made with the model 5f1c, not with the model beef"),
        (Run("5f1c", {"top-k": 5}, "1/4"), "was made with no --shard, not with --shard 1/4"),
        (Run("5f1c", {"top-k": 5}, version="9.9"), f"was made with spectag {__version__}, not with spectag 9.9"),
    ],
)
def test_another_run_is_refused(tmp_path: Path, other: Run, message: str) -> None:
    path = tmp_path / "a.journal"
    filled(path, 1).close()
    with pytest.raises(SaveError, match=f"a.journal: {message}.*: use what it was made with, or .* --overwrite"):
        Journal.resume(path, other)
    Journal.resume(path, Run("5f1c", {"top-k": 5, "threshold": None, "events": False})).close()  # these mean the same


def test_finished(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    journal = filled(path, 2)
    journal.finish({"files": 2})
    journal.close()
    journal = Journal.resume(path, RUN)
    assert journal.finished == {"files": 2}
    size = path.stat().st_size
    journal.finish({"files": 2})  # says nothing new
    assert path.stat().st_size == size
    journal.append(record(3))
    journal.close()
    journal = Journal.resume(path, RUN)
    assert journal.finished is None
    assert contents(journal, 4) == [0, 1, 3]


def test_only_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    journal = filled(path, 2)
    before = path.read_bytes()
    for attempt in (Journal.create, Journal.resume):
        with pytest.raises(SaveError, match="another run is writing to it"):
            attempt(path, RUN)
    assert path.read_bytes() == before
    journal.close()
    Journal.resume(path, RUN).close()


FULL = """
import resource, signal, sys
from pathlib import Path
from spectag.errors import SaveError
from spectag.jobs.journal import Journal
from spectag.jobs.run import Run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal.create(Path(sys.argv[1]), Run("5f1c", {"top-k": 5}))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    for n in range(1000):
        journal.append({"path": f"caf\\udce9 {n}.wav", "error": "x" * n})
except SaveError as error:
    print(n, error)
journal.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_a_full_disk(tmp_path: Path) -> None:
    """The kind: half a line is left, and the next line is appended to it."""
    path = tmp_path / "a.journal"
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, timeout=600)
    count, _, message = done.stdout.strip().partition(" ")
    assert message == f"{path}: cannot be written: File too large: mend that, and continue with --resume"
    assert done.stderr == ""
    assert path.read_bytes().endswith(b"\n")
    journal = Journal.resume(path, RUN)
    assert contents(journal, 1000) == list(range(int(count)))


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"a.journal: the folder .*none does not exist"):
        Journal.create(tmp_path / "none" / "a.journal", RUN)
    with pytest.raises(SaveError, match=r"a.journal: expected the journal of an earlier run, found none"):
        Journal.resume(tmp_path / "a.journal", RUN)
    with pytest.raises(SaveError, match="cannot be written: Is a directory"):
        Journal.create(tmp_path, RUN)


def test_memory_of_the_index(tmp_path: Path) -> None:
    """16 bytes a record, wherever its path is."""
    journal = filled(tmp_path / "a.journal", 100)
    journal.close()
    journal = Journal.resume(tmp_path / "a.journal", RUN)
    assert journal._keys.nbytes + journal._places.nbytes == 1600
