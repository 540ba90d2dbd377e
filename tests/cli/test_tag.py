"""spectag tag, info, convert: from the command line, with recordings and models of every sorry kind."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spectag.cli.main import main

Captured = pytest.CaptureFixture[str]


def call(*args: str | Path) -> int:
    return main([str(arg) for arg in args])


def test_the_program_itself(model: Path, good: dict[str, Path], bad: dict[str, Path]) -> None:
    """In a process of its own: broken recordings among good ones."""
    paths = [path for pair in zip(bad.values(), good.values(), strict=False) for path in pair]
    command = [sys.executable, "-m", "spectag", "tag", *map(str, paths), "-m", str(model), "-f", "jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=900)
    assert done.returncode == 1
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["path"] for result in results] == list(map(str, paths))
    assert ["error" in result for result in results] == [True, False] * 4
    lines = done.stderr.splitlines()
    assert len(lines) == 4, done.stderr
    for line, result in zip(lines, results[::2], strict=True):
        assert line == f"spectag: error: {result['path']}: {result['error']}"


@pytest.mark.parametrize("kind", ["no audio", "empty.wav", "text.wav", "no samples.wav", "nan.wav", "missing.wav"])
def test_one_line_for_what_cannot_be_tagged(model: Path, bad: dict[str, Path], kind: str, capsys: Captured) -> None:
    assert call("tag", bad[kind], "-m", model, "-f", "json") == 1
    out, err = capsys.readouterr()
    [result] = json.loads(out)
    assert result["path"] == str(bad[kind])
    assert err == f"spectag: error: {bad[kind]}: {result['error']}\n"


def test_odd_recordings_work(model: Path, good: dict[str, Path], capsys: Captured) -> None:
    assert call("tag", *good.values(), "-m", model, "-f", "jsonl", "--top-k", 2) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for line, path in zip(out.splitlines(), good.values(), strict=True):
        result = json.loads(line)
        assert result["path"] == str(path)
        assert result["duration"] == pytest.approx(float(path.stem), abs=1e-3)
        first, second = result["tags"]
        assert 1 >= first["score"] >= second["score"] >= 0


def test_a_folder_with_a_broken_file(
    model: Path, good: dict[str, Path], bad: dict[str, Path], capsys: Captured
) -> None:
    root = bad["text.wav"].parent.parent
    assert call("tag", root, "-m", model, "-f", "csv", "--threshold", 0.2) == 1
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    failed = {row["path"] for row in rows if row["error"]}
    assert failed == {str(bad[name]) for name in ("empty.wav", "text.wav", "no samples.wav", "nan.wav")}
    assert {row["path"] for row in rows} - failed == set(map(str, good.values()))
    assert all(float(row["score"]) >= 0.2 for row in rows if row["score"])
    assert err.count("\n") == 4


def test_text_is_for_people(model: Path, good: dict[str, Path], capsys: Captured) -> None:
    assert call("tag", *good.values(), "-m", model, "--top-k", 1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["clip", "tags"]
    assert len({line.index("  ") for line in lines[1:2]}) == 1
    assert all(line.startswith(str(path)) for line, path in zip(lines[1:], good.values(), strict=True))


def test_a_truncated_recording_is_a_warning(model: Path, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(32_000), 16_000)
    path.write_bytes(path.read_bytes()[:20_000])
    for _ in range(2):
        assert call("tag", path, "-m", model, "-f", "jsonl") == 0
        out, err = capsys.readouterr()
        [warning] = json.loads(out)["warnings"]
        assert err == f"spectag: warning: {warning}\n"


def test_output_file(model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured) -> None:
    target = tmp_path / "tags.json"
    target.write_text("old")
    assert call("tag", *good.values(), "-m", model, "-f", "json", "-o", target) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("spectag: done: 4 files, 1.76 s of sound: 4 tagged\nspectag: first tags: ")
    assert len(json.loads(target.read_text("utf-8"))) == len(good)


def test_output_that_cannot_be(model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured) -> None:
    first = good["1.0.wav"]
    before = first.read_bytes()
    for output, message in (
        (first, "one of the inputs"),
        (tmp_path / "no" / "tags.json", "does not exist"),
        (tmp_path, "is a folder"),
    ):
        assert call("tag", first.parent, "-m", model, "-o", output) == 1
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
    assert first.read_bytes() == before


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_a_name_that_is_not_utf8(model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    with open(odd, "wb") as file:
        file.write(good["1.0.wav"].read_bytes())
    for format in ("text", "jsonl", "csv"):
        assert call("tag", os.fsdecode(odd), os.fsdecode(odd) + "?", "-m", model, "-f", format) == 1
        out, err = capsys.readouterr()
        assert "caf" in out
        assert err.count("\n") == 1
        if format == "jsonl":
            assert os.fsencode(json.loads(out.splitlines()[0])["path"]) == odd


@pytest.mark.parametrize("command", ["tag", "info", "convert"])
def test_models_that_cannot_be_used(
    command: str, model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in model.iterdir():
        data = file.read_bytes()
        (broken / file.name).write_bytes(data[:-1] if file.suffix == ".safetensors" else data)
    for source, message in (
        (tmp_path / "nowhere", "no such file"),
        ("someone/something", "offline"),
        (broken, "model.safetensors"),
        (good["1.0.wav"].parent, "config.json"),
    ):
        args = {"tag": [good["1.0.wav"], "-m", source], "info": [source], "convert": [source, tmp_path / "out"]}[
            command
        ]
        assert call(command, *args) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("spectag: error: ")
        assert err.count("\n") == 1
        assert message in err
    assert not (tmp_path / "out").exists()


def test_offline_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "spectag", "info", "someone/something"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("spectag: error: someone/something: ")
    assert done.stderr.count("\n") == 1


def test_info(model: Path, capsys: Captured) -> None:
    assert call("info", model) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts["network.width"] == "32"
    assert facts["labels.first"] == "dog, rain, sea"
    assert facts["activation.name"] == "softmax"
    assert call("info", model, "--json") == 0
    assert json.loads(capsys.readouterr().out)["front_end"]["frames"] == 50


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.csv", "csv"),
        ("a.CSV", "csv"),
        ("a.json", "json"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.txt", "text"),
        ("a", "text"),
    ],
)
def test_the_name_of_the_output_chooses_the_format(
    model: Path, good: dict[str, Path], tmp_path: Path, name: str, format: str, capsys: Captured
) -> None:
    """The kind: `-o tags.csv` writes the table for people, since --format was not given."""
    assert call("tag", good["1.0.wav"], "-m", model, "-o", tmp_path / name) == 0
    assert call("tag", good["1.0.wav"], "-m", model, "-o", tmp_path / "same", "-f", format) == 0
    assert (tmp_path / name).read_bytes() == (tmp_path / "same").read_bytes()
    assert call("tag", good["1.0.wav"], "-m", model, "-o", tmp_path / name, "-f", format) == 0
    assert capsys.readouterr() == ("", "")
    head = {"csv": b"\xef\xbb\xbfpath,", "json": b"[\n{", "jsonl": b'{"path', "text": b"clip"}[format]
    assert (tmp_path / name).read_bytes().startswith(head)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "a.csv",
            ["-f", "json"],
            "means the format csv, csv-events, csv-timeline or kaleidoscope, but --format says json",
        ),
        ("a.json", ["-f", "jsonl"], "means the format json or aoef, but --format says jsonl"),
        ("a.txt", ["-f", "csv"], "means the format text, audacity or raven, but --format says csv"),
        (
            "a.xlsx",
            [],
            "expected a name that ends in one of .txt, .json, .jsonl, .ndjson, .csv, .parquet, .vtt, .rttm, .eaf, "
            ".tsv, or a --format; got .xlsx",
        ),
        ("a.csv.gz", [], "got .gz"),
    ],
)
def test_a_name_that_contradicts_the_format_is_refused(
    model: Path, good: dict[str, Path], tmp_path: Path, name: str, options: list[str], message: str, capsys: Captured
) -> None:
    (tmp_path / name).write_text("old")
    assert call("tag", good["1.0.wav"], "-m", model, "-o", tmp_path / name, *options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.endswith("(see: spectag tag --help)\n")
    assert (tmp_path / name).read_text() == "old"
    if options == []:  # a name that says nothing may have any format
        assert call("tag", good["1.0.wav"], "-m", model, "-o", tmp_path / name, "-f", "csv") == 0


def test_umlauts_in_a_spreadsheet(model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured) -> None:
    """The kind: Excel reads a CSV file in the country's alphabet, unless a mark says that it is UTF-8. A file gets the
    mark; what is printed does not, since other programs would take it for a part of the first column's name."""
    path = tmp_path / "Käuzchen ☃.wav"
    path.write_bytes(good["1.0.wav"].read_bytes())
    for _ in range(2):  # a second run over the same file writes one mark too
        assert call("tag", path, "-m", model, "-o", tmp_path / "a.csv") == 0
    content = (tmp_path / "a.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfpath,")
    assert content.count(b"\xef\xbb\xbf") == 1
    assert content.decode("utf-8-sig").splitlines()[1].startswith(f"{path},1.0,1,")
    assert call("tag", path, "-m", model, "-f", "csv") == 0
    assert capsys.readouterr().out == content.decode("utf-8-sig")


