"""The network that a run starts from: drawn at random, or a checkpoint fitted to the run's geometry and labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spectag.audio.front_end import FrontEnd
from spectag.labels import LabelSet
from spectag.model import initial, published
from spectag.model.adapt import State, adapt
from spectag.model.bundle import build as build_network
from spectag.model.bundle import load
from spectag.model.network import AST, ASTConfig
from spectag.model.source import resolve
from spectag.train.recipe import Recipe


@dataclass(frozen=True)
class Checkpoint:
    """Initial weights as they were found, before they are fitted to a run.

    Args:
        config: their geometry.
        state: the weights, by this package's names.
        front_end: what they were trained with.
        outputs: names of the outputs of a trained head, in order; None if the head is untrained.
        images: whether they learned from images only, so that no statistics of sounds come with them.
    """

    config: ASTConfig
    state: State
    front_end: FrontEnd
    outputs: tuple[str, ...] | None
    images: bool


def read_checkpoint(recipe: Recipe, labels: LabelSet) -> Checkpoint | None:
    """Read the initial weights that a recipe names; None if it trains from scratch.

    Args:
        recipe: its ``init`` names the checkpoint. Weights that learned from images are fitted to its ``stride`` and
            ``frames`` while they are read.
        labels: of the data set.

    Raises:
        ModelError: the checkpoint cannot be found or read.

    >>> from spectag.train.recipe import Recipe
    >>> recipe = Recipe(name="mine", init="esc10", epochs=1, batch_size=4, lr=1e-4)
    >>> read_checkpoint(recipe, spectag.LabelSet(("owl", "fox"))).config.width
    128
    """
    if recipe.init is None:
        return None
    path = resolve(recipe.init).path
    if path.is_file():
        card, state = published.read(path, published.Options())
        if "initial_weights" not in card.provenance:
            return Checkpoint(card.config, state, card.front_end, card.labels.names, images=False)
        options = published.Options(
            stride=recipe.model.stride,
            frames=recipe.front_end.frames,
            labels=labels,
            channels=recipe.model.channels,
            positions=recipe.model.positions,
        )
        card, state = published.read(path, options)
        return Checkpoint(card.config, state, card.front_end, None, images=True)
    bundle = load(recipe.init)
    return Checkpoint(bundle.network.config, bundle.network.state_dict(), bundle.front_end, bundle.labels.names, False)


def build_start(recipe: Recipe, config: ASTConfig, labels: LabelSet, checkpoint: Checkpoint | None) -> AST:
    """Build the network that a run starts from, in training mode, on the CPU.

    Args:
        recipe: its seed decides what is drawn at random.
        config: the geometry that was decided for the run.
        labels: of the data set. A head that was trained for exactly these is kept, any other is drawn anew.
        checkpoint: initial weights; None to draw all of them.

    >>> from spectag.model.network import ASTConfig
    >>> from spectag.train.recipe import Recipe
    >>> recipe = Recipe(name="mine", epochs=1, batch_size=4, lr=1e-4)
    >>> config = ASTConfig(width=16, depth=1, heads=2, frames=64, labels=2)
    >>> build_start(recipe, config, spectag.LabelSet(("owl", "fox")), None).config.labels
    2
    """
    if checkpoint is None:
        return _draw(recipe, config)
    state = adapt(
        checkpoint.state,
        checkpoint.config.grid,
        config.grid,
        tokens=config.tokens,
        patch=config.patch,
        labels=None if checkpoint.outputs == labels.names else len(labels),
        mode="bilinear" if checkpoint.images else recipe.model.positions,  # images' were fitted while they were read
        generator=torch.Generator().manual_seed(recipe.seed),
    )
    return build_network(config, state).train()


def _draw(recipe: Recipe, config: ASTConfig) -> AST:
    torch.manual_seed(recipe.seed)
    network = AST(config)
    if recipe.model.initial == "structured":
        state = initial.sinusoidal_positions(network.state_dict(), config.grid)
        generator = torch.Generator().manual_seed(recipe.seed)
        network.load_state_dict(initial.mimetic_attention(state, config.heads, generator))
    return network
