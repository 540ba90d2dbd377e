import csv
import io

import numpy as np
import pandas
import pytest
from writing import BAD, DOG, NASTY, QUIET, clip, nasty_clip, write, written

from spectag.choices import Format
from spectag.errors import InputError
from spectag.tag.results import ClipTags, Event, Tag, Timeline


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


def test_a_row_per_event() -> None:
    warned = ClipTags("quiet.wav", 1.0, (), ("cut off",), events=())
    heard = clip("a.wav", Event("owl", 1 / 3, 20, 0.75), Event("fox", 2, 3, 0.5))
    table = pandas.read_csv(io.BytesIO(write("csv-events", heard, BAD, warned)), dtype=str, keep_default_na=False)
    assert list(table.columns) == ["path", "duration", "onset", "offset", "label", "score", "error", "warnings"]
    assert table.to_numpy().tolist() == [
        ["a.wav", "10.0", "0.333333", "10.0", "owl", "0.75", "", ""],  # it ends with the recording
        ["a.wav", "10.0", "2.0", "3.0", "fox", "0.5", "", ""],
        ["bad.wav", "", "", "", "", "", "not audio", ""],
        ["quiet.wav", "1.0", "", "", "", "", "", "cut off"],
    ]


def test_labels_survive_and_formulas_do_not_run() -> None:
    table = pandas.read_csv(io.BytesIO(write("csv-events", nasty_clip())), keep_default_na=False, lineterminator=None)
    assert list(table["label"]) == ["'" + label if label.startswith("=") else label for label in NASTY]
    assert set(table["path"]) == {nasty_clip().path}


def test_a_column_per_label() -> None:
    timeline = Timeline(("owl", "=1+1", 'a,"b"\n'), 0.1, np.array([[0.5, 0, 1], [0.25, 0, 1 / 3]], np.float32))
    results = [ClipTags(path, 0.15, (), timeline=timeline) for path in ("a.wav", "b,c.wav")]
    table = pandas.read_csv(io.BytesIO(write("csv-timeline", BAD, *results)))
    assert list(table.columns) == ["path", "time", "owl", "'=1+1", 'a,"b"\n']
    assert list(table["path"]) == ["a.wav", "a.wav", "b,c.wav", "b,c.wav"]
    assert list(table["time"]) == [0, 0.1, 0, 0.1]
    assert table.iloc[1, 2:].tolist() == [0.25, 0, 0.333333]


@pytest.mark.parametrize(("format", "header"), [("csv-events", 8), ("csv-timeline", 2)])
def test_no_recording_leaves_a_header(format: Format, header: int) -> None:
    table = pandas.read_csv(io.BytesIO(write(format)))
    assert table.shape == (0, header)


def test_events_must_have_been_asked_for() -> None:
    with pytest.raises(InputError, match="csv-events writes events, and these results have none"):
        write("csv-events", DOG)
    with pytest.raises(InputError, match="csv-timeline writes scores over time"):
        write("csv-timeline", DOG)
