"""Bundles: what they hold, save and answer."""

from dataclasses import replace

import pytest
import torch
from small import make_bundle, with_facts

from spectag import errors
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.loading import load

INPUTS = torch.randn(2, 100, 128, generator=torch.Generator().manual_seed(1))


def logits(bundle: Bundle) -> torch.Tensor:
    with torch.no_grad():
        return bundle.network(INPUTS)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"stride": (12, 14), "frames": 203},
        {"tokens": 1},
        {"patch": (128, 2), "stride": (1, 2)},
        {"mel_bins": 64, "norm_eps": 1e-5, "mlp_ratio": 3.5},
        {"labels": 2, "depth": 1, "heads": 4},
    ],
)
def test_round_trip(tmp_path, fields):
    bundle = make_bundle(**fields)
    loaded = load(bundle.save(tmp_path / "a/b"))
    assert loaded.network.config == bundle.network.config
    assert loaded.front_end == bundle.front_end
    assert loaded.labels == bundle.labels
    assert (loaded.activation, loaded.provenance) == ("softmax", {"source": "a test"})
    ours, theirs = bundle.network.state_dict(), loaded.network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(ours[key].equal(theirs[key]) for key in ours)
    assert not loaded.network.training


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_the_size_and_float32_again(bundle, tmp_path, dtype):
    full = (bundle.save(tmp_path / "full") / "model.safetensors").stat().st_size
    half = bundle.save(tmp_path / "half", dtype=dtype)
    assert (half / "model.safetensors").stat().st_size < 0.6 * full
    loaded = load(half)
    assert {parameter.dtype for parameter in loaded.network.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded.network.pos_embed, bundle.network.pos_embed.to(dtype).float())


def test_saving_over_what_was_loaded(saved):
    loaded = load(saved)
    (saved / "README.md").write_text("mine")
    before = logits(loaded)
    with torch.no_grad():
        loaded.network.head.linear.bias.add_(1)
    loaded.save(saved)
    torch.testing.assert_close(logits(load(saved)), before + 1)
    assert (saved / "README.md").read_text() == "mine"
    assert len(list(saved.iterdir())) == 5  # no scratch left


@pytest.mark.parametrize("mode", [False, True])
def test_a_loaded_network_trains(saved, mode):
    with torch.inference_mode(mode):
        network = load(saved).network
        network(INPUTS[:, :50])
    network(INPUTS).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_network_in_training_is_put_into_eval_mode(bundle):
    assert not Bundle(bundle.card, bundle.network.train()).network.training


def test_scores(bundle):
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]], dtype=torch.bfloat16)
    assert bundle.scores(x).dtype == torch.float32
    torch.testing.assert_close(bundle.scores(x).sum(), torch.tensor(1.0))
    bundle = with_facts(bundle, activation="sigmoid")
    torch.testing.assert_close(bundle.scores(x), x.float().sigmoid())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": LabelSet(("a",))}, errors.LabelMismatch, "1 labels do not fit a head of 5"),
        ({"activation": "tanh"}, errors.InputError, "sigmoid, softmax"),
    ],
)
def test_parts_that_do_not_fit(bundle, change, error, message):
    with pytest.raises(error, match=message):
        with_facts(bundle, **change)
    with pytest.raises(errors.ShapeMismatch, match="frames of the front end is 99, of the network 100"):
        with_facts(bundle, front_end=replace(bundle.front_end, frames=99))
    with pytest.raises(
        errors.ShapeMismatch, match=r"the card describes .*frames=100.*, but the network is .*frames=90"
    ):
        replace(bundle, network=make_bundle(frames=90).network)
