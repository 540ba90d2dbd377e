import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from writing import BAD, DOG, QUIET, clip, lines, nasty_clip, written

from spectag.tag.results import ClipTags, Event, Tag, Timeline
from spectag.tag.writers.formats import make_writer


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


def test_nan_never_becomes_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        written("json", ClipTags("a", 1.0, (Tag("x", float("nan")),)))


def test_events_are_beside_the_tags() -> None:
    [line] = lines("jsonl", clip("owl.wav", Event("dog\n", 1 / 3, 2.0, 0.75)))
    assert json.loads(line)["events"] == [{"label": "dog\n", "onset": 0.333333, "offset": 2.0, "score": 0.75}]
    assert json.loads(lines("jsonl", clip("owl.wav"))[0])["events"] == []
    assert "events" not in json.loads(lines("jsonl", DOG)[0])


def test_nothing_is_lost_of_labels_and_paths() -> None:
    result = nasty_clip()
    assert json.loads(written("json", result)) == [result.to_dict()]
    assert json.loads(lines("jsonl", result)[0]) == result.to_dict()


@pytest.mark.parametrize("rows", [0, 1, 3, 10_000])
def test_timelines_are_written_as_all_else(rows: int) -> None:
    """Some rows at a time, and what stands around them as ever."""
    scores = np.random.default_rng(0).random((rows, 2), np.float32)
    labels = ('"scores": []', "b")
    result = ClipTags('"scores": [].wav', 5.0, (Tag("b", 0.5),), ("cut, off",), (), Timeline(labels, 1 / 3, scores))
    assert written("jsonl", result, BAD) == "".join(
        json.dumps(one.to_dict(), ensure_ascii=False) + "\n" for one in (result, BAD)
    )
    assert json.loads(written("json", result, BAD)) == [result.to_dict(), BAD.to_dict()]


@pytest.mark.parametrize("format", ["jsonl", "csv-timeline", "dcase-scores"])
def test_long_timelines_need_little_memory(format: str, tmp_path: Path) -> None:
    long = ClipTags("a.wav", 2e4, (), timeline=Timeline(("a", "b"), 0.1, np.zeros((200_000, 2), np.float32)))
    with (tmp_path / "a").open("w") as file:
        writer = make_writer(format, file)  # type: ignore[arg-type]
        tracemalloc.start()
        writer.write(long)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 10e6  # as lists they take 30 MB
