"""Pickles as training programs write them, and what may lie beside the weights."""

import argparse
import pathlib
import pickle

import numpy as np
import pytest
import torch
from small import make_bundle, renamed

from spectag import errors
from spectag.model import pickles
from spectag.model.loading import load
from spectag.model.official import OFFICIAL


@pytest.fixture(scope="module")
def state():
    return renamed(make_bundle(norm_eps=1e-6), OFFICIAL)


CONTAINERS = {
    "state_dict": lambda state: {"state_dict": state},
    "model": lambda state: {"model": state},
    "model_state_dict": lambda state: {"model_state_dict": state},
    "DeepSpeed": lambda state: {"module": state},
    "nested": lambda state: {"model": {"state_dict": {"net": state}}},
    "hyperparameters called model": lambda state: {"model": {"width": 32}, "state_dict": state},
    "a tensor beside": lambda state: {"rng_state": torch.zeros(8, dtype=torch.uint8), "state_dict": state},
}


@pytest.mark.parametrize("wrap", CONTAINERS.values(), ids=CONTAINERS)
@pytest.mark.parametrize("old", [False, True])
def test_weights_inside_of_a_checkpoint(state, tmp_path, wrap, old):
    """The kind: a training program saves the weights under a name, beside the optimiser's state and its progress."""
    network = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    beside = {"optimizer": optimiser.state_dict(), "epoch": 3, "amp": None, "classes": ["a", "b"]}
    torch.save(wrap(state) | beside, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)
    loaded = load(tmp_path / "a.pth", heads=2).network.state_dict()
    assert torch.equal(loaded["norm.bias"], state["v.norm.bias"])


BESIDE = {
    "NumPy scalars": {"mAP": np.float64(0.3), "epoch": np.int64(3), "done": np.bool_(True), "lr": np.float32(1e-3)},
    "NumPy arrays": {"class_weights": np.ones(5), "seed": np.random.default_rng(0).integers(0, 9, 4)},
    "NumPy's generator": {"rng": np.random.RandomState(0).get_state()},
    "arguments": {"args": argparse.Namespace(lr=1e-3, sizes=[1, 2], out=pathlib.Path("runs"))},
    "plain values": {"epoch": 3, "history": [{"loss": 0.5}], "name": "ast", "best": None, "shape": (1, 2), "on": True},
}


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
@pytest.mark.parametrize("inside", [True, False], ids=["around", "among"])
def test_values_beside_the_weights(state, tmp_path, beside, inside):
    """The kind: something that is no tensor lies around the weights or among them, and the file was refused for it."""
    content = {"state_dict": state} | beside if inside else state | beside
    torch.save(content, tmp_path / "a.pth")
    loaded = load(tmp_path / "a.pth", heads=2).network.state_dict()
    assert torch.equal(loaded["norm.bias"], state["v.norm.bias"])


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize("where", [{"mAP": Evil()}, {"args": argparse.Namespace(f=Evil())}, {"f": np.load}])
def test_code_beside_the_weights_is_not_executed(state, tmp_path, where):
    torch.save({"state_dict": state} | where, tmp_path / "a.pth")
    with pytest.raises(errors.UnreadableModel, match=r"a\.pth: a pickle that holds more than tensors.*not executed"):
        load(tmp_path / "a.pth")


def test_not_even_numpys_own_unpickling_runs(state, tmp_path):
    """A scalar whose bytes are too few, or whose type claims to hold objects, never reaches NumPy."""

    class Crooked:
        def __reduce__(self):
            return (np._core.multiarray.scalar, (np.dtype("f8"), b"short"))

    with pytest.raises(ValueError, match="string"):
        pickle.loads(pickle.dumps(Crooked()))
    torch.save({"state_dict": state, "mAP": Crooked()}, tmp_path / "a.pth")
    assert load(tmp_path / "a.pth", heads=2).labels.names[0] == "LABEL_0"
    assert not set(pickles.STAND_INS) & set(torch.serialization.get_safe_globals()), "other readers are as before"


def test_a_pickle_that_holds_itself(tmp_path):
    circle: dict[str, object] = {}
    circle["model"] = circle
    torch.save(circle, tmp_path / "a.pth")
    with pytest.raises(
        errors.NotAModel, match=r"a\.pth: expected a state dict \(names to tensors\), got 'model': dict"
    ):
        load(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "tensor", [torch.empty(3, device="meta"), torch.eye(3).to_sparse()], ids=["without values", "sparse"]
)
def test_tensors_that_are_not_plain(state, tmp_path, tensor):
    torch.save(state | {"v.norm.bias": tensor}, tmp_path / "a.pth")
    with pytest.raises(errors.ModelError, match=r"a\.pth: v\.norm\.bias: expected a dense tensor with its values"):
        load(tmp_path / "a.pth")


def test_names_of_the_stand_ins_are_those_in_pickles():
    named = {f"{item.__module__}.{item.__qualname__}" for item in pickles.STAND_INS}
    assert named == set(pickles.BESIDE)
    assert {"numpy._core.multiarray.scalar", "numpy.dtype", "argparse.Namespace"} <= named
