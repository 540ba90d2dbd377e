"""Recipes: what is accepted, what is refused and how it is said; the learning rate of every step."""

import math
import re
from pathlib import Path

import pytest
import torch
import yaml

from spectag.errors import ModelNotFound, RecipeError
from spectag.model.source import DOWNLOADS, is_file_name, resolve
from spectag.runs.sweep import take_weights_from
from spectag.train.recipe import Recipe, build
from spectag.train.recipe_files import describe_recipes, packaged, packaged_presets, read_recipe
from spectag.train.schedule import compute_lr_factor


@pytest.mark.parametrize("name", packaged())
def test_packaged_recipes_build_and_survive_a_round_trip(name):
    recipe = read_recipe(name)
    assert recipe.name == name
    assert build(yaml.safe_load(recipe.to_yaml()), name) == recipe


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochz=5", r"unknown key 'epochz'; did you mean epochs or epoch_clips\?"),
        ("model.strid=5", r"unknown key 'model.strid'; did you mean model.stride"),
        ("patch_drop=0.5", r"unknown key 'patch_drop'; did you mean augment.patch_drop"),
        ("epochs=abc", "recipe esc10: epochs: expected a whole number, got 'abc'"),
        ("epochs=0", "recipe esc10: epochs: expected at least 1, got 0"),
        ("epochs=1.5", "recipe esc10: epochs: expected a whole number, got 1.5"),
        ("lr=nan", "lr: expected a finite number, got 'nan'"),
        ("lr=0", "lr: expected more than 0, got 0"),
        ("seed=4294967296", "seed: expected less than 4294967296, got 4294967296"),
        ("augment.mix_rate=2", "augment.mix_rate: expected at most 1, got 2"),
        ("balanced=maybe", "balanced: expected true or false, got 'maybe'"),
        ("optimizer=sgd", "optimizer: expected adam, adamw or muon; got 'sgd'"),
        ("name=null", "name: expected text, got null"),
        ("model=3", "model: expected keys and values, got 3"),
        ("splits.train=a", "splits.train: expected a list in brackets, got 'a'"),
        ("model.patch=[1]", r"model\.patch: expected two values such as \[1, 2\], got \[1\]"),
        ("model.patch=[1,2,3]", r"model\.patch: expected two values such as \[1, 2\], got \[1, 2, 3\]"),
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
    path.write_text("name: mine\na: [")
    with pytest.raises(RecipeError, match=r"mine\.yaml: not YAML in line 2, column 5: check the brackets"):
        read_recipe(str(path))
    with pytest.raises(RecipeError, match=r"expected a file or one of .*esc10.*; found neither; nearest: esc10"):
        read_recipe("esc1")


# Clips, first milestone, epochs between milestones, gamma and warm-up of the released training scripts.
RELEASED = {
    "audioset-full": (60_000, 2, 1, 0.5, True),  # fewer clips than AudioSet's two millions: the rule is the same
    "audioset-balanced": (22_176, 10, 5, 0.5, True),
    "esc50": (1_600, 5, 1, 0.85, False),
    "esc50-imagenet": (1_600, 5, 1, 0.85, False),
    "speech-commands": (84_843, 5, 1, 0.85, False),
}


@pytest.mark.parametrize("name", RELEASED)
def test_the_learning_rate_of_every_step_is_that_of_the_released_code(name):
    """Played through with torch's own scheduler, as their loop calls it."""
    clips, first, every, gamma, warmup = RELEASED[name]
    recipe = read_recipe(name)
    per_epoch = math.ceil(clips / recipe.batch_size)
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], recipe.lr)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(range(first, 1000, every)), gamma)
    optimizer.step()
    step = 0
    for _ in range(recipe.epochs):
        for _ in range(per_epoch):
            if warmup and step <= 1000 and step % 50 == 0:
                optimizer.param_groups[0]["lr"] = step / 1000 * recipe.lr
            ours = recipe.lr * compute_lr_factor(step, per_epoch, per_epoch * recipe.epochs, recipe.schedule)
            assert math.isclose(ours, optimizer.param_groups[0]["lr"], rel_tol=1e-9), f"step {step}"
            step += 1
        scheduler.step()


AUDIOSET = (1024, -4.2677393, 4.5689974)
ESC = (512, -6.6268077, 5.358466)
# The released scripts: epochs, batch, lr, loss, metric, mixing, masks, noise, frames, statistics, balanced.
PAPER = {
    "audioset-full": (5, 12, 1e-5, "bce", "mean_ap", 0.5, 192, 48, False, *AUDIOSET, True, (1, 5)),
    "audioset-balanced": (25, 12, 5e-5, "bce", "mean_ap", 0.5, 192, 48, False, *AUDIOSET, False, (6, 25)),
    "esc50": (25, 48, 1e-5, "ce", "accuracy", 0, 96, 24, False, *ESC, False, None),
    "esc50-imagenet": (25, 48, 1e-4, "ce", "accuracy", 0, 96, 24, False, *ESC, False, None),
    "speech-commands": (30, 128, 2.5e-4, "bce", "accuracy", 0.6, 48, 48, True, 128, -6.845978, 5.5654526, False, None),
}


