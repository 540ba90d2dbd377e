"""The patches that the network sees of each clip during training: patch dropout (Koutini et al. 2022, PaSST)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectag.train.rng import BatchRng
from spectag.train.sections import AugmentRecipe


def draw_patches(batch: int, grid: tuple[int, int], recipe: AugmentRecipe, rng: BatchRng) -> Tensor | None:
    """Draw the patches that the network sees of each clip .

    Whole rows and columns of the grid are dropped first (structured), then any of the remaining patches.

    Args:
        batch: number of clips B.
        grid: patches along (frequency, time).
        recipe: its ``row_drop``, ``column_drop`` and ``patch_drop`` are the shares to drop.
        rng: draws which.

    Returns:
        ascending indices ``[B, K]`` into the patches, counted along time first; None if the recipe drops nothing.

    >>> recipe = spectag.train.sections.AugmentRecipe(column_drop=0.5)
    >>> draw_patches(2, (3, 8), recipe, np.random.default_rng(0)).shape  # 3 rows of 4 columns
    torch.Size([2, 12])
    """
    if not (recipe.patch_drop or recipe.row_drop or recipe.column_drop):
        return None
    rows = draw_kept(batch, grid[0], recipe.row_drop, rng)
    columns = draw_kept(batch, grid[1], recipe.column_drop, rng)
    patches = (rows[:, :, None] * grid[1] + columns[:, None, :]).reshape(batch, -1)
    chosen = draw_kept(batch, patches.shape[1], recipe.patch_drop, rng)
    return torch.from_numpy(np.take_along_axis(patches, chosen, axis=1))


def draw_kept(batch: int, size: int, drop: float, rng: BatchRng) -> NDArray[np.int64]:
    """Draw a subset of ``range(size)`` per clip: ascending, ``[B, max(1, round((1 - drop) * size))]``.

    >>> draw_kept(1, 3, 0.0, np.random.default_rng(0))
    array([[0, 1, 2]])
    """
    if not drop:
        return np.tile(np.arange(size), (batch, 1))
    order = rng.random((batch, size)).argsort(1)
    return np.sort(order[:, : max(1, round((1 - drop) * size))], axis=1)
