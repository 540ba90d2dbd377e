"""The network that a run starts from."""

import pytest
import torch
from tests.model.small import make_bundle

from spectag.errors import RecipeError, SpectagWarning
from spectag.labels import LabelSet
from spectag.model import adapt
from spectag.model.config import ASTConfig
from spectag.model.loading import load
from spectag.model.network import AST
from spectag.train.recipe import Recipe
from spectag.train.start import start

LABELS = LabelSet(("owl", "fox"))
BASE = {"name": "x", "epochs": 1, "batch_size": 1, "lr": 1e-3}
SMALL = {"width": 16, "depth": 1, "heads": 2}


def recipe(**keys) -> Recipe:
    return Recipe.model_validate(BASE | keys)


@pytest.fixture
def checkpoint(tmp_path):
    return str(make_bundle(frames=100).save(tmp_path / "bundle"))


def test_from_scratch_the_nulls_are_the_papers(monkeypatch):
    network, filled = start(recipe(model=SMALL), LABELS)
    assert network.config == ASTConfig(**SMALL, labels=2)
    assert filled.model.patch == (16, 16)
    assert filled.model.stride == (10, 10)
    front_end = filled.front_end
    assert (front_end.window, front_end.mel_bins, front_end.frames) == ("hamming", 128, 1024)
    assert front_end.mean is None, "to be measured"


def test_a_checkpoint_brings_its_front_end_and_geometry(checkpoint):
    before = load(checkpoint)
    network, filled = start(recipe(init=checkpoint), LABELS)
    assert (network.config.width, network.config.labels) == (32, 2)
    front_end = filled.front_end
    assert (front_end.window, front_end.frames, front_end.mean, front_end.std) == ("hanning", 100, -6.0, 5.0)
    assert network.training
    ours, theirs = network.state_dict(), before.network.state_dict()
    for key, value in theirs.items():
        assert key.startswith("head.") or torch.equal(ours[key], value), key
    assert ours["head.linear.weight"].shape == (2, 32)
    assert all(p.requires_grad for p in network.parameters())


def test_a_head_of_the_same_labels_is_kept(checkpoint):
    before = load(checkpoint)
    network, _ = start(recipe(init=checkpoint), before.labels)
    assert torch.equal(network.head.linear.weight, before.network.head.linear.weight)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "fresh"])
def test_positions_are_fitted_as_asked(checkpoint, mode):
    before = load(checkpoint).network
    model = {"positions": mode, "stride": [12, 12]}
    network, filled = start(recipe(init=checkpoint, front_end={"frames": 200}, model=model), LABELS)
    assert network.config.grid == ASTConfig(stride=(12, 12), frames=200).grid
    assert filled.front_end.frames == 200
    if mode != "fresh":
        expected = adapt.adapt_positions(before.pos_embed, before.config.grid, network.config.grid, 2, mode)
        assert torch.equal(network.pos_embed, expected)
    else:
        assert float(network.pos_embed.detach().std()) < 0.05, "drawn anew, small"


def test_images_are_fitted_and_their_statistics_measured(shared):
    path = str(shared / "golden" / "deit_384.pth")
    keys = {"heads": 3, "stride": [10, 10]}
    network, filled = start(recipe(init=path, front_end={"frames": 512}, model=keys), LABELS)
    assert network.config.grid == ASTConfig(frames=512).grid
    assert (filled.front_end.window, filled.front_end.mean) == ("hamming", None)
    with pytest.warns(SpectagWarning, match="freshly drawn"):
        expected = load(path, frames=512, num_labels=2).network
    assert torch.equal(network.pos_embed, expected.pos_embed)
    summed, _ = start(recipe(init=path, front_end={"frames": 512}, model=keys | {"channels": "sum"}), LABELS)
    torch.testing.assert_close(summed.patch_embed.proj.weight, 3 * network.patch_embed.proj.weight)


@pytest.mark.parametrize(("section", "field", "value"), [("model", "width", 64), ("front_end", "mel_bins", 64)])
def test_sizes_that_a_checkpoint_does_not_have(checkpoint, section, field, value):
    with pytest.raises(RecipeError, match=rf"{section}\.{field} is {value}, but .*bundle has (32|128): leave it null"):
        start(recipe(init=checkpoint, **{section: {field: value}}), LABELS)


def test_a_geometry_that_cannot_be(checkpoint):
    with pytest.raises(RecipeError, match=r"do not fit .*bundle: 5 frames are shorter than one patch"):
        start(recipe(init=checkpoint, front_end={"frames": 5}), LABELS)


def test_structured_beginnings_follow_the_seed():
    keys = {"model": SMALL | {"initial": "structured"}}
    states = [start(recipe(seed=seed, **keys), LABELS)[0].state_dict() for seed in (0, 0, 1)]
    key = "blocks.0.attn.qkv.weight"
    assert torch.equal(states[0][key], states[1][key])
    assert not torch.equal(states[0][key], states[2][key])
    assert isinstance(start(recipe(**keys), LABELS)[0], AST)