@pytest.mark.parametrize("name", PAPER)
def test_paper_recipes_hold_the_papers_values(name):
    r = read_recipe(name)
    a, f = r.augment, r.front_end
    values = (r.epochs, r.batch_size, r.lr, r.loss, r.metric, a.mix_rate, a.time_mask, a.freq_mask, a.noise_and_roll)
    assert (*values, f.frames, f.mean, f.std, r.balanced, r.average) == PAPER[name]
    assert (r.optimizer, r.betas, r.weight_decay) == ("adam", (0.95, 0.999), 5e-7)
    assert a.mix_alpha == 10
    assert a.mix_law == "linear"
    assert {a.excerpt, a.gain_db, a.equalise_db, a.patch_drop, r.ema, r.clip_norm} == {0}, "nothing of ours"


@pytest.mark.parametrize("name", packaged())
def test_every_recipe_says_what_it_is_its_command_cost_and_score(name):
    header = describe_recipes()[name]
    assert list(header) == ["about", "command", "cost", "score"]
    assert header["command"].startswith(f"spectag train {name} --data ")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["average=[3,2]"], r"average \[3, 2\] must lie within epochs 1 to 200"),
        (["average=[3,201]"], "must lie within epochs"),
        (["select=averaged"], "needs average"),
        (["accumulate=3"], "accumulate 3 must divide batch_size 32"),
        (["loss=bce"], "label_smoothing needs loss ce"),
    ],
)
def test_keys_that_do_not_go_together(overrides, message):
    with pytest.raises(RecipeError, match=message):
        read_recipe("esc10", overrides)


def test_one_number_for_a_pair():
    assert read_recipe("audioset-full", ["model.stride=12"]).model.stride == (12, 12)


def test_what_describes_a_recipe_is_not_part_of_it(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("about: a try\ncost: 5\nname: mine\nepochs: 2\nbatch_size: 3\nlr: 1e-3\n")
    assert read_recipe(str(path)) == Recipe(name="mine", epochs=2, batch_size=3, lr=1e-3)
    assert "about" not in read_recipe("esc10").to_yaml()


def test_splits_by_their_former_name(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nepochs: 2\nbatch_size: 3\nlr: 1e-3\nparts: {train: [a]}\n")
    recipe = read_recipe(str(path), ["parts.test=[b]"])
    assert (recipe.splits.train, recipe.splits.validation, recipe.splits.test) == (("a",), ("validation",), ("b",))
    assert build({**recipe.model_dump(exclude={"splits"}), "parts": {"train": ["a"]}}, "x").splits.train == ("a",)
    assert "parts" not in recipe.to_yaml()


def test_presets_are_not_recipes():
    assert not set(packaged()) & set(packaged_presets())
    for preset in packaged_presets().values():
        assert {"about", "paper", "settings"} <= preset.keys()


@pytest.mark.parametrize("name", packaged_presets())
def test_the_settings_of_a_preset_are_recipes(name):
    preset = packaged_presets()[name]
    for overrides in preset["settings"].values():
        read_recipe(preset.get("recipe", "audioset-balanced"), overrides)


def initial_weights() -> set[str]:
    """Every file that a recipe or a preset starts from."""
    presets = [
        override.removeprefix("init=")
        for preset in packaged_presets().values()
        for overrides in preset["settings"].values()
        for override in overrides
        if override.startswith("init=")
    ]
    named = {*presets, *(str(read_recipe(name).init) for name in packaged())}
    return {name for name in named if is_file_name(name)}


def test_each_file_of_initial_weights_has_one_name_and_a_place_to_get_it_from():
    """The kind: one file went by several names, and none of them said where it comes from."""
    assert initial_weights() == set(DOWNLOADS)
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    for name, url in DOWNLOADS.items():
        assert f"[`{name}`]({url})" in page
        assert url.endswith(f"/{name}")
        with pytest.raises(ModelNotFound, match=rf"no such file: download it from {url}, and give its path"):
            resolve(f"nowhere/{name}")
    mentioned = set(re.findall(r"[\w-]+\.pth", page))
    assert mentioned <= set(DOWNLOADS), "no other name for any of them"


TOLD = ("0.347", "enhanced labels", "Speech Commands V2, P", "97.88 %", "16x16 with 0.336")
KEYS = ("front_end.window=hanning", "model.channels=sum")


@pytest.mark.parametrize("what", [*TOLD, *KEYS])
def test_the_table_of_the_paper_is_complete(what):
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    assert what in page.split("## From scratch")[0]


def test_weights_of_a_sweep_come_from_a_folder(tmp_path):
    overrides = (["init=a.pth"], ["init=audioset"], ["init=b/a.pth"], ["init=null"])
    recipes = [read_recipe("esc50-imagenet", keys) for keys in ([], *overrides)]
    taken = [recipe.init for recipe in take_weights_from(tmp_path, recipes)]
    assert taken == [str(tmp_path / str(recipes[0].init)), str(tmp_path / "a.pth"), "audioset", "b/a.pth", None]
    with pytest.raises(RecipeError, match=r"no setting of this sweep starts from a file of weights"):
        take_weights_from(tmp_path, recipes[2:])
    (tmp_path / "file.pth").touch()
    with pytest.raises(RecipeError, match=r"expected a folder that exists; for one file use --init"):
        take_weights_from(tmp_path / "file.pth", recipes)
