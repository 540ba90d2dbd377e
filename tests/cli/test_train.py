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
    assert "on 12 clips (ESC-10): accuracy" in capsys.readouterr().out

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


@pytest.fixture
def partly_broken(clips, tmp_path) -> Path:
    """The clips and two that cannot be read, in fold 2."""
    shutil.copytree(clips, tmp_path / "data")
    for name in ("2-8-A.wav", "2-9-A.wav"):
        (tmp_path / "data" / "002 - Falling" / name).write_bytes(b"")
    return tmp_path / "data"


def test_what_was_heard_is_counted(partly_broken, tmp_path, capsys):
    """Kind of fault: a report that counts what a table lists, where less was there."""
    words = ["train", "esc10", "--data", str(partly_broken), "--out", str(tmp_path / "run"), "--fold", "1", *SETS]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert "trained on 6 of 8 clips" in captured.out
    assert captured.err.count("warning: skipped in training: ") == 2
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["heard"] == {"clips": 6, "labels": {"Rising": 3, "Falling": 3}, "without_label": 0}


def test_a_class_of_which_nothing_was_heard_is_named(clips, tmp_path, capsys):
    shutil.copytree(clips, tmp_path / "data")
    shutil.copytree(tmp_path / "data" / "002 - Falling", tmp_path / "data" / "003 - Broken")
    for path in (tmp_path / "data" / "003 - Broken").iterdir():
        path.write_text("not audio")
    words = ["train", "esc10", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), *SETS]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert "trained on 12 of 18 clips" in captured.out
    assert "warning: no training clip of 1 of 3 classes was heard: Broken" in captured.err


@pytest.mark.parametrize("more", [[], ["--seeds", "2"]], ids=["one run", "a series"])
def test_held_out_clips_that_cannot_be_scored_fail_the_command(partly_broken, tmp_path, capsys, more):
    """Kind of fault: figures over fewer clips than were asked for, and an exit code that says all went well, so that
    a script goes on; `spectag evaluate` of the same clips fails. The figures and the model are there all the same.
    """
    run = tmp_path / "run"
    assert main(["train", "esc10", "--data", str(partly_broken), "--out", str(run), "--fold", "2", *SETS, *more]) == 1
    captured = capsys.readouterr()
    for name in ("2-8-A.wav", "2-9-A.wav"):
        assert captured.err.count(f"{name}: expected a recording, got 0 bytes") == (2 if more else 1)
    assert "spectag: error: " in captured.err
    assert "accuracy" in captured.out
    for bundle in run.glob("**/bundle"):
        assert main(["evaluate", str(bundle), "--data", str(partly_broken), "--fold", "2"]) == 1
    if more:
        assert [row["failed"] for row in json.loads((run / "summary.json").read_text())["runs"]] == [2, 2]


def test_a_sweep_fails_too(partly_broken, tmp_path, capsys):
    words = ["sweep", "esc10", "--data", str(partly_broken), "--out", str(tmp_path / "sweep"), "--fold", "2", *SETS]
    assert main([*words, "--set", "epochs=1", "--over", "lr=1e-3,1e-4"]) == 1
    assert (tmp_path / "sweep" / "sweep.csv").is_file(), "whatever could be compared is"
    assert capsys.readouterr().err.count("2-8-A.wav: expected a recording, got 0 bytes") == 2


def test_one_class_without_negatives_is_refused_with_advice(clips, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "clips.csv").write_text(
        "path,label\n" + "".join(f"{path},rising\n" for path in (clips / "001 - Rising").iterdir())
    )
    words = ["train", "scratch", "--data", str(tmp_path / "clips.csv"), "--out", str(tmp_path / "run"), *SETS]
    assert main(words) == 1
    line = one_line(capsys)
    assert "all 6 training clips have the label 'rising', so there is nothing to tell it from: add clips" in line
    assert not (tmp_path / "run").exists()


def test_fewer_clips_than_processes(clips, tmp_path, capsys):
    words = ["train", "esc10", "--data", str(clips), "--out", str(tmp_path / "run"), *SETS, "--set", "batch_size=16"]
    assert main([*words, "--devices", "16"]) == 1
    assert "--devices 16: expected at least one training clip per process, got 12 clips" in one_line(capsys)


def test_the_best_epoch_beside_a_fold(clips, tmp_path, capsys):
    """What the message advises works as typed."""
    words = ["train", "esc10", "--data", str(clips), "--out", str(tmp_path / "run"), "--fold", "1", *SETS]
    assert main([*words, "--set", "select=best"]) == 1
    line = one_line(capsys)
    [advice] = re.findall(r"set (holdout=[\d.]+)", line)
    assert main([*words, "--set", "select=best", "--set", advice]) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["data"]["held_out"] == "fold 1"
    assert report["result"]["clips"] == 6
    assert report["heard"]["clips"] + report["validation"]["best"]["clips"] == 6
    assert "on the validation clips" in report["chosen"]


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
