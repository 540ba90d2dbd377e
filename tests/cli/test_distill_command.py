"""``spectag train`` with a teacher, from the command line."""

import json
from pathlib import Path

import pytest

from spectag.cli.main import main
from spectag.model.loading import load

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = ["model.width=16", "model.depth=1", "model.heads=2", "epochs=1", "steps=null", "batch_size=4"]
SETS = [word for pair in SMALL for word in ("--set", pair)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "mine.py").write_text(
        "def scores(waveform, rate):\n    return [0.9, 0.2]\n\nscores.labels = ['something', 'nothing']\n"
    )
    return tmp_path


def distill(teacher, out, *more):
    return main(["train", "distill", "--teacher", teacher, "--data", str(EXAMPLES), "--out", str(out), *SETS, *more])


def test_a_function_in_this_folder_teaches(place, capsys):
    assert distill("mine:scores", "run", "--set", "holdout=0.2") == 0
    said = capsys.readouterr()
    assert "2 classes" in said.err
    bundle = load("run/bundle")
    assert bundle.labels.names == ("something", "nothing")
    assert bundle.card.config.frame_head
    report = json.loads(Path("run/report.json").read_text())
    assert report["recipe"]["teacher"]["model"] == "mine:scores"
    assert distill("mine:scores", "run") == 1, "the folder is not empty"


def test_a_model_teaches_what_it_was_taught(place):
    assert distill("esc10", "run", "--set", "front_end.frames=256", "--set", "holdout=0") == 0
    assert load("run/bundle").labels.names == load("esc10").labels.names
    assert load("run/bundle").activation == load("esc10").activation


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--teacher", "mine:other"], "--teacher mine:other: expected a function in a module"),
        (["--teacher", "no.such.module:f"], "--teacher no.such.module:f: expected a function in a module"),
        (["--teacher", "missing.npz"], "missing.npz"),
        (["--teacher", "missing.pth"], "'missing.pth': no such file"),
        (["--teacher", "audioset", "--set", "init=null"], "audioset"),
        (["--teacher", "mine:scores", "--folds", "all"], "has no folds"),
        (["--teacher", "mine:scores", "--negatives", "."], "this one has a teacher"),
        (["--teacher", "mine:scores", "--set", "teacher.temperature=0"], "teacher.temperature"),
        (["--teacher", "mine:scores", "--set", "teacher.features=1"], "gives no features to compare"),
    ],
)
def test_what_cannot_work_is_said(place, capsys, arguments, message):
    code = main(["train", "distill", "--data", str(EXAMPLES), "--out", "run", *SETS, *arguments])
    assert code != 0
    said = capsys.readouterr().err
    assert message in " ".join(said.replace("│", " ").split())
    assert "Traceback" not in said
    assert not Path("run").exists()


def test_seeds_and_sweeps(place, capsys):
    few = ["--set", "holdout=0.2", "--set", "front_end.frames=128"]
    assert distill("mine:scores", "seeds", "--seeds", "2", *few) == 0
    assert json.loads(Path("seeds/summary.json").read_text())["runs"][1]["out"].endswith("seed1")
    command = ["sweep", "distill", "--data", str(EXAMPLES), "--out", "sweep", *SETS, *few]
    teacher = ["--set", "teacher.model=mine:scores"]
    assert main([*command, *teacher, "--over", "teacher.temperature=1,2"]) == 0
    assert "teacher.temperature=2" in capsys.readouterr().out
    assert main([*command, "--over", "teacher.model=mine:scores,esc10"]) == 2
    assert "expected one teacher" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_no_recordings(place, capsys):
    Path("empty").mkdir()
    assert main(["train", "distill", "--teacher", "mine:scores", "--data", "empty", "--out", "run", *SETS]) == 1
    assert "--data empty: expected recordings, found none" in capsys.readouterr().err
    assert main(["train", "distill", "--teacher", "mine:scores", "--data", "nowhere", "--out", "run", *SETS]) == 1
    assert "--data nowhere: expected a directory or a table of clips, found nothing" in capsys.readouterr().err


def test_a_table_that_cannot_be_read_is_not_taken_for_a_recording(place, capsys):
    Path("clips.csv").write_text("a,b\n1,2\n")
    assert main(["train", "distill", "--teacher", "mine:scores", "--data", "clips.csv", "--out", "run", *SETS]) == 1
    assert "clips.csv" in capsys.readouterr().err
    assert not Path("run").exists()


def test_labels_that_are_not_learned_are_not_missed(place, capsys):
    assert distill("mine:scores", "run", "--set", "holdout=0") == 0
    assert "was heard" not in capsys.readouterr().err
