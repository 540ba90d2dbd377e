"""Short real runs: files they leave, what they refuse, and that a killed one ends where an uninterrupted one does."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from spectag.audio.fbank import compute_inputs
from spectag.audio.read import read
from spectag.data.layouts import read_manifest
from spectag.errors import FileError, InputError, RecipeError
from spectag.model.loading import load
from spectag.runs.plan import RunOptions, make_plan
from spectag.runs.run import run
from spectag.train.recipe import Recipe, build

TINY = {
    "name": "tiny",
    "epochs": 3,
    "batch_size": 4,
    "lr": 1e-3,
    "loss": "ce",
    "ema": 0.9,
    "model": {
        "width": 16,
        "depth": 2,
        "heads": 2,
        "patch": [128, 4],
        "stride": [128, 4],
        "drop_path": 0.1,
        "initial": "structured",
    },
    "front_end": {"frames": 48},
    "augment": {
        "excerpt": True,
        "speed": 1.2,
        "gain_db": 6,
        "mix_rate": 0.5,
        "equalise_db": 3,
        "time_mask": 8,
        "freq_mask": 8,
        "noise_and_roll": True,
        "patch_drop": 0.3,
    },
}


@pytest.fixture(scope="module")
def tones(tmp_path_factory) -> Path:
    """Two classes of half a second in ESC-10's layout: low and high tones in noise, folds 1 and 2."""
    root = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    time_ = np.arange(8000) / 16000
    for label, (name, hertz) in enumerate((("001 - Low", 300), ("002 - High", 3000))):
        (root / name).mkdir()
        for i in range(12):
            tone = np.sin(2 * np.pi * hertz * rng.uniform(0.8, 1.25) * time_) * 0.3 + rng.standard_normal(8000) * 0.02
            soundfile.write(root / name / f"{i % 2 + 1}-{label}{i:03}-A.wav", tone.astype(np.float32), 16000)
    return root


def scorer(bundle, clips):
    for clip in clips:
        with torch.inference_mode():
            waveform = clip if isinstance(clip, np.ndarray) else read(clip)
            yield bundle.scores(bundle.network(compute_inputs(waveform, bundle.front_end)[None]))[0].numpy()


def position(checkpoint: Path) -> tuple[int, int]:
    """The epoch, from 0, in which a checkpoint was written, and how many of its batches were done by then."""
    state = torch.load(checkpoint, weights_only=True)
    return state["epoch"], state["batches"]


def go(data: Path, out: Path, recipe: Recipe | None = None, fold: int | None = None, **options):
    recipe = recipe or build(TINY, "tiny")
    return run(make_plan(recipe, read_manifest(data), out, fold=fold, options=RunOptions(**options)), scorer)


def test_a_run_leaves_a_bundle_a_report_and_a_table(tones, tmp_path):
    recipe = build(TINY | {"epochs": 30, "lr": 3e-3, "evaluate_every": 10}, "tiny")
    report = go(tones, tmp_path / "run", recipe, fold=1)
    assert report == json.loads((tmp_path / "run" / "report.json").read_text())
    data = {"layout": "ESC-10", "clips": 12, "held_out": "fold 1", "labels": ["Low", "High"], "missing": 0}
    assert report["data"] == data
    assert report["result"]["accuracy"] > 0.9, "it learns to tell low from high"
    assert report["epochs"][-1]["loss"] < report["epochs"][0]["loss"]
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == [str(n) for n in range(1, 31)]
    assert [bool(row["accuracy"]) for row in rows[8:11]] == [False, True, False]
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))

    bundle = load(tmp_path / "run" / "bundle")
    assert bundle.activation == "softmax"
    assert bundle.labels.names == ("Low", "High")
    assert bundle.provenance["recipe"]["front_end"]["mean"] == bundle.front_end.mean != 0
    clips = [soundfile.read(clip.path, dtype="float32")[0] for clip in read_manifest(tones).only(fold=1).clips]
    right = [row.argmax() == (i >= 6) for i, row in enumerate(scorer(bundle, clips))]
    assert np.mean(right) == report["result"]["accuracy"], "the saved bundle is the scored network"


def test_seed_decides(tones, tmp_path):
    first, second = (go(tones, tmp_path / name, fold=1)["epochs"] for name in "ab")
    other = go(tones, tmp_path / "c", build(TINY | {"seed": 1}, "tiny"), fold=1)["epochs"]
    losses = [[row["loss"] for row in rows] for rows in (first, second, other)]
    assert losses[0] == losses[1] != losses[2]


