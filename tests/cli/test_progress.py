"""The kind of fault: progress that says nothing for minutes, or stands an old figure beside a new epoch."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from spectag.cli import progress
from spectag.cli.progress import TrainingBar
from spectag.runs.history import Losses


def job(epoch: int, steps: int, *losses: float):
    """As far as a bar looks at one."""
    recipe = SimpleNamespace(epochs=4)
    history = SimpleNamespace(losses=Losses(sum(losses), len(losses)))
    return SimpleNamespace(epoch=epoch, steps=steps, total_steps=40, recipe=recipe, history=history)


@pytest.fixture
def now(monkeypatch):
    """The clock of the bar, in seconds."""
    seconds = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    return seconds


def bar(terminal: bool = False):
    out = io.StringIO()
    return TrainingBar(Console(file=out, force_terminal=terminal, width=200)), out


def test_the_first_step_is_a_line_and_then_every_minute(now):
    watcher, out = bar()
    watcher.on_stage("reading 1600 clips")
    watcher.on_start(job(0, 0))
    for step, second in ((1, 0.0), (2, 30.0), (3, 61.0), (4, 62.0)):
        now[0] = second
        watcher.on_step(job(0, step, 3.0, 2.0), 2.0)
    watcher.on_end(job(0, 4))
    assert out.getvalue().splitlines() == [
        "reading 1600 clips",
        "epoch 1/4: step 1 of 40, loss 2.500",
        "epoch 1/4: step 3 of 40, loss 2.500",
    ]


@pytest.mark.parametrize("terminal", [False, True])
def test_figures_stand_beside_their_own_epoch_only(now, terminal):
    """An epoch that was not scored has none, and neither do the steps of the next one."""
    watcher, out = bar(terminal)
    watcher.on_start(job(0, 0))
    watcher.on_epoch(job(0, 10), {"epoch": 1, "loss": 2.0, "accuracy": 0.25, "mean_ap": 0.5})
    shown = len(out.getvalue())
    assert "epoch 1/4: loss 2.000, accuracy 0.250, mAP 0.500" in out.getvalue()
    watcher.on_step(job(1, 11, 1.5), 1.5)
    watcher.on_epoch(job(1, 20), {"epoch": 2, "loss": 1.25})
    watcher.on_end(job(1, 20))
    later = out.getvalue()[shown:]
    assert "0.250" not in later
    assert ("epoch 2/4: loss 1.250" in later) != terminal, "a terminal has the bar, and lines for figures only"


def test_names_in_brackets_are_no_markup(now):
    watcher, out = bar()
    watcher.on_stage("reading [bold]1[/bold] clip")
    assert out.getvalue() == "reading [bold]1[/bold] clip\n"
