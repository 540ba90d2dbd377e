"""The progress of a training run: epoch, loss, figures and the time left for the whole of it."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from spectag.runs.prepare import Job
from spectag.runs.watcher import Watcher

NAMES = {"accuracy": "accuracy", "mean_ap": "mAP"}  # shown once they are known
EVERY = 60  # s between two lines about one epoch, where there is no bar


class TrainingBar(Watcher):
    """One bar on a terminal, and lines elsewhere, for example in a log file; a line for each epoch that was scored.

    Losses are means over the epoch so far, and figures are those of the epoch that they stand beside.

    Args:
        console: where it is drawn.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._said: float | None = None  # when a line about steps was printed
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)

    def on_stage(self, text: str) -> None:
        self._print(text)

    def on_start(self, job: Job) -> None:
        self._bar.start()
        self._task = self._bar.add_task("training", total=job.total_steps, completed=job.steps, loss="")

    def on_step(self, job: Job, loss: float) -> None:
        losses = job.history.losses
        mean = f"loss {losses.total / losses.examples:.3f}"
        self._bar.update(self._task, completed=job.steps, description=_epoch(job), loss=mean)
        now = time.monotonic()
        if not self.console.is_terminal and (self._said is None or now - self._said > EVERY):
            self._print(f"{_epoch(job)}: step {job.steps} of {job.total_steps}, {mean}")
            self._said = now

    def on_epoch(self, job: Job, row: dict[str, float]) -> None:
        figures = "".join(f", {text} {row[name]:.3f}" for name, text in NAMES.items() if name in row)
        if figures or not self.console.is_terminal:
            self._print(f"{_epoch(job)}: loss {row['loss']:.3f}{figures}")
            self._said = time.monotonic()

    def on_end(self, job: Job) -> None:
        self._bar.stop()

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)


def _epoch(job: Job) -> str:
    return f"epoch {job.epoch + 1}/{job.recipe.epochs}"
