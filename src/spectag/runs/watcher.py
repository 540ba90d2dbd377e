"""Who follows a run while it happens, as a progress bar does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spectag.runs.prepare import Job


class Watcher:
    """Is told what happens in a run; its methods do nothing unless they are overridden."""

    def on_stage(self, text: str) -> None:
        """Something else than training steps begins, in words, for example ``reading 1600 clips``."""

    def on_start(self, job: Job) -> None:
        """The loop begins, from the first step or where the run was resumed."""

    def on_batch(self, job: Job) -> None:
        """A batch is about to be computed."""

    def on_gradients(self, job: Job) -> None:
        """The gradients of a step are complete; the weights have not moved yet."""

    def on_step(self, job: Job, loss: float) -> None:
        """A step was taken; the loss is that of its last batch."""

    def on_epoch(self, job: Job, row: dict[str, float]) -> None:
        """An epoch is over; its row is described at :class:`spectag.runs.history.History`."""

    def on_end(self, job: Job) -> None:
        """The loop is over, because the run is trained or by an error."""
