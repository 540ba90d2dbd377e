import shutil
from pathlib import Path

import pytest
import torch
from small import edit, make_bundle, renamed

from spectag import errors
from spectag.model.loading import load
from spectag.model.official import OFFICIAL


@pytest.mark.parametrize(
    "source",
    ["", "esc11", "/nowhere/at/all", "./nowhere", "~/nowhere", "a/b/c", "nowhere/model.pth", Path("a/b"), "a b/c"],
)
def test_nothing_there_is_found_out_without_the_network(monkeypatch, source):
    monkeypatch.setattr("spectag.model.source.fetch", lambda repository: pytest.fail("asked the Hub"))
    with pytest.raises(errors.ModelNotFound, match="no such file or directory"):
        load(source)


def test_the_nearest_name_is_offered():
    with pytest.raises(errors.ModelNotFound, match="nearest: audioset"):
        load("audio-set")


@pytest.mark.parametrize(
    ("source", "repository"),
    [
        ("audioset", "MIT/ast-finetuned-audioset-10-10-0.4593"),
        ("speech-commands", "MIT/ast-finetuned-speech-commands-v2"),
    ],
)
def test_aliases(monkeypatch, saved, source, repository):
    asked = []
    monkeypatch.setattr("spectag.model.source.fetch", lambda name: asked.append(name) or saved)
    load(source)
    assert asked == [repository]


def test_bundled_models_and_what_shares_their_name(monkeypatch, saved, tmp_path):
    monkeypatch.setattr("spectag.model.source.find_bundled", lambda: {"esc10": saved})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "esc10").mkdir()  # a data set, for example
    assert load("esc10").describe()["source"] == "esc10"
    shutil.copytree(saved, tmp_path / "esc10", dirs_exist_ok=True)
    edit(tmp_path / "esc10/spectag.json", provenance={"source": "local"})
    assert load("esc10").provenance == {"source": "local"}  # an existing model goes first


@pytest.fixture
def run(saved, tmp_path):
    """A finished run's folder, as far as a model is looked for in it."""
    folder = tmp_path / "run"
    shutil.copytree(saved, folder / "bundle")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"not looked at")
    for name in ("recipe.yaml", "plan.json", "report.json"):
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize("given", ["", "bundle", "checkpoints/last.ckpt"])
def test_a_run_and_its_checkpoint_lead_to_its_bundle(run, given):
    """The kind: of the things that a run leaves, only one could be given as a model, and the others' errors were of no
    help."""
    loaded = load(run / given)
    assert loaded.labels.names[0] == "class 0"
    assert loaded.describe()["source"] == str(run / given)


@pytest.mark.parametrize("given", ["", "checkpoints/last.ckpt"])
def test_a_run_that_is_not_finished(run, given):
    shutil.rmtree(run / "bundle")
    with pytest.raises(errors.NotAModel, match=r"the run in .*run has no bundle yet, since it is not fini") as caught:
        load(run / given)
    assert f"continue it with --resume, or write the model so far: spectag train --finish {run}" in str(caught.value)


def test_a_folder_of_several_runs(run, tmp_path):
    for name in ("fold1", "fold2", "fold3", "fold4"):
        shutil.copytree(run, tmp_path / "runs" / name)
    message = r"runs: holds runs, not a model: name one of them \(fold1, fold2, fold3, \.\.\.\)"
    with pytest.raises(errors.NotAModel, match=message):
        load(tmp_path / "runs")


def test_a_run_that_shares_the_name_of_a_known_model(monkeypatch, run, saved, tmp_path):
    monkeypatch.setattr("spectag.model.source.find_bundled", lambda: {"run": saved})
    monkeypatch.chdir(tmp_path)
    edit(run / "bundle/spectag.json", provenance={"source": "the run"})
    assert load("run").provenance == {"source": "the run"}, "it holds a model"
    shutil.rmtree(run / "bundle")
    assert load("run").provenance == {"source": "a test"}, "it does not hide the known one"


def test_a_checkpoint_of_another_program_is_a_weight_file(tmp_path):
    """Lightning's own files end in .ckpt as well."""
    (tmp_path / "checkpoints").mkdir()
    torch.save({"state_dict": renamed(make_bundle(), OFFICIAL)}, tmp_path / "checkpoints" / "epoch=3.ckpt")
    assert load(tmp_path / "checkpoints" / "epoch=3.ckpt", heads=2).labels.names[0] == "LABEL_0"
