"""What goes wrong in the middle of training: broken clips, a loss that is not finite, processes that die."""

import multiprocessing
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from test_run import TINY, go, scorer, tones  # noqa: F401  # tones is a fixture

from spectag.data.layouts import read_manifest
from spectag.errors import AudioError, RecipeError, RunFailed, RunInterrupted
from spectag.model.loading import load
from spectag.runs.plan import make_plan
from spectag.runs.run import run
from spectag.runs.watcher import Watcher
from spectag.train.recipe import build


@pytest.fixture
def broken(tones, tmp_path):  # noqa: F811
    shutil.copytree(tones, tmp_path / "data")
    victims = sorted((tmp_path / "data" / "001 - Low").glob("2-*"))[1:3]
    victims[0].write_text("not audio")
    victims[1].write_bytes(b"")
    return tmp_path / "data", [f"001 - Low/{path.name}" for path in victims]


@pytest.mark.parametrize("cache_gb", [2.0, 0.0], ids=["in memory", "read by workers"])
def test_a_broken_training_clip_is_skipped_counted_and_named(broken, tmp_path, cache_gb):
    data, names = broken
    report = go(data, tmp_path / "run", build(TINY | {"epochs": 1, "cache_gb": cache_gb}, "tiny"), fold=1)
    assert sorted(row["id"] for row in report["skipped"]) == names
    assert "got 0 bytes" in next(row["reason"] for row in report["skipped"] if row["id"] == names[1])
    assert report["result"]["clips"] == 12
    assert report["heard"] == {"clips": 10, "labels": {"Low": 4, "High": 6}, "without_label": 0}


def test_a_run_with_broken_clips_resumes_to_the_same_weights(broken, tmp_path):
    """Those that stand in follow from the draw, in which process and however often the run was started."""
    data, names = broken
    recipe = build(TINY | {"cache_gb": 0.0}, "tiny")

    class Stop(Watcher):
        def on_batch(self, job):
            if job.steps == 4:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(RunInterrupted):
        run(make_plan(recipe, read_manifest(data), tmp_path / "stopped", fold=1), scorer, Stop())
    state = torch.load(tmp_path / "stopped" / "checkpoints" / "last.ckpt", weights_only=True)
    assert (state["epoch"], state["batches"]) == (1, 2)
    assert int(state["heard"].sum()) == 10
    resumed = go(data, tmp_path / "stopped", build(TINY | {"cache_gb": 2.0}, "tiny"), fold=1, resume=True)
    whole = go(data, tmp_path / "whole", recipe, fold=1)
    assert [row["loss"] for row in resumed["epochs"]] == [row["loss"] for row in whole["epochs"]]
    a, b = (load(tmp_path / name / "bundle").network.state_dict() for name in ("stopped", "whole"))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert resumed["heard"] == whole["heard"]
    assert sorted(row["id"] for row in resumed["skipped"]) == sorted(row["id"] for row in whole["skipped"]) == names


@pytest.mark.parametrize("cache_gb", [2.0, 0.0], ids=["in memory", "read by workers"])
def test_strict_ends_the_run_with_its_name(broken, tmp_path, cache_gb):
    data, names = broken
    recipe = build(TINY | {"epochs": 1, "cache_gb": cache_gb, "augment": {}}, "tiny")
    with pytest.raises(AudioError) as caught:
        go(data, tmp_path / "run", recipe, fold=1, strict=True)
    assert any(name in str(caught.value) for name in names)


def test_no_process_outlives_an_error(tones, tmp_path):  # noqa: F811
    """They ignore SIGTERM, so Python could not exit beside them."""
    jobs = []

    class Fail(Watcher):
        def on_batch(self, job):
            jobs.append(job)  # kept, as a traceback would keep it
            assert multiprocessing.active_children()
            raise KeyError("mine")

    recipe = build(TINY | {"epochs": 1, "cache_gb": 0.0}, "tiny")
    with pytest.raises(KeyError, match="mine"):
        run(make_plan(recipe, read_manifest(tones), tmp_path / "run"), scorer, Fail())
    assert multiprocessing.active_children() == []


def test_a_loss_that_is_not_finite_names_step_and_clips(tones, tmp_path):  # noqa: F811
    class Poison(Watcher):
        def on_batch(self, job):
            if job.steps == 2:
                job.network.head.linear.bias.data.fill_(float("nan"))

    todo = make_plan(build(TINY, "tiny"), read_manifest(tones), tmp_path / "run", fold=1)
    with pytest.raises(RunFailed, match=r"step 3: the loss is nan with the clips 00\d - \w+/2-.*lower lr") as caught:
        run(todo, scorer, Poison())
    assert str(caught.value).count("-A.wav") == TINY["batch_size"]


