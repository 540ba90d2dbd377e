"""A progress bar for a training run: epoch, loss, metric and the time left for the whole of it."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from spectag.score.metrics import FIGURES

SHOWN = ("accuracy", "mean_ap")  # once they are known


class ProgressBar(Callback):
    """On a terminal one bar; elsewhere (a log file) one line per epoch.

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

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._bar.start()
        total = int(trainer.estimated_stepping_batches)
        self._task = self._bar.add_task("training", total=total, completed=trainer.global_step, figures="")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        epochs = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        loss = f"loss {float(pl_module.latest_loss):.3f}"
        self._bar.update(
            self._task, completed=trainer.global_step, description=epochs, figures=f"{loss}{self._figures}"
        )

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        figures = trainer.callback_metrics
        shown = ((FIGURES[name], figures[name]) for name in SHOWN if name in figures)
        self._figures = "".join(f", {text} {float(value):.3f}" for text, value in shown)
        if not self.console.is_terminal:
            epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self.console.print(f"{epoch}: loss {float(figures['loss']):.3f}{self._figures}", highlight=False)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._bar.stop()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._bar.stop()
