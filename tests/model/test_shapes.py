from dataclasses import replace

import pytest
import torch
from small import TINY

from spectag.model.network import AST
from spectag.model.shapes import network_shapes


@pytest.mark.parametrize(
    "fields",
    [{}, {"tokens": 1}, {"patch": (128, 2), "stride": (1, 2)}, {"depth": 1, "labels": 9}, {"frame_head": True}],
)
def test_shapes_by_arithmetic_are_the_networks(fields):

    config = replace(TINY, **fields)
    with torch.device("meta"):
        network = AST(config)
    assert network_shapes(config) == {key: tuple(value.shape) for key, value in network.state_dict().items()}


def test_shapes_of_a_monster_cost_nothing():

    monster = replace(TINY, width=2**31, heads=1, frames=2**20, labels=2**31)
    assert network_shapes(monster)["head.linear.weight"] == (2**31, 2**31)
