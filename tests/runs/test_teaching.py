"""Distillation: a network learns what a teacher says, of any kind of teacher and of any sounds."""

import json
import shutil
import sys

import numpy as np
import pytest
import soundfile
import torch
from test_run import TINY, position, scorer, tones  # noqa: F401  # tones is a fixture

from spectag.audio.read import read
from spectag.data.layouts import read_manifest
from spectag.errors import DataError, RecipeError, RunInterrupted
from spectag.labels import LabelSet
from spectag.model.loading import load
from spectag.runs.plan import RunOptions, make_plan
from spectag.runs.run import run
from spectag.runs.teaching import follow_teacher, read_taught
from spectag.runs.watcher import Watcher
from spectag.score.npz import read_scores
from spectag.train.recipe import build

TEACHER = """
import numpy as np

def pitch(waveform, rate):
    with open("asked.txt", "a") as file:
        file.write("x")
    power = np.square(np.abs(np.fft.rfft(waveform))) + 1e-9
    low = power[: len(power) // 8].sum() / power.sum()
    return [0.02 + 0.96 * low, 0.98 - 0.96 * low, 0.1], [low, 1 - low]

pitch.labels = ["deep", "shrill", "neither"]
"""
STILL = {"noise_and_roll": True, "time_mask": 8}  # the sound of a clip is always the same
TAUGHT = TINY | {"name": "taught", "epochs": 40, "lr": 3e-3, "evaluate_every": 20, "holdout": 0.25, "metric": "auto"}


