"""The network that a run starts from: random weights, or a checkpoint adapted to the run's geometry and labels."""

from __future__ import annotations

import torch

from spectag.labels import LabelSet
from spectag.model import initial
from spectag.model.adapt import adapt_state
from spectag.model.checkpoint import Checkpoint
from spectag.model.config import ASTConfig
from spectag.model.network import AST, build_network
from spectag.train.recipe import Recipe


def build_start(recipe: Recipe, config: ASTConfig, labels: LabelSet, checkpoint: Checkpoint | None) -> AST:
    """Build the network that a run starts from, in training mode, on the CPU.

    Args:
        recipe: its seed is used for the random weights.
        config: the geometry of the run.
        labels: of the data set. Heads that were trained for exactly these labels are kept. Otherwise they are drawn
            anew.
        checkpoint: initial weights; None to draw all weights at random.

    >>> from spectag.train.recipe import Recipe
    >>> recipe = Recipe(name="mine", epochs=1, batch_size=4, lr=1e-4)
    >>> config = spectag.ASTConfig(width=16, depth=1, heads=2, frames=64, labels=2)
    >>> build_start(recipe, config, spectag.LabelSet(("owl", "fox")), None).config.labels
    2
    """
    if checkpoint is None:
        return _draw(recipe, config)
    same_head = not checkpoint.headless and checkpoint.card.labels.names == labels.names
    state = adapt_state(
        checkpoint.state,
        checkpoint.grid,
        config.grid,
        tokens=config.tokens,
        patch=config.patch,
        labels=None if same_head else len(labels),
        channels=recipe.model.channels,
        mode=recipe.model.positions,
        frame_head=config.frame_head,
        generator=torch.Generator().manual_seed(recipe.seed),
    )
    return build_network(config, state).train()


def _draw(recipe: Recipe, config: ASTConfig) -> AST:
    torch.manual_seed(recipe.seed)
    network = AST(config)
    if recipe.model.initial == "structured":
        state = initial.set_sinusoidal_positions(network.state_dict(), config.grid)
        generator = torch.Generator().manual_seed(recipe.seed)
        network.load_state_dict(initial.draw_mimetic_attention(state, config.heads, generator))
    return network
