import csv
import os
from pathlib import Path

import pandas
import pytest
from writing import BAD, NASTY, clip, lines, nasty_clip, plain, write

from spectag.tag.results import ClipTags, Event

FIRST = ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"]


def test_crowsetta_reads_a_table(tmp_path: Path) -> None:
    crowsetta = pytest.importorskip("crowsetta", reason="it needs Python 3.11")
    path = tmp_path / "a.selections.txt"
    path.write_bytes(write("raven", clip("a.wav", Event("owl", 1 / 3, 2, 0.75), Event("fox, red", 1.5, 11, 0.5))))
    boxes = crowsetta.formats.bbox.Raven.from_file(path).to_bbox()
    assert [(box.onset, box.offset, box.low_freq, box.high_freq, box.label) for box in boxes] == [
        (0.333333, 2, 0, 8000, "owl"),
        (1.5, 10, 0, 8000, "fox, red"),
    ]


def test_times_go_on_over_a_sequence_of_files(tmp_path: Path) -> None:
    path = tmp_path / "all.txt"
    silent = ClipTags("quiet.wav", 5.5, (), events=())
    results = clip("x/a.wav", Event("owl", 1, 2, 0.75)), BAD, silent, clip("y/a.wav", Event("owl", 9.5, 12, 0.5))
    path.write_bytes(write("raven", *results))
    table = pandas.read_csv(path, sep="\t")
    assert list(table.columns)[:7] == FIRST
    assert table["Selection"].tolist() == [1, 2]
    assert table["View"].tolist() == ["Spectrogram 1"] * 2
    assert table["Channel"].tolist() == [1, 1]
    assert table["Begin Time (s)"].tolist() == [1, 10 + 5.5 + 9.5]  # a file that could not be read takes no time
    assert table["End Time (s)"].tolist() == [2, 10 + 5.5 + 10]
    assert table["File Offset (s)"].tolist() == [1, 9.5]
    assert table["Begin Path"].tolist() == [os.path.abspath("x/a.wav"), os.path.abspath("y/a.wav")]
    assert table["Begin File"].tolist() == ["a.wav", "a.wav"]
    assert table["Score"].tolist() == [0.75, 0.5]


def test_no_selection_begins_after_its_file_has_ended() -> None:
    assert len(lines("raven", clip("a.wav", Event("owl", 10.0, 11, 0.75)))) == 1


def test_a_low_rate_limits_the_frequencies() -> None:
    low = ClipTags("a.wav", 5.0, (), events=(Event("owl", 1, 2, 0.5),), rate=11_025)
    assert lines("raven", low)[1].split("\t")[6] == "5512.5"


def test_each_selection_is_one_line_of_all_cells() -> None:
    rows = list(csv.reader(lines("raven", nasty_clip()), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert {len(row) for row in rows} == {12}
    labels = [row[rows[0].index("Annotation")] for row in rows[1:]]
    assert labels == [plain(label) for label in NASTY]


def test_no_event_leaves_a_header() -> None:
    [header] = lines("raven", clip("a.wav"), BAD)
    assert header.split("\t")[:7] == FIRST