def test_refuses_a_used_directory_and_another_recipe(tones, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(RecipeError, match=r"is not empty: continue its run with --resume"):
        go(tones, tmp_path / "other")
    with pytest.raises(RecipeError, match=r"has no plan\.json"):
        go(tones, tmp_path / "other", resume=True)
    go(tones, tmp_path / "run", build(TINY | {"epochs": 1}, "tiny"))
    with pytest.raises(RecipeError, match=r"the run in .* was started with another recipe"):
        go(tones, tmp_path / "run", resume=True)
    with pytest.raises(RecipeError, match=r"the run in .* was started with other training clips"):
        go(tones, tmp_path / "run", build(TINY | {"epochs": 1}, "tiny"), fold=2, resume=True)


def test_a_copied_run_resumes_and_saves_where_it_is_looked_for(tones, tmp_path):
    go(tones, tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    go(tones, tmp_path / "copy", resume=True)
    assert [path.name for path in (tmp_path / "copy" / "checkpoints").iterdir()] == ["last.ckpt"]


def test_a_device_that_is_not_there_leaves_nothing_behind(tones, tmp_path):
    with pytest.raises(InputError, match="cuda:99"):
        go(tones, tmp_path / "run", device="cuda:99")
    assert not (tmp_path / "run").exists()


def test_a_broken_held_out_clip_is_reported_not_fatal(tones, tmp_path):
    shutil.copytree(tones, tmp_path / "data")
    (tmp_path / "data" / "001 - Low" / "1-9-A.wav").write_text("not audio")

    def paths_too(bundle, clips):
        for clip in clips:
            yield FileError("1-9-A.wav", "not audio") if isinstance(clip, Path) else next(iter(scorer(bundle, [clip])))

    todo = make_plan(build(TINY | {"epochs": 1}, "tiny"), read_manifest(tmp_path / "data"), tmp_path / "run", fold=1)
    result = run(todo, paths_too)["result"]
    assert (result["clips"], result["failed"]) == (12, ["1-9-A.wav: not audio"])


# One process loads torch and Fabric, which takes seconds, and is copied for each run that comes to an end of its own.
STOPPED = """
import json, os, signal, sys, time
from pathlib import Path
import lightning_fabric
sys.path.insert(0, {tests!r})
from test_run import TINY, build, make_plan, read_manifest, run, scorer, torch
from spectag.runs import loop
from spectag.runs.watcher import Watcher
class Stop(Watcher):
    def on_batch(self, job):
        if job.steps == steps:
            os.kill(os.getpid(), number)
out, statuses = Path({out!r}), {{}}
for name, steps, number, seconds, epochs in (
    ("killed", 8, signal.SIGKILL, None, 3),  # before the third batch of the third epoch
    ("killed within", 8, signal.SIGKILL, 0, 3),
    ("stopped", 7, signal.SIGTERM, None, 3),
    ("long", None, signal.SIGTERM, None, 100_000),
):
    child = os.fork()
    if child == 0:
        os.dup2(os.open(out / (name + ".txt"), os.O_WRONLY | os.O_CREAT), 2)
        if seconds is not None:
            loop.SAVE_EVERY, loop.LOOK_EVERY = seconds, 1
        torch.set_num_threads(1)
        recipe = build(TINY | {{"epochs": epochs}}, "tiny")
        run(make_plan(recipe, read_manifest({data!r}), out / name, fold=1), scorer, Stop())
        sys.exit()
    if steps is None:
        until = time.monotonic() + 300
        while not (out / name / "checkpoints" / "last.ckpt").exists() and time.monotonic() < until:
            time.sleep(0.1)
        os.kill(child, number)
    statuses[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(statuses))
"""


@pytest.fixture(scope="module")
def stopped(tones, tmp_path_factory) -> Path:
    """The folders of runs that were killed or stopped, and what each wrote to stderr as NAME.txt."""
    out = tmp_path_factory.mktemp("stopped")
    script = STOPPED.format(tests=str(Path(__file__).parent), data=str(tones), out=str(out))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=900)
    expected = {"killed": -signal.SIGKILL, "killed within": -signal.SIGKILL, "stopped": 1, "long": 1}
    assert json.loads(done.stdout) == expected, [path.read_text() for path in out.glob("*.txt")]
    return out


@pytest.mark.parametrize(
    ("name", "saved"),
    [("killed", (1, 3)), ("killed within", (2, 2))],
    ids=["saved after the epoch", "saved within the epoch"],
)
def test_a_killed_run_resumes_to_the_same_weights(tones, tmp_path, stopped, name, saved):
    killed = stopped / name
    assert not (killed / "bundle").exists()
    assert position(killed / "checkpoints" / "last.ckpt") == saved

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        resumed = go(tones, killed, fold=1, resume=True)
        whole = go(tones, tmp_path / "whole", fold=1)
    finally:
        torch.set_num_threads(threads)
    assert [row["loss"] for row in resumed["epochs"]] == [row["loss"] for row in whole["epochs"]]
    a, b = (load(folder / "bundle").network.state_dict() for folder in (killed, tmp_path / "whole"))
    for key in a:
        assert torch.equal(a[key], b[key]), key
    assert len(list(csv.DictReader((killed / "metrics.csv").open()))) == TINY["epochs"]


def test_sigterm_stops_cleanly_and_never_passes_for_a_finished_run(stopped):
    assert "RunInterrupted" in (stopped / "long.txt").read_text()
    assert (stopped / "long" / "checkpoints" / "last.ckpt").exists()
    assert not (stopped / "long" / "bundle").exists()


def test_sigterm_keeps_what_was_done_of_the_epoch(tones, tmp_path, stopped):
    """And the run goes on from there to the weights that it would have come to."""
    errors = (stopped / "stopped.txt").read_text()
    assert "RunInterrupted" in errors
    assert "RuntimeWarning" not in errors
    assert position(stopped / "stopped" / "checkpoints" / "last.ckpt") == (2, 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        resumed = go(tones, stopped / "stopped", fold=1, resume=True)
        whole = go(tones, tmp_path / "whole", fold=1)
    finally:
        torch.set_num_threads(threads)
    assert [row["loss"] for row in resumed["epochs"]] == [row["loss"] for row in whole["epochs"]]
    assert resumed["result"] == whole["result"]
