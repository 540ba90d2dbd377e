"""The kind of fault: hours of training that were interrupted give no model, although their weights are on the disk.

Varied: stopped after an epoch and within one; the last, the best and the averaged weights; a moving average; a run that
goes on afterwards; what is no run, has nothing yet, is finished, or was begun by an older spectag.
"""

import json
import shutil

import pytest
import torch
from test_run import TINY, go, scorer, tones  # noqa: F401  # tones is a fixture

from spectag.data.layouts import read_manifest
from spectag.errors import RunFailed
from spectag.model.loading import load
from spectag.runs.finish import finish
from spectag.runs.plan import PLAN, make_plan
from spectag.runs.run import run
from spectag.runs.watcher import Watcher
from spectag.train.recipe import build


class Stop(Watcher):
    """Ends a run by an error before a batch, and keeps the weights of every epoch."""

    def __init__(self, epoch: int, batch: int = 0) -> None:
        self.place, self.states, self.expected = (epoch, batch), [], None

    def on_batch(self, job):
        if (job.epoch, job.batches) == self.place:
            raise ZeroDivisionError

    def on_epoch(self, job, row):
        self.states.append({key: value.clone() for key, value in job.scored_network.state_dict().items()})


def interrupted(data, out, watcher, fold=1, **keys):
    plan = make_plan(build(TINY | keys, "tiny"), read_manifest(data), out, fold=fold)
    with pytest.raises(ZeroDivisionError):
        run(plan, scorer, watcher)
    assert not (out / "bundle").exists()


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("loss", ["ce", "bce"])
def test_the_model_so_far_is_that_of_the_last_checkpoint(tones, tmp_path, ema, loss):  # noqa: F811
    stop = Stop(epoch=2, batch=1)
    interrupted(tones, tmp_path / "run", stop, ema=ema, loss=loss)
    done = finish(tmp_path / "run")
    assert done.weights == "weights of the last checkpoint, after 2 of 3 epochs"
    assert done.row["epoch"] == 2
    assert 0 <= done.row["accuracy"] <= 1
    bundle = load(tmp_path / "run" / "bundle")
    assert bundle.labels.names == ("Low", "High")
    assert bundle.activation == {"ce": "softmax", "bce": "sigmoid"}[loss]
    assert bundle.provenance["source"] == "trained by spectag, not to the end"
    state = bundle.network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in stop.states[-1].items())


def test_a_run_goes_on_after_it(tones, tmp_path):  # noqa: F811
    """To the weights of a run that was never stopped, which then take the place of the others."""
    interrupted(tones, tmp_path / "run", Stop(epoch=1))
    finish(tmp_path / "run")
    early = load(tmp_path / "run" / "bundle")
    go(tones, tmp_path / "run", fold=1, resume=True)
    go(tones, tmp_path / "whole", fold=1)
    a, b = (load(tmp_path / name / "bundle").network.state_dict() for name in ("run", "whole"))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], value) for key, value in early.network.state_dict().items())
    with pytest.raises(RunFailed, match=r"came to its end: its model is .*bundle"):
        finish(tmp_path / "run")


def test_the_mean_of_the_epochs_so_far(tones, tmp_path):  # noqa: F811
    stop = Stop(epoch=3)
    interrupted(tones, tmp_path / "run", stop, epochs=9, ema=0.0, average=[2, 9], select="averaged")
    assert finish(tmp_path / "run").weights == "mean of the weights after 2 epochs, after 3 of 9 epochs"
    state = load(tmp_path / "run" / "bundle").network.state_dict()
    for key, value in state.items():
        mean = ((stop.states[1][key].double() + stop.states[2][key].double()) / 2).float()
        assert torch.equal(value, mean), key


def test_the_best_epoch_so_far(tones, tmp_path):  # noqa: F811
    (tmp_path / "own").mkdir()
    for source, name in (("001 - Low", "low"), ("002 - High", "high")):
        shutil.copytree(tones / source, tmp_path / "own" / name)
    keys = {"epochs": 9, "select": "best", "holdout": 0.2, "metric": "accuracy"}
    interrupted(tmp_path / "own", tmp_path / "run", Stop(epoch=2), fold=None, **keys)
    assert "the best so far" in finish(tmp_path / "run").weights
    a, b = (load(tmp_path / "run" / name).network.state_dict() for name in ("bundle", "checkpoints/best"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_ids_of_labels_are_kept(tmp_path, tones):  # noqa: F811
    interrupted(tones, tmp_path / "run", Stop(epoch=1))
    identity = json.loads((tmp_path / "run" / PLAN).read_text())
    identity["labels"]["ids"] = ["/m/1", "/m/2"]
    (tmp_path / "run" / PLAN).write_text(json.dumps(identity))
    finish(tmp_path / "run")
    assert load(tmp_path / "run" / "bundle").labels.ids == ("/m/1", "/m/2")


def test_what_cannot_be_finished(tones, tmp_path):  # noqa: F811
    with pytest.raises(RunFailed, match=r"expected the folder of a run, found no plan\.json"):
        finish(tmp_path)
    interrupted(tones, tmp_path / "run", Stop(epoch=0))
    with pytest.raises(RunFailed, match="no checkpoint was written yet"):
        finish(tmp_path / "run")
    interrupted(tones, tmp_path / "old", Stop(epoch=1))
    identity = json.loads((tmp_path / "old" / PLAN).read_text())
    del identity["labels"]
    (tmp_path / "old" / PLAN).write_text(json.dumps(identity))
    with pytest.raises(RunFailed, match="does not name the labels; an older spectag"):
        finish(tmp_path / "old")
