"""A recipe fitted to a time budget: some steps are taken for trial, then the length of the run is decided for good."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from spectag.errors import RecipeError, RunInterrupted
from spectag.runs.heard import Heard
from spectag.runs.judge import Judge
from spectag.runs.loop import fit, save
from spectag.runs.plan import Plan, length_of
from spectag.runs.prepare import Job, Materials, build_job
from spectag.runs.watcher import Watcher
from spectag.train.recipe import Recipe

SHARE = 0.85  # of the time left that is planned with; the rest is for a machine that is slower later
WRITING = 8.0  # s for the report and its plots
WARM_UP, STEPS = 2, 3  # steps of the trial: not timed, and timed at least
TRIAL = 10.0, 0.03, 0.2  # the trial ends after so many seconds or this share of the budget; at the latest, after that


@dataclass(frozen=True)
class Pace:
    """How long the parts of a run take, in seconds.

    Args:
        step: a training step.
        save: a checkpoint, which is written after each epoch.
        score: the held-out clips that are scored within the run.
        end: everything after the last epoch.
    """

    step: float
    save: float
    score: float
    end: float

    def predict(self, epochs: int, steps_per_epoch: int, evaluate_every: int) -> float:
        """The seconds of a run from its first step to its end.

        >>> Pace(step=0.5, save=1.0, score=4.0, end=10.0).predict(10, steps_per_epoch=6, evaluate_every=5)
        58.0
        """
        scored = -(-epochs // evaluate_every)
        return epochs * (steps_per_epoch * self.step + self.save) + scored * self.score + self.end


def shorten(recipe: Recipe, epochs: int, epoch_clips: int | None, share: float) -> Recipe:
    """A shorter recipe: whatever decides how it learns becomes shorter in proportion, counted in steps or epochs.

    These are the schedule, the moving average and the epochs whose weights are averaged.

    Args:
        recipe: the longer one.
        epochs: number of epochs of the shorter one.
        epoch_clips: clips to draw in each of them; None for as many as there are.
        share: steps of the shorter run, as a fraction of those of the longer one, 0..1.

    >>> whole = Recipe(name="mine", epochs=100, batch_size=4, lr=1e-3, ema=0.99, evaluate_every=20, average=[51, 100])
    >>> short = shorten(whole, 10, None, 0.1)
    >>> short.epochs, round(short.ema, 2), short.evaluate_every, short.average
    (10, 0.9, 20, (5, 10))
    """

    def part(epoch: int) -> int:
        return max(1, min(epochs, round(epoch * share)))

    plan = recipe.schedule
    schedule = plan.model_copy(
        update={
            "warmup_steps": round(plan.warmup_steps * share),
            "milestones": tuple(max(1, round(milestone * share)) for milestone in plan.milestones),
            "repeat": plan.repeat and max(1, round(plan.repeat * share)),
        }
    )
    return recipe.replace(
        epochs=epochs,
        epoch_clips=epoch_clips,
        steps=None,
        ema=max(0.0, 1 - (1 - recipe.ema) / share) if recipe.ema else 0.0,
        average=recipe.average and tuple(part(epoch) for epoch in recipe.average),
        schedule=schedule.model_dump(),
    )


def choose_length(recipe: Recipe, steps_per_epoch: int, pace: Pace, seconds: float) -> Recipe | None:
    """The longest form of a recipe that ends within some seconds, at most the recipe itself.

    Args:
        recipe: complete.
        steps_per_epoch: of the recipe.
        pace: measured.
        seconds: from the first step on.

    Returns:
        None where not even one step fits.

    >>> recipe = Recipe(name="mine", epochs=100, batch_size=4, lr=1e-3)
    >>> [choose_length(recipe, 10, Pace(0.1, 0, 0, 5), seconds).epochs for seconds in (1000, 55)]
    [100, 50]
    >>> choose_length(recipe, 10, Pace(10, 0, 0, 5), 55).epoch_clips
    20
    """
    for epochs in range(recipe.epochs, 0, -1):
        if pace.predict(epochs, steps_per_epoch, recipe.evaluate_every) <= seconds:
            whole = epochs == recipe.epochs
            return recipe if whole else shorten(recipe, epochs, recipe.epoch_clips, epochs / recipe.epochs)
    steps = int((seconds - pace.save - pace.score - pace.end) / pace.step)
    if steps < 1:
        return None
    return shorten(recipe, 1, steps * recipe.batch_size, steps / (steps_per_epoch * recipe.epochs))


def fit_to_minutes(materials: Materials, judge: Judge, watcher: Watcher) -> Materials:
    """Shorten a run so that it ends within the minutes of its plan.

    Steps are taken for trial, with weights that are thrown away, so that the shortened run is the very run that a
    recipe of this length would make.

    Args:
        materials: of the run; its plan has a limit.
        judge: scores the held-out clips once, to learn how long that takes.
        watcher: is told what was chosen.

    Raises:
        RecipeError: not even one step fits; the message says how many minutes would do.
        RunFailed, AudioError: as :func:`spectag.runs.loop.fit`.
    """
    plan, recipe = materials.plan, materials.decisions.recipe
    assert plan.options.minutes is not None
    budget = 60 * plan.options.minutes
    precision = materials.fabric.strategy.precision
    state = precision.state_dict()
    watcher.on_stage("measuring how long a step takes")
    with tempfile.TemporaryDirectory() as folder:
        heard = Heard(len(materials.waveforms), plan.options.strict)
        trial = replace(materials, plan=replace(plan, out=Path(folder, "trial")), heard=heard)
        # Nothing is scored or chosen in the trial.
        job = build_job(trial.replaced({"evaluate_every": recipe.epochs, "average": None, "select": "last"}))
        pace = _measure(job, judge, budget, recipe)
        steps_per_epoch = job.steps_per_epoch
    precision.load_state_dict(state)
    spent = monotonic() - plan.options.begun
    chosen = choose_length(recipe, steps_per_epoch, pace, SHARE * budget - spent)
    # All processes do the same; the first one decides.
    length = materials.fabric.broadcast(None if chosen is None else length_of(chosen))
    if length is None:
        least = (spent + pace.predict(1, 1, 1)) / SHARE / 60
        raise RecipeError(
            f"--minutes {plan.options.minutes:g}: reading the clips and scoring those held out takes longer than that: "
            f"give at least {math.ceil(least)}, or fewer clips"
        )
    fitted = materials.replaced(length)
    watcher.on_stage(_describe(plan, fitted.decisions.recipe, recipe, pace))
    return fitted


def _describe(plan: Plan, fitted: Recipe, whole: Recipe, pace: Pace) -> str:
    step = f"{pace.step:.2g} s per step"
    if fitted == whole:
        return f"all {whole.epochs} epochs fit into {plan.options.minutes:g} minutes ({step})"
    part = f" of {fitted.epoch_clips} clips" if fitted.epoch_clips and fitted.epoch_clips < len(plan.train) else ""
    epochs = f"{fitted.epochs} of {whole.epochs} epochs{part}"
    return f"{epochs} fit into {plan.options.minutes:g} minutes ({step}); the schedule is shortened to that"


class _Enough(Exception):
    """Ends the trial."""


class _Stopwatch(Watcher):
    """Takes the time of steps, and ends the loop when that is known well enough."""

    def __init__(self, budget: float) -> None:
        seconds, share, latest = TRIAL
        self._enough, self._latest = min(seconds, share * budget), latest * budget
        self._began = self._last = monotonic()
        self._times: list[float] = []

    def on_start(self, job: Job) -> None:
        self._began = self._last = monotonic()

    def on_step(self, job: Job, loss: float) -> None:
        now = monotonic()
        self._times.append(now - self._last)
        self._last = now
        timed = self._times[WARM_UP:]
        known = len(timed) >= STEPS and sum(timed) >= self._enough
        if job.fabric.broadcast(known or now - self._began > self._latest):
            raise _Enough

    def on_epoch(self, job: Job, row: dict[str, float]) -> None:
        self._last = monotonic()

    @property
    def step(self) -> float:
        """Mean seconds per step, without those of the warm-up unless there are no others."""
        timed = self._times[WARM_UP:] or self._times[-1:]
        return sum(timed) / len(timed)


def _measure(job: Job, judge: Judge, budget: float, recipe: Recipe) -> Pace:
    """Take steps for trial, save and score once, and count what will be done at the end."""
    plan, stopwatch = job.plan, _Stopwatch(budget)
    try:
        fit(job, judge, lambda figures, step: None, stopwatch)
    except _Enough:
        pass
    except RunInterrupted as error:
        raise RunInterrupted("stopped before the first step; the same command starts again") from error
    with _timed() as saving:
        save(job)
    parts = [part for part in (plan.validation, plan.test) if part is not None]
    score_of = {}
    for part in parts:
        judge.read(part)  # once in a run
    if parts:
        with _timed() as scoring:
            judge(job.bundle(job.scored_network), parts[0])
        score_of = {id(part): scoring[0] * len(part) / len(parts[0]) for part in parts}
    candidates = 1 + (recipe.average is not None) + (recipe.select == "best")
    end = candidates * (sum(score_of.values()) + saving[0]) + WRITING
    within = score_of[id(parts[0])] if parts else 0.0
    return Pace(stopwatch.step, saving[0], within, end)


@contextmanager
def _timed() -> Iterator[list[float]]:
    """Yields a list that holds the seconds when the block has ended."""
    seconds: list[float] = []
    start = monotonic()
    yield seconds
    seconds.append(monotonic() - start)
