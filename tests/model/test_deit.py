"""Initial weights: DeiT and ViT state dicts."""

import warnings

import pytest
import torch
from safetensors.torch import save_file
from small import make_bundle

from spectag import errors
from spectag.model import tensors
from spectag.model.deit import DEIT
from spectag.model.loading import load


@pytest.fixture
def deit():
    """A DeiT with timm's names, 4 x 4 patches of an image of three colours."""
    ours = make_bundle().network.state_dict()
    ours |= {"patch_embed.proj.weight": torch.randn(32, 3, 16, 16), "pos_embed": torch.randn(1, 18, 32)}
    theirs = tensors.from_ours(ours, DEIT.rows(2, 2))
    return theirs | {"head.weight": torch.zeros(1000, 32), "head.bias": torch.zeros(1000)}


def test_initial_weights(deit, tmp_path):
    torch.save({"model": deit}, tmp_path / "deit.pth")
    save_file(deit, tmp_path / "deit.safetensors")
    bundle = load(tmp_path / "deit.pth", num_labels=6, frames=200, stride=(16, 16), heads=2)
    assert bundle.network.config.frames == bundle.front_end.frames == 200
    assert bundle.front_end.window == "hamming"
    assert bundle.provenance["format"] == "initial weights (DeiT/ViT), untrained head"
    torch.testing.assert_close(
        bundle.network.patch_embed.proj.weight, deit["patch_embed.proj.weight"].mean(1, keepdim=True)
    )
    same = load(tmp_path / "deit.safetensors", num_labels=6, frames=200, stride=(16, 16), heads=2)
    assert all(a.equal(b) for a, b in zip(bundle.network.parameters(), same.network.parameters(), strict=True))
    default = load(tmp_path / "deit.pth")
    assert (default.network.config.frames, default.network.config.stride) == (1024, (10, 10))
    assert len(default.labels) == 527


def test_a_fresh_head_is_told_until_it_is_trained(deit, tmp_path):
    torch.save(deit, tmp_path / "deit.pth")
    message = r"the classification head is freshly drawn: train it before tagging"
    with pytest.warns(errors.SpectagWarning, match=message):
        bundle = load(tmp_path / "deit.pth", num_labels=3, frames=64)
    assert bundle.provenance["head"] == "untrained"
    with pytest.warns(errors.SpectagWarning, match=message):
        again = load(bundle.save(tmp_path / "converted"))
    del again.provenance["head"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(again.save(tmp_path / "trained"))


def test_where_initial_weights_come_from(deit, tmp_path):
    torch.save(deit, tmp_path / "deit.pth")
    for given, channels in (({}, "mean"), ({"channels": "sum"}, "sum")):
        bundle = load(tmp_path / "deit.pth", num_labels=3, frames=64, **given)
        assert bundle.provenance["initial_weights"] == {"image_grid": [4, 4], "channels": channels}


def test_a_vit_has_one_token(deit, tmp_path):
    del deit["dist_token"]
    deit["pos_embed"] = torch.randn(1, 17, 32)
    torch.save(deit, tmp_path / "vit.pth")
    assert load(tmp_path / "vit.pth", num_labels=2).network.config.tokens == 1


def test_initial_weights_that_do_not_fit(deit, tmp_path):
    path = tmp_path / "deit.pth"
    torch.save(deit | {"pos_embed": torch.zeros(1, 19, 32)}, path)
    with pytest.raises(errors.ShapeMismatch, match=r"pos_embed: expected 2 \+ n \* n positions, got 19"):
        load(path)
    torch.save(deit | {"patch_embed.proj.weight": torch.zeros(32, 4, 16, 16)}, path)
    with pytest.raises(errors.ShapeMismatch, match="3 colour channels, got 4"):
        load(path)
    torch.save(deit | {"blocks.1.norm1.weight": torch.zeros(7)}, path)
    with pytest.raises(errors.ShapeMismatch, match=r"deit\.pth: blocks\.1\.norm1\.weight: expected shape \[32\]"):
        load(path)
    torch.save({key: value for key, value in deit.items() if key != "norm.bias"}, path)
    with pytest.raises(errors.KeyMismatch, match=r"missing norm\.bias"):
        load(path)


def test_labels_from_their_number_are_a_guess_that_shows(deit, tmp_path):
    torch.save(deit, tmp_path / "deit.pth")
    with pytest.warns(errors.SpectagWarning, match=r"the labels backward, \.\.\. are a guess from num_labels=35"):
        load(tmp_path / "deit.pth", num_labels=35)
