"""The plan of a job and its results: what is done is not read again, and the output does not depend on when it was."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from spectag.errors import FileError, SaveError
from spectag.jobs.job import make_plan, run
from spectag.jobs.journal import Journal
from spectag.jobs.record import FileState, pack, state_of, unpack
from spectag.jobs.run import Run
from spectag.jobs.shards import Shard
from spectag.tag.results import ClipTags, Event, Result, Tag

RUN = Run("5f1c")


class Tags:
    """Tags files by their contents, and remembers which it read. It reads some files ahead, as the tagger does."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.read: list[str] = []
        self.stop_after = stop_after

    def __call__(self, files: Iterable[str | FileError]) -> Iterator[Result]:
        ahead: list[str | FileError] = []
        for file in files:
            ahead.append(file)
            if len(ahead) == 3:
                yield self._tag(ahead.pop(0))
        for file in ahead:
            yield self._tag(file)

    def _tag(self, file: str | FileError) -> Result:
        if len(self.read) == self.stop_after:
            raise KeyboardInterrupt
        if isinstance(file, FileError):
            return file
        self.read.append(Path(file).name)
        try:
            content = Path(file).read_text()
        except OSError:
            return FileError(file, "no such file")
        if content == "bad":
            return FileError(file, "is bad")
        return ClipTags(file, len(content) / 3, (Tag(content, 1 / 3),), ("odd",) if "odd" in content else ())


@pytest.fixture
def site(tmp_path: Path) -> list[str | FileError]:
    folder = tmp_path / "site"
    folder.mkdir()
    files: list[str | FileError] = []
    for n, content in enumerate(["rain", "bad", "owl", "odd fox", "fox"]):
        (folder / f"{n}.wav").write_text(content)
        files.append(str(folder / f"{n}.wav"))
    return [FileError(str(folder / "locked"), "cannot be listed"), *files]


def do(
    files: list[str | FileError], path: Path, tags: Tags, shard: Shard | None = None, **options: bool
) -> tuple[list[Result], list[str]]:
    """One run of a job: its results, and the names of the files that it read."""
    same = Run("5f1c", shard=None if shard is None else str(shard))
    journal = Journal.resume(path, same) if path.exists() else Journal.create(path, same)
    try:
        results = [result for result, _ in run(make_plan(files, journal, shard, **options), journal, tags)]
    finally:
        journal.close()
    return results, tags.read


def test_stopped_after_every_file(site: list[str | FileError], tmp_path: Path) -> None:
    expected, read = do(site, tmp_path / "whole", Tags())
    assert read == ["0.wav", "1.wav", "2.wav", "3.wav", "4.wav"]
    for stop in range(5):
        path = tmp_path / f"{stop}"
        with pytest.raises(KeyboardInterrupt):
            do(site, path, Tags(stop_after=stop))
        results, read = do(site, path, Tags())
        assert read == [f"{n}.wav" for n in range(stop, 5)]
        assert results == expected
        assert do(site, path, Tags()) == (expected, [])


def test_new_changed_and_removed_files(site: list[str | FileError], tmp_path: Path) -> None:
    path = tmp_path / "journal"
    do(site, path, Tags())
    folder = Path(str(site[1])).parent
    (folder / "2.wav").write_text("cow")  # of the same size
    os.utime(folder / "2.wav", ns=(1, 1))
    (folder / "3.wav").unlink()
    (folder / "00.wav").write_text("hen")
    files = [site[0], *(str(folder / f"{name}.wav") for name in ("0", "00", "1", "2", "4"))]
    results, read = do(files, path, Tags())
    assert read == ["00.wav", "2.wav"]
    assert results == do(files, tmp_path / "other", Tags())[0]
    (folder / "0.wav").touch()
    assert do(files, path, Tags())[1] == ["0.wav"]


