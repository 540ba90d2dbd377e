"""A progress bar for a training run: epoch, loss, figures and remaining time."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from spectag.runs.loop import Watcher
from spectag.runs.prepare import Job

NAMES = {"accuracy": "accuracy", "mean_ap": "mAP"}  # shown once they are known


class TrainingBar(Watcher):
    """One bar on a terminal, and one line per epoch elsewhere, for example in a log file.

    Args:
        console: where it is drawn.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._figures = ""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)

    def on_start(self, job: Job) -> None:
        self._bar.start()
        self._task = self._bar.add_task("training", total=job.total_steps, completed=job.steps, figures="")

    def on_step(self, job: Job, loss: float) -> None:
        figures = f"loss {loss:.3f}{self._figures}"
        self._bar.update(self._task, completed=job.steps, description=_epoch(job), figures=figures)

    def on_epoch(self, job: Job, row: dict[str, float]) -> None:
        self._figures = "".join(f", {text} {row[name]:.3f}" for name, text in NAMES.items() if name in row)
        if not self.console.is_terminal:
            self.console.print(f"{_epoch(job)}: loss {row['loss']:.3f}{self._figures}", highlight=False)

    def on_end(self, job: Job) -> None:
        self._bar.stop()


def _epoch(job: Job) -> str:
    return f"epoch {job.epoch + 1}/{job.recipe.epochs}"
