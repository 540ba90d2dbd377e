"""Checkpoints as their files hold them."""

import torch
from small import make_bundle, renamed

from spectag.model.deit import DEIT
from spectag.model.given import Given
from spectag.model.loading import load_bundle, read_checkpoint


def test_of_a_bundle_it_is_the_bundles_weights(saved, bundle):
    checkpoint = read_checkpoint(saved)
    assert checkpoint.image_grid is None
    assert checkpoint.grid == bundle.network.config.grid
    assert checkpoint.card == load_bundle(saved).card
    assert not checkpoint.headless
    for key, value in bundle.network.state_dict().items():
        assert torch.equal(checkpoint.state[key], value)


def test_of_images_nothing_is_adapted(tmp_path):
    image = renamed(make_bundle(), DEIT)
    image |= {"patch_embed.proj.weight": torch.randn(32, 3, 16, 16), "pos_embed": torch.randn(1, 18, 32)}
    torch.save(image, tmp_path / "deit.pth")
    checkpoint = read_checkpoint(tmp_path / "deit.pth", Given(stride=(16, 16), frames=200))
    assert checkpoint.image_grid == checkpoint.grid == (4, 4)
    assert checkpoint.card.config.grid == (8, 12), "as it would be loaded"
    assert torch.equal(checkpoint.state["patch_embed.proj.weight"], image["patch_embed.proj.weight"])
    assert torch.equal(checkpoint.state["pos_embed"], image["pos_embed"])
    assert not any(key.startswith("head.") for key in checkpoint.state)
    assert checkpoint.card.untrained
    assert checkpoint.headless
