"""One class and negatives: a detector, from clips to a bundle and a report.

Kind of fault: whatever counts, draws, divides or averages over the labels of a clip, and meets a clip that has none.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_run import TINY, scorer, tones  # noqa: F401  # tones is a fixture

from spectag.audio.read import read
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Manifest
from spectag.errors import DataError
from spectag.labels import LabelSet
from spectag.model.loading import load
from spectag.runs.plan import make_plan
from spectag.runs.run import run
from spectag.train.recipe import build
from spectag.train.step import make_loss

LOUD = {"epochs": 30, "lr": 3e-3, "loss": "auto", "evaluate_every": 10, "metric": "mean_ap"}


@pytest.fixture
def detecting(tones) -> Manifest:  # noqa: F811
    """The clips of the tones, of which only the high ones have a label."""
    manifest = read_manifest(tones)
    clips = tuple(replace(clip, labels=(0,) if clip.labels == (1,) else ()) for clip in manifest.clips)
    return replace(manifest, clips=clips, labels=LabelSet(("high",)))


@pytest.mark.parametrize(
    "keys",
    [{}, {"balanced": True}, {"select": "best", "holdout": 0.2, "average": [5, 30]}],
    ids=["each clip once", "balanced", "best epoch"],
)
def test_a_detector_tells_its_sound_from_others(detecting, tmp_path, keys):
    todo = make_plan(build(TINY | LOUD | keys, "tiny"), detecting, tmp_path / "run", fold=1)
    report = run(todo, scorer)
    assert report["recipe"]["loss"] == "bce"
    assert report["result"]["mean_ap"] > 0.9
    assert report["result"]["clips"] == 12
    assert report["data"]["labels"] == ["high"]
    heard = report["heard"]
    assert heard["clips"] == heard["labels"]["high"] + heard["without_label"] == len(todo.train)
    assert heard["without_label"]
    assert (tmp_path / "run" / "report.html").stat().st_size > 5000
    assert json.loads((tmp_path / "run" / "report.json").read_text())["heard"] == heard

    bundle = load(tmp_path / "run" / "bundle")
    assert bundle.activation == "sigmoid"
    assert bundle.network.config.labels == 1
    held_out = detecting.only(fold=1)
    scores = np.concatenate(list(scorer(bundle, [read(clip.source) for clip in held_out.clips])))
    high = np.array([clip.labels == (0,) for clip in held_out.clips])
    assert ((scores > 0) & (scores < 1)).all()
    assert scores[high].mean() > 0.6 > 0.4 > scores[~high].mean()


def test_negatives_that_cannot_be_read_are_replaced_by_negatives(detecting, tmp_path):
    clips = list(detecting.clips)
    victim = next(i for i, clip in enumerate(clips) if not clip.labels and clip.fold == 2)
    (tmp_path / "broken.wav").write_text("not audio")
    clips[victim] = replace(clips[victim], path=tmp_path / "broken.wav")
    recipe = build(TINY | LOUD | {"epochs": 2, "augment": {}}, "tiny")
    report = run(make_plan(recipe, replace(detecting, clips=tuple(clips)), tmp_path / "run", fold=1), scorer)
    assert report["heard"] == {"clips": 11, "labels": {"high": 6}, "without_label": 5}
    assert [row["id"] for row in report["skipped"]] == [clips[victim].id]


def test_negatives_beside_several_classes(tones, tmp_path):  # noqa: F811
    manifest = read_manifest(tones)
    clips = tuple(replace(clip, labels=() if n % 3 == 0 else clip.labels) for n, clip in enumerate(manifest.clips))
    recipe = build(TINY | LOUD | {"epochs": 3, "balanced": True, "holdout": 0.3}, "tiny")
    report = run(make_plan(recipe, replace(manifest, clips=clips), tmp_path / "run"), scorer)
    assert load(tmp_path / "run" / "bundle").activation == "sigmoid"
    assert report["result"]["clips"] > 4
    assert np.isfinite([row["loss"] for row in report["epochs"]]).all()


def test_one_class_alone_is_refused_before_anything_is_done(detecting, tmp_path):
    alone = replace(detecting, clips=tuple(clip for clip in detecting.clips if clip.labels))
    with pytest.raises(DataError, match="all 6 training clips have the label 'high', so there is nothing to tell it"):
        run(make_plan(build(TINY | LOUD, "tiny"), alone, tmp_path / "run", fold=1), scorer)
    assert not (tmp_path / "run").exists()


def test_the_loss_of_a_negative_pulls_every_output_down():
    logits = torch.zeros(1, 3, requires_grad=True)
    make_loss(build(TINY | {"loss": "bce"}, "tiny"))(logits, torch.zeros(1, 3)).backward()
    assert (logits.grad > 0).all()
