"""spectag tag --ray: with Ray where it is installed; the folder of Parquet files and the list of files without it."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile

from spectag.cli.main import main
from spectag.errors import FileError, InputError, SaveError
from spectag.jobs.run import Run

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

from spectag.jobs import cluster  # noqa: E402
from spectag.jobs.parts import Parts  # noqa: E402

Captured = pytest.CaptureFixture[str]


def call(*args: object) -> int:
    return main([str(arg) for arg in args])


def row(n: int, error: str | None = None) -> dict[str, object]:
    return {
        "path": f"{n}.wav",
        "duration": 1.0,
        "tags": [{"label": "owl", "score": 0.5}],
        "unknown": False,
        "unknown_score": 0.25,
        "events": None,
        "warnings": [],
        "error": error,
    }


@pytest.mark.parametrize("kind", ["path", "url"])
def test_parts_are_whole_or_not_there(tmp_path: Path, kind: str) -> None:
    folder = str(tmp_path / "out") if kind == "path" else "memory://parts/out"
    parts = Parts(folder)
    assert parts.run() is None
    parts.begin(Run("5f1c", {"top-k": 5}))
    parts.write([row(0), row(1, "is bad")])
    parts.write([row(2)])
    again = Parts(folder)
    assert again.run() == Run("5f1c", {"top-k": 5})
    assert list(again.paths()) == ["0.wav", "1.wav", "2.wav"]
    again.write([row(3)])
    system = fsspec.filesystem("file" if kind == "path" else "memory")
    names = sorted(str(path).rpartition("/")[2] for path in system.ls(again.root, detail=False))
    assert names == ["_spectag.json", "part-000000.parquet", "part-000001.parquet", "part-000002.parquet"]
    if kind == "path":
        assert parquet.read_table(tmp_path / "out").sort_by("path").to_pylist() == [
            {**row(0)},
            {**row(1, "is bad")},
            {**row(2)},
            {**row(3)},
        ]
        Path(folder, "part-000001.parquet").write_bytes(b"PAR1")
        with pytest.raises(SaveError, match=r"part-000001.parquet: cannot be read .*: delete it"):
            list(Parts(folder).paths())
    again.begin(Run("beef"))
    assert list(again.paths()) == []


def test_a_folder_without_results(tmp_path: Path) -> None:
    """A job that could not begin has left nothing that must be continued."""
    Parts(str(tmp_path)).begin(Run("5f1c"))
    assert Parts(str(tmp_path)).run() is None


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="nosuch://bucket/tags: Protocol not known: nosuch"):
        Parts("nosuch://bucket/tags")
    with pytest.raises(SaveError, match=r"file: cannot be used: .*File exists|file: cannot be used: .*Not a dir"):
        Parts(str(tmp_path / "file")).begin(Run("5f1c"))


def test_two_jobs_in_one_folder(tmp_path: Path) -> None:
    """The second one to write stops, and no result of the first is lost."""
    one = Parts(str(tmp_path))
    one.begin(Run("5f1c"))
    other = Parts(str(tmp_path))
    one.write([row(0)])
    with pytest.raises(SaveError, match="another run is writing to it: wait for its end, and continue with --resume"):
        other.write([row(1)])
    assert list(Parts(str(tmp_path)).paths()) == ["0.wav"]


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    Parts(str(tmp_path)).write([row(0)])
    with pytest.raises(SaveError, match=r"has Parquet files, but no _spectag\.json: choose another folder"):
        Parts(str(tmp_path)).run()
    for about in ("{", "[]", '{"format": 1}'):
        (tmp_path / "_spectag.json").write_text(about)
        with pytest.raises(SaveError, match="is damaged: choose another folder"):
            Parts(str(tmp_path)).run()
    (tmp_path / "_spectag.json").write_text('{"format": 2}')
    with pytest.raises(SaveError, match="newer spectag"):
        Parts(str(tmp_path)).run()


def test_files_from_tables_folders_and_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("site").mkdir()
    for name in ("b.wav", "a.wav", "notes.txt"):
        Path("site", name).touch()
    parquet.write_table(pyarrow.table({"path": ["s3://bucket/x.wav", None, "y.wav"], "n": [1, 2, 3]}), "paths.parquet")
    memory = fsspec.filesystem("memory")
    for name in ("d.flac", "c.wav", "notes.txt"):
        memory.pipe_file(f"/listed/deep/{name}", b"")
    memory.pipe_file("/none/notes.txt", b"")
    inputs = ["paths.parquet", "site", "memory://listed", "memory://listed/deep/c.wav", "memory://none"]
    *found, error = cluster.find_paths(inputs)
    listed = ["memory:///listed/deep/c.wav", "memory:///listed/deep/d.flac"]
    here = [str(tmp_path / "site" / name) for name in ("a.wav", "b.wav")]
    assert found == ["s3://bucket/x.wav", "y.wav", *here, *listed, "memory://listed/deep/c.wav"]
    assert error == FileError("memory://none", "expected a folder with recordings, found none")
    parquet.write_table(pyarrow.table({"file": ["y.wav"]}), "other.parquet")
    Path("text.parquet").write_text("text")
    for name, message in (
        ("other.parquet", "other.parquet: expected a column path, got file: rename"),
        ("text.parquet", "text.parquet: cannot be read as Parquet"),
        ("none.parquet", "none.parquet: cannot be read as Parquet"),
        ("nosuch://host/site", "nosuch://host/site: .*nosuch"),
    ):
        with pytest.raises(InputError, match=message):
            list(cluster.find_paths([name]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--ray: expected a folder for Parquet files: add -o FOLDER"),
        (["-o", "-"], "--ray: expected a folder for Parquet files: add -o FOLDER"),
        (["-o", "out", "--timeline"], "--timeline and --ray exclude each other: leave one out"),
        (["-o", "out", "--plot", "a.png"], "--plot and --ray exclude each other"),
        (["-o", "out", "--format", "parquet"], "--format and --ray exclude each other"),
        (["-o", "out", "--shard", "1/2"], "--shard and --ray exclude each other"),
        (["-o", "out", "--verify"], "--verify and --ray exclude each other"),
        (["-o", "out", "--resume", "--overwrite"], "--resume and --overwrite exclude each other"),
    ],
)
def test_wrong_usage(tmp_path: Path, options: list[str], message: str, capsys: Captured) -> None:
    assert call("tag", tmp_path, "--ray", "local", *options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


# with Ray


@pytest.fixture
def ray() -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'spectag[ray]'")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """400 files, every twentieth of which is none."""
    folder = tmp_path / "site"
    folder.mkdir()
    soundfile.write(folder / "0.wav", 0.1 * np.random.default_rng(0).standard_normal(6_000), 16_000)
    for n in range(1, 400):
        if n % 20 == 7:
            (folder / f"{n}.wav").write_text("text")
        else:
            os.link(folder / "0.wav", folder / f"{n}.wav")
    return folder


def workers() -> Iterator[int]:
    """The workers that this process started, by way of Ray."""
    for path in Path("/proc").iterdir():
        if path.name.isdecimal() and _text(path / "cmdline").startswith("ray::MapWorker"):
            process = int(path.name)
            while process > 1 and process != os.getpid():
                process = int((_text(Path(f"/proc/{process}/stat")).rpartition(")")[2].split() or ["", "0"])[1])
            if process == os.getpid():
                yield int(path.name)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="workers are found by /proc")
def test_a_worker_that_is_killed(
    ray: None, site: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Two workers, one killed with SIGKILL in mid-run: nothing lost, nothing twice, and failures are rows."""
    monkeypatch.setattr(cluster, "ROWS", 64)
    killed = []
    write = Parts.write

    def write_and_kill(self: Parts, rows: list[dict[str, object]]) -> None:
        write(self, rows)
        if not killed:
            killed.append(next(workers()))
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(Parts, "write", write_and_kill)
    output = tmp_path / "out"
    options = ["--ray", "local", "--ray-workers", "2", "-m", model, "-o", output]
    assert call("tag", site, *options) == 1
    assert len(killed) == 1
    rows = parquet.read_table(output).to_pylist()
    assert sorted(row["path"] for row in rows) == sorted(map(str, site.iterdir()))
    assert sum(row["error"] is not None for row in rows) == 20
    assert len({json.dumps(row["tags"]) for row in rows if row["error"] is None}) == 1
    assert capsys.readouterr().err.count("spectag: error: ") == 20


