"""Recipes: what is accepted, what is refused and how it is said; the learning rate of every step."""

import math

import pytest
import yaml

from spectag.errors import RecipeError
from spectag.train.recipe import Recipe, ScheduleRecipe, build, packaged, read_recipe
from spectag.train.schedule import lr_factor


@pytest.mark.parametrize("name", packaged())
def test_packaged_recipes_build_and_survive_a_round_trip(name):
    recipe = read_recipe(name)
    assert recipe.name == name
    assert build(yaml.safe_load(recipe.to_yaml()), name) == recipe


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochz=5", r"unknown key 'epochz'; did you mean epochs\?"),
        ("model.strid=5", r"unknown key 'model.strid'; did you mean model.stride"),
        ("patch_drop=0.5", r"unknown key 'patch_drop'; did you mean augment.patch_drop"),
        ("epochs=abc", "epochs: .*integer.* got 'abc'"),
        ("epochs=0", "epochs: .*greater than or equal to 1, got 0"),
        ("lr=nan", "lr: "),
        ("epochs", "--set epochs: expected key=value"),
        ("lr.x=1", "'lr' is a value, not a section"),
        ("model=[", "not a YAML value"),
        ("front_end.mean=1", "must both be given"),
    ],
)
def test_refusals_name_the_key(override, message):
    with pytest.raises(RecipeError, match=message) as caught:
        read_recipe("esc10", [override])
    assert "\n" not in str(caught.value)


def test_overrides():
    recipe = read_recipe("esc10", ["lr=5e-6", "model.stride=[10,12]", "schedule.kind=constant", "seed=7"])
    assert (recipe.lr, recipe.model.stride, recipe.schedule.kind, recipe.seed) == (5e-6, (10, 12), "constant", 7)


def test_files(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nepochs: 2\nbatch_size: 3\nlr: 1e-3\n")
    assert read_recipe(str(path)) == Recipe(name="mine", epochs=2, batch_size=3, lr=1e-3)
    path.write_text("- a\n")
    with pytest.raises(RecipeError, match="expected keys and values, got list"):
        read_recipe(str(path))
    path.write_text("a: [")
    with pytest.raises(RecipeError, match="not YAML"):
        read_recipe(str(path))
    with pytest.raises(RecipeError, match=r"neither a file nor one of .*esc10.*; did you mean esc10\?"):
        read_recipe("esc1")


def test_paper_schedule_of_audioset_balanced():
    schedule = ScheduleRecipe(kind="milestones", warmup_steps=1000, warmup_every=50, milestones=(10, 15, 20), gamma=0.5)
    per_epoch = 1700

    def at(step):
        return lr_factor(step, per_epoch, 25 * per_epoch, schedule)

    assert [at(0), at(49), at(50), at(99), at(999), at(1000)] == [0, 0, 0.05, 0.05, 0.95, 1.0]
    assert [at(10 * per_epoch - 1), at(10 * per_epoch), at(15 * per_epoch), at(25 * per_epoch - 1)] == [
        1,
        0.5,
        0.25,
        0.125,
    ]


def test_cosine_ends_at_zero_and_is_half_way_in_the_middle():
    schedule = ScheduleRecipe(kind="cosine", warmup_steps=10)
    values = [lr_factor(step, 5, 110, schedule) for step in range(111)]
    assert values[:10] == [k / 10 for k in range(10)]
    assert values[10] == 1
    assert math.isclose(values[60], 0.5)
    assert math.isclose(values[110], 0, abs_tol=1e-12)
    assert values[10:] == sorted(values[10:], reverse=True)
