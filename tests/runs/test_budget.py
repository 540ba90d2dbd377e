"""The kind of fault: a run takes as long as its recipe says, whatever time there is.

Varied: one epoch of many, parts of an epoch, averages, schedules, scoring as dear as training; too little time for
anything; a run that is killed after its length was decided; other processes. The clock of these tests is a counter.
"""

import itertools
import json
import shutil

import pytest
import torch
from test_run import TINY, go, scorer, tones  # noqa: F401  # tones is a fixture

from spectag.data.layouts import read_manifest
from spectag.errors import RecipeError
from spectag.model.loading import load
from spectag.runs import budget
from spectag.runs.budget import Pace, choose_length, shorten
from spectag.runs.plan import PLAN, RunOptions, make_plan
from spectag.runs.run import run
from spectag.runs.watcher import Watcher
from spectag.train.recipe import build

WHOLE = build(TINY | {"epochs": 100, "evaluate_every": 10}, "whole")


@pytest.mark.parametrize("evaluate_every", [1, 7, 100])
@pytest.mark.parametrize("score", [0.0, 3.0])
@pytest.mark.parametrize("seconds", [15, 60, 119, 500])
def test_the_longest_run_that_fits_is_chosen(evaluate_every, score, seconds):
    pace = Pace(step=0.1, save=0.2, score=score, end=5.0)
    recipe = WHOLE.replace(evaluate_every=evaluate_every)
    chosen = choose_length(recipe, 10, pace, seconds)
    assert pace.predict(chosen.epochs, 10, chosen.evaluate_every) <= seconds
    if chosen.epochs < 100:
        assert pace.predict(chosen.epochs + 1, 10, evaluate_every) > seconds
    else:
        assert chosen == recipe


def test_a_run_is_never_longer_than_its_recipe():
    assert choose_length(WHOLE, 10, Pace(0.001, 0, 0, 0), 1e6) is WHOLE


def test_where_an_epoch_is_too_long_it_becomes_shorter():
    """A million clips: as many steps of one epoch as there is time for."""
    chosen = choose_length(WHOLE, 250_000, Pace(step=0.1, save=1, score=2, end=7), 110)
    assert (chosen.epochs, chosen.epoch_clips) == (1, 1000 * WHOLE.batch_size)


def test_not_even_a_step_fits():
    assert choose_length(WHOLE, 10, Pace(step=0.1, save=1, score=2, end=7), 10.05) is None


def test_whatever_is_counted_in_steps_or_epochs_shrinks_in_proportion():
    schedule = {"kind": "milestones", "warmup_steps": 1000, "milestones": [40, 60], "repeat": 20}
    keys = {"epochs": 100, "evaluate_every": 20, "ema": 0.99, "average": [51, 100], "schedule": schedule}
    short = shorten(build(TINY | keys | {"select": "averaged", "steps": [3000, 9000]}, "long"), 5, None, 0.05)
    assert (short.epochs, short.evaluate_every, short.average, short.steps) == (5, 20, (3, 5), None)
    assert short.ema == pytest.approx(0.8)
    assert (short.schedule.warmup_steps, short.schedule.milestones, short.schedule.repeat) == (50, (2, 3), 1)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.01, 1e-6])
def test_a_short_recipe_is_always_valid(share):
    keys = {"ema": 0.999, "average": [2, 3], "select": "averaged", "evaluate_every": 3}
    short = shorten(build(TINY | keys, "any"), max(1, round(3 * share)), None, share)
    assert 0 <= short.ema < 1


@pytest.fixture
def clock(monkeypatch):
    """Every look at it takes a second."""
    seconds = itertools.count(1.0)
    monkeypatch.setattr(budget, "monotonic", lambda: next(seconds))


class Said(Watcher):
    def __init__(self):
        self.said = []

    def on_stage(self, text):
        self.said.append(text)


def fitted(data, out, minutes=1.0, recipe=None, watcher=None, **options):
    options = RunOptions(minutes=minutes, begun=0.0, **options)
    plan = make_plan(
        recipe or build(TINY | {"epochs": 1000}, "tiny"), read_manifest(data), out, fold=1, options=options
    )
    return run(plan, scorer, watcher)


