"""Better initial weights for a network that learns from few sounds and no images: pure functions of the state.

A transformer with random weights spends its first epochs on learning that neighbouring patches belong together. With
both functions below it knows this from the start. All weights remain trainable.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spectag.model.adapt import POSITIONS, Grid, State


def set_sinusoidal_positions(state: State, grid: Grid, scale: float = 0.3) -> State:
    """Replace the patches' positional embedding by sines and cosines (Vaswani et al. 2017) of both axes.

    Args:
        state: weights of a network; the class tokens' rows stay.
        grid: patches along (frequency, time). The two axes share the columns of the embedding; an axis of one patch
            needs none.
        scale: amplitude. It is small, so that positions do not drown the patches.

    >>> network = spectag.AST(spectag.ASTConfig(width=16, depth=1, heads=1, frames=128, labels=2))
    >>> state = set_sinusoidal_positions(network.state_dict(), network.config.grid)
    >>> round(state["pos_embed"][0, 2:].max().item(), 3)  # behind the class tokens
    0.3
    """
    weight = state[POSITIONS]
    width = weight.shape[2]
    f_columns, t_columns = width // 2, width // 2
    if grid[1] == 1:
        f_columns, t_columns = width, 0
    elif grid[0] == 1:
        f_columns, t_columns = 0, width
    f, t = _sines(grid[0], f_columns), _sines(grid[1], t_columns)
    table = torch.cat([f[:, None].expand(-1, grid[1], -1), t[None].expand(grid[0], -1, -1)], dim=2).flatten(0, 1)
    tokens = weight.shape[1] - len(table)
    rows = torch.zeros(len(table), width)
    rows[:, : table.shape[1]] = scale * table
    return state | {POSITIONS: torch.cat([weight[:, :tokens], rows[None].to(weight.dtype)], dim=1)}


def draw_mimetic_attention(state: State, heads: int, generator: torch.Generator) -> State:
    """Draw attention weights that look like those of trained transformers (Trockman and Kolter 2023, section 3).

    Queries times keys begin near ``0.7 (noise + identity)``, so that a patch attends to similar patches and, since
    their positions are similar, to its neighbours; values times projection begin near ``0.4 (noise - identity)``.

    Args:
        state: weights of a network of any depth.
        heads: attention heads.
        generator: draws the noise.

    >>> network = spectag.AST(spectag.ASTConfig(width=16, depth=1, heads=1, frames=128, labels=2))
    >>> state = draw_mimetic_attention(network.state_dict(), 1, torch.Generator().manual_seed(0))
    >>> state["blocks.0.attn.qkv.weight"].shape
    torch.Size([48, 16])
    """
    out = dict(state)
    for key in [key for key in state if key.endswith("attn.qkv.weight")]:
        width = state[key].shape[1]
        projection, value = _draw_factors(width, -1, 0.4, generator)
        pairs = [_draw_factors(width, 1, 0.7, generator) for _ in range(heads)]
        size = width // heads
        query = torch.cat([left[:, :size].T for left, _ in pairs])
        key_rows = torch.cat([right[:size] for _, right in pairs])
        out[key] = torch.cat([query, key_rows, value])
        out[key.replace("qkv", "proj")] = projection
    return out


def _sines(size: int, columns: int) -> Tensor:
    """``[size, columns]``: sines, then cosines, of wavelengths from 2 pi to about 200 pi patches."""
    half = columns // 2
    rate = 100.0 ** -(torch.arange(half) / max(1, half))
    angle = torch.arange(size)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos(), torch.zeros(size, columns - 2 * half)], dim=1)


def _draw_factors(width: int, sign: float, strength: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two square factors of ``strength * (noise + sign * identity)``: ``left @ right``."""
    noise = torch.randn(width, width, generator=generator) / width**0.5
    u, s, v = torch.linalg.svd(strength * (noise + sign * torch.eye(width)))
    return u * s.sqrt(), s.sqrt()[:, None] * v
