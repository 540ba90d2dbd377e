"""Who learns and who is held out; loss and epochs for these clips; what makes a run the same run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from deciding import LABELS, make_recipe

from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, RecipeError
from spectag.labels import LabelSet
from spectag.runs.plan import PLAN, RunOptions, check_directory, make_directory, make_plan


def clip(name: str, *labels: int, **fields) -> Clip:
    return Clip(name, Path(name), labels or (0,), **fields)


FOLDS = Manifest(tuple(clip(f"{n}.wav", n % 2, fold=n % 3 + 1) for n in range(12)), LABELS, "folds")
SPLITS = Manifest(
    tuple(clip(f"{n}.wav", n // 4 % 2, split=("train", "train", "validation", "test")[n % 4]) for n in range(12)),
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


NEGATIVES = Manifest((clip("a.wav", 1), replace(clip("b.wav"), labels=())), LABELS, "negatives")


@pytest.mark.parametrize(
    ("manifest", "fold", "expected"), [(PLAIN, None, "accuracy"), (SEVERAL, None, "mean_ap"), (FOLDS, 1, "accuracy")]
)
def test_the_metric_goes_with_the_labels(manifest, fold, expected):
    """Kind: choosing by a figure that does not exist for these clips."""
    assert make_plan(make_recipe(metric="auto"), manifest, Path("run"), fold=fold).recipe.metric == expected
    assert make_plan(make_recipe(metric="mean_ap"), manifest, Path("run"), fold=fold).recipe.metric == "mean_ap"


@pytest.mark.parametrize(
    ("manifest", "found"),
    [
        (SEVERAL, r"1 of those to score have none or several, for example a\.wav"),
        (NEGATIVES, r"1 of those to score have none or several, for example b\.wav"),
        (Manifest((clip("a.wav"), replace(clip("b.wav"), labels=())), LabelSet(("owl",)), "a detector"), "1 of those"),
    ],
)
def test_an_accuracy_is_refused_where_it_does_not_exist(manifest, found):
    with pytest.raises(
        RecipeError, match=f"metric accuracy is for clips of exactly one of several labels, and {found}"
    ):
        make_plan(make_recipe(metric="accuracy", loss="bce"), manifest, Path("run"))
    assert make_plan(make_recipe(metric="auto", loss="bce"), manifest, Path("run")).recipe.metric == "mean_ap"


def test_only_the_clips_that_are_scored_need_one_label_for_an_accuracy():
    train = tuple(replace(c, split="train") for c in SEVERAL.clips)
    mixed = replace(SPLITS, clips=(*train, *(c for c in SPLITS.clips if c.split == "test")))
    assert make_plan(make_recipe(metric="auto", loss="bce"), mixed, Path("run")).recipe.metric == "accuracy"


def test_cross_entropy_needs_one_label_per_clip():
    with pytest.raises(RecipeError, match=r"1 clips have none or several, for example a\.wav: set loss=auto"):
        make_plan(make_recipe(loss="ce", label_smoothing=0.1), SEVERAL, Path("run"))
    plan = make_plan(make_recipe(loss="auto", label_smoothing=0.1), SEVERAL, Path("run"))
    assert plan.recipe.loss == "bce", "the advice leads somewhere, label_smoothing or not"


@pytest.mark.parametrize(
    ("steps", "epochs"),
    [(None, 20), ([1, 1000], 20), ([100, 1000], 34), ([1, 30], 10), ([1, 1], 1)],
)
def test_epochs_stay_within_the_limits_on_steps(steps, epochs):
    """Ten clips in batches of four are three steps an epoch."""
    recipe = make_recipe(epochs=20, batch_size=4, steps=steps)
    assert make_plan(recipe, PLAIN, Path("run")).recipe.epochs == epochs


def with_negatives(manifest: Manifest, *names: str) -> Manifest:
    """The same clips, some of them without a label."""
    clips = tuple(replace(clip, labels=()) if clip.id in names else clip for clip in manifest.clips)
    return replace(manifest, clips=clips)


def test_negatives_are_clips_as_others_are():
    """Kind of fault: a clip without a label that is left out, or that counts as one of the first class."""
    names = [f"{n}.wav" for n in range(5)]
    plan = make_plan(make_recipe(loss="auto", holdout=0.4, select="best"), with_negatives(PLAIN, *names), Path("run"))
    assert sizes(plan) == (6, 4, 0)
    assert (plan.recipe.loss, plan.recipe.label_smoothing) == ("bce", 0.0)
    for side in (plan.train, plan.validation):
        assert 0 < sum(not clip.labels for clip in side.clips) < len(side), "negatives on both sides"
        assert side.targets().shape == (len(side), 2)
        assert (side.targets().sum(1) == [len(clip.labels) for clip in side.clips]).all()


ONE = replace(PLAIN, labels=LabelSet(("owl",)), clips=tuple(replace(c, labels=(0,)) for c in PLAIN.clips))


def test_one_class_and_negatives_make_a_detector():
    plan = make_plan(make_recipe(loss="auto", holdout=0.2), with_negatives(ONE, "3.wav", "7.wav"), Path("run"))
    assert plan.recipe.loss == "bce"
    assert len(plan.train.labels) == 1
    assert {clip.labels for clip in plan.train.clips} == {(), (0,)}


@pytest.mark.parametrize("loss", ["auto", "bce", "ce"])
@pytest.mark.parametrize("fold", [None, 1])
def test_clips_that_all_have_the_same_labels_teach_nothing(loss, fold):
    """Kind of fault: a network that says the same of every recording is right about all of them, so training ends at
    once with perfect figures. One class, or only one of several classes in what is left to learn from.
    """
    recipe = make_recipe(loss=loss)
    clips = tuple(replace(clip, labels=(int(clip.fold == 1),)) for clip in FOLDS.clips)
    manifest = ONE if fold is None else replace(FOLDS, clips=clips)
    with pytest.raises(
        DataError, match=r"all .* training clips have the label '(owl|fox)', so there is nothing"
    ) as error:
        make_plan(recipe, manifest, Path("run"), fold=fold)
    assert "--negatives FOLDER" in str(error.value)
    names = [clip.id for clip in ONE.clips]
    with pytest.raises(DataError, match="none of the 10 training clips has a label: add clips"):
        make_plan(make_recipe(loss="auto"), with_negatives(ONE, *names), Path("run"))


def test_fewer_clips_than_processes():
    """Kind of fault: a process without clips, so that the sums of all of them are divided by 0."""
    recipe = make_recipe(batch_size=12)
    message = "--devices 12: expected at least one training clip per process, got 10 clips: use fewer processes"
    with pytest.raises(DataError, match=message):
        make_plan(recipe, PLAIN, Path("run"), options=RunOptions(processes=12))
    with pytest.raises(DataError, match="got 8 clips"):  # of those that are left to learn from
        make_plan(recipe.replace(holdout=0.2), PLAIN, Path("run"), options=RunOptions(processes=12))
    assert make_plan(recipe.replace(batch_size=10), PLAIN, Path("run"), options=RunOptions(processes=10))


def test_fewer_draws_than_processes():
    """The same kind: there are clips enough, but an epoch draws fewer of them."""
    recipe = make_recipe(batch_size=4, epoch_clips=3)
    message = r"epoch_clips: expected at least one clip per process \(--devices 4\), got 3: raise it, or use fewer pro"
    with pytest.raises(RecipeError, match=message):
        make_plan(recipe, PLAIN, Path("run"), options=RunOptions(processes=4))
    assert make_plan(recipe.replace(epoch_clips=4), PLAIN, Path("run"), options=RunOptions(processes=4))


TRAIN_AND_TEST = replace(SPLITS, clips=tuple(c for c in SPLITS.clips if c.split != "validation"))
TRAIN_ONLY = SPLITS.only(split="train")
OTHER_NAMES = replace(
    SPLITS, clips=tuple(replace(c, split={"validation": "dev"}.get(c.split, c.split)) for c in SPLITS.clips)
)


@pytest.mark.parametrize(
    ("manifest", "fold", "reported"),
    [(FOLDS, 1, 4), (FOLDS, None, None), (TRAIN_AND_TEST, None, 3), (TRAIN_ONLY, None, None), (PLAIN, None, None)],
    ids=["a fold", "folds, none held out", "no validation split", "one split", "neither"],
)
def test_every_way_to_the_best_epoch_that_a_message_names_leads_there(manifest, fold, reported):
    """Kind of fault: an error whose advice leads to the same error, as a share to put aside did beside a fold."""
    with pytest.raises(RecipeError, match="select best needs validation clips, and there are none") as error:
        make_plan(make_recipe(select="best"), manifest, Path("run"), fold=fold)
    for advice in ("set holdout=0.1", "or set select=last"):
        assert advice in str(error.value)
    assert "splits.validation" not in str(error.value)
    assert make_plan(make_recipe(select="last"), manifest, Path("run"), fold=fold).validation is None
    plan = make_plan(make_recipe(select="best", holdout=0.4), manifest, Path("run"), fold=fold)
    learned, chosen_by, tested = sizes(plan)
    assert chosen_by
    assert tested == (reported or 0)
    assert plan.scored == (plan.test or plan.validation)
    sides = [side.clips for side in (plan.train, plan.validation, plan.test) if side]
    assert len({clip.id for side in sides for clip in side}) == learned + chosen_by + tested == len(manifest)
    assert not {clip.fold for clip in (plan.train.clips + plan.validation.clips)} & {fold} - {None}


def test_a_split_that_could_choose_is_named():
    with pytest.raises(RecipeError, match=r"or splits\.validation=\[dev\]; or set select=last"):
        make_plan(make_recipe(select="best"), OTHER_NAMES, Path("run"))
    recipe = make_recipe(select="best", splits={"validation": ["dev"]})
    assert sizes(make_plan(recipe, OTHER_NAMES, Path("run"))) == (6, 3, 3)


def test_a_share_is_not_taken_where_nothing_is_chosen_by_it():
    """A fold or a test split is held out already, and the last epoch needs no choice."""
    assert sizes(make_plan(make_recipe(holdout=0.2), FOLDS, Path("run"), fold=1)) == (8, 0, 4)
    assert sizes(make_plan(make_recipe(holdout=0.2), TRAIN_AND_TEST, Path("run"))) == (6, 0, 3)
    plan = make_plan(make_recipe(holdout=0.25), FOLDS, Path("run"))
    assert sizes(plan) == (9, 3, 0)
    assert plan.description == "25% of the clips, drawn by seed 0"


@pytest.mark.parametrize("labels", [(), (1,), (0, 1)], ids=str)
def test_validation_clips_that_are_all_alike_choose_nothing(labels):
    """Kind of fault: a figure that no epoch has, so that in the end there is no best epoch to be read."""
    clips = tuple(replace(c, labels=labels) if c.split == "validation" else c for c in SPLITS.clips)
    recipe = make_recipe(select="best", loss="auto")
    with pytest.raises(RecipeError, match="all 3 validation clips have the same labels: add others, raise holdout"):
        make_plan(recipe, replace(SPLITS, clips=clips), Path("run"))
    if labels == (1,):
        assert make_plan(recipe.replace(metric="accuracy"), replace(SPLITS, clips=clips), Path("run")).validation


def test_what_a_plan_refuses():
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


def test_a_run_that_ran_out_of_memory_goes_on_with_less(begun):
    """Its message says so, and where clips are kept changes no result."""
    check_directory(replace(begun, recipe=begun.recipe.replace(cache_gb=0.0)))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"recipe": "- a"}', '{"recipe": 5}', '{"recipe": "a: ["}'])
def test_something_else_than_a_run(begun, text):
    (begun.out / PLAN).write_text(text)
    with pytest.raises(RecipeError, match=r"has no plan\.json of a run to resume"):
        check_directory(begun)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RecipeError, match="expected a directory, found a file"):
        check_directory(make_plan(make_recipe(), PLAIN, tmp_path / "run"))
