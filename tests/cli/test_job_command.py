"""spectag tag on many files: killed, resumed, with files that were added, into outputs that are taken or full."""

import csv
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from spectag.cli.jobs import Progress
from spectag.cli.main import main

Captured = pytest.CaptureFixture[str]

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def call(*args: object) -> int:
    return main([str(arg) for arg in args])


@pytest.fixture(scope="module")
def jobs() -> ModuleType:
    """benchmarks/jobs.py, which kills jobs."""
    spec = importlib.util.spec_from_file_location("benchmark_of_jobs", BENCHMARKS / "jobs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Short recordings of different lengths, one of which is none."""
    folder = tmp_path / "site"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(7):
        soundfile.write(folder / f"{n}.wav", 0.1 * rng.standard_normal(3_000 + 4_000 * n), 16_000)
    (folder / "3.wav").write_text("text")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="other signals there")
def test_killed_again_and_again(jobs: ModuleType, model: Path, tmp_path: Path) -> None:
    """With files that crash, hang and bloat the decoder: nothing lost, nothing twice, the same bytes."""
    jobs.TIMEOUT = 6.0
    bad = jobs.make_files(tmp_path / "site", 100, 10)
    whole, torn = (jobs.Job(tmp_path / "site", tmp_path / name, ["-m", str(model)]) for name in ("a.jsonl", "b.jsonl"))
    whole.run()
    torn.run_killed(2, 100, random.Random(0))
    assert jobs.check(torn.output, bad, 100) == {"results": 100, "failed": 10}
    assert torn.output.read_bytes() == whole.output.read_bytes()
    errors = {json.loads(line).get("error") for line in whole.output.read_text("utf-8").splitlines()}
    for words in ("SIGSEGV", "delivered nothing for 6 s", "took more than 400 MiB", "found none", "NaN"):
        assert any(words in (error or "") for error in errors), words


@pytest.mark.parametrize("name", ["tags.jsonl", "tags.csv", "tags.json", "tags.txt"])
def test_files_that_were_added_and_changed(site: Path, model: Path, tmp_path: Path, name: str) -> None:
    """In every format the output is what one run over all files writes, byte by byte."""
    output, other = tmp_path / name, tmp_path / f"other-{name}"
    assert call("tag", site, "-m", model, "-o", output) == 1
    soundfile.write(site / "20.wav", 0.1 * np.random.default_rng(1).standard_normal(9_000), 16_000)
    soundfile.write(site / "3.wav", 0.1 * np.random.default_rng(2).standard_normal(5_000), 16_000)
    (site / "5.wav").unlink()
    assert call("tag", site, "-m", model, "-o", output, "--resume") == 0
    assert call("tag", site, "-m", model, "-o", other) == 0
    assert output.read_bytes() == other.read_bytes()


def test_a_finished_job_reads_nothing(site: Path, model: Path, tmp_path: Path, capsys: Captured) -> None:
    output = tmp_path / "tags.jsonl"
    assert call("tag", site, "-m", model, "-o", output, "--resume") == 1  # may be given from the beginning
    before = output.read_bytes()
    capsys.readouterr()
    journal = tmp_path / "tags.jsonl.journal"
    size = journal.stat().st_size
    output.unlink()  # the journal has it all
    assert call("tag", site, "-m", model, "-o", output, "--resume") == 1
    assert output.read_bytes() == before
    assert journal.stat().st_size == size
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[:2] == [
        "spectag: note: 7 of 7 files are done already; 0 left",
        "spectag: done: 7 files, 5.62 s of sound: 6 tagged, 1 failed",
    ]


