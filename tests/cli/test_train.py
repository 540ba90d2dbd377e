"""spectag train, as typed."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spectag.cli.main import main

SMALL = [
    *("epochs=4", "evaluate_every=2", "batch_size=8", "lr=3e-3", "exclude=[]", "schedule.warmup_steps=0"),
    *(
        "model.width=16",
        "model.depth=1",
        "model.heads=2",
        "front_end.frames=48",
        "front_end.mean=-6",
        "front_end.std=5",
    ),
]
SETS = [word for pair in SMALL for word in ("--set", pair)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Rising and falling sweeps of a second, in ESC-10's layout."""
    root = tmp_path_factory.mktemp("clips")
    seconds = np.arange(16000) / 16000
    for name, sign in (("001 - Rising", 1), ("002 - Falling", -1)):
        (root / name).mkdir()
        for i in range(6):
            sweep = np.sin(2 * np.pi * (2000 + sign * 1500 * seconds) * seconds + i)
            soundfile.write(root / name / f"{i % 2 + 1}-{i + 100 * (sign + 2)}-A.wav", 0.3 * sweep, 16000)
    return root


def one_line(capsys) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith("spectag: error: ")
    return line


def test_train_then_evaluate_then_tag(clips, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "esc10", "--data", str(clips), "--out", str(run), "--fold", "2", *SETS]) == 0
    captured = capsys.readouterr()
    assert "held out (fold 2): accuracy" in captured.out
    assert "epoch 4/4: loss" in captured.err
    report = json.loads((run / "report.json").read_text())

    assert main(["evaluate", str(run / "bundle"), "--data", str(clips), "--fold", "2", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["accuracy"] == report["result"]["accuracy"]
    assert figures["mean_ap"] == pytest.approx(report["result"]["mean_ap"])
    assert list(figures["ap"]) == ["Rising", "Falling"]

    assert main(["evaluate", str(run / "bundle"), "--data", str(clips)]) == 0
    assert re.search(r"on 12 clips \(ESC-10\)\naccuracy +[01]\.", capsys.readouterr().out)

    assert main(["tag", str(clips / "001 - Rising"), "--model", str(run / "bundle"), "--format", "jsonl"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6

    again = ["train", "esc10", "--data", str(clips), "--out", str(run), "--fold", "2", *SETS]
    assert main(again) == 1
    assert "not empty" in one_line(capsys)
    assert main([*again, "--resume"]) == 0, "a finished run has nothing left to do"
    assert json.loads((run / "report.json").read_text()) == report


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "epochz=3"], "unknown key 'epochz'; did you mean epochs"),
        (["--set", "epochs=abc"], "epochs: .*got 'abc'"),
        (["--set", "model.heads=7"], "width must be a multiple of heads"),
        (["--fold", "4"], "no such fold; it has: 1, 2"),
    ],
)
def test_bad_recipes_and_folds(clips, tmp_path, capsys, arguments, message):
    assert main(["train", "esc10", "--data", str(clips), "--out", str(tmp_path / "run"), *arguments]) == 1
    assert re.search(message, one_line(capsys))
    assert not (tmp_path / "run").exists()


def test_unknown_recipe_and_layout(tmp_path, capsys):
    assert main(["train", "esc11", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 1
    assert "nearest: esc10" in one_line(capsys)
    assert main(["train", "esc10", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 1
    assert "known are: packed" in one_line(capsys)


def test_a_broken_training_clip_is_named(clips, tmp_path, capsys):
    for folder in clips.iterdir():
        (tmp_path / "data" / folder.name).mkdir(parents=True)
        for path in folder.iterdir():
            (tmp_path / "data" / folder.name / path.name).write_bytes(path.read_bytes())
    (tmp_path / "data" / "002 - Falling" / "1-9-A.wav").write_bytes(b"")
    words = ["train", "esc10", "--data", str(tmp_path / "data"), *SETS]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert "warning: skipped in training: " in (err := capsys.readouterr().err)
    assert "1-9-A.wav: expected a recording, got 0 bytes" in err
    assert main([*words, "--out", str(tmp_path / "strict"), "--strict"]) == 1
    assert "1-9-A.wav" in one_line(capsys)


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs prlimit, of util-linux")
def test_a_disk_that_fills_up(clips, tmp_path):
    """Files may not grow past a limit here, which is what a full disk does to the large ones."""
    run = tmp_path / "run"
    command = ["train", "esc10", "--data", str(clips), "--out", str(run), *SETS, "--set", "epochs=1"]
    assert main(command) == 0
    before = {path.name: path.read_bytes() for path in (run / "bundle").iterdir()}
    small = ["prlimit", "--fsize=20000", sys.executable, "-m", "spectag"]

    done = subprocess.run(
        [*small, "convert", "esc10", str(run / "bundle")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert done.stderr.startswith("spectag: error: ")
    assert {path.name: path.read_bytes() for path in (run / "bundle").iterdir()} == before

    command[command.index("--out") + 1] = str(tmp_path / "other")
    done = subprocess.run([*small, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "spectag: error: " in done.stderr.splitlines()[-1]
    assert "could not be written" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "other" / "bundle").exists()


def test_a_separator_in_the_recipe_and_negatives_beside(clips, tmp_path, capsys):
    """The kind: labels joined with a sign of the user's own must not become classes of their own in training alone."""
    names = sorted(path.as_posix() for path in clips.rglob("*.wav"))
    cells = ("up+down", "up", "down")
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(f"{n},{cells[i % 3]}\n" for i, n in enumerate(names[:9])))
    (tmp_path / "none").mkdir()
    for name in names[9:]:
        shutil.copy(name, tmp_path / "none")
    command = ["train", "scratch", "--data", str(tmp_path / "t.csv"), "--out", str(tmp_path / "run"), *SETS]
    command += ["--set", "labels.separator=+", "--set", "epochs=1", "--set", "steps=null"]
    assert main([*command, "--negatives", str(tmp_path / "none")]) == 0, capsys.readouterr().err
    config = json.loads((tmp_path / "run" / "bundle" / "config.json").read_text())
    assert set(config["id2label"].values()) == {"up", "down"}
