import html
from pathlib import Path

import webvtt
from writing import NASTY, clip, nasty_clip, plain, write

from spectag.tag.results import Event


def read(path: Path, data: bytes) -> list[webvtt.Caption]:
    path.write_bytes(data)
    return list(webvtt.read(path).captions)


def test_webvtt_reads_cues(tmp_path: Path) -> None:
    events = Event("owl", 1 / 3, 2, 0.75), Event("fox", 100 * 3600 + 0.9996, 100 * 3600 + 0.9997, 0.5)
    cues = read(tmp_path / "a.vtt", write("webvtt", clip("a.wav", *events, duration=400_000)))
    assert [(cue.start, cue.end, cue.text) for cue in cues] == [
        ("00:00:00.333", "00:00:02.000", "owl 0.75"),
        ("100:00:01.000", "100:00:01.001", "fox 0.50"),
    ]


def test_labels_survive(tmp_path: Path) -> None:
    data = write("webvtt", nasty_clip())
    cues = read(tmp_path / "a.vtt", data)
    assert [html.unescape(cue.raw_text) for cue in cues] == [f"{plain(label)} 0.50" for label in NASTY]
    assert data.count(b"-->") == len(NASTY)  # only in the lines of times


def test_no_event_is_a_valid_document(tmp_path: Path) -> None:
    data = write("webvtt", clip("a.wav"))
    assert data == b"WEBVTT\n\n"
    assert read(tmp_path / "a.vtt", data) == []