def test_results_of_a_job_are_not_destroyed(site: Path, model: Path, tmp_path: Path, capsys: Captured) -> None:
    output = tmp_path / "tags.csv"
    assert call("tag", site, "-m", model, "-o", output) == 1
    before = output.read_bytes()
    capsys.readouterr()
    assert call("tag", site, "-m", model, "-o", output) == 1
    assert capsys.readouterr().err == (
        f"spectag: error: {output}: has the results of an earlier run: add --resume to continue it, --overwrite to "
        "begin again, or choose another output\n"
    )
    assert call("tag", site, "-m", model, "-o", output, "--resume", "--top-k", 2) == 1
    assert "was made with --top-k 5, not with --top-k 2: use" in capsys.readouterr().err
    assert output.read_bytes() == before
    assert call("tag", site, "-m", model, "-o", output, "--overwrite", "--top-k", 2) == 1
    assert {row["rank"] for row in csv.DictReader(output.read_text("utf-8-sig").splitlines())} == {"", "1", "2"}
    (tmp_path / "tags.csv.journal").unlink()
    capsys.readouterr()
    assert call("tag", site, "-m", model, "-o", output, "--resume") == 1
    assert "cannot be continued, since tags.csv.journal is not beside it" in capsys.readouterr().err


def test_one_file_has_no_journal(site: Path, model: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert call("tag", site / "0.wav", "-m", model, "-o", tmp_path / "tags.jsonl") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "tags.jsonl"]


def test_one_file_does_not_replace_the_results_of_a_job(
    site: Path, model: Path, tmp_path: Path, capsys: Captured
) -> None:
    """Whatever the command is, an output that has a journal is not replaced by chance."""
    output = tmp_path / "tags.jsonl"
    assert call("tag", site, "-m", model, "-o", output) == 1
    before = output.read_bytes()
    capsys.readouterr()
    for options in ([site / "0.wav"], [site, "--plot", tmp_path / "a.png"]):
        assert call("tag", *options, "-m", model, "-o", output) == 1
        assert "has the results of an earlier run" in capsys.readouterr().err
        assert output.read_bytes() == before
    assert call("tag", site / "0.wav", "-m", model, "-o", output, "--resume") == 0
    assert output.read_bytes() == before.splitlines(keepends=True)[0]
    assert "1 of 1 files are done already" in capsys.readouterr().err


