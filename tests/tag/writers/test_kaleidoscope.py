import io
import os

import pandas
from writing import BAD, NASTY, clip, nasty_clip, write

from spectag.tag.results import Event


def test_pandas_reads_a_row_per_event() -> None:
    events = Event("owl", 1 / 3, 2, 0.75), Event("fox", 9, 12, 0.5)
    table = pandas.read_csv(io.BytesIO(write("kaleidoscope", BAD, clip("in/dusk/a.wav", *events))))
    assert list(table.columns) == ["INDIR", "FOLDER", "IN FILE", "OFFSET", "DURATION", "TOP1MATCH", "confidence"]
    assert {os.path.join(*row[:3]) for row in table.itertuples(index=False)} == {os.path.abspath("in/dusk/a.wav")}
    assert table.iloc[:, 3:].to_numpy().tolist() == [[0.333333, 1.666667, "owl", 0.75], [9, 1, "fox", 0.5]]


def test_labels_survive_and_formulas_do_not_run() -> None:
    table = pandas.read_csv(io.BytesIO(write("kaleidoscope", nasty_clip())), keep_default_na=False)
    assert list(table["TOP1MATCH"]) == ["'" + label if label.startswith("=") else label for label in NASTY]
    assert set(table["IN FILE"]) == {'nasty, "1".wav'}


def test_no_event_leaves_a_header() -> None:
    assert pandas.read_csv(io.BytesIO(write("kaleidoscope", clip("a.wav")))).shape == (0, 7)
