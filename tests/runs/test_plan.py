"""Who learns and who is held out; loss and epochs for these clips; what makes a run the same run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from deciding import LABELS, make_recipe

from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, RecipeError
from spectag.runs.plan import PLAN, RunOptions, check_directory, make_directory, make_plan


def clip(name: str, *labels: int, **fields) -> Clip:
    return Clip(name, Path(name), labels or (0,), **fields)


FOLDS = Manifest(tuple(clip(f"{n}.wav", n % 2, fold=n % 3 + 1) for n in range(12)), LABELS, "folds")
SPLITS = Manifest(
    tuple(clip(f"{n}.wav", n % 2, split=("train", "train", "validation", "test")[n % 4]) for n in range(12)),
    LABELS,
    "splits",
)
PLAIN = Manifest(tuple(clip(f"{n}.wav", n % 2) for n in range(10)), LABELS, "plain")
SEVERAL = Manifest((clip("a.wav", 0, 1), clip("b.wav", 0)), LABELS, "several")


def sizes(plan) -> tuple[int, int, int]:
    return tuple(len(side.clips) if side else 0 for side in (plan.train, plan.validation, plan.test))


def test_a_fold_is_held_out_and_reported_on():
    plan = make_plan(make_recipe(), FOLDS, Path("run"), fold=2)
    assert sizes(plan) == (8, 0, 4)
    assert plan.scored == plan.test
    assert {c.fold for c in plan.test.clips} == {2}


def test_splits_are_used_by_their_names():
    assert sizes(make_plan(make_recipe(), SPLITS, Path("run"))) == (6, 3, 3)
    without = SPLITS.only(split=("train", "validation"))
    plan = make_plan(make_recipe(), without, Path("run"))
    assert sizes(plan) == (6, 3, 0)
    assert plan.scored == plan.validation


def test_a_share_is_put_aside_by_the_seed():
    plans = [make_plan(make_recipe(holdout=0.2, seed=seed), PLAIN, Path("run")) for seed in (0, 0, 1)]
    assert [sizes(plan) for plan in plans] == [(8, 2, 0)] * 3
    assert plans[0].validation == plans[1].validation
    kept = make_plan(make_recipe(holdout=0.2, seed=1), PLAIN, Path("run"), holdout_seed=0)
    assert kept.validation == plans[0].validation, "the same clips for all seeds of a series"


def test_nothing_left_to_train_on():
    with pytest.raises(DataError, match="no clips are left to train on after holding out fold 1"):
        make_plan(make_recipe(), FOLDS.only(fold=1), Path("run"), fold=1)


@pytest.mark.parametrize(
    ("manifest", "keys", "expected"),
    [
        (PLAIN, {"loss": "auto", "label_smoothing": 0.1}, ("ce", 0.1)),
        (SEVERAL, {"loss": "auto", "label_smoothing": 0.1}, ("bce", 0.0)),
        (PLAIN, {"loss": "bce"}, ("bce", 0.0)),
    ],
)
def test_the_loss_goes_with_the_labels(manifest, keys, expected):
    recipe = make_plan(make_recipe(**keys), manifest, Path("run")).recipe
    assert (recipe.loss, recipe.label_smoothing) == expected


def test_cross_entropy_needs_one_label_per_clip():
    with pytest.raises(RecipeError, match=r"1 clips have none or several, for example a\.wav: set loss=bce"):
        make_plan(make_recipe(loss="ce"), SEVERAL, Path("run"))


@pytest.mark.parametrize(
    ("steps", "epochs"),
    [(None, 20), ([1, 1000], 20), ([100, 1000], 34), ([1, 30], 10), ([1, 1], 1)],
)
def test_epochs_stay_within_the_limits_on_steps(steps, epochs):
    """Ten clips in batches of four are three steps an epoch."""
    recipe = make_recipe(epochs=20, batch_size=4, steps=steps)
    assert make_plan(recipe, PLAIN, Path("run")).recipe.epochs == epochs


def test_what_a_plan_refuses():
    with pytest.raises(RecipeError, match="select best needs validation clips, and there are none"):
        make_plan(make_recipe(select="best"), FOLDS, Path("run"), fold=1)
    with pytest.raises(RecipeError, match="batch_size 4 is not a multiple of accumulate 2 times 4 processes"):
        make_plan(make_recipe(batch_size=4, accumulate=2), PLAIN, Path("run"), options=RunOptions(processes=4))


@pytest.fixture
def begun(tmp_path):
    plan = make_plan(make_recipe(loss="auto", label_smoothing=0.1), FOLDS, tmp_path / "run", fold=1)
    make_directory(plan, plan.recipe)
    return replace(plan, options=RunOptions(resume=True))


def test_a_run_is_recognised(begun):
    check_directory(begun)
    with pytest.raises(RecipeError, match="is not empty: continue its run with --resume"):
        check_directory(replace(begun, options=RunOptions()))


def test_a_run_of_another_recipe_or_other_clips_is_not(begun):
    for other, name in (
        (replace(begun, recipe=begun.recipe.replace(lr=1.0)), "another recipe"),
        (make_plan(begun.recipe, FOLDS, begun.out, fold=2, options=begun.options), "other training clips"),
        (replace(begun, test=None), "other test clips"),
    ):
        with pytest.raises(RecipeError, match=f"was started with {name}: use the same recipe"):
            check_directory(other)


def test_keys_that_came_later_make_no_other_run_of_it(begun):
    """Written before a key was there, or with the keys in another order."""
    path = begun.out / PLAN
    identity = json.loads(path.read_text())
    keys = yaml.safe_load(identity["recipe"])
    assert keys.pop("compile") is False
    path.write_text(json.dumps(identity | {"recipe": yaml.safe_dump(keys, sort_keys=True)}))
    check_directory(begun)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"recipe": "- a"}', '{"recipe": 5}', '{"recipe": "a: ["}'])
def test_something_else_than_a_run(begun, text):
    (begun.out / PLAN).write_text(text)
    with pytest.raises(RecipeError, match=r"has no plan\.json of a run to resume"):
        check_directory(begun)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RecipeError, match="expected a directory, found a file"):
        check_directory(make_plan(make_recipe(), PLAIN, tmp_path / "run"))