def test_verify_compares_contents(site: list[str | FileError], tmp_path: Path) -> None:
    """A copy of the folder has other times; a file that was changed may have the old one."""
    path = tmp_path / "journal"
    do(site, path, Tags(), verify=True)
    first, second = Path(str(site[1])), Path(str(site[3]))
    os.utime(first, ns=(1, 1))
    status = second.stat()
    second.write_text("cow")
    os.utime(second, ns=(status.st_atime_ns, status.st_mtime_ns))
    results, read = do(site, path, Tags(), verify=True)
    assert read == ["2.wav"]
    assert results[3] == ClipTags(str(second), 1.0, (Tag("cow", 0.333333),))
    without = tmp_path / "without"
    do(site, without, Tags())
    assert len(do(site, without, Tags(), verify=True)[1]) == 5  # what it was is not known
    assert do(site, without, Tags(), verify=True)[1] == []


def test_failed_files_are_read_again_when_asked(site: list[str | FileError], tmp_path: Path) -> None:
    path = tmp_path / "journal"
    missing = [*site, str(tmp_path / "later.wav")]
    do(missing, path, Tags())
    assert do(missing, path, Tags())[1] == ["later.wav"]  # whether it is there has to be looked at
    assert do(missing, path, Tags(), retry=True)[1] == ["1.wav", "later.wav"]
    (tmp_path / "later.wav").write_text("owl")
    results, _ = do(missing, path, Tags())
    assert isinstance(results[-1], ClipTags)


def test_a_file_that_changes_while_it_is_read(site: list[str | FileError], tmp_path: Path) -> None:
    class Late(Tags):
        def _tag(self, file: str | FileError) -> Result:
            result = super()._tag(file)
            if str(file).endswith("2.wav"):
                os.utime(str(file), ns=(1, 1))
            return result

    do(site, tmp_path / "journal", Late())
    assert do(site, tmp_path / "journal", Tags())[1] == ["2.wav"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_pipes_are_never_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening one would wait for ever, or take the sound away. They are never done, and neither is standard input,
    also where there is a file called -."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("-").write_text("owl")
    for path in ("pipe", "-"):
        assert FileState.of(path, content=True) is None
        assert FileState.of(path) is None


def test_the_same_file_twice(site: list[str | FileError], tmp_path: Path) -> None:
    files = [*site, *site]
    results, read = do(files, tmp_path / "journal", Tags())
    assert results == do(site, tmp_path / "other", Tags())[0] * 2
    assert do(files, tmp_path / "journal", Tags()) == (results, [])
    assert len(read) == 10


def test_shards_divide_the_files(site: list[str | FileError], tmp_path: Path) -> None:
    whole, _ = do(site, tmp_path / "whole", Tags())
    parts = [do(site, tmp_path / f"{n}", Tags(), Shard(n, 3))[0] for n in (1, 2, 3)]
    assert sorted(map(str, [result for part in parts for result in part])) == sorted(map(str, whole))


@pytest.mark.parametrize("damage", ['"result":3', '"result":{"duration":1.0,"tags":[3]}', '"result":{"tags":[]}'])
def test_a_record_that_makes_no_sense(site: list[str | FileError], tmp_path: Path, damage: str) -> None:
    path = tmp_path / "journal"
    do(site, path, Tags())
    content = path.read_text()
    line = next(line for line in content.splitlines() if "0.wav" in line)
    path.write_text(content.replace(line, line[: line.index('"result"')] + damage + "}"))
    with pytest.raises(SaveError, match=r"journal: is damaged at byte \d+: begin again with --overwrite"):
        do(site, path, Tags())


def test_records_keep_everything() -> None:
    """Every field of a result, and the same numbers as in the output. Timelines are kept elsewhere."""
    tags, events = (Tag("owl", 1 / 3),), (Event("owl", 0.1234567, 1 / 3, 2 / 3),)
    for result in (
        ClipTags("a.wav", 1 / 3, tags, ("odd",), events, None, 44_100.0, 2, True, 0.25),
        ClipTags("a.wav", 0.5, (), (), ()),
        ClipTags("a.wav", 0.5, ()),
        FileError("a.wav", "is bad"),
    ):
        record = pack("a.wav", FileState(1, 2, "e3"), result)
        assert state_of(record) == FileState(1, 2, "e3")
        back = unpack(record)
        assert back.to_dict() == result.to_dict()
        assert pack("a.wav", FileState(1, 2, "e3"), back) == record