def test_ctrl_c_leaves_a_run_to_continue(tones, tmp_path):  # noqa: F811
    class Press(Watcher):
        def on_batch(self, job):
            if job.steps == 4:
                signal.raise_signal(signal.SIGINT)

    todo = make_plan(build(TINY, "tiny"), read_manifest(tones), tmp_path / "run", fold=1)
    with pytest.raises(RunInterrupted, match="stopped after 1 of 3 epochs; the same command with --resume continues"):
        run(todo, scorer, Press())
    assert len(go(tones, tmp_path / "run", fold=1, resume=True)["epochs"]) == 3


def test_a_reading_process_that_dies_is_an_error_not_a_hang(tones, tmp_path, monkeypatch):  # noqa: F811
    main = os.getpid()

    def murderous(sources, _):
        if os.getpid() != main:
            os.kill(os.getpid(), signal.SIGKILL)
        return [np.random.default_rng(0).uniform(-0.1, 0.1, 8000).astype(np.float32) for _ in sources]

    monkeypatch.setattr("spectag.train.examples.read_segments", murderous)
    todo = make_plan(build(TINY | {"cache_gb": 0.0}, "tiny"), read_manifest(tones), tmp_path / "run", fold=1)
    with pytest.raises(RunFailed, match="a process that reads clips was killed"):
        run(todo, scorer)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"precision": "fp16"}, "precision fp16 needs a CUDA device, got cpu"),
        ({"select": "best"}, "select best needs validation clips"),
        ({"accumulate": 4, "batch_size": 8, "steps": [1, 1]}, None),
    ],
)
def test_what_does_not_go_together_is_said_before_anything_is_done(tones, tmp_path, keys, message):  # noqa: F811
    recipe = build(TINY | keys, "tiny")
    if message is None:
        assert go(tones, tmp_path / "run", recipe, fold=1)["recipe"]["epochs"] == 1
        return
    with pytest.raises(RecipeError, match=message):
        go(tones, tmp_path / "run", recipe, fold=1)
    assert not (tmp_path / "run").exists()


def test_validation_chooses_and_test_reports(tones, tmp_path):  # noqa: F811
    """Both parts scored, the best epoch by validation alone, its weights those of the bundle."""
    rows = ["path,label,split"]
    for clip in read_manifest(tones).clips:
        number = int(clip.path.stem[3:6])
        split = ("train", "train", "validation", "test")[number % 4]
        rows.append(f"{clip.path},{'low' if clip.labels == (0,) else 'high'},{split}")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    recipe = build(TINY | {"epochs": 4, "select": "best", "metric": "accuracy", "average": [2, 4]}, "tiny")
    report = go(tmp_path / "clips.csv", tmp_path / "run", recipe)
    assert set(report["results"]) == set(report["validation"]) == {"last", "averaged", "best"}
    assert report["results"]["best"].items() <= report["result"].items()  # which has intervals, too
    best = max(row["accuracy"] for row in report["epochs"])
    assert report["validation"]["best"]["accuracy"] == best
    assert "on the validation clips (epoch" in report["chosen"]
    assert sorted(path.name for path in (tmp_path / "run").glob("bundle*")) == [
        "bundle",
        "bundle-averaged",
        "bundle-last",
    ]
    assert (tmp_path / "run" / "report.html").stat().st_size > 5000


def test_scoring_leaves_the_network_training(tones, tmp_path):  # noqa: F811
    """Also where an epoch is the best so far and its weights are saved."""
    modes = []

    class Watch(Watcher):
        def on_batch(self, job):
            modes.append(job.network.training)

    keys = {"epochs": 3, "ema": 0.0, "select": "best", "holdout": 0.2, "metric": "accuracy"}
    (tmp_path / "own").mkdir()
    for source, name in (("001 - Low", "low"), ("002 - High", "high")):
        shutil.copytree(tones / source, tmp_path / "own" / name)
    run(make_plan(build(TINY | keys, "tiny"), read_manifest(tmp_path / "own"), tmp_path / "run"), scorer, Watch())
    assert modes
    assert all(modes)


def test_the_averaged_bundle_is_the_mean_of_the_epochs(tones, tmp_path):  # noqa: F811
    states = []

    class Keep(Watcher):
        def on_epoch(self, job, row):
            states.append({key: value.double().clone() for key, value in job.network.state_dict().items()})

    recipe = build(TINY | {"epochs": 3, "ema": 0.0, "average": [2, 3], "select": "averaged"}, "tiny")
    run(make_plan(recipe, read_manifest(tones), tmp_path / "run", fold=1), scorer, Keep())
    mean = load(tmp_path / "run" / "bundle").network.state_dict()
    last = load(tmp_path / "run" / "bundle-last").network.state_dict()
    for key, value in mean.items():
        assert torch.equal(value, ((states[1][key] + states[2][key]) / 2).float()), key
        assert torch.equal(last[key], states[2][key].float()), key
