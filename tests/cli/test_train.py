"""spectag train, as typed."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

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
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("spectag: error: ")
    assert "1-9-A.wav" in error


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


def test_what_is_held_out_is_said_before_and_after(clips, tmp_path, capsys):
    """The kind of fault: a run that nothing was held out of looks like one whose figures were forgotten."""
    words = ["train", "esc10", "--data", str(clips), *SETS, "--set", "epochs=1"]
    assert main([*words, "--out", str(tmp_path / "fold"), "--fold", "2"]) == 0
    captured = capsys.readouterr()
    said = r"fold: 6 clips of 2 classes; held out: 6 clips \(fold 2\); \d+ threads? on \d+ of \d+ cores"
    assert re.search(said, captured.err.splitlines()[0])
    assert "nothing is held out" not in captured.err

    assert main([*words, "--out", str(tmp_path / "all")]) == 0
    captured = capsys.readouterr()
    first, second = captured.err.splitlines()[:2]
    assert "all: 12 clips of 2 classes; held out: nothing" in first
    assert second.startswith(
        "spectag: warning: nothing is held out, so the run cannot tell how good its model is: --fold"
    )
    assert captured.out.splitlines()[-1] == "held out: nothing"

    plain = tmp_path / "plain"
    for folder in clips.iterdir():
        shutil.copytree(folder, plain / folder.name.split()[-1])
    words[words.index("--data") + 1] = str(plain)
    assert main([*words, "--out", str(tmp_path / "own")]) == 0
    assert "--set holdout=0.2 holds out a fifth of the clips" in capsys.readouterr().err


def test_something_is_said_before_torch_is_loaded(clips, tmp_path):
    """And then at every stage: whoever waits sees what for."""
    code = (
        "import sys, spectag.cli.output as output\n"
        "import spectag.cli.runs as runs\n"
        "runs.say = lambda *words: (output.say(*words), print('torch' in sys.modules, flush=True))\n"
        "from spectag.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = ["train", "esc10", "--data", str(clips), "--out", str(tmp_path / "run"), "--fold", "2", *SETS]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "False"
    said = done.stderr.splitlines()
    assert said[0].startswith("spectag: train: ")
    assert said[1] == "reading 6 clips"
    assert said[2].startswith("epoch 1/4: step 1 of 4, loss ")
    assert [line for line in said if not line.startswith(("epoch", "spectag"))][1:] == [
        "scoring 6 held-out clips",
        "writing the report",
    ]


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_are_those_asked_for(clips, tmp_path, capsys, threads):
    import torch

    before = torch.get_num_threads()
    words = ["--data", str(clips), "--fold", "2", "--threads", str(threads)]
    try:
        assert main(["train", "esc10", *words, "--out", str(tmp_path / "run"), *SETS, "--set", "epochs=1"]) == 0
        assert f"; {threads} thread" in capsys.readouterr().err
        assert json.loads((tmp_path / "run" / "report.json").read_text())["threads"] == threads
        torch.set_num_threads(2)
        assert main(["evaluate", str(tmp_path / "run" / "bundle"), *words]) == 0
        assert torch.get_num_threads() == threads
        assert re.match(rf"spectag: note: {threads} threads? on \d+ of \d+ cores\n", capsys.readouterr().err)
    finally:
        torch.set_num_threads(before)
    assert main(["train", "esc10", *words[:-1], "0", "--out", str(tmp_path / "none")]) == 2


def test_offline_and_without_weights_a_recipe_that_needs_none_is_named(clips, tmp_path, capsys, monkeypatch):
    """The kind of fault: an error that leads to a download, where there is no network.

    A name that was mistyped is another matter.
    """
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    out = tmp_path / "my run"
    for init in ([], ["--init", "speech-commands"], ["--init", "somebody/model"]):
        assert main(["train", "finetune", "--data", str(clips), "--out", str(out), *init]) == 1
        advice = f"or train without any weights: spectag train scratch --data {clips} --out '{out}'"
        assert one_line(capsys).endswith(advice)
    assert main(["train", "finetune", "--data", str(clips), "--out", str(out), "--init", "audioste"]) == 1
    assert "scratch" not in one_line(capsys)
    small = ["--set", "steps=[1,1]", "--set", "model.depth=1"]
    assert main(["train", "scratch", "--data", str(clips), "--out", str(out), "--fold", "2", *small]) == 0


def test_the_model_so_far(clips, tmp_path, capsys):
    words = ["train", "esc10", "--data", str(clips), "--out", str(tmp_path / "run"), "--fold", "2", *SETS]
    script = (
        "import os, signal, sys\n"
        "from spectag.cli import progress\n"
        "class Stop(progress.TrainingBar):\n"
        "    def on_epoch(self, job, row):\n"
        "        super().on_epoch(job, row)\n"
        "        if job.epoch == 2: os.kill(os.getpid(), signal.SIGTERM)\n"
        "progress.TrainingBar = Stop\n"
        "from spectag.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    advice = f"the same command with --resume continues, and spectag train --finish {tmp_path / 'run'} gives the model"
    assert f"stopped after 3 of 4 epochs; {advice} so far" in done.stderr.splitlines()[-1]
    assert main(["train", "--finish", str(tmp_path / "run")]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path / 'run' / 'bundle'}: weights of the last checkpoint, after 3 of 4 epochs"
    assert re.fullmatch(r"held out, after epoch 2: accuracy \d\.\d+, mAP .*", second)
    assert main(["tag", str(clips), "--model", str(tmp_path / "run" / "bundle")]) == 0
    assert main([*words, "--resume"]) == 0
    capsys.readouterr()
    assert main(["train", "--finish", str(tmp_path / "run")]) == 1
    assert "the run came to its end" in one_line(capsys)
    assert main(["train", "--finish", str(tmp_path / "nowhere")]) == 1
    assert "expected the folder of a run" in one_line(capsys)


def test_a_run_within_minutes(clips, tmp_path, capsys, monkeypatch):
    """The recipe would take hours. Every look at the clock takes a second here."""
    seconds = itertools.count(1.0)
    monkeypatch.setattr("spectag.cli.train.time", SimpleNamespace(monotonic=lambda: 0.0))
    monkeypatch.setattr("spectag.runs.budget.monotonic", lambda: next(seconds))
    words = ["train", "esc10", "--data", str(clips), "--fold", "2", *SETS, "--set", "epochs=100000"]
    assert main([*words, "--out", str(tmp_path / "run"), "--minutes", "1"]) == 0
    captured = capsys.readouterr()
    [line] = [line for line in captured.err.splitlines() if "fit into" in line]
    epochs = int(line.split()[0])
    assert 0 < epochs < 100_000
    assert len(json.loads((tmp_path / "run" / "report.json").read_text())["epochs"]) == epochs
    for arguments in (["--seeds", "2"], ["--folds", "all"]):
        series = [word for word in words if word not in ("--fold", "2")]
        assert main([*series, "--out", str(tmp_path / "series"), "--minutes", "1", *arguments]) == 2
        assert "for a single run" in one_line(capsys)
    assert main([*words, "--out", str(tmp_path / "none"), "--minutes", "0"]) == 2


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


def test_a_detector_is_scored_with_its_negatives(clips, tmp_path, capsys):
    run = tmp_path / "run"
    data, negatives = str(tmp_path / "set"), str(tmp_path / "none")
    shutil.copytree(clips / "001 - Rising", tmp_path / "set" / "rising")
    shutil.copytree(clips / "002 - Falling", tmp_path / "none")
    command = ["train", "scratch", "--data", data, "--out", str(run), *SETS, "--set", "epochs=1", "--set", "steps=null"]
    assert main([*command, "--negatives", negatives]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["evaluate", str(run / "bundle"), "--data", data, "--negatives", negatives, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 12
