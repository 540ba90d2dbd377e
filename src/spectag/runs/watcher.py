"""Who follows a run, as a progress bar does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spectag.runs.prepare import Job


class Watcher:
    """Is called during a run, for example to show a progress bar. Override the methods that you need.

    >>> class Printer(Watcher):
    ...     def on_epoch(self, job, row):
    ...         print(f"epoch {row['epoch']}: loss {row['loss']}")
    >>> Printer().on_epoch(None, {"epoch": 1, "loss": 0.5})
    epoch 1: loss 0.5
    """

    def on_stage(self, text: str) -> None:
        """Something other than training begins. The text says what, for example ``reading 1600 clips``."""

    def on_start(self, job: Job) -> None:
        """The loop begins, at the first step or where the run was resumed."""

    def on_batch(self, job: Job) -> None:
        """A batch is about to be computed."""

    def on_gradients(self, job: Job) -> None:
        """The gradients of a step are complete. The weights have not changed yet."""

    def on_step(self, job: Job, loss: float) -> None:
        """A step was taken. The loss is that of its last batch."""

    def on_epoch(self, job: Job, row: dict[str, float]) -> None:
        """An epoch is over. Its row is described in :class:`spectag.runs.history.History`."""

    def on_end(self, job: Job) -> None:
        """The loop is over, because the run is complete or because of an error."""
