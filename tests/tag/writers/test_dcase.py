import csv
from pathlib import Path

import numpy as np
import pandas
from writing import BAD, NASTY, clip, lines, nasty_clip, plain, write

from spectag.tag.results import ClipTags, Event, Timeline

OWL = Event("tawny owl", 1 / 3, 12, 0.75)


def test_strong_labels(tmp_path: Path) -> None:
    path = tmp_path / "events.tsv"
    results = clip("in/a.wav", OWL), BAD, clip("in/b.wav", OWL, Event("fox", 2, 3, 0.5))
    path.write_bytes(write("dcase", *results, paths=["in/a.wav", "in/b.wav"]))
    table = pandas.read_csv(path, sep="\t")
    assert list(table.columns) == ["filename", "onset", "offset", "event_label"]
    assert table.to_numpy().tolist() == [
        ["a.wav", 0.333333, 10, "tawny owl"],
        ["b.wav", 0.333333, 10, "tawny owl"],
        ["b.wav", 2, 3, "fox"],
    ]


def test_files_of_the_same_name_stay_apart() -> None:
    names = [line.split("\t")[0] for line in lines("dcase", clip("in/x/a.wav", OWL), clip("in/y/a.wav", OWL))]
    assert names == ["filename", "x/a.wav", "y/a.wav"]


def test_each_event_is_one_line_of_four_cells() -> None:
    rows = list(csv.reader(lines("dcase", nasty_clip()), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [row[3] for row in rows[1:]] == [plain(label) for label in NASTY]


def test_scores_over_time(tmp_path: Path) -> None:
    scores = np.array([[0.5, 0.25], [1 / 3, 0], [1, 0]], np.float32)
    result = ClipTags("a.wav", 1.3, (), timeline=Timeline(("tawny owl", "a\tb"), 0.5, scores))
    path = tmp_path / "a.tsv"
    path.write_bytes(write("dcase-scores", result))
    table = pandas.read_csv(path, sep="\t")
    assert list(table.columns) == ["onset", "offset", "tawny owl", "a b"]
    assert table["onset"].tolist() == [0, 0.5, 1]
    assert table["offset"].tolist() == [0.5, 1, 1.3]
    assert table["tawny owl"].tolist() == [0.5, 0.333333, 1]


def test_nothing_leaves_headers() -> None:
    assert lines("dcase", clip("a.wav")) == ["filename\tonset\toffset\tevent_label"]
    assert lines("dcase-scores", BAD) == ["onset\toffset"]
