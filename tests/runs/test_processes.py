"""Several processes: together they do what one would do; and when one dies, the others do not wait for it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from test_run import position, scorer

from spectag.data.layouts import read_manifest
from spectag.runs.plan import RunOptions, make_plan
from spectag.runs.run import run
from spectag.runs.watcher import Watcher
from spectag.train.recipe import build

SCRIPT = """
import itertools, sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from test_processes import Events, train
from spectag.runs import budget
from spectag.runs.processes import rank

if __name__ == "__main__":
    seconds = itertools.count(1 + 9 * rank())
    budget.monotonic = lambda: next(seconds) * (1 + rank())  # a second for each look, and the processes disagree
    events = Events({out!r}, dies={dies}, stops={stops})
    train({data!r}, {out!r}, {recipe!r}, events, processes={processes}, resume={resumes}, minutes={minutes}, begun=0.0)
"""


class Events(Watcher):
    """Keeps the gradients of two steps. The second process dies, or some are told to stop, in the middle of a run."""

    def __init__(self, out, dies=False, stops=()):
        self.out, self.dies, self.stops = Path(out), dies, stops

    def on_batch(self, job):
        if self.dies and job.fabric.global_rank == 1 and job.steps == 2:
            os._exit(3)

    def on_gradients(self, job):
        gradients = {name: p.grad.clone() for name, p in job.network.named_parameters()}
        if job.fabric.is_global_zero and job.steps in (0, 3):
            torch.save(gradients, self.out / f"gradients-{job.steps}.pt")

    def on_step(self, job, loss):
        if job.fabric.global_rank in self.stops and job.epoch == 1 and job.batches == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def train(data, out, recipe, events, **options) -> None:
    todo = make_plan(
        build(recipe, "tiny"), read_manifest(data), Path(out) / "run", fold=1, options=RunOptions(**options)
    )
    run(todo, scorer, events)


# Drop path is drawn by each process for itself; the moving average does not touch gradients.
RECIPE = {
    "name": "tiny",
    "precision": "fp32",
    "epochs": 3,
    "batch_size": 8,
    "lr": 1e-3,
    "loss": "ce",
    "ema": 0.9,
    "average": [1, 3],
    "model": {"width": 16, "depth": 2, "heads": 2, "patch": [128, 4], "stride": [128, 4]},
    "front_end": {"frames": 48},
    "augment": {
        "excerpt": True,
        "mix_rate": 0.5,
        "equalise_db": 3,
        "time_mask": 8,
        "freq_mask": 8,
        "noise_and_roll": True,
        "patch_drop": 0.3,
        "column_drop": 0.2,
    },
}


@pytest.fixture(scope="module")
def tones(tmp_path_factory) -> Path:
    """Two classes in ESC-10's layout: 16 clips to learn from and 5 to score, which two do not divide."""
    root = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    for label, (name, hertz) in enumerate((("001 - Low", 300), ("002 - High", 3000))):
        (root / name).mkdir()
        for i in range(11 if label else 10):
            tone = np.sin(2 * np.pi * hertz * np.arange(8000) / 16000) * 0.3 + rng.standard_normal(8000) * 0.1
            soundfile.write(root / name / f"{1 if i >= 8 else 2}-{label}{i:03}-A.wav", tone, 16000)
    return root


def start(
    tones: Path, out: Path, processes: int, dies=False, stops=(), resumes=False, minutes=None, **recipe
) -> subprocess.CompletedProcess:
    out.mkdir(exist_ok=True)
    script = out / "script.py"
    fields = {"tests": str(Path(__file__).parent), "data": str(tones), "out": str(out), "dies": dies, "stops": stops}
    fields |= {"processes": processes, "resumes": resumes, "minutes": minutes, "recipe": RECIPE | recipe}
    script.write_text(SCRIPT.format(**fields))
    environment = {key: value for key, value in os.environ.items() if key != "LOCAL_RANK"} | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def one(tones, tmp_path_factory) -> Callable[..., Path]:
    """Train in this process, with one thread as the others do."""

    def train_here(**recipe) -> Path:
        out = tmp_path_factory.mktemp("one")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            train(tones, out, RECIPE | recipe, Events(out))
        finally:
            torch.set_num_threads(threads)
        return out

    return train_here