def test_two_runs_into_one_output(model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured) -> None:
    """The kind: two runs write into each other's results. The second is refused and spoils nothing; a device, which is
    shared by all, is no such output."""
    from spectag.cli.output import opened

    target = tmp_path / "tags.jsonl"
    with opened(target) as first:
        first.write("results of the first\n")
        first.flush()
        assert call("tag", good["1.0.wav"], "-m", model, "-o", target) == 1
        assert "another run is writing to it" in capsys.readouterr().err
    assert target.read_text() == "results of the first\n"
    assert call("tag", good["1.0.wav"], "-m", model, "-o", target) == 0
    assert json.loads(target.read_text())["duration"] == 1
    with opened(Path(os.devnull)), opened(Path(os.devnull)):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-", "2>/dev/full >&-"])
def test_without_standard_streams(
    model: Path, good: dict[str, Path], bad: dict[str, Path], tmp_path: Path, closed: str
) -> None:
    """The kind: a service, or a program without a console, has no stdin, stdout or stderr, or nobody reads them. The
    results are the same, and none of them lands in a file that took the place of stderr."""
    target = tmp_path / "tags.jsonl"
    files = [bad["text.wav"], *good.values(), bad["missing.wav"]]
    command = [sys.executable, "-m", "spectag", "tag", *map(str, files), "-m", str(model), "-o", str(target)]
    done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *command], timeout=900, capture_output=True)
    assert done.returncode == 1
    assert [json.loads(line)["path"] for line in target.read_text("utf-8").splitlines()] == list(map(str, files))
    printed = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *command[:-2]], timeout=900, capture_output=True)
    assert printed.returncode == 1
    assert (len(printed.stdout.splitlines()) == 5) == (">&-" not in closed.replace("2>&-", ""))


