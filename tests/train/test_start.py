"""The network that a run starts from."""

import pytest
import torch
from tests.model.small import make_bundle
from tests.runs.deciding import LABELS, SMALL, begin, make_recipe

from spectag.errors import SpectagWarning
from spectag.model import adapt
from spectag.model.config import ASTConfig
from spectag.model.loading import load
from spectag.model.network import AST


@pytest.fixture
def checkpoint(tmp_path):
    return str(make_bundle(frames=100).save(tmp_path / "bundle"))


def test_a_checkpoint_with_a_new_head(checkpoint):
    network = begin(make_recipe(init=checkpoint))
    ours, theirs = network.state_dict(), load(checkpoint).network.state_dict()
    for key, value in theirs.items():
        assert key.startswith("head.") or torch.equal(ours[key], value), key
    assert ours["head.linear.weight"].shape == (2, 32)
    assert network.training
    assert all(p.requires_grad for p in network.parameters())


def test_a_head_of_the_same_labels_is_kept(checkpoint):
    before = load(checkpoint)
    network = begin(make_recipe(init=checkpoint), before.labels)
    assert torch.equal(network.head.linear.weight, before.network.head.linear.weight)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "fresh"])
def test_positions_are_fitted_as_asked(checkpoint, mode):
    before = load(checkpoint).network
    model = {"positions": mode, "stride": [12, 12]}
    network = begin(make_recipe(init=checkpoint, front_end={"frames": 200}, model=model))
    assert network.config.grid == ASTConfig(stride=(12, 12), frames=200).grid
    if mode != "fresh":
        expected = adapt.adapt_positions(before.pos_embed, before.config.grid, network.config.grid, 2, mode)
        assert torch.equal(network.pos_embed, expected)
    else:
        assert float(network.pos_embed.detach().std()) < 0.05, "drawn anew, small"


def test_images_are_fitted(shared):
    path = str(shared / "golden" / "deit_384.pth")
    keys = {"heads": 3, "stride": [10, 10]}
    network = begin(make_recipe(init=path, front_end={"frames": 512}, model=keys))
    with pytest.warns(SpectagWarning, match="freshly drawn"):
        expected = load(path, frames=512, num_labels=2).network
    assert torch.equal(network.pos_embed, expected.pos_embed)
    summed = begin(make_recipe(init=path, front_end={"frames": 512}, model=keys | {"channels": "sum"}))
    torch.testing.assert_close(summed.patch_embed.proj.weight, 3 * network.patch_embed.proj.weight)


@pytest.mark.parametrize("initial", ["random", "structured"])
def test_what_is_drawn_follows_from_the_seed(initial):
    keys = {"model": SMALL | {"initial": initial}}
    states = []
    for seed in (0, 0, 1):
        network = begin(make_recipe(seed=seed, **keys), LABELS)
        assert isinstance(network, AST)
        states.append(network.state_dict())
        torch.rand(1)  # whatever else was drawn before
    key = "blocks.0.attn.qkv.weight"
    assert torch.equal(states[0][key], states[1][key])
    assert not torch.equal(states[0][key], states[2][key])
