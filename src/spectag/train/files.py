"""Files of a run that are whole or not there: a full disk leaves what was written before in place."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException

from spectag.errors import SaveError

SAVE_EVERY = 900  # s
LOOK_EVERY = 20  # batches between two looks at the clock


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, written beside the last good one before they replace it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write beside the target, then rename.

        Raises:
            SaveError: the file could not be written.
        """
        target = Path(path)
        partial = target.with_name(target.name + ".partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)
        except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
            partial.unlink(missing_ok=True)
            raise SaveError(
                f"{target}: the checkpoint could not be written ({error}); the one before it is intact: "
                "free some space and go on with --resume"
            ) from error


class Checkpoints(Checkpoint):
    """Saves the state of a run: after each epoch, within long ones every quarter of an hour, and on SIGTERM.

    SIGTERM to any process of a run, or to all of them, stops them together after the same step. (Lightning's own
    handler waits for the other processes wherever the signal finds it, which can be for ever.)

    Args:
        path: the file, replaced each time.

    Raises:
        SIGTERMException: after the step in which the signal came; its state is saved.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._saved = time.monotonic()
        self._told_to_stop = False

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        trainer._signal_connector._sigterm_notifier_fn = self._stop  # before Lightning makes it the handler

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not _between_steps(trainer):
            return
        stops = self._all_stop(trainer)
        late = (batch_idx + 1) % LOOK_EVERY == 0 and trainer.strategy.broadcast(  # one clock for all processes
            time.monotonic() - self._saved > SAVE_EVERY
        )
        if stops or late:
            self._save(trainer)
        if stops:
            raise SIGTERMException

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._save(trainer)
        trainer._signal_connector.received_sigterm = self._all_stop(trainer)  # Lightning stops once the epoch is logged

    def _stop(self, *_: Any) -> None:
        self._told_to_stop = True

    def _all_stop(self, trainer: Any) -> bool:
        return bool(trainer.strategy.reduce_boolean_decision(self._told_to_stop, all=False))

    def _save(self, trainer: Any) -> None:
        trainer.save_checkpoint(self.path)
        self._saved = time.monotonic()


def _between_steps(trainer: Any) -> bool:
    """Within an epoch, with no gradients waiting for more."""
    within = trainer.fit_loop.epoch_loop.batch_progress.current.ready < trainer.num_training_batches
    return bool(within and not trainer.fit_loop._should_accumulate())


def position(checkpoint: Path) -> tuple[int, int]:
    """The epoch (from 0) in which a checkpoint was saved, and how many of its batches were done by then."""
    state = torch.load(checkpoint, weights_only=True, map_location="meta")
    return int(state["epoch"]), int(state["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"])
