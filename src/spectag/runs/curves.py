"""Log the figures of a run while it trains: to TensorBoard and, on request, to Weights & Biases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spectag.errors import InputError
from spectag.runs.plan import Plan
from spectag.runs.processes import rank

Log = Callable[[Mapping[str, float], int], None]
"""Logs figures with the number of steps taken so far."""


@contextmanager
def open_curves(plan: Plan) -> Iterator[Log]:
    """Log the curves of a run until the block ends. Only the first process does so.

    Raises:
        InputError: nobody is logged in to Weights & Biases.

    >>> with open_curves(plan) as log:  # plan: that of make_plan's example
    ...     log({"loss": 0.5}, 1)
    >>> len(list(Path("run", "tensorboard").iterdir()))
    1
    """
    if rank():
        yield lambda figures, step: None
        return
    from torch.utils.tensorboard import SummaryWriter

    project = plan.options.wandb
    sent = None if project is None else _begin_wandb(plan.out, plan.recipe.name, project)
    board = SummaryWriter(str(plan.out / "tensorboard"))

    def log(figures: Mapping[str, float], step: int) -> None:
        for key, value in figures.items():
            board.add_scalar(key, value, step)
        if sent is not None:
            sent.log(dict(figures), step=step)

    try:
        yield log
    finally:
        board.close()
        if sent is not None:
            sent.finish()  # the next run of a series is a new one


def _begin_wandb(out: Path, name: str, project: str) -> Any:
    import wandb
    from wandb.errors import Error

    try:
        return wandb.init(project=project, name=name, dir=out)
    except Error as error:
        reason = " ".join(str(error).split())
        raise InputError(f"--wandb {project}: {reason} (WANDB_MODE=offline works without login and network)") from error