def test_a_shard_of_one_file(site: Path, model: Path, tmp_path: Path) -> None:
    """One of the two parts is empty, and both have a journal."""
    parts = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    for number, part in enumerate(parts, 1):
        assert call("tag", site / "0.wav", "-m", model, "-o", part, "--shard", f"{number}/2") == 0
    assert call("merge-results", *parts, "-o", tmp_path / "all.jsonl") == 0
    [line] = (tmp_path / "all.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["path"] == str(site / "0.wav")


def test_resume_may_be_given_for_one_file(site: Path, model: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert call("tag", site / "0.wav", "-m", model, "-o", tmp_path / "tags.jsonl", "--resume") == 0


def test_results_in_this_folder(
    site: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """The journal of ./ lies beside the folder, and no journal is taken for a recording that is missed."""
    folder = tmp_path / "labels"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert call("tag", site, "-m", model, "-o", "./", "--format", "csv") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"site", "labels", "labels.journal"}
    assert len(list(folder.iterdir())) == 6
    monkeypatch.chdir(site)
    for _ in range(2):
        assert call("tag", ".", "-m", model, "-o", "tags.rttm", "--resume") == 1
    assert "not taken for recordings" not in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("format", ["jsonl", "json", "csv", "parquet", "csv-timeline"])
def test_an_output_on_a_full_disk(format: str) -> None:
    """Every format says which file it is, also if its last bytes find no room."""
    from spectag.cli.documents import open_writer
    from spectag.errors import FileError, SaveError

    for resumable, advice in ((True, ": mend that, and continue with --resume$"), (False, "$")):
        with (
            pytest.raises(SaveError, match=f"^/dev/full: cannot be written: No space left on device{advice}"),
            open_writer("/dev/full", format, [], resumable=resumable) as writer,  # type: ignore[arg-type]
        ):
            writer.write(FileError("dawn.wav", "no samples"))


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no such name there")
def test_stdout_by_its_name(site: Path, model: Path, tmp_path: Path) -> None:
    """It has no journal, also if it is a file."""
    command = [sys.executable, "-m", "spectag", "tag", str(site), "-m", str(model), "-f", "jsonl", "-o", "/dev/stdout"]
    with (tmp_path / "tags.jsonl").open("wb") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, timeout=600)
    assert done.returncode == 1
    assert b"journal" not in done.stderr
    assert len((tmp_path / "tags.jsonl").read_text("utf-8").splitlines()) == 7


@pytest.mark.skipif(sys.platform == "win32", reason="other signals there")
def test_interrupted_while_a_decoder_hangs(jobs: ModuleType, site: Path, model: Path, tmp_path: Path) -> None:
    """Ctrl-C does not wait for --file-timeout, and what is done is kept."""
    soundfile.write(site / "7.wav", np.ones(4_000), 8_002)
    jobs.TIMEOUT = 300.0
    job = jobs.Job(site, tmp_path / "a.jsonl", ["-m", str(model), "--batch-size", "1"])
    process = subprocess.Popen(job.command, env=job.environment, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while job.records() < 8 and time.monotonic() < until:  # the first line, and seven files
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-2:] == [
        "spectag: note: 7 of 8 files are done: continue with --resume",
        "spectag: interrupted",
    ]


def test_another_job_on_the_same_output(site: Path, model: Path, tmp_path: Path, capsys: Captured) -> None:
    from spectag.jobs.journal import Journal
    from spectag.jobs.run import Run

    journal = Journal.create(tmp_path / "tags.jsonl.journal", Run("5f1c"))
    for option in ("--resume", "--overwrite"):
        assert call("tag", site, "-m", model, "-o", tmp_path / "tags.jsonl", option) == 1
        assert "tags.jsonl.journal: another run is writing to it: wait" in capsys.readouterr().err
    journal.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume"], "--resume: expected an output to keep the results in: add -o FILE"),
        (["--shard", "1/2"], "--shard: expected an output"),
        (["--shard", "3/2", "-o", "a.jsonl"], "expected i/n with i from 1 to n, such as 1/4; got 3/2"),
        (["--resume", "--overwrite", "-o", "a.jsonl"], "--resume and --overwrite exclude each other"),
        (["--jobs", "0"], "--jobs"),
        (["--file-memory", "0"], "--file-memory"),
    ],
)
def test_wrong_usage(site: Path, options: list[str], message: str, capsys: Captured) -> None:
    assert call("tag", site, *options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_recording_on_standard_input_is_never_done(site: Path, model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spectag", "tag", "-", str(site / "0.wav"), "-m", str(model), "-o"]
    for name in ("0.wav", "1.wav"):
        with (site / name).open("rb") as file:
            done = subprocess.run(
                [*command, str(tmp_path / "a.jsonl"), "--resume"], stdin=file, timeout=600, capture_output=True
            )
        assert done.returncode == 0
    [first, second] = map(json.loads, (tmp_path / "a.jsonl").read_text("utf-8").splitlines())
    assert (first["path"], first["duration"]) == ("-", 7_000 / 16_000)
    assert second["duration"] == 3_000 / 16_000


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
@pytest.mark.parametrize("limit", [600, 900])
def test_a_full_disk(site: Path, model: Path, tmp_path: Path, limit: int) -> None:
    """Of the journal, or of the output. One line says so, and the job continues when there is room again."""
    code = (
        "import resource, signal, sys; from spectag.cli.main import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    options = ["tag", str(site), "-m", str(model), "-o", str(tmp_path / "a.jsonl"), "--resume"]
    done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    *_, last = done.stderr.splitlines()
    assert last.startswith(f"spectag: error: {tmp_path / 'a.jsonl'}")
    assert "cannot be written: File too large: mend that, and continue with --resume" in last
    assert "Traceback" not in done.stderr
    assert call(*options) == 1
    assert call("tag", site, "-m", model, "-o", tmp_path / "b.jsonl") == 1
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may write everywhere")
def test_a_folder_that_cannot_be_written(site: Path, model: Path, tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert call("tag", site, "-m", model, "-o", folder / "a.jsonl") == 1
    assert capsys.readouterr().err.endswith(
        "a.jsonl.journal: cannot be written: Permission denied: mend that, and continue with --resume\n"
    )


def test_progress_in_a_log_file(capsys: Captured) -> None:
    """A line a minute, by a clock of its own."""
    now = [0.0]
    progress = Progress(100, clock=lambda: now[0])
    for _ in range(10):
        now[0] += 10
        progress.add(360.0)
    progress.close()
    assert capsys.readouterr().err == (
        "spectag: progress: 7 of 100 files, 0.1 files/s, 0.01 h of sound/s, 16 min left\n"
    )


@pytest.mark.parametrize("name", ["tags.jsonl", "tags.csv"])
def test_shards_are_merged_to_what_one_job_writes(
    site: Path, model: Path, tmp_path: Path, name: str, capsys: Captured
) -> None:
    """Also a shard without files, and paths in an order that is not sorted."""
    paths = [site / "6.wav", site, tmp_path / "missing.wav"]
    (tmp_path / "shards").mkdir()
    parts = [tmp_path / "shards" / f"{n}.jsonl" for n in range(1, 10)]
    for n, part in enumerate(parts, 1):
        call("tag", *paths, "-m", model, "-o", part, "--shard", f"{n}/9", "--resume")
    assert min(part.stat().st_size for part in parts) == 0
    assert call("tag", *paths, "-m", model, "-o", tmp_path / name) == 1
    capsys.readouterr()
    merged = tmp_path / f"merged-{name}"
    assert call("merge-results", *reversed(parts), "-o", merged) == 0
    assert merged.read_bytes() == (tmp_path / name).read_bytes()
    assert capsys.readouterr().err.startswith("spectag: done: 9 files, 7.31 s of sound: 7 tagged, 2 failed\n")
    soundfile.write(site / "20.wav", 0.1 * np.random.default_rng(1).standard_normal(9_000), 16_000)
    for output in (merged, tmp_path / name):  # it goes on like any other job
        assert call("tag", *paths, "-m", model, "-o", output, "--resume") == 1
    assert merged.read_bytes() == (tmp_path / name).read_bytes()
    assert "8 of 10 files are done already; 2 left" in capsys.readouterr().err


def test_scores_over_time(site: Path, model: Path, tmp_path: Path, capsys: Captured) -> None:
    """Resumed, and merged: the same bytes, and the journals have none of the scores."""
    options = ["-m", model, "--timeline", "--events", "--hop", "0.1"]
    for name in ("a.csv", "a.parquet", "a.jsonl"):
        assert call("tag", site, *options, "-o", tmp_path / name) == 1
        before = (tmp_path / name).read_bytes()
        journal = tmp_path / f"{name}.journal"
        lines = journal.read_bytes().splitlines(keepends=True)
        assert not any(b'"scores"' in line for line in lines)
        journal.write_bytes(b"".join(lines[:4])[:-10])  # killed within the third file
        assert call("tag", site, *options, "-o", tmp_path / name, "--resume") == 1
        assert "2 of 7 files are done already; 5 left" in capsys.readouterr().err
        assert (tmp_path / name).read_bytes() == before
    parts = [tmp_path / "1.csv", tmp_path / "2.csv"]
    for number, part in enumerate(parts, 1):
        call("tag", site, *options, "-o", part, "--shard", f"{number}/2")
    assert call("merge-results", *parts, "-o", tmp_path / "b.csv") == 0
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    (tmp_path / "b.csv").unlink()
    assert call("tag", site, *options, "-o", tmp_path / "b.csv", "--resume") == 1
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


def test_merging_destroys_no_shard(site: Path, model: Path, tmp_path: Path, capsys: Captured) -> None:
    """Not into one of the outputs, and neither into its journal, where only that is left."""
    parts = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    for number, part in enumerate(parts, 1):
        call("tag", site, "-m", model, "-o", part, "--shard", f"{number}/2")
        part.unlink()
    before = [Path(f"{part}.journal").read_bytes() for part in parts]
    capsys.readouterr()
    for given in (parts, [f"{part}.journal" for part in parts]):
        assert call("merge-results", *given, "-o", parts[0], "--overwrite") == 1
        assert "1.jsonl.journal: is one of the inputs: choose another name" in capsys.readouterr().err
    assert [Path(f"{part}.journal").read_bytes() for part in parts] == before
    assert call("merge-results", *parts, "-o", tmp_path / "all.jsonl") == 0
    capsys.readouterr()
    assert call("merge-results", *parts, "-o", tmp_path / "all.jsonl") == 1
    assert "has the results of an earlier run: choose another output, or add --overwrite" in capsys.readouterr().err
    for name, lacking in (("all.rttm", "events"), ("all.tsv", "events")):
        assert call("merge-results", *parts, "-o", tmp_path / name) == 2
        assert f"needs --{lacking}, which the shards were made without: choose" in capsys.readouterr().err


def test_shards_that_do_not_belong_together(site: Path, model: Path, tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    a, b, c = (folder / f"{name}.jsonl" for name in "abc")
    for part, options in (
        (a, ["--shard", "1/2"]),
        (b, ["--shard", "2/2"]),
        (c, []),
        (folder / "third.jsonl", ["--shard", "2/3"]),
        (folder / "other.jsonl", ["--shard", "2/2", "--top-k", "2"]),
    ):
        assert call("tag", site, "-m", model, "-o", part, *options) in (0, 1)
    journal = folder / "b.jsonl.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    (folder / "unfinished.jsonl.journal").write_bytes(b"".join(lines[:-1]))
    (folder / "damaged.jsonl.journal").write_bytes(b"".join([lines[0], lines[1][:-9] + b"!" * 8 + b"\n", *lines[2:]]))
    (folder / "short.jsonl.journal").write_bytes(
        b"".join(
            [*lines[:-1], json.dumps({"finished": {**json.loads(lines[-1])["finished"], "positions": []}}).encode()]
        )
    )
    soundfile.write(site / "20.wav", np.ones(9_000), 16_000)
    assert call("tag", site, "-m", model, "-o", folder / "later.jsonl", "--shard", "2/2") in (0, 1)
    capsys.readouterr()
    for parts, message in (
        ([a], "expected 2 shards, got 1: add 2/2"),
        ([a, a, b], "a.jsonl.journal: is shard 1/2, and so is"),
        ([a, c], "c.jsonl.journal: expected a part of a job, got a whole one"),
        ([a, folder / "third.jsonl"], "third.jsonl.journal: is shard 2/3, and"),
        ([a, folder / "other.jsonl"], "was made with --top-k 2, not with --top-k 5: give"),
        ([a, folder / "later.jsonl"], "was made when there were other files (8) than"),
        ([a, folder / "unfinished.jsonl"], "shard 2/2 is not finished: run it again with --resume"),
        ([a, folder / "damaged.jsonl"], "damaged.jsonl.journal: is damaged at byte"),
        ([a, folder / "short.jsonl"], "its last line is damaged: run shard 2/2 again with --overwrite"),
        ([a, folder / "none.jsonl"], "none.jsonl.journal: cannot be read: No such file or directory: copy it"),
    ):
        assert call("merge-results", *parts, "-o", tmp_path / "m.jsonl") == 1
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
        assert not (tmp_path / "m.jsonl").exists()
    assert call("merge-results", a, b, "-o", a) == 1
    assert "is one of the inputs" in capsys.readouterr().err
