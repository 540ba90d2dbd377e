"""The figures of a run, epoch by epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from spectag.train.evaluate import Evaluation
from spectag.train.files import write_table
from spectag.train.recipe import Recipe


class History(Callback):
    """One row of figures per epoch, written to a table; kept in the checkpoint, so that a resumed run goes on with it.

    Args:
        recipe: says when to score.
        table: the CSV file.
        score: scores the held-out clips with the present weights; None where nothing is held out.
    """

    def __init__(self, recipe: Recipe, table: Path, score: Callable[[], Evaluation] | None) -> None:
        self.rows: list[dict[str, float]] = []
        self.result: dict[str, Any] | None = None  # the newest evaluation, as plain values
        self.seconds = 0.0  # spent training and scoring, earlier sittings included
        self._recipe, self._table, self._score = recipe, table, score

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "result": self.result, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.result, self.seconds = (state_dict[key] for key in ("rows", "result", "seconds"))

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        row = {"epoch": epoch, "loss": float(trainer.callback_metrics["loss"])}
        row["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        due = epoch % self._recipe.evaluate_every == 0 or epoch == self._recipe.epochs
        if self._score is not None and due:
            training = pl_module.training
            evaluation = self._score()
            pl_module.train(training)
            self.result = evaluation.to_dict()
            figures = ("accuracy", "mean_ap", "mean_auc", "d_prime")
            row |= {name: self.result[name] for name in figures if self.result[name] is not None}
            pl_module.log_dict({name: row[name] for name in figures if name in row})
        self.seconds += time.monotonic() - self._started
        self.rows.append(row | {"seconds": round(self.seconds, 2)})
        write_table(self._table, self.rows)
