"""What a run remembers of its epochs: figures, the best of them, and the clips that were skipped."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectag.files import write_table
from spectag.runs.processes import gathered, rank
from spectag.score.metrics import FIGURES, Metrics
from spectag.train.examples import Unreadable


@dataclass
class Losses:
    """The losses of this process since the epoch began: their sum over examples, and the number of examples."""

    total: float = 0.0
    examples: float = 0.0

    def add(self, loss: float, examples: int) -> None:
        """Add the mean loss of some examples."""
        self.total += loss * examples
        self.examples += examples


class History:
    """One row of figures per epoch, written to a table. It is part of a checkpoint, so that it survives a resume.

    Args:
        table: the CSV file.

    Attributes:
        rows: one per epoch: ``epoch`` from 1, mean ``loss`` of its examples, ``lr`` at its end, the figures of the
            held-out clips if they were scored, and the ``seconds`` that training and scoring took.
        seconds: of all epochs up to now, without the time between a stop and a resume.
        best: the highest figure that an epoch was chosen by, and
        best_epoch: which epoch that was, from 1; None where no epoch is chosen.
    """

    def __init__(self, table: Path) -> None:
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.losses = Losses()
        self._table = table
        self._begun = 0.0  # what ``seconds`` was when the epoch began
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
        self.rows.append(row | {"seconds": round(self.seconds - self._begun, 2)})
        self._begun = self.seconds
        if rank() == 0:
            write_table(self._table, self.rows)
        return row

    def is_best(self, figure: float | None) -> bool:
        """Whether the last epoch's figure is higher than those of all epochs before; if it is, it is noted."""
        if figure is None or (self.best is not None and figure <= self.best):
            return False
        self.best, self.best_epoch = figure, len(self.rows)
        return True

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint; all processes must call this."""
        self._count_time()
        state = {name: getattr(self, name) for name in ("rows", "seconds", "best", "best_epoch")}
        return state | {"losses": self._everyones_losses(), "begun": self._begun}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.rows, self.seconds = state["rows"], state["seconds"]
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._begun = state["begun"]
        if rank() == 0:  # the first process continues the sums of all
            self.losses = Losses(*state["losses"])

    def _everyones_losses(self) -> list[float]:
        pairs = gathered((self.losses.total, self.losses.examples))
        return [sum(column) for column in zip(*pairs, strict=True)]

    def _count_time(self) -> None:
        now = time.monotonic()
        self.seconds, self._counted = self.seconds + now - self._counted, now


class Skipped:
    """The training clips that could not be read, so that others stood in for them.

    Args:
        strict: the first such clip ends the run.
    """

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self.reasons: dict[str, str] = {}  # by clip id

    def add(self, clips: Iterable[Unreadable]) -> None:
        """Note some clips.

        Raises:
            AudioError: under ``strict``; names the clip.
        """
        for clip in clips:
            if self._strict:
                raise clip.error
            self.reasons.setdefault(clip.clip, str(clip.error))
