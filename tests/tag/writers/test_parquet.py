import io
import os

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from writing import BAD, NASTY, QUIET, clip, nasty_clip, write

from spectag.choices import Format
from spectag.errors import MissingExtra
from spectag.tag.results import ClipTags, Event, Timeline
from spectag.tag.writers import parquet


def read(data: bytes) -> pyarrow.Table:
    return pyarrow.parquet.read_table(io.BytesIO(data))


def test_a_row_per_recording_as_in_json() -> None:
    heard = clip("a.wav", Event("owl", 1 / 3, 2, 0.75))
    rows = read(write("parquet", heard, BAD, QUIET, nasty_clip())).to_pylist()
    assert [row["path"] for row in rows] == ["a.wav", "bad.wav", None, nasty_clip().path]
    assert [row["error"] for row in rows] == [None, "not audio", None, None]
    assert rows[0] == {"error": None, "warnings": [], "unknown": None, "unknown_score": None} | heard.to_dict()
    assert (rows[1]["tags"], rows[1]["events"], rows[1]["duration"]) == (None, None, None)
    assert (rows[2]["tags"], rows[2]["events"], rows[2]["warnings"]) == ([], None, ["cut off"])
    assert [event["label"] for event in rows[3]["events"]] == list(NASTY)


def test_pandas_makes_a_row_per_event() -> None:
    heard = [clip(f"{n}.wav", Event("owl", 1, 2, 0.75), Event("fox", 2, 3, 0.5)) for n in range(2)]
    table = pandas.read_parquet(io.BytesIO(write("parquet", *heard))).explode("events", ignore_index=True)
    flat = table[["path"]].join(pandas.json_normalize(table["events"]))
    assert flat["onset"].tolist() == [1, 2, 1, 2]
    assert flat["path"].tolist() == ["0.wav", "0.wav", "1.wav", "1.wav"]


def test_many_rows_are_written_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP", 3)
    data = write("parquet", *(clip(f"{n}.wav") for n in range(7)))
    file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
    assert file.num_row_groups == 3
    assert file.read()["path"].to_pylist() == [f"{n}.wav" for n in range(7)]


def test_a_name_that_is_not_utf8_reads_as_in_csv() -> None:
    [path] = read(write("parquet", clip(os.fsdecode(b"caf\xe9.wav"))))["path"].to_pylist()
    assert path == "caf\\udce9.wav"


def test_a_timeline_is_a_wide_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS", 2)
    scores = np.linspace(0, 1, 10, dtype=np.float32).reshape(5, 2)
    results = [ClipTags(path, 2.5, (), timeline=Timeline(("owl", "a\tb"), 0.5, scores)) for path in ("a.wav", "b.wav")]
    table = read(write("parquet-timeline", BAD, *results))
    assert table.column_names == ["path", "time", "owl", "a\tb"]
    assert table["path"].to_pylist() == ["a.wav"] * 5 + ["b.wav"] * 5
    assert table["time"].to_pylist() == [0, 0.5, 1, 1.5, 2] * 2
    assert np.array_equal(table["a\tb"].to_numpy()[:5], scores[:, 1])


@pytest.mark.parametrize(("format", "columns"), [("parquet", 8), ("parquet-timeline", 2)])
def test_no_recording_leaves_a_schema(format: Format, columns: int) -> None:
    assert read(write(format)).shape == (0, columns)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'spectag\[parquet\]'"):
        write("parquet")
