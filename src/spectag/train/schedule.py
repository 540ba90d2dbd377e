"""The learning rate of every step, as a pure function."""

from __future__ import annotations

import math

from spectag.train.sections import ScheduleRecipe


def compute_lr_factor(step: int, steps_per_epoch: int, total_steps: int, schedule: ScheduleRecipe) -> float:
    """Compute the factor by which the recipe's ``lr`` is multiplied in one step.

    During the warm-up it is ``k / warmup_steps``, where k is the step rounded down to a multiple of ``warmup_every``,
    as in the released code. Afterwards it is 1 (constant), ``gamma`` to the number of milestones
    passed, or half a cosine from 1 to 0.

    Args:
        step: number of optimiser steps taken so far, from 0.
        steps_per_epoch: length of an epoch in steps.
        total_steps: length of the run in steps.
        schedule: of the recipe.

    Returns:
        0..1.

    >>> schedule = spectag.train.sections.ScheduleRecipe(kind="cosine")
    >>> [compute_lr_factor(step, 10, 100, schedule) for step in (0, 50, 100)]
    [1.0, 0.5, 0.0]
    """
    if step < schedule.warmup_steps:
        stair = step // schedule.warmup_every * schedule.warmup_every
        return stair / schedule.warmup_steps
    if schedule.kind == "milestones":
        epochs = step // steps_per_epoch
        passed = sum(epochs >= milestone for milestone in schedule.milestones)
        if schedule.repeat and passed == len(schedule.milestones):
            passed += (epochs - max(schedule.milestones, default=0)) // schedule.repeat
        return schedule.gamma**passed
    if schedule.kind == "cosine":
        done = (step - schedule.warmup_steps) / max(1, total_steps - schedule.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return 1.0
