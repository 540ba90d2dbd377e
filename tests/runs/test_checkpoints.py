"""The state of a run on disk: whole or as before, and read as earlier versions wrote it."""

import shutil
from pathlib import Path

import pytest
import torch
from old_run import RECIPE, write_clips
from safetensors.torch import load_file
from test_run import scorer

from spectag.data.layouts import read_manifest
from spectag.errors import RunFailed, SaveError
from spectag.runs.checkpoints import read_state, write_state
from spectag.runs.plan import RunOptions, make_plan
from spectag.runs.prepare import prepare
from spectag.runs.run import run
from spectag.runs.watcher import Watcher
from spectag.train.recipe import build

OLD = Path(__file__).parent / "lightning_run"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    target = tmp_path / "last.ckpt"
    write_state(target, {"format": 2, "epoch": 1})
    (tmp_path / "last.ckpt.partial").symlink_to("/dev/full")  # every write fails: no space left on device
    with pytest.raises(SaveError, match=r"last\.ckpt: the checkpoint could not be written .*intact"):
        write_state(target, {"format": 2, "epoch": 2, "weights": torch.zeros(100_000)})
    assert read_state(target, [])["epoch"] == 1


def test_a_damaged_checkpoint_and_a_newer_one(tmp_path):
    path = tmp_path / "last.ckpt"
    write_state(path, {"format": 2, "weights": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(RunFailed, match=r"last\.ckpt: cannot be read .* delete it"):
        read_state(path, [])
    write_state(path, {"format": 3})
    with pytest.raises(RunFailed, match="has format 3, which is newer than this spectag"):
        read_state(path, [])


def test_rows_of_older_checkpoints_are_told_the_seconds_of_their_epochs(tmp_path):
    """They counted from the beginning of the run."""
    rows = [{"epoch": n, "seconds": seconds} for n, seconds in enumerate((4.0, 10.0, 17.5), 1)]
    write_state(tmp_path / "last.ckpt", {"format": 1, "history": {"rows": rows, "seconds": 19.0}})
    history = read_state(tmp_path / "last.ckpt", [])["history"]
    assert [row["seconds"] for row in history["rows"]] == [4.0, 6.0, 7.5]
    assert (history["seconds"], history["begun"]) == (19.0, 17.5)


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path):
    class Code:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "run",))

    torch.save({"format": 1, "code": Code()}, tmp_path / "last.ckpt")
    with pytest.raises(RunFailed, match="cannot be read"):
        read_state(tmp_path / "last.ckpt", [])
    assert not (tmp_path / "run").exists()


@pytest.fixture
def old_plan(tmp_path):
    """The run that Lightning's Trainer began."""
    shutil.copytree(OLD, tmp_path / "run")
    manifest = read_manifest(write_clips(tmp_path / "data"))
    options = RunOptions(resume=True)
    return make_plan(build(RECIPE, "old"), manifest, tmp_path / "run", fold=1, options=options)


def test_a_checkpoint_of_lightning_is_taken_over_whole(old_plan):
    """Every tensor of it, bit for bit."""
    job = prepare(old_plan)
    assert (job.epoch, job.batches, job.steps) == (1, 2, 3)
    old = torch.load(OLD / "checkpoints" / "last.ckpt", weights_only=True)
    for prefix, module in (("network.", job.network), ("averaged.", job.ema)):
        state = module.state_dict()
        theirs = {key.removeprefix(prefix): v for key, v in old["state_dict"].items() if key.startswith(prefix)}
        assert theirs.keys() == state.keys()
        assert all(torch.equal(theirs[key], value) for key, value in state.items())
    moments = job.optimizer.state_dict()["state"]
    assert moments.keys() == old["optimizer_states"][0]["state"].keys()
    for number, values in old["optimizer_states"][0]["state"].items():
        assert moments[number].keys() == values.keys()
        assert all(torch.equal(moments[number][key], value) for key, value in values.items())
    history = old["callbacks"]["History"]
    assert job.history.rows == history["rows"] != []
    assert [job.history.losses.total, job.history.losses.examples] == history["losses"]
    assert job.mean.count == 1
    for key, value in old["callbacks"]["Averaging"]["sums"].items():
        assert torch.equal(job.mean.sums[key], value)


def test_a_run_of_lightning_ends_as_it_would_have(old_plan):
    """On the processor that it was begun on the weights were equal bit for bit; others round differently."""
    steps = []

    class Count(Watcher):
        def on_step(self, job, loss):
            steps.append(job.steps)

    run(old_plan, scorer, Count())
    assert steps == [4, 5, 6]
    expected = load_file(OLD / "expected.safetensors")
    for bundle, name in (("bundle", "averaged"), ("bundle-last", "last")):
        for key, value in load_file(old_plan.out / bundle / "model.safetensors").items():
            torch.testing.assert_close(value, expected[f"{name}.{key}"], rtol=0, atol=1e-4, msg=f"{name} {key}")


def test_what_is_written_is_what_is_read(old_plan):
    """The state of a resumed job, written in the present format, resumes to the same job."""
    job = prepare(old_plan)
    state = job.state_dict()
    write_state(job.last, state)
    again = prepare(old_plan).state_dict()
    assert again.keys() == state.keys()
    assert again["optimizer"].keys() == state["optimizer"].keys()
    for key in ("network", "ema"):
        assert all(torch.equal(again[key][name], value) for name, value in state[key].items())
    for name, values in state["optimizer"].items():
        assert all(torch.equal(again["optimizer"][name][key], value) for key, value in values.items())
    for key in ("epoch", "batches", "skipped"):
        assert again[key] == state[key]
    for key in ("rows", "best", "best_epoch", "losses"):
        assert again["history"][key] == state["history"][key]