def test_standard_input_and_output(model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured) -> None:
    """The kind: `-` is taken for a file of that name. It is a recording on standard input, from a pipe or from a file,
    and with -o the standard output."""
    path = good["0.5.flac"]
    assert call("tag", path, "-m", model, "-f", "jsonl", "-o", "-") == 0
    whole = json.loads(capsys.readouterr().out)
    command = [sys.executable, "-m", "spectag", "tag", "-m", str(model), "-f", "jsonl", "-o", "-"]
    content = path.read_bytes()
    piped = subprocess.run([*command, "-"], input=content, capture_output=True, timeout=900, cwd=tmp_path)
    with path.open("rb") as file:
        among = subprocess.run([*command, str(path), "-"], stdin=file, capture_output=True, timeout=900)
    for done, results in ((piped, ["-"]), (among, [str(path), "-"])):
        assert (done.returncode, done.stderr) == (0, b"")
        assert [json.loads(line) for line in done.stdout.splitlines()] == [whole | {"path": name} for name in results]
    nothing = subprocess.run([*command, "-"], stdin=subprocess.DEVNULL, capture_output=True, timeout=900, text=True)
    assert nothing.returncode == 1
    assert json.loads(nothing.stdout)["path"] == "-"
    assert nothing.stderr.startswith("spectag: error: -: expected a recording, got 0 bytes")
    assert not (tmp_path / "-").exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="a shell with <(...)")
