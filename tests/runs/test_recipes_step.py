"""Every recipe that comes along is built and takes a step, at a tiny size."""

import numpy as np
import pytest
import soundfile
from test_run import scorer
from tests.model.small import make_bundle

from spectag.data.layouts import read_manifest
from spectag.runs.plan import make_plan
from spectag.runs.run import run
from spectag.runs.teaching import follow_teacher
from spectag.train.recipe_files import packaged, read_recipe

SMALL = ["epochs=1", "steps=null", "batch_size=4", "exclude=[]", "average=null", "select=last", "cache_gb=1"]
SIZES = ["model.width=16", "model.depth=1", "model.heads=2"]


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """Eight clips in ESC-10's layout."""
    root = tmp_path_factory.mktemp("folds")
    rng = np.random.default_rng(0)
    for name in ("001 - Low", "002 - High"):
        (root / name).mkdir()
        for i in range(4):
            soundfile.write(root / name / f"{i // 3 + 1}-{i}-A.wav", rng.standard_normal(8000) * 0.1, 16000)
    return root


@pytest.mark.parametrize("name", packaged())
def test_it_builds_and_steps(name, folds, tmp_path):
    recipe = read_recipe(name, SMALL)
    if recipe.init is not None:
        overrides = [f"init={make_bundle().save(tmp_path / 'bundle')}"]
    else:
        overrides = SIZES if recipe.model.width is not None or recipe.init is None else []
    clips = read_manifest(folds)
    if recipe.teacher.model is not None:
        teacher = make_bundle(frames=recipe.front_end.frames).save(tmp_path / "teacher")
        recipe = read_recipe(name, [*SMALL, *overrides, f"teacher.model={teacher}"])
        recipe, clips = follow_teacher(recipe, folds)
    else:
        recipe = read_recipe(name, SMALL + overrides)
    report = run(make_plan(recipe, clips, tmp_path / "run", fold=None if recipe.holdout else 2), scorer)
    assert np.isfinite(report["epochs"][0]["loss"])
    assert report["result"]["clips"] > 0


@pytest.mark.parametrize(
    "override",
    ["checkpoint_layers=true", "accumulate=2", "precision=bf16", "augment.row_drop=0.5", "augment.column_drop=0.5"],
)
def test_ways_to_save_memory_step(override, folds, tmp_path):
    base = [*SMALL, *SIZES, "model.patch=16", "model.stride=16", "model.depth=2"]
    report = run(
        make_plan(read_recipe("scratch", [*base, override]), read_manifest(folds), tmp_path / "run", fold=2), scorer
    )
    assert np.isfinite(report["epochs"][0]["loss"])


def test_recomputing_layers_changes_nothing_but_memory(folds, tmp_path):
    losses = []
    for recompute in ("false", "true"):
        keys = [*SMALL, *SIZES, "model.depth=3", "epochs=2", f"checkpoint_layers={recompute}"]
        todo = make_plan(read_recipe("scratch", keys), read_manifest(folds), tmp_path / recompute, fold=2)
        losses.append([row["loss"] for row in run(todo, scorer)["epochs"]])
    np.testing.assert_allclose(*losses, rtol=1e-6)