@pytest.mark.parametrize("balanced", [pytest.param(False, marks=pytest.mark.slow), True])
def test_two_processes_have_the_gradient_and_the_figures_of_one(tones, tmp_path, one, balanced):
    """Balanced, it also has a frame head."""
    recipe = {"balanced": balanced, "model": RECIPE["model"] | {"frames": balanced}}
    done = start(tones, tmp_path / "two", 2, **recipe)
    assert done.returncode == 0, done.stderr
    gradients, reports = [], []
    for out in (one(**recipe), tmp_path / "two"):
        gradients.append([torch.load(out / f"gradients-{step}.pt", weights_only=True) for step in (0, 3)])
        reports.append(json.loads((out / "run" / "report.json").read_text()))
    for alone, together in zip(*gradients, strict=True):
        for name in alone:
            torch.testing.assert_close(together[name], alone[name], rtol=0, atol=1e-5, msg=name)
    first, second = reports
    assert second["processes"] == 2
    assert second["result"]["clips"] == first["result"]["clips"] == 5, "every clip once"
    assert second["heard"] == first["heard"], "that of both"
    np.testing.assert_allclose(
        [row["loss"] for row in second["epochs"]], [row["loss"] for row in first["epochs"]], rtol=1e-4
    )
    for weights in ("last", "averaged"):
        assert second["results"][weights]["mean_ap"] == pytest.approx(first["results"][weights]["mean_ap"], abs=1e-3)


@pytest.mark.slow
def test_four_processes_have_the_gradient_of_one(tones, tmp_path, one):
    done = start(tones, tmp_path / "four", 4)
    assert done.returncode == 0, done.stderr
    alone, together = (torch.load(out / "gradients-3.pt", weights_only=True) for out in (one(), tmp_path / "four"))
    for name in alone:
        torch.testing.assert_close(together[name], alone[name], rtol=0, atol=1e-5, msg=name)


@pytest.mark.slow
def test_processes_agree_on_the_length_of_a_run_within_minutes(tones, tmp_path):
    """Although each has a clock of its own, which may tell it something else."""
    done = start(tones, tmp_path, 2, minutes=1.0, epochs=1000, average=None, evaluate_every=1000)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert 1 < len(report["epochs"]) == report["recipe"]["epochs"] < 100


def test_the_death_of_one_process_ends_the_others(tones, tmp_path):
    done = start(tones, tmp_path / "run", 2, dies=True)
    assert done.returncode != 0
    assert "RunFailed: one of 2 processes was killed" in done.stderr, done.stderr
    assert not (tmp_path / "run" / "run" / "bundle").exists()


@pytest.mark.parametrize("told", [pytest.param(told, marks=pytest.mark.slow) for told in ((1,), (0,), (0, 1))])
def test_processes_of_which_any_is_told_to_stop_go_on_where_they_were(tones, tmp_path, told):
    """Saved in the middle of an epoch; the same weights and losses in the end as without the stop."""
    stopped = start(tones, tmp_path / "stopped", 2, stops=told)
    assert stopped.returncode != 0
    assert "RunInterrupted" in stopped.stderr, stopped.stderr
    assert position(tmp_path / "stopped" / "run" / "checkpoints" / "last.ckpt") == (1, 1)
    reports = []
    for name in ("stopped", "whole"):
        done = start(tones, tmp_path / name, 2, resumes=True)
        assert done.returncode == 0, done.stderr
        reports.append(json.loads((tmp_path / name / "run" / "report.json").read_text()))
    losses = [[row["loss"] for row in report["epochs"]] for report in reports]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)
    assert reports[0]["result"] == reports[1]["result"]
    weights = [load_file(tmp_path / name / "run" / "bundle" / "model.safetensors") for name in ("stopped", "whole")]
    for name in weights[0]:
        assert torch.equal(weights[0][name], weights[1][name]), name
