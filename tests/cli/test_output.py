"""What is printed beside the results: progress, also within one long file, and lines that nobody may read."""

import io
import os
import re
import sys

import pytest

from spectag.cli.output import Bar, say


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(terminal: Terminal) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())


@pytest.mark.parametrize("shared", [False, True])
def test_progress_within_one_long_file(shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind: a recording of ten hours gives no sign of life for minutes. Also where the results are printed to the
    same terminal: there the bar waits a moment, and is gone before a result is printed."""
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = Bar(1, shared=shared)
    bar.within(0.11)
    assert ("11%" in shown(terminal)) == (not shared)
    bar._since -= 2  # s: the file takes long
    bar.within(0.37)
    bar._bar.refresh()  # type: ignore[union-attr]
    for item in bar.over(["result"]):
        assert item == "result"
        text = terminal.getvalue()
        assert "37%" in shown(terminal)
        assert "0/1" in shown(terminal)
        bar._bar.refresh()  # type: ignore[union-attr]
        assert (terminal.getvalue() == text) == shared  # nothing is drawn while it is hidden


def test_no_bar_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bar = Bar(2)
    bar.within(0.5)
    assert list(bar.over([1, 2])) == [1, 2]
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


def test_nobody_reads_the_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `spectag tag ... 2>&1 >tags.txt | head -1` does: the other files are still tagged."""
    reading, writing = os.pipe()
    os.close(reading)
    broken = open(writing, "w")  # noqa: SIM115
    monkeypatch.setattr(sys, "stderr", broken)
    for text in ("one", "two"):
        say("error", text)
    with pytest.raises(BrokenPipeError):
        broken.close()
