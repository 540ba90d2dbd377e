import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest

from spectag.errors import FileError
from spectag.tag.results import ClipTags, Tag, make_writer

DOG = ClipTags("a/dog.wav", 5.00100012, (Tag("dog", 0.91234567), Tag("=1+1", 1e-9)))
QUIET = ClipTags(None, 0.01, (), ("cut off",))
BAD = FileError("bad.wav", "not audio")


def written(format: str, *results: ClipTags | FileError, **options: int) -> str:
    file = io.StringIO()
    out = make_writer(format, file, **options)
    for result in results:
        out.write(result)
    out.close()
    return file.getvalue()


def test_an_error_names_its_file() -> None:
    assert str(BAD) == "bad.wav: not audio"
    assert str(FileError(None, "empty")) == "<array>: empty"
    assert str(FileError("", "missing")) == "'': missing"


def test_jsonl() -> None:
    lines = written("jsonl", DOG, BAD, QUIET).splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "path": "a/dog.wav",
            "duration": 5.001,
            "tags": [{"label": "dog", "score": 0.912346}, {"label": "=1+1", "score": 0.0}],
        },
        {"path": "bad.wav", "error": "not audio"},
        {"path": None, "duration": 0.01, "tags": [], "warnings": ["cut off"]},
    ]


def test_json_is_one_array_of_the_same() -> None:
    array = json.loads(written("json", DOG, BAD, QUIET))
    assert array == [json.loads(line) for line in written("jsonl", DOG, BAD, QUIET).splitlines()]
    assert json.loads(written("json")) == []


def test_csv() -> None:
    loud = ClipTags("loud.wav", 1.0, (Tag("dog", 0.5), Tag("cat", 0.25)), ("a", "b"))
    rows = list(csv.reader(io.StringIO(written("csv", DOG, BAD, QUIET, loud))))
    assert rows == [
        ["path", "duration", "rank", "label", "score", "error", "warnings"],
        ["a/dog.wav", "5.001", "1", "dog", "0.912346", "", ""],
        ["a/dog.wav", "5.001", "2", "'=1+1", "0.0", "", ""],  # a spreadsheet must not compute it
        ["bad.wav", "", "", "", "", "not audio", ""],
        ["", "0.01", "", "", "", "", "cut off"],
        ["loud.wav", "1.0", "1", "dog", "0.5", "", "a; b"],
        ["loud.wav", "1.0", "2", "cat", "0.25", "", ""],
    ]


def test_csv_survives_awkward_names() -> None:
    name = 'a,"b"\n;c.wav'
    rows = list(csv.reader(io.StringIO(written("csv", ClipTags(name, 1.0, (Tag("x", 0.5),))), newline="")))
    assert rows[1][0] == name


def test_text_is_aligned_and_leaves_failures_out() -> None:
    text = written("text", DOG, BAD, QUIET, clip_width=12)
    assert text.splitlines() == [
        "clip          tags",
        "a/dog.wav     dog 0.91  =1+1 0.00",
        "-             (no tags)",
    ]


def test_text_shows_no_terminal_escapes_of_a_file_name() -> None:
    assert "\x1b" not in written("text", ClipTags("\x1b[31mred.wav\n", 1.0, (Tag("x", 0.5),)))


def test_text_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "dumb")  # 80 columns, no colours
    file = Terminal()
    out = make_writer("text", file, clip_width=200)
    tags = (Tag("Vehicle horn, car horn [honking]", 0.9), Tag("Speech", 0.8))
    out.write(ClipTags("x" * 100 + "[red].wav", 1.0, tags))
    shown = file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    flat = shown.replace("\u00a0", " ")
    assert "Vehicle horn, car horn" in flat
    assert "Speech 0.80" in flat
    assert "[red]" in "".join(line[:40].strip() for line in shown.splitlines())  # no markup


def test_each_result_is_complete_at_once() -> None:
    class Counting(io.StringIO):
        flushed = ""

        def flush(self) -> None:
            self.flushed = self.getvalue()

    for format in ("jsonl", "csv", "text"):
        file = Counting()
        out = make_writer(format, file)
        out.write(DOG)
        assert file.flushed == file.getvalue() != "", format
        assert file.flushed.endswith("\n")


def test_nan_never_becomes_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        written("json", ClipTags("a", 1.0, (Tag("x", float("nan")),)))


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
@pytest.mark.parametrize("format", ["text", "json", "jsonl", "csv"])
def test_names_that_are_not_utf8(tmp_path: Path, format: str) -> None:
    raw = b"caf\xe9 \xc3\xa9.wav"
    target = tmp_path / "out"
    with target.open("w", encoding="utf-8", errors="backslashreplace") as file:  # as the command line opens it
        out = make_writer(format, file)
        out.write(ClipTags(os.fsdecode(raw), 1.0, (Tag("x", 0.5),)))
        out.close()
    text = target.read_text("utf-8")
    assert "é.wav" in text
    if format == "jsonl":
        assert os.fsencode(json.loads(text)["path"]) == raw
