"""spectag tag: formats, folders of documents, pictures."""

import csv
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import soundfile

from spectag.cli.main import main
from spectag.tag.writers.formats import DOCUMENTS

Captured = pytest.CaptureFixture[str]
SOME = ("--event-threshold", 0.1, "--event-method", "threshold")  # the drawn weights are never sure


def call(*args: object) -> int:
    return main([str(arg) for arg in args])


@pytest.mark.parametrize("format", list(DOCUMENTS))
def test_every_format_from_a_folder_with_broken_files(
    format: str, model: Path, good: dict[str, Path], bad: dict[str, Path], tmp_path: Path, capsys: Captured
) -> None:
    """Failures cost their own file only, whatever the format."""
    root, ending = tmp_path / "good", DOCUMENTS[format].extensions[0]  # type: ignore[index]
    (root / "below").mkdir()
    for name in ("text.wav", "nan.wav"):
        bad[name].rename(root / "below" / name)
    good["1.0.wav"].rename(root / "below" / "1.0.wav")
    labels = tmp_path / "labels"
    assert call("tag", root, "-m", model, "-f", format, "-o", f"{labels}/", *SOME) == 1
    assert capsys.readouterr().err.count("spectag: error: ") == 2
    found = sorted(path.relative_to(labels).as_posix() for path in labels.rglob("*") if path.is_file())
    assert found == [name + ending for name in ("0.01", "0.25", "0.5", "below/1.0")]
    if format in ("aoef", "parquet", "raven"):
        assert call("tag", root, "-m", model, "-f", format, "-o", tmp_path / f"all{ending}", *SOME) == 1
        assert (tmp_path / f"all{ending}").stat().st_size > 0


def test_the_ending_chooses_what_a_table_is_about(model: Path, good: dict[str, Path], tmp_path: Path) -> None:
    columns = {}
    for name, options in (("tags", []), ("events", ["--events"]), ("timeline", ["--timeline"])):
        for ending in ("csv", "parquet"):
            path = tmp_path / f"{name}.{ending}"
            assert call("tag", *good.values(), "-m", model, "-o", path, *options, *SOME) == 0
            table = pandas.read_csv(path) if ending == "csv" else pandas.read_parquet(path)
            columns[name, ending] = list(table.columns)
    assert columns["tags", "csv"] == ["path", "duration", "rank", "label", "score", "error", "warnings"]
    assert columns["events", "csv"][2:6] == ["onset", "offset", "label", "score"]
    assert columns["timeline", "csv"] == ["path", "time", "dog", "rain", "sea"]
    assert columns["timeline", "parquet"] == columns["timeline", "csv"]
    assert columns["events", "parquet"] == columns["tags", "parquet"]


def test_a_format_about_events_asks_for_them(model: Path, good: dict[str, Path], capsys: Captured) -> None:
    assert call("tag", good["1.0.wav"], "-m", model, "-f", "csv-events", *SOME) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows
    assert all(0 <= float(row["onset"]) < float(row["offset"]) <= 1 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-f", "webvtt"], "holds one recording, and there are 4: for a file each, name a folder with a slash"),
        (["-o", "a.vtt"], "holds one recording, and there are 4"),
        (["-f", "parquet"], "is not text: name a file with --output"),
        (["-o", "a.xyz"], "expected a name that ends in one of .txt, .json, .jsonl, .ndjson, .csv, .parquet, .vtt"),
        (["-o", "a.json", "-f", "raven"], "a.json means the format json or aoef, but --format says raven"),
        (["--plot", "a.gif"], "--plot a.gif: expected a name that ends in .png, .svg or .html, got .gif"),
        (["--plot", "a"], "got none of these"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_read(
    arguments: list[str], message: str, model: Path, good: dict[str, Path], capsys: Captured
) -> None:
    assert call("tag", *good.values(), "-m", model, *arguments) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n")) == ("", 1)


def test_one_recording_can_be_any_format_on_stdout(model: Path, good: dict[str, Path], capsys: Captured) -> None:
    assert call("tag", good["1.0.wav"], "-m", model, "-f", "webvtt", *SOME) == 0
    assert capsys.readouterr().out.startswith("WEBVTT\n\n00:00:0")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_a_folder_for_names_that_are_not_utf8(model: Path, good: dict[str, Path], tmp_path: Path) -> None:
    odd = os.fsencode(good["1.0.wav"].parent) + b"/caf\xe9.wav"
    good["1.0.wav"].rename(os.fsdecode(odd))
    assert call("tag", tmp_path / "good", "-m", model, "-f", "elan", "-o", f"{tmp_path}/out/", *SOME) == 0
    assert b"caf\xe9.eaf" in os.listdir(os.fsencode(tmp_path / "out"))


def test_pictures_leave_the_results_as_they_are(
    model: Path, good: dict[str, Path], bad: dict[str, Path], tmp_path: Path, capsys: Captured
) -> None:
    paths = [*good.values(), bad["text.wav"]]
    results = []
    for options in (["--hop", 0.25], ["--hop", 0.25, "--plot", f"{tmp_path}/pictures/"]):
        assert call("tag", *paths, "-m", model, "-f", "jsonl", *options) == 1
        results.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    names = [[[tag["label"] for tag in result.get("tags", ())] for result in run] for run in results]
    assert names[0] == names[1]
    assert [sorted(result) for result in results[0]] == [sorted(result) for result in results[1]]
    found = sorted(path.relative_to(tmp_path / "pictures").as_posix() for path in tmp_path.rglob("*.png"))
    assert found == ["good/0.01.png", "good/0.25.png", "good/0.5.png", "good/1.0.png", "overview.png"]


def test_one_picture_of_one_recording_and_of_several(
    model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured
) -> None:
    one, several = tmp_path / "one.html", tmp_path / "several.svg"
    assert call("tag", good["1.0.wav"], "-m", model, "--plot", one, "--events", *SOME) == 0
    assert " to 0:0" in capsys.readouterr().out
    assert "<caption>Events</caption>" in one.read_text("utf-8")
    assert call("tag", *good.values(), "-m", model, "--plot", several, *SOME) == 0
    assert "4 recordings" in several.read_text("utf-8")


def test_a_picture_that_cannot_be_written(model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured) -> None:
    first = good["1.0.wav"]
    for plot, message in ((tmp_path / "no" / "a.png", "does not exist"), (tmp_path, "is a folder")):
        assert call("tag", first, "-m", model, "--plot", plot) == 1
        assert message in capsys.readouterr().err


def test_a_missing_extra_names_its_command(
    model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package, extra, options in (
        ("pyarrow", "parquet", ["-o", tmp_path / "a.parquet"]),
        ("pyarrow", "parquet", ["-f", "parquet", "-o", f"{tmp_path}/new/"]),
        ("soundevent", "soundevent", ["-f", "aoef"]),
        ("matplotlib", "plot", ["--plot", tmp_path / "a.png"]),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            assert call("tag", good["1.0.wav"], "-m", model, *options) == 1
        assert f"pip install 'spectag[{extra}]'\n" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("output", [[], ["-f", "text"], ["-o", "tags.txt"]])
def test_text_holds_no_timeline(output, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", np.zeros(16_000), 16_000)
    assert main(["tag", "a.wav", "--timeline", *output]) == 2
    assert "does not hold scores over time" in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not Path("tags.txt").exists()
