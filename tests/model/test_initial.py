"""Structured beginnings: what they put into a fresh network."""

import math

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


@pytest.mark.parametrize(("grid", "columns"), [((3, 4), (5, 5)), ((1, 12), (0, 10)), ((12, 1), (10, 0))])
def test_sines_by_their_formula(grid, columns):
    """Sines, then cosines, of wavelengths 2 pi 100 ** (i / n): first of the place along frequency, then along time."""
    state = {"pos_embed": torch.randn(1, 2 + 12, 10), "other": torch.ones(1)}
    got = initial.set_sinusoidal_positions(state, grid, scale=0.5)
    assert got.keys() == state.keys()
    assert got["pos_embed"][0, :2].equal(state["pos_embed"][0, :2])
    for row, place in enumerate((f, t) for f in range(grid[0]) for t in range(grid[1])):
        expected = []
        for at, size in zip(place, columns, strict=True):
            half = size // 2
            angles = [at / 100 ** (i / half) for i in range(half)]
            expected += [*map(math.sin, angles), *map(math.cos, angles), *[0.0] * (size % 2)]
        assert (got["pos_embed"][0, 2 + row] / 0.5).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("heads", [1, 4])
def test_mimetic_attention_by_its_formula(heads):
    """Each product is the wanted matrix, or what is next to it of the rank that a head has."""
    width, generator = 16, torch.Generator().manual_seed(5)
    state = {"blocks.0.attn.qkv.weight": torch.zeros(48, 16), "blocks.0.attn.proj.weight": torch.zeros(16, 16)}
    got = initial.draw_mimetic_attention(state, heads, torch.Generator().manual_seed(5))
    q, k, v = got["blocks.0.attn.qkv.weight"].split(width)

    def wanted(sign, strength, rank):
        noise = torch.randn(width, width, generator=generator) / math.sqrt(width)
        u, s, vh = torch.linalg.svd(strength * (noise + sign * torch.eye(width)))
        return (u[:, :rank] * s[:rank]) @ vh[:rank]

    torch.testing.assert_close(got["blocks.0.attn.proj.weight"] @ v, wanted(-1, 0.4, width), atol=1e-5, rtol=0)
    for one, other in zip(q.chunk(heads), k.chunk(heads), strict=True):
        torch.testing.assert_close(one.T @ other, wanted(1, 0.7, width // heads), atol=1e-5, rtol=0)
