import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from spectag.errors import InputError, ShapeMismatch
from spectag.model import adapt
from spectag.model.loading import load


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("deit", "name"),
    [
        ("deit_384", "00_base384_f10_t10_len1024"),
        ("deit_384", "01_base384_f12_t12_len512"),
        ("deit_384", "02_base384_f16_t16_len1024"),
        ("deit_384", "03_base384_f10_t10_len128"),
        ("deit_224", "04_base224_f10_t10_len100"),
        ("deit_224", "05_base224_f14_t14_len1024"),
        ("deit_224", "06_tiny224_f10_t16_len300"),
    ],
)
def test_the_published_adaptation(golden, deit, name):
    f, t, frames = map(int, re.search(r"_f(\d+)_t(\d+)_len(\d+)", name).groups())
    adapted = load(golden / f"{deit}.pth", stride=(f, t), frames=frames, channels="sum", num_labels=7)
    published = load(golden / f"official/{name}_imagenet.pth", stride=(f, t), frames=frames)
    ours, theirs = adapted.network.state_dict(), published.network.state_dict()
    for key in theirs:
        if not key.startswith("head."):
            torch.testing.assert_close(ours[key], theirs[key], atol=1e-5, rtol=0, msg=lambda m, key=key: f"{key}: {m}")


def test_channels():
    weight = draw(4, 3, 16, 16)
    torch.testing.assert_close(adapt.merge_channels(weight), weight.mean(1, keepdim=True))
    # The sum responds to one grey channel as the colour kernel to three equal ones.
    grey = draw(1, 1, 16, 16)
    response = torch.nn.functional.conv2d(grey.expand(1, 3, 16, 16), weight)
    torch.testing.assert_close(
        torch.nn.functional.conv2d(grey, adapt.merge_channels(weight, "sum")), response, atol=1e-4, rtol=0
    )
    assert adapt.merge_channels(weight[:, :1]).equal(weight[:, :1])
    with pytest.raises(InputError, match="mean or sum"):
        adapt.merge_channels(weight, "max")
    with pytest.raises(ShapeMismatch, match="patch kernel"):
        adapt.merge_channels(weight[0])


@given(patch=st.tuples(st.integers(1, 40), st.integers(1, 40)))
@settings(max_examples=30, deadline=None)
def test_another_patch_size_responds_alike_to_a_constant_patch(patch):
    weight = torch.ones(2, 1, 16, 16)
    resized = adapt.resize_kernel(weight, patch)
    assert resized.shape == (2, 1, *patch)
    torch.testing.assert_close(resized.sum((1, 2, 3)), weight.sum((1, 2, 3)))


GRIDS = st.tuples(st.integers(1, 14), st.integers(1, 40))


@given(old=GRIDS, new=GRIDS, tokens=st.integers(1, 2), mode=st.sampled_from(["bilinear", "nearest"]))
@settings(max_examples=60, deadline=None)
def test_positions(old, new, tokens, mode):
    weight = draw(1, tokens + old[0] * old[1], 3)
    adapted = adapt.adapt_positions(weight, old, new, tokens, mode)
    assert adapted.shape == (1, tokens + new[0] * new[1], 3)
    torch.testing.assert_close(adapted[:, :tokens], weight[:, :tokens])  # the class tokens' own stay
    if new[0] <= old[0] and new[1] <= old[1]:  # cut from the centre: nothing is computed
        grid = weight[0, tokens:].reshape(*old, 3)
        top, left = old[0] // 2 - new[0] // 2, old[1] // 2 - new[1] // 2
        assert adapted[0, tokens:].reshape(*new, 3).equal(grid[top : top + new[0], left : left + new[1]])
    if old == new:
        assert adapted is weight


def test_interpolation_by_hand():
    weight = torch.tensor([9.0, 0.0, 1.0]).reshape(1, 3, 1)  # one token, a grid of 1 x 2
    adapted = adapt.adapt_positions(weight, (1, 2), (1, 4), tokens=1)
    np.testing.assert_allclose(adapted.flatten(), [9, 0, 0.25, 0.75, 1], rtol=1e-6)
    adapted = adapt.adapt_positions(weight, (1, 2), (1, 4), tokens=1, mode="nearest")
    np.testing.assert_allclose(adapted.flatten(), [9, 0, 0, 1, 1])


def test_positions_that_do_not_fit():
    with pytest.raises(ShapeMismatch, match=r"expected \[1, 2 \+ 3 \* 4, D\], got \[1, 13, 8\]"):
        adapt.adapt_positions(draw(1, 13, 8), (3, 4), (3, 5), tokens=2)


def test_a_whole_state():
    state = {
        adapt.KERNEL: draw(8, 3, 16, 16),
        adapt.POSITIONS: draw(1, 2 + 9, 8),
        "tokens": draw(1, 2, 8),
        "head.weight": draw(3, 8),
    }
    before = {key: value.clone() for key, value in state.items()}
    adapted = adapt.adapt_state(
        state, (3, 3), (2, 5), tokens=2, patch=(8, 4), labels=6, generator=torch.Generator().manual_seed(3)
    )
    assert {key: list(value.shape) for key, value in adapted.items()} == {
        adapt.KERNEL: [8, 1, 8, 4],
        adapt.POSITIONS: [1, 12, 8],
        "tokens": [1, 2, 8],
        "head.norm.weight": [8],
        "head.norm.bias": [8],
        "head.linear.weight": [6, 8],
        "head.linear.bias": [6],
    }
    assert all(state[key].equal(value) for key, value in before.items())  # the old one is left as it was
    again = adapt.adapt_state(
        state, (3, 3), (2, 5), tokens=2, patch=(8, 4), labels=6, generator=torch.Generator().manual_seed(3)
    )
    assert again["head.linear.weight"].equal(adapted["head.linear.weight"])


def test_what_is_drawn_has_the_standard_deviation_of_vit():
    state = {adapt.KERNEL: draw(64, 1, 16, 16), adapt.POSITIONS: draw(1, 11, 64)}
    drawn = adapt.adapt_state(state, (3, 3), (12, 101), tokens=2, patch=(16, 16), labels=527, mode="fresh")
    for name in (adapt.POSITIONS, "head.linear.weight"):
        assert drawn[name].std().item() == pytest.approx(0.02, rel=0.05)
        assert drawn[name].mean().item() == pytest.approx(0, abs=0.001)


def test_fresh_positions():
    state = {adapt.KERNEL: draw(8, 1, 16, 16), adapt.POSITIONS: draw(1, 11, 8)}
    adapted = adapt.adapt_state(state, (3, 3), (3, 3), tokens=2, patch=(16, 16), labels=None, mode="fresh")
    assert adapted[adapt.POSITIONS].shape == (1, 11, 8)
    assert not adapted[adapt.POSITIONS].equal(state[adapt.POSITIONS])
