import math

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
