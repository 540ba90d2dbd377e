"""spectag train over folds and seeds, from a checkpoint, on own data; spectag sweep and recipes; as typed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from test_train import SETS, clips, one_line  # noqa: F401  # clips is a fixture

from spectag.cli.main import main
from spectag.model.config import ASTConfig
from spectag.model.deit import DEIT
from spectag.model.loading import load
from spectag.model.network import AST
from spectag.model.tensors import from_ours
from spectag.train.recipe_files import packaged

SHORT = [*SETS, "--set", "epochs=2"]


def train(*arguments: object) -> int:
    return main(["train", *map(str, arguments)])


def test_recipes_are_listed_with_command_cost_and_score(capsys):
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(packaged())
    assert sum(line.startswith("  score ") for line in lines) == len(packaged())


def test_folds_and_seeds(clips, tmp_path, capsys):  # noqa: F811
    out = tmp_path / "cv"
    words = ["esc10", "--data", clips, "--out", out, "--folds", "all", "--seeds", 2, *SHORT]
    assert train(*words) == 0
    printed = capsys.readouterr().out.splitlines()
    names = ["fold1-seed0", "fold1-seed1", "fold2-seed0", "fold2-seed1"]
    assert [line.split(":")[0] for line in printed] == [*names, "mean", "pooled"]
    assert "+-" in printed[-1]
    summary = json.loads((out / "summary.json").read_text())
    figures = [json.loads((out / name / "report.json").read_text())["result"] for name in names]
    accuracies = [figure["accuracy"] for figure in figures]
    assert summary["mean"]["accuracy"] == pytest.approx(np.mean(accuracies))
    assert summary["std"]["accuracy"] == pytest.approx(np.std(accuracies, ddof=1))
    assert [run["clips"] for run in summary["pooled"]["runs"]] == [12, 12]
    assert summary["pooled"]["runs"][0]["accuracy"] == pytest.approx((accuracies[0] + accuracies[2]) / 2)

    assert train(*words, "--resume", "--set", "lr=1e-4") == 1
    assert "was started with another recipe" in one_line(capsys), "runs of two recipes are never mixed"
    shutil.rmtree(out / "fold2-seed1")
    stamps = {name: (out / name / "report.json").stat().st_mtime_ns for name in names[:3]}
    assert train(*words, "--resume") == 0
    assert stamps == {name: (out / name / "report.json").stat().st_mtime_ns for name in names[:3]}, "not run again"
    assert json.loads((out / "summary.json").read_text()) == summary


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--fold", "1", "--folds", "all"], 2, "cannot be used together"),
        (["--folds", "one"], 2, "expected all, or numbers"),
        (["--folds", "1,7"], 1, "no such fold; it has: 1, 2"),
        (["--init", "nowhere.pth"], 1, "no such file or directory"),
        (["--devices", "3", "--fold", "1"], 1, "batch_size 8 is not a multiple of accumulate 1 times 3 processes"),
    ],
)
def test_what_cannot_be(clips, tmp_path, capsys, arguments, code, message):  # noqa: F811
    assert train("esc10", "--data", clips, "--out", tmp_path / "run", *SHORT, *arguments) == code
    assert message in one_line(capsys)
    assert not (tmp_path / "run").exists()


def test_without_wandb_its_extra_is_named(clips, tmp_path, capsys, monkeypatch):  # noqa: F811
    monkeypatch.setattr("spectag.cli.train.find_spec", lambda name: None if name == "wandb" else name)
    assert train("esc10", "--data", clips, "--out", tmp_path / "run", *SHORT, "--wandb", "project") == 1
    assert "pip install 'spectag[wandb]'" in one_line(capsys)


def test_wandb_without_a_login_is_said_before_training(clips, tmp_path, monkeypatch):  # noqa: F811
    words = ["esc10", "--data", clips, "--out", tmp_path / "run", "--fold", "1", *SHORT, "--wandb", "project"]
    secrets = ("WANDB_API_KEY", "WANDB_MODE")
    environment = {key: value for key, value in os.environ.items() if key not in secrets} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "spectag", "train", *map(str, words)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "spectag: error: --wandb project: " in done.stderr
    assert "WANDB_MODE=offline" in done.stderr
    assert "epoch 1" not in done.stderr
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    assert train(*words, "--resume") == 0, "nothing is in the way of another try"


def test_wandb_gets_the_figures(clips, tmp_path, monkeypatch):  # noqa: F811
    """Offline: what would be sent later is written beside the run."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    words = ["esc10", "--data", clips, "--out", tmp_path / "run", "--fold", "1", *SHORT]
    assert train(*words, "--wandb", "project") == 0
    (log,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    assert all(name in log.read_bytes() for name in (b"loss", b"mean_ap", b"project"))


def test_finetune_own_sounds_from_a_checkpoint(clips, tmp_path, capsys):  # noqa: F811
    """The field biologist's command: a folder per class, a part put aside, the head new, the front end inherited."""
    data = tmp_path / "my sounds"
    for name, folder in (("owl", "001 - Rising"), ("fox", "002 - Falling")):
        shutil.copytree(clips / folder, data / name)
    run = tmp_path / "run"
    words = ["--set", "steps=[4,6]", "--set", "batch_size=4"]
    assert train("finetune", "--data", data, "--init", "esc10", "--out", run, *words) == 0
    assert "held out (20% of the clips, drawn by seed 0): accuracy" in capsys.readouterr().out
    bundle, before = load(run / "bundle"), load("esc10")
    assert bundle.labels.names == ("fox", "owl")
    assert bundle.front_end == before.front_end
    assert bundle.network.config.patch == before.network.config.patch
    report = json.loads((run / "report.json").read_text())
    assert 4 <= report["recipe"]["epochs"] * 3 <= 6, "so many steps"
    assert report["result"]["clips"] == 2
    page = (run / "report.html").read_text()
    assert "Training run finetune" in page


def test_a_table_with_several_labels_from_scratch(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = ["path,labels,split"]
    for i in range(16):
        soundfile.write(tmp_path / f"{i}.wav", rng.standard_normal(8000) * 0.1, 16000)
        rows.append(f"{i}.wav,{'owl|fox' if i % 3 == 0 else 'owl' if i % 2 else 'fox'},{'test' if i > 11 else 'train'}")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    sets = ["steps=[1,2]", "batch_size=4", "model.width=16", "model.depth=1", "model.heads=2", "balanced=true"]
    words = [word for pair in sets for word in ("--set", pair)]
    (tmp_path / "3.wav").unlink()
    assert train("scratch", "--data", tmp_path / "clips.csv", "--out", tmp_path / "run", *words) == 0
    captured = capsys.readouterr()
    assert "held out (split test)" in captured.out
    assert "1 of 16 clips are missing, for example 3.wav" in captured.err
    assert json.loads((tmp_path / "run" / "report.json").read_text())["data"]["missing"] == 1
    assert load(tmp_path / "run" / "bundle").activation == "sigmoid"


def test_sweep(clips, tmp_path, capsys):  # noqa: F811
    out = tmp_path / "sweep"
    words = ["sweep", "esc10", "--data", str(clips), "--out", str(out), "--fold", "1", *SHORT]
    assert main([*words, "--over", "model.patch=[128,8],[128,16]", "--over", "lr=1e-3,1e-4"]) == 0
    rows = json.loads((out / "sweep.json").read_text())
    assert [row["setting"] for row in rows] == [
        f"model.patch=[128,{size}] lr={lr}" for size in (8, 16) for lr in ("1e-3", "1e-4")
    ]
    assert all(row["runs"] == 1 and 0 <= row["accuracy"] <= 1 for row in rows)
    assert {"sweep.csv", "sweep.html", "sweep.svg"} <= {path.name for path in out.iterdir()}
    assert "model.patch=[128,8] lr=1e-3" in (out / "sweep.html").read_text()
    assert capsys.readouterr().out.splitlines()[-1].startswith("model.patch=[128,16] lr=1e-4  accuracy 0.")


def test_the_papers_ablation_of_patch_shapes(clips, tmp_path):  # noqa: F811
    out = tmp_path / "shapes"
    words = ["sweep", "esc10", "--data", str(clips), "--out", str(out), "--fold", "1", "--preset", "patch-shape"]
    assert main([*words, *SHORT, "--seeds", "2"]) == 0
    rows = json.loads((out / "sweep.json").read_text())
    assert [(row["setting"], row["runs"]) for row in rows] == [("128x2", 2), ("16x16", 2), ("32x32", 2)]
    assert load(out / "32x32" / "fold1-seed1" / "bundle").network.config.patch == (32, 32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --over KEY=VALUES or --preset NAME"),
        (["--over", "lr"], "expected key=value,value"),
        (["--over", "lrr=1,2"], "unknown key 'lrr'"),
        (["--preset", "from-scratch"], "expected the recipe esc50-scratch, which it changes; got audioset-balanced"),
        (["--preset", "colour"], "expected one of from-scratch, initial-weights"),
        (["--preset", "positions", "--weights", "/nowhere"], "--weights /nowhere: expected a folder that exists"),
        (
            ["--preset", "overlap", "--weights", "."],
            "download it from https://dl.fbaipublicfiles.com/deit/deit_base_dis",
        ),
        (["--preset", "patch-shape", "--weights", "."], "no setting of this sweep starts from a file of weights"),
    ],
)
def test_sweeps_that_cannot_be(clips, tmp_path, capsys, arguments, message):  # noqa: F811
    words = ["sweep", "audioset-balanced", "--data", str(clips), "--out", str(tmp_path / "out"), "--fold", "1"]
    assert main([*words, *arguments]) != 0
    assert message in one_line(capsys)
    assert not Path(tmp_path / "out").exists()


def test_a_preset_takes_its_weights_from_a_folder(clips, tmp_path):  # noqa: F811
    """The kind: an option that some presets ignored in silence. The recipe's own file is looked for there, too."""
    torch.manual_seed(0)
    config = ASTConfig(width=32, depth=1, heads=2, stride=(16, 16), frames=128, labels=2)
    deit = from_ours(AST(config).state_dict(), DEIT.rows(depth=1, tokens=2))
    deit = {key: value for key, value in deit.items() if not key.startswith("head.")}
    (tmp_path / "weights").mkdir()
    file = tmp_path / "weights" / "deit_base_distilled_patch16_384-d0272ac0.pth"
    torch.save({"model": deit}, file)
    out = tmp_path / "overlap"
    words = ["sweep", "audioset-balanced", "--data", clips, "--out", out, "--fold", "1", "--preset", "overlap"]
    short = ["epochs=1", "batch_size=8", "average=null", "select=last", "front_end.frames=64", "cache_gb=1"]
    sets = [word for pair in short for word in ("--set", pair)]
    assert main([*map(str, words), "--weights", str(file.parent), *sets]) == 0
    assert [row["setting"] for row in json.loads((out / "sweep.json").read_text())] == [
        "overlap 0", "overlap 2", "overlap 4", "overlap 6"
    ]  # fmt: skip
    report = json.loads((out / "overlap_0" / "fold1" / "report.json").read_text())
    assert report["recipe"]["init"] == str(file)
    assert load(out / "overlap_6" / "fold1" / "bundle").network.config.stride == (10, 10)
