"""What a run remembers of its epochs: figures, the mean of the weights, the best weights, clips that were skipped."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from spectag.files import write_table
from spectag.score.evaluate import Evaluation
from spectag.score.metrics import FIGURES
from spectag.train.averaging import WeightMean
from spectag.train.examples import Batch, Unreadable, Waveforms
from spectag.train.processes import gathered, rank
from spectag.train.recipe import Recipe


class History(Callback):
    """One row of figures per epoch, written to a table; kept in the checkpoint, so that a resumed run goes on with it.

    Args:
        recipe: says when to score, and which figure the best epoch is the best of.
        table: the CSV file.

    Attributes:
        score: scores the held-out clips with the present weights; None where nothing is held out.
        keep_best: called after an epoch that is better than all before; None where no epoch is chosen.
    """

    def __init__(self, recipe: Recipe, table: Path) -> None:
        self.score: Callable[[], Evaluation] | None = None
        self.keep_best: Callable[[], object] | None = None
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0  # spent training and scoring, earlier sittings included
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.losses = [0.0, 0.0]  # this epoch's so far, of this process: the sum over its examples, and their number
        self._recipe, self._table = recipe, table

    def state_dict(self) -> dict[str, Any]:
        self._count_time()
        state = {name: getattr(self, name) for name in ("rows", "seconds", "best", "best_epoch")}
        return state | {"losses": self._everyones_losses()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)
        if rank():  # the first goes on with what all had
            self.losses = [0.0, 0.0]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._counted = time.monotonic()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int) -> None:
        examples = len(batch.clip)
        self.losses = [self.losses[0] + float(pl_module.latest_loss) * examples, self.losses[1] + examples]

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        total, count = self._everyones_losses()
        self.losses = [0.0, 0.0]
        row = {"epoch": epoch, "loss": total / count}
        pl_module.log("loss", row["loss"], rank_zero_only=True)
        row["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        due = epoch % self._recipe.evaluate_every == 0 or epoch == self._recipe.epochs
        if self.score is not None and due:
            training = pl_module.training
            figures = self.score().metrics.to_dict()
            row |= {name: figures[name] for name in FIGURES if figures[name] is not None}
            pl_module.log_dict({name: row[name] for name in FIGURES if name in row}, rank_zero_only=True)
            self._compare(epoch, row.get(self._recipe.metric))
            pl_module.train(training)  # scoring and saving leave it in eval mode
        self._count_time()
        self.rows.append(row | {"seconds": round(self.seconds, 2)})
        if trainer.is_global_zero:
            write_table(self._table, self.rows)

    def _everyones_losses(self) -> list[float]:
        return [sum(column) for column in zip(*gathered(self.losses), strict=True)]

    def _count_time(self) -> None:
        now = time.monotonic()
        self.seconds, self._counted = self.seconds + now - self._counted, now

    def _compare(self, epoch: int, figure: float | None) -> None:
        if self.keep_best is not None and figure is not None and (self.best is None or figure > self.best):
            self.best, self.best_epoch = figure, epoch
            self.keep_best()


class Averaging(Callback):
    """The mean of the weights after each of some epochs (paper: weight averaging).

    Args:
        first, last: the epochs, counted from 1, both included.
    """

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.weights = WeightMean()

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.weights.count, "sums": self.weights.sums}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.weights.count, self.weights.sums = state_dict["count"], state_dict["sums"]

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if self.first <= trainer.current_epoch + 1 <= self.last:
            self.weights.add(pl_module.scored_network.state_dict())


class Skipped(Callback):
    """The training clips that could not be read, so that others stood in for them.

    Args:
        waveforms: of the training clips; what could not be preloaded is skipped already.
        strict: the first such clip ends the run.

    Raises:
        AudioError: under ``strict``; names the clip.
    """

    def __init__(self, waveforms: Waveforms, strict: bool) -> None:
        self._strict = strict
        self.reasons: dict[str, str] = {}  # by clip id
        for index, error in waveforms.failed.items():
            self._note(Unreadable(waveforms.clips[index].id, error))

    def state_dict(self) -> dict[str, Any]:
        return {"reasons": self.reasons}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.reasons |= state_dict["reasons"]

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        for clip in batch.unreadable:
            self._note(clip)

    def _note(self, unreadable: Unreadable) -> None:
        if self._strict:
            raise unreadable.error
        self.reasons.setdefault(unreadable.clip, str(unreadable.error))
