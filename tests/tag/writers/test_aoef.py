import os
from pathlib import Path

import pytest
import soundevent
from writing import BAD, NASTY, QUIET, clip, nasty_clip, write

from spectag.errors import MissingExtra
from spectag.tag.results import ClipTags, Event


def read(path: Path, data: bytes) -> soundevent.data.PredictionSet:
    path.write_bytes(data)
    return soundevent.io.load(path, type="prediction_set")


def test_soundevent_reads_predictions(tmp_path: Path) -> None:
    fox = ClipTags("in/b.wav", 3.0, (), events=(Event("fox", 0, 1, 0.5),), rate=44_100.0, channels=2)
    found = read(tmp_path / "a.json", write("aoef", clip("in/a.wav", Event("owl", 1 / 3, 12, 0.75)), BAD, QUIET, fox))
    first, second = found.clip_predictions
    assert (first.clip.start_time, first.clip.end_time) == (0, 10)
    assert first.clip.recording.path == Path(os.path.abspath("in/a.wav"))
    assert {tag.tag.value: tag.score for tag in first.tags} == {"owl": 0.9, "fox": 0.25}
    [event] = first.sound_events
    assert event.sound_event.geometry.coordinates == [1 / 3, 10]
    assert (event.score, event.tags[0].tag.value, event.tags[0].score) == (0.75, "owl", 0.75)
    assert (second.clip.recording.samplerate, second.clip.recording.channels) == (44_100, 2)


def test_labels_and_paths_survive(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.wav")
    found = read(tmp_path / "a.json", write("aoef", nasty_clip(), clip(odd)))
    nasty, other = found.clip_predictions
    assert [event.tags[0].tag.value for event in nasty.sound_events] == list(NASTY)
    assert other.clip.recording.path.name == "caf\\udce9.wav"


def test_the_same_results_make_the_same_file() -> None:
    assert write("aoef", nasty_clip()) == write("aoef", nasty_clip())


def test_no_recording_is_a_valid_document(tmp_path: Path) -> None:
    assert read(tmp_path / "a.json", write("aoef")).clip_predictions == []


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soundevent", None)
    with pytest.raises(MissingExtra, match=r"pip install 'spectag\[soundevent\]'"):
        write("aoef")
