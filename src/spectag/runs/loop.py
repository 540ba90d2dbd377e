"""The training loop: epochs, batches, steps, figures, checkpoints."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from spectag.errors import RunFailed, RunInterrupted
from spectag.runs.checkpoints import write_state
from spectag.runs.curves import Log
from spectag.runs.judge import Judge
from spectag.runs.prepare import Job
from spectag.runs.processes import rank
from spectag.score.metrics import Metrics
from spectag.train.examples import Batch
from spectag.train.schedule import compute_lr_factor

SAVE_EVERY = 900  # seconds between two checkpoints within an epoch
LOOK_EVERY = 20  # steps between two checks of the clock


class Watcher:
    """Is called during a run, for example to show a progress bar. Override the methods that you need.

    >>> class Printer(Watcher):
    ...     def on_epoch(self, job, row):
    ...         print(f"epoch {row['epoch']}: loss {row['loss']}")
    >>> Printer().on_epoch(None, {"epoch": 1, "loss": 0.5})
    epoch 1: loss 0.5
    """

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


def fit(job: Job, judge: Judge, log: Log, watcher: Watcher) -> None:
    """Train from the job's current step to the end of the last epoch.

    A checkpoint is written after each epoch, every quarter of an hour within long epochs, and on SIGTERM. It is always
    written between two steps. SIGTERM to any process of a run stops all of them after the same step.

    Args:
        job: the run. It is changed in place.
        judge: scores the held-out clips.
        log: records the figures of each epoch.
        watcher: is called at each stage.

    Raises:
        RunInterrupted: SIGTERM was received. The progress is saved.
        RunFailed: the loss is not finite.
        AudioError: a clip cannot be read, and the run is strict.
        SaveError: a checkpoint could not be written.
    """
    recipe, fabric, optimizer = job.recipe, job.fabric, job.optimizer
    saved = time.monotonic()
    job.history.start_clock()
    with _watched(watcher, job), _ended_workers(job), _sigterm() as asked_to_stop:
        while job.epoch < recipe.epochs:
            job.sampler.start_epoch(job.epoch, skip=job.batches * job.batch_size)
            for batch in job.loader:
                watcher.on_batch(job)
                job.heard.add(batch.heard, batch.unreadable)
                batch = fabric.to_device(batch)

                # The gradient of a step is the sum over ``accumulate`` batches, or fewer at the end of an epoch.
                completes_step = (job.batches + 1) % recipe.accumulate == 0 or job.batches + 1 == len(job.loader)
                with fabric.no_backward_sync(job.model, enabled=not completes_step):
                    loss = job.step(batch, job.epoch * job.steps_per_epoch * recipe.accumulate + job.batches)
                    value = _require_finite(float(loss.detach()), job, batch)
                    fabric.backward(loss * _share(job, len(batch.heard)) / recipe.accumulate)
                job.history.losses.add(value, len(batch.heard))

                if completes_step:
                    factor = compute_lr_factor(job.steps, job.steps_per_epoch, job.total_steps, recipe.schedule)
                    for group in optimizer.param_groups:
                        group["lr"] = group["highest_lr"] * factor
                    if recipe.clip_norm:
                        fabric.clip_gradients(job.model, optimizer, max_norm=recipe.clip_norm, error_if_nonfinite=False)
                    watcher.on_gradients(job)
                    optimizer.step()
                    optimizer.zero_grad()
                    if job.ema is not None:
                        job.ema.update_parameters(job.network)
                job.batches += 1
                if completes_step:
                    watcher.on_step(job, value)
                    if job.batches < len(job.loader):
                        stop = _any_process(job, asked_to_stop())
                        look = job.steps % LOOK_EVERY == 0
                        if stop or (look and fabric.broadcast(time.monotonic() - saved > SAVE_EVERY)):
                            _save(job)
                            saved = time.monotonic()
                        if stop:
                            raise interrupted(job)

            row = job.history.end_epoch(float(optimizer.param_groups[0]["lr"]), _score(job, judge))
            if recipe.select == "best" and job.history.is_best(row.get(recipe.metric)) and rank() == 0:
                job.bundle(job.scored_network).save(job.best)
            job.network.train()  # scoring and saving leave it in evaluation mode
            if job.mean is not None and recipe.average and recipe.average[0] <= job.epoch + 1 <= recipe.average[1]:
                job.mean.add(job.scored_network.state_dict())
            log({name: value for name, value in row.items() if name not in ("epoch", "lr")}, job.steps)
            watcher.on_epoch(job, row)
            _save(job)
            saved = time.monotonic()
            job.epoch, job.batches = job.epoch + 1, 0
            if _any_process(job, asked_to_stop()):
                raise interrupted(job)


def _share(job: Job, examples: int) -> float:
    """The weight of a batch in its step, in addition to ``1 / accumulate``, by its number of examples.

    It is 1, except in the last step of an epoch, which may have fewer or smaller batches.
    """
    whole = job.recipe.batch_size // job.fabric.world_size
    step = job.batches // job.recipe.accumulate
    return examples * job.recipe.accumulate / min(whole, len(job.sampler) - step * whole)


def _require_finite(loss: float, job: Job, batch: Batch) -> float:
    if not math.isfinite(loss):
        clips = ", ".join(job.plan.train.clips[i].id for i, *_ in batch.heard)
        raise RunFailed(
            f"step {job.steps + 1}: the loss is {loss} with the clips {clips}: start again in another --out, with a "
            "lower lr, clip_norm or precision=fp32; if the clips are always the same, check them with `spectag data "
            "check`"
        )
    return loss


def _score(job: Job, judge: Judge) -> Metrics | None:
    """Score the held-out clips after an epoch, if there are any and this epoch is to be scored."""
    clips, epoch = job.plan.validation or job.plan.test, job.epoch + 1
    due = epoch % job.recipe.evaluate_every == 0 or epoch == job.recipe.epochs
    return judge(job.bundle(job.scored_network), clips).metrics if clips and due else None


def _save(job: Job) -> None:
    state = job.state_dict()  # called by all processes, since it sums their losses
    if rank() == 0:
        write_state(job.last, state)


def _any_process(job: Job, here: bool) -> bool:
    """Whether a condition holds in any process. All processes must call this and get the same answer."""
    return bool(job.fabric.all_reduce(torch.tensor(float(here)), reduce_op="max"))


def interrupted(job: Job) -> RunInterrupted:
    """Make the error of a run that was stopped, which says how many epochs are done."""
    done = f"{job.epoch} of {job.recipe.epochs} epochs"
    return RunInterrupted(f"{job.plan.out}: stopped after {done}; the same command with --resume continues")


@contextmanager
def _watched(watcher: Watcher, job: Job) -> Iterator[None]:
    try:
        watcher.on_start(job)
        yield
    finally:
        watcher.on_end(job)


@contextmanager
def _ended_workers(job: Job) -> Iterator[None]:
    """End the processes that read clips when the block ends, even after an error.

    They ignore SIGTERM, so Python would wait for them forever when it exits. The loader ends them only when it is
    deleted, but the traceback of an error can keep it alive until Python exits. Torch has no public function for this.
    """
    try:
        yield
    finally:
        batches = job.loader._iterator
        if batches is not None:
            batches._shutdown_workers()  # type: ignore[attr-defined]  # only an iterator with processes has it
            job.loader._iterator = None


@contextmanager
def _sigterm() -> Iterator[Callable[[], bool]]:
    """Catch SIGTERM. The function tells whether it was received."""
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield came.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: came.set())
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
