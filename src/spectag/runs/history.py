"""The history of a run: the figures of its epochs, and the best epoch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectag.files import write_table
from spectag.runs.processes import gathered, rank
from spectag.score.metrics import FIGURES, Metrics


@dataclass
class Losses:
    """The losses of this process since the epoch began: their sum over examples, and the number of examples.

    >>> losses = Losses()
    >>> losses.add(0.5, examples=4)
    >>> losses.total
    2.0
    """

    total: float = 0.0
    examples: float = 0.0

    def add(self, loss: float, examples: int) -> None:
        """Add the mean loss of some examples."""
        self.total += loss * examples
        self.examples += examples


class History:
    """The figures of every epoch, written to a table. A checkpoint contains them, so a resumed run continues the table.

    Args:
        table: the CSV file.

    Attributes:
        rows: one per epoch: ``epoch`` from 1, mean ``loss`` of its examples, ``lr`` at its end, the figures of the
            held-out clips if they were scored, and ``seconds`` of training and scoring since the run began.
        seconds: of training and scoring so far, without the time between a stop and a resume.
        best: the highest figure so far; None if no epoch is chosen.
        best_epoch: the epoch with that figure, from 1; None if no epoch is chosen.

    >>> history = History(Path("metrics.csv"))
    >>> history.losses.add(0.5, examples=4)
    >>> history.end_epoch(lr=1e-3, metrics=None)
    {'epoch': 1, 'loss': 0.5, 'lr': 0.001}
    """

    def __init__(self, table: Path) -> None:
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.losses = Losses()
        self._table = table
        self._counted = time.monotonic()

    def start_clock(self) -> None:
        """Count the time from now on."""
        self._counted = time.monotonic()

    def end_epoch(self, lr: float, metrics: Metrics | None) -> dict[str, float]:
        """Add a row, and write the table if this is the first process.

        Args:
            lr: learning rate of the last step.
            metrics: figures of the held-out clips, if they were scored.

        Returns:
            the row.

        Raises:
            SaveError: the table could not be written.
        """
        total, examples = self._everyones_losses()
        self.losses = Losses()
        row: dict[str, float] = {"epoch": len(self.rows) + 1, "loss": total / examples, "lr": lr}
        if metrics is not None:
            figures = metrics.to_dict()
            row |= {name: figures[name] for name in FIGURES if figures[name] is not None}
        self._count_time()
        self.rows.append(row | {"seconds": round(self.seconds, 2)})
        if rank() == 0:
            write_table(self._table, self.rows)
        return row

    def is_best(self, figure: float | None) -> bool:
        """Whether the last epoch's figure is the highest so far. If so, it becomes the best epoch."""
        if figure is None or (self.best is not None and figure <= self.best):
            return False
        self.best, self.best_epoch = figure, len(self.rows)
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint. All processes must call this."""
        self._count_time()
        state = {name: getattr(self, name) for name in ("rows", "seconds", "best", "best_epoch")}
        return state | {"losses": self._everyones_losses()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.rows, self.seconds = state["rows"], state["seconds"]
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        if rank() == 0:  # the first process continues the sums of all
            self.losses = Losses(*state["losses"])

    def _everyones_losses(self) -> list[float]:
        pairs = gathered((self.losses.total, self.losses.examples))
        return [sum(column) for column in zip(*pairs, strict=True)]

    def _count_time(self) -> None:
        now = time.monotonic()
        self.seconds, self._counted = self.seconds + now - self._counted, now