@pytest.mark.slow
def test_a_job_on_a_cluster_continues(ray: None, site: Path, model: Path, tmp_path: Path, capsys: Captured) -> None:
    output, table = tmp_path / "out", tmp_path / "paths.parquet"
    files = sorted(map(str, site.iterdir()))
    parquet.write_table(pyarrow.table({"path": [*files[:50], "s3://bucket.invalid/a.wav"][:50]}), table)
    options = ["--ray", "local", "--ray-workers", "1", "-m", model, "-o", f"{output}/"]
    options += ["--events", "--event-threshold", "0", "--hop", "0.25"]
    call("tag", table, *options)
    assert parquet.read_table(output).num_rows == 50
    capsys.readouterr()
    assert call("tag", site, *options) == 1
    assert "has the results of an earlier run: add --resume" in capsys.readouterr().err
    assert call("tag", site, *options, "--resume", "--top-k", "2") == 1
    assert "was made with --top-k 5, not with --top-k 2" in capsys.readouterr().err
    assert call("tag", site, *options, "--resume") == 1
    assert "spectag: note: 50 of 400 files are done already; 350 left" in capsys.readouterr().err
    rows = parquet.read_table(output).to_pylist()
    assert sorted(row["path"] for row in rows) == files
    assert all(bool(row["events"]) == (row["error"] is None) for row in rows)
    assert call("tag", site, *options, "--resume", "--hop", "0.5") == 1
    assert "was made with --hop 0.25, not with --hop 0.5" in capsys.readouterr().err
    assert call("tag", site, *options, "--resume") == 0  # nothing is left to do
