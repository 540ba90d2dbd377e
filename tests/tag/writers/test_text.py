import io

import pytest
from writing import BAD, DOG, QUIET, clip, written

from spectag.tag.results import ClipTags, Event, Tag
from spectag.tag.writers.formats import make_writer


def test_text_is_aligned_and_leaves_failures_out() -> None:
    text = written("text", DOG, BAD, QUIET, paths=["a/dog.wav"])
    assert text.splitlines() == [
        "clip       tags",
        "a/dog.wav  dog 0.91  =1+1 0.00",
        "-          (no tags)",
    ]


def test_text_shows_no_terminal_escapes() -> None:
    """Of a file name, or of the labels of a model that somebody made."""
    label = "\x1b[2Jowl\n"
    text = written(
        "text", ClipTags("\x1b[31mred.wav\n", 1.0, (Tag(label, 0.5),), events=(Event(label, 0.0, 1.0, 0.5),))
    )
    assert "\x1b" not in text
    assert len(text.splitlines()) == 3


def test_text_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "dumb")  # 80 columns, no colours
    file = Terminal()
    out = make_writer("text", file, ["x" * 200])
    tags = (Tag("Vehicle horn, car horn [honking]", 0.9), Tag("Speech", 0.8))
    out.write(ClipTags("x" * 100 + "[red].wav", 1.0, tags))
    shown = file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    flat = shown.replace("\u00a0", " ")
    assert "Vehicle horn, car horn" in flat
    assert "Speech 0.80" in flat
    assert "[red]" in "".join(line[:40].strip() for line in shown.splitlines())  # no markup


def test_events_have_a_line_each() -> None:
    events = Event("dog", 0.5, 2.0, 0.75), Event("fox, red", 3661.239, 3700, 0.5)
    assert written("text", clip("owl.wav", *events, duration=4000), clip("b.wav")).splitlines() == [
        "clip     tags",
        "owl.wav  owl 0.90  fox 0.25",
        "         0:00.50 to 0:02.00  dog 0.75",
        "         1:01:01.24 to 1:01:40.00  fox, red 0.50",
        "b.wav    owl 0.90  fox 0.25",
    ]