def test_a_run_in_a_budget_is_the_run_of_a_shorter_recipe(tones, tmp_path, clock):  # noqa: F811
    """The steps that were taken for trial leave no trace in the weights."""
    watcher = Said()
    report = fitted(tones, tmp_path / "run", watcher=watcher)
    epochs = report["recipe"]["epochs"]
    assert 1 < epochs < 100
    assert len(report["epochs"]) == epochs
    [line] = [text for text in watcher.said if "fit into" in text]
    assert line == f"{epochs} of 1000 epochs fit into 1 minutes (1 s per step); the schedule is shortened to that"

    decided = {key: report["recipe"][key] for key in ("epochs", "ema", "schedule")}
    plain = go(tones, tmp_path / "plain", build(TINY | decided, "tiny"), fold=1)
    assert [row["loss"] for row in report["epochs"]] == [row["loss"] for row in plain["epochs"]]
    a, b = (load(tmp_path / name / "bundle").network.state_dict() for name in ("run", "plain"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_killed_run_keeps_the_length_that_was_decided(tones, tmp_path, clock):  # noqa: F811
    """However fast the machine is by then, and without asking again."""

    class Stop(Watcher):
        def on_batch(self, job):
            if job.plan.out.name == "killed" and job.epoch == 2:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fitted(tones, tmp_path / "killed", watcher=Stop())
    decided = json.loads((tmp_path / "killed" / PLAN).read_text())["shortened"]
    shutil.copytree(tmp_path / "killed", tmp_path / "copy")
    watcher = Said()
    resumed = fitted(tones, tmp_path / "killed", watcher=watcher, resume=True)
    assert not any("fit into" in text for text in watcher.said)
    without = fitted(tones, tmp_path / "copy", minutes=None, resume=True)
    whole = go(tones, tmp_path / "whole", build(TINY | decided, "tiny"), fold=1)
    for report in (resumed, without):
        assert report["recipe"]["epochs"] == decided["epochs"]
        assert [row["loss"] for row in report["epochs"]] == [row["loss"] for row in whole["epochs"]]


def test_a_run_is_not_resumed_with_another_limit(tones, tmp_path, clock):  # noqa: F811
    fitted(tones, tmp_path / "run")
    with pytest.raises(RecipeError, match=r"was started with --minutes 1\.0: use the same"):
        fitted(tones, tmp_path / "run", minutes=2.0, resume=True)
    go(tones, tmp_path / "plain", build(TINY | {"epochs": 1}, "tiny"), fold=1)
    with pytest.raises(RecipeError, match="was started without --minutes"):
        fitted(tones, tmp_path / "plain", recipe=build(TINY | {"epochs": 1}, "tiny"), resume=True)


def test_too_little_time_says_how_much_would_do(tones, tmp_path, clock):  # noqa: F811
    with pytest.raises(
        RecipeError, match=r"--minutes 0\.1: .* takes longer than that: give at least 1, or fewer clips"
    ):
        fitted(tones, tmp_path / "run", minutes=0.1)
    assert not (tmp_path / "run").exists()


def test_the_best_epoch_and_the_mean_are_chosen_within_the_short_run(tones, tmp_path, clock):  # noqa: F811
    (tmp_path / "own").mkdir()
    for source, name in (("001 - Low", "low"), ("002 - High", "high")):
        shutil.copytree(tones / source, tmp_path / "own" / name)
    keys = {"epochs": 1000, "holdout": 0.2, "select": "best", "metric": "accuracy", "average": [501, 1000]}
    options = RunOptions(minutes=2.0, begun=0.0)
    plan = make_plan(build(TINY | keys, "tiny"), read_manifest(tmp_path / "own"), tmp_path / "run", options=options)
    report = run(plan, scorer)
    assert set(report["results"]) == {"last", "averaged", "best"}
    assert report["recipe"]["average"][1] == report["recipe"]["epochs"] < 1000