def test_pipes_by_their_names(model: Path, good: dict[str, Path], capsys: Captured) -> None:
    """The kind: what a shell gives the name of a file belongs to this process alone, as /dev/stdin and /dev/fd/63 do.
    In the processes that read files, the same names are those of other files."""
    path = str(good["0.5.flac"])
    assert call("tag", path, "-m", model, "-f", "jsonl") == 0
    whole = json.loads(capsys.readouterr().out)
    tag = [sys.executable, "-m", "spectag", "tag", "-m", str(model), "-f", "jsonl"]
    for script, results in (
        ('cat "$0" | "$@" /dev/stdin', ["/dev/stdin"]),
        ('cat "$0" | "$@" "$0" /dev/stdin', [path, "/dev/stdin"]),
        ('"$@" "$0" /dev/stdin < "$0"', [path, "/dev/stdin"]),
        ('"$@" <(cat "$0") <(sleep 1; cat "$0") "$0"', [None, None, path]),
    ):
        done = subprocess.run(["bash", "-c", script, path, *tag], capture_output=True, timeout=900)
        assert (done.returncode, done.stderr) == (0, b"")
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert [clip["tags"] for clip in found] == [whole["tags"]] * len(results)
        assert all(name in (None, clip["path"]) for name, clip in zip(results, found, strict=True))


def test_nothing_to_hear(model: Path, tmp_path: Path, capsys: Captured) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    path = str(tmp_path / "silence.wav")
    assert call("tag", path, "-m", model) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split("  ") == [path, "(no tags)"]
    assert err.startswith(f"spectag: warning: {path}: digital silence throughout")
    for name in ("a.jsonl", "a.csv"):
        assert call("tag", path, "-m", model, "-o", tmp_path / name, "--threshold", 0) == 0
    result = json.loads((tmp_path / "a.jsonl").read_text("utf-8"))
    assert result["tags"] == []
    assert "digital silence" in result["warnings"][0]
    [row] = csv.DictReader((tmp_path / "a.csv").read_text("utf-8-sig").splitlines())
    assert (row["rank"], row["label"], row["score"], row["error"]) == ("", "", "", "")
    assert row["warnings"] == result["warnings"][0]


@pytest.mark.skipif(sys.platform == "win32", reason="other signals there")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_job_that_is_stopped_leaves_no_process(model: Path, tmp_path: Path, name: str) -> None:
    """Ctrl-C reaches all processes of the terminal, the others only the first one."""
    files = [tmp_path / f"{n}.wav" for n in range(200)]
    soundfile.write(files[0], 0.1 * np.random.default_rng(0).standard_normal(8_000 * 120), 8_000)
    for file in files[1:]:
        os.link(files[0], file)
    command = [sys.executable, "-m", "spectag", "tag", str(tmp_path), "-m", str(model), "-f", "jsonl"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, start_new_session=True, text=True) as job:
        assert job.stdout is not None
        assert job.stderr is not None
        assert json.loads(job.stdout.readline())["path"] == str(files[0])
        number = getattr(signal, name)
        (os.killpg if name == "SIGINT" else os.kill)(job.pid, number)
        rest, error = job.stdout.read(), job.stderr.read()
        assert job.wait() == (130 if name == "SIGINT" else -number)
    assert rest.count("\n") < 150
    assert error == ("spectag: interrupted\n" if name == "SIGINT" else "")
    until = time.monotonic() + 60
    while _has_processes(job.pid):
        assert time.monotonic() < until, "a process was left behind"
        time.sleep(0.01)


def _has_processes(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
