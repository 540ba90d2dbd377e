"""Structured beginnings: what they put into a fresh network."""

import pytest
import torch

from spectag.model import initial
from spectag.model.config import ASTConfig
from spectag.model.network import AST


@pytest.mark.parametrize("patch", [(16, 16), (128, 4)])
def test_sinusoidal_positions_make_neighbours_alike(patch):
    network = AST(ASTConfig(width=32, depth=1, heads=2, patch=patch, stride=patch, frames=128, labels=3))
    state = initial.set_sinusoidal_positions(network.state_dict(), network.config.grid, scale=0.3)
    table = state["pos_embed"][0, 2:]
    assert table.abs().max() <= 0.3
    assert torch.equal(state["pos_embed"][:, :2], network.pos_embed[:, :2])
    first = torch.nn.functional.cosine_similarity(table[0], table)
    assert first[1] > first[5]
    assert torch.unique(table, dim=0).shape == table.shape, "every place has its own row"
    network.load_state_dict(state)


def test_mimetic_attention_attends_to_the_like():
    network = AST(ASTConfig(width=64, depth=2, heads=4, frames=64, labels=3))
    state = initial.draw_mimetic_attention(network.state_dict(), 4, torch.Generator().manual_seed(0))
    q, k, v = state["blocks.1.attn.qkv.weight"].split(64)
    for head in range(4):
        rows = slice(16 * head, 16 * head + 16)
        assert (q[rows].T @ k[rows]).trace() > 0
    assert (state["blocks.1.attn.proj.weight"] @ v).trace() == pytest.approx(-0.4 * 64, rel=0.3)
    network.load_state_dict(state)
