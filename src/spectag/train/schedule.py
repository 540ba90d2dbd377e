"""The learning rate of every step, as a pure function."""

from __future__ import annotations

import math

from spectag.train.recipe import ScheduleRecipe


def lr_factor(step: int, steps_per_epoch: int, total_steps: int, schedule: ScheduleRecipe) -> float:
    """What the recipe's ``lr`` is multiplied by in one step.

    Args:
        step: optimiser steps taken so far, from 0.
        steps_per_epoch, total_steps: lengths of an epoch and of the run in steps.
        schedule: warm-up, and what follows it.

    Returns:
        0..1. While warming up ``k / warmup_steps``, k being the step rounded down to ``warmup_every`` (the released
        code's stairs begin at 0); later, by kind: ``gamma`` to the number of milestones passed, or a half cosine.
    """
    if step < schedule.warmup_steps:
        return step // schedule.warmup_every * schedule.warmup_every / schedule.warmup_steps
    if schedule.kind == "milestones":
        epochs_done = step // steps_per_epoch
        passed = sum(epochs_done >= milestone for milestone in schedule.milestones)
        if schedule.repeat and passed == len(schedule.milestones):
            passed += (epochs_done - max(schedule.milestones, default=0)) // schedule.repeat
        return schedule.gamma**passed
    if schedule.kind == "cosine":
        done = (step - schedule.warmup_steps) / max(1, total_steps - schedule.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return 1.0