@pytest.fixture
def teacher(tmp_path, monkeypatch):
    """A function that hears whether a sound is low or high, and counts how often it is asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "some_teacher", raising=False)
    (tmp_path / "some_teacher.py").write_text(TEACHER)
    return "some_teacher:pitch"


def plan(recipe, data, out, fold=None, **options):
    followed, clips = follow_teacher(build(recipe, "taught"), data)
    return make_plan(followed, clips, out, fold=fold, options=RunOptions(**options))


def asked(tmp_path):
    return len((tmp_path / "asked.txt").read_text())


@pytest.mark.parametrize("keys", [{}, {"model": TINY["model"] | {"frames": True}}], ids=["clips", "frames"])
def test_a_student_agrees_with_its_teacher_on_sounds_without_labels(tones, teacher, tmp_path, keys):  # noqa: F811
    todo = plan(TAUGHT | {"teacher": {"model": teacher}} | keys, tones, tmp_path / "run")
    assert todo.train.labels.names == ("deep", "shrill", "neither")
    assert not any(clip.labels for clip in todo.train.clips)
    report = run(todo, scorer)
    assert report["recipe"]["loss"] == "bce"
    assert report["result"]["clips"] == 6
    assert report["result"]["ap"]["deep"] == report["result"]["ap"]["shrill"] == 1.0
    bundle = load(tmp_path / "run" / "bundle")
    assert bundle.provenance["recipe"]["teacher"]["model"] == teacher
    low, high = (read(next(tones.glob(f"*{name}/*.wav"))) for name in ("Low", "High"))
    [one, other] = scorer(bundle, [low, high])
    assert one[0] > 0.6 > 0.4 > one[1]
    assert other[0] < 0.4 < 0.6 < other[1]
    assert abs(one[2] - 0.1) < 0.08, "scores are learned, not only which is the highest"


def test_a_teacher_is_asked_once_where_the_sound_does_not_change(tones, teacher, tmp_path):  # noqa: F811
    recipe = TAUGHT | {"teacher": {"model": teacher}, "augment": STILL, "epochs": 3, "evaluate_every": 3}
    todo = plan(recipe, tones, tmp_path / "run")
    run(todo, scorer)
    assert asked(tmp_path) == 24, "18 clips to learn from and 6 held out"
    table = read_scores(tmp_path / "run" / "teacher.npz")
    assert list(table.ids) == [clip.id for clip in todo.train.clips]
    assert np.allclose(table.scores[:, 0] + table.scores[:, 1], 1, atol=1e-6)

    (tmp_path / "run" / "report.json").unlink()
    run(plan(recipe, tones, tmp_path / "run", resume=True), scorer)
    assert asked(tmp_path) == 24 + 6, "the scores of the clips to learn from were kept"


def test_what_a_teacher_said_is_a_teacher(tones, teacher, tmp_path):  # noqa: F811
    recipe = TAUGHT | {"augment": STILL, "epochs": 2, "holdout": 0.0}
    run(plan(recipe | {"teacher": {"model": teacher}}, tones, tmp_path / "a"), scorer)
    scores = str(tmp_path / "a" / "teacher.npz")
    run(plan(recipe | {"teacher": {"model": scores}}, tones, tmp_path / "b"), scorer)
    one, other = (load(tmp_path / name / "bundle").network.state_dict() for name in "ab")
    assert all(torch.equal(one[key], other[key]) for key in one)

    soundfile.write(tones / "001 - Low" / "1-0999-A.wav", np.zeros(8000), 16_000)
    try:
        with pytest.raises(DataError, match=r"expected the scores of 25 clips, and those of 1 are missing: .*1-0999-A"):
            plan(recipe | {"teacher": {"model": scores}}, tones, tmp_path / "c")
    finally:
        (tones / "001 - Low" / "1-0999-A.wav").unlink()


def test_a_model_teaches_a_smaller_one_on_labelled_clips(tones, tmp_path):  # noqa: F811
    recipe = TINY | {"epochs": 30, "lr": 3e-3, "evaluate_every": 30}
    run(make_plan(build(recipe, "tiny"), read_manifest(tones), tmp_path / "teacher", fold=1), scorer)
    teacher = {"model": str(tmp_path / "teacher" / "bundle"), "temperature": 2.0, "features": 1.0}
    student = recipe | {"teacher": teacher, "model": TINY["model"] | {"width": 8, "depth": 1}, "metric": "auto"}
    todo = plan(student, tones, tmp_path / "student", fold=1)
    assert todo.recipe.loss == "ce"
    assert todo.recipe.metric == "accuracy", "the labels of the held-out clips are those of the data set"
    report = run(todo, scorer)
    assert report["result"]["accuracy"] > 0.9
    assert report["parameters"] < 10_000


def test_a_stopped_run_resumes_to_the_same_weights(tones, teacher, tmp_path):  # noqa: F811
    class Stop(Watcher):
        def on_step(self, job, loss):
            if job.steps == 6:
                raise KeyboardInterrupt

    recipe = TAUGHT | {"teacher": {"model": teacher, "features": 0.5}, "epochs": 3, "evaluate_every": 3}
    run(plan(recipe, tones, tmp_path / "whole"), scorer)
    with pytest.raises(RunInterrupted):
        run(plan(recipe, tones, tmp_path / "stopped"), scorer, Stop())
    assert position(tmp_path / "stopped" / "checkpoints" / "last.ckpt")[0] == 0
    run(plan(recipe, tones, tmp_path / "stopped", resume=True), scorer)
    one, other = (load(tmp_path / name / "bundle").network.state_dict() for name in ("whole", "stopped"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_features_are_asked_of_a_teacher_that_has_none(tones, teacher, tmp_path):  # noqa: F811
    text = (tmp_path / "some_teacher.py").read_text().replace(", [low, 1 - low]", "")
    (tmp_path / "some_teacher.py").write_text(text)
    with pytest.raises(RecipeError, match=r"teacher\.features: some_teacher:pitch gives no features"):
        run(plan(TAUGHT | {"teacher": {"model": teacher, "features": 1.0}}, tones, tmp_path / "run"), scorer)
    assert not (tmp_path / "run").exists()


def test_of_long_clips_held_out_both_hear_the_same(tones, teacher, tmp_path, recwarn):  # noqa: F811
    data = tmp_path / "sounds"
    shutil.copytree(tones / "001 - Low", data)
    for path in sorted(data.iterdir())[::2]:  # low at first, then high
        low, rate = soundfile.read(path)
        high = 0.3 * np.sin(2 * np.pi * 3000 * np.arange(3 * rate) / rate)
        soundfile.write(path, np.concatenate([low, high]), rate)
    recipe = TAUGHT | {"teacher": {"model": teacher}, "holdout": 0.5}
    report = run(plan(recipe, data, tmp_path / "run"), scorer)
    assert report["result"]["clips"] == 6
    assert set(report["result"]["ap"]) >= {"deep"}
    table = read_scores(tmp_path / "run" / "scores.npz")
    assert table.targets[:, 0].all(), "the teacher heard the beginning of each"
    assert table.scores[:, 0].min() > 0.6, "and so did the student"
    assert not [str(w.message) for w in recwarn if "ends after" in str(w.message)]


def test_a_plan_that_does_not_follow_its_teacher_is_refused(tones, teacher, tmp_path):  # noqa: F811
    recipe = build(TAUGHT | {"teacher": {"model": teacher}}, "taught")
    with pytest.raises(RecipeError, match="its teacher has 3 labels, and the plan has others"):
        run(make_plan(recipe, read_manifest(tones), tmp_path / "run"), scorer)


def test_labels_are_kept_only_where_the_teacher_has_them(tones):  # noqa: F811
    known = read_taught(tones, LabelSet(("High", "Low", "Other")))
    assert {clip.labels for clip in known.clips} == {(0,), (1,)}
    assert known.clips[0].fold in (1, 2)
    unknown = read_taught(tones, LabelSet(("Owl",)))
    assert {clip.labels for clip in unknown.clips} == {()}
    assert len(unknown) == len(known) == 24


def test_a_broken_recording_costs_nothing_else(tones, teacher, tmp_path):  # noqa: F811
    data = tmp_path / "sounds"
    shutil.copytree(tones / "001 - Low", data)
    (data / "broken.wav").write_text("not a recording")
    recipe = TAUGHT | {
        "teacher": {"model": teacher},
        "augment": STILL,
        "epochs": 1,
        "holdout": 0.0,
        "evaluate_every": 1,
    }
    report = run(plan(recipe, data, tmp_path / "run"), scorer)
    assert [clip["id"] for clip in report["skipped"]] == ["broken.wav"]
    assert report["heard"]["clips"] == 12
    assert json.loads((tmp_path / "run" / "report.json").read_text())["data"]["clips"] == 13
