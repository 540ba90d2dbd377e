import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st

from spectag.errors import ShapeMismatch
from spectag.model.config import ASTConfig
from spectag.model.network import AST


@given(seconds=st.integers(1, 60))
def test_patches_by_the_papers_formula(seconds):
    f, t = ASTConfig(frames=100 * seconds).grid
    assert f * t == 12 * math.ceil((100 * seconds - 16) / 10)


SIZES = st.integers(1, 40)


@given(patch=st.tuples(SIZES, SIZES), stride=st.tuples(SIZES, SIZES), more=st.tuples(SIZES, SIZES))
def test_patches_are_the_places_where_one_fits(patch, stride, more):
    bins, frames = (size + extra - 1 for size, extra in zip(patch, more, strict=True))
    config = ASTConfig(patch=patch, stride=stride, mel_bins=bins, frames=frames)
    places = [range(0, bins - patch[0] + 1, stride[0]), range(0, frames - patch[1] + 1, stride[1])]
    assert config.grid == tuple(map(len, places))
    for smaller in ({"mel_bins": patch[0] - 1}, {"frames": patch[1] - 1}):
        with pytest.raises(ShapeMismatch):
            replace(config, **smaller)


def test_the_papers_geometry():
    """Section 2.1, and the epsilon of timm."""
    config = ASTConfig()
    assert (config.width, config.depth, config.heads, config.hidden, config.tokens) == (768, 12, 12, 3072, 2)
    assert (config.patch, config.stride, config.mel_bins, config.frames) == ((16, 16), (10, 10), 128, 1024)
    assert (config.labels, config.norm_eps) == (527, 1e-6)


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 30, "heads": 4},
        {"tokens": 3},
        {"depth": 0},
        {"patch": (16,)},
        {"stride": (0, 10)},
        {"frames": 15},
        {"patch": (129, 2)},
    ],
)
def test_impossible_geometry_names_the_field(fields):
    with pytest.raises(ShapeMismatch, match="|".join(fields)):
        ASTConfig(**fields)


def test_the_default_is_the_papers_network_of_87_million():
    with torch.device("meta"):
        network = AST(ASTConfig())
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(87, abs=1)
