"""The network that a run starts from: drawn anew, or a checkpoint fitted to the recipe and the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from spectag.audio.front_end import FrontEnd
from spectag.errors import RecipeError, ShapeMismatch
from spectag.labels import LabelSet
from spectag.model import initial
from spectag.model.adapt import adapt_state
from spectag.model.config import ASTConfig
from spectag.model.loading import read_checkpoint
from spectag.model.network import AST, build_network
from spectag.train.recipe import SIZES, Recipe, build

FIXED = ("width", "depth", "heads", "mlp_ratio", "tokens")  # sizes that a checkpoint cannot be fitted to
STATISTICS = ("mean", "std")


def start(recipe: Recipe, labels: LabelSet) -> tuple[AST, Recipe]:
    """A network with an output per label, and the recipe without the nulls that the network or its origin answers.

    A head of the very same labels is kept, any other drawn anew. Statistics of the front end stay null where they are
    to be measured: without a checkpoint, and with weights learned from images.

    Raises:
        ModelError: ``init`` cannot be loaded, or fitted to this geometry.
        RecipeError: the recipe asks for sizes that the checkpoint does not have; the message names the field.
    """
    if recipe.init is None:
        network = _drawn(recipe, len(labels))
        return network, _filled(recipe, network.config, _hamming(network.config), measure=True)
    checkpoint = read_checkpoint(recipe.init)
    card, config, images = checkpoint.card, checkpoint.card.config, checkpoint.image_grid is not None
    _require_same_sizes(recipe, config)
    wanted = {name: value for name in ("patch", "stride") if (value := getattr(recipe.model, name)) is not None}
    if recipe.front_end.frames is not None:
        wanted["frames"] = recipe.front_end.frames
    try:
        fitted = replace(config, **wanted, labels=len(labels))
    except ShapeMismatch as error:
        raise RecipeError(f"recipe {recipe.name}: model and front_end do not fit {recipe.init}: {error}") from error
    state = adapt_state(
        checkpoint.state,
        checkpoint.grid,
        fitted.grid,
        tokens=config.tokens,
        patch=fitted.patch,
        labels=None if card.labels.names == labels.names and not images else len(labels),
        channels=recipe.model.channels,
        mode=recipe.model.positions,
        generator=torch.Generator().manual_seed(recipe.seed),
    )
    network = build_network(fitted, state).train()
    return network, _filled(recipe, fitted, replace(card.front_end, frames=fitted.frames), measure=images)


def _hamming(config: ASTConfig) -> FrontEnd:
    return FrontEnd("hamming", mel_bins=config.mel_bins, frames=config.frames)


def _drawn(recipe: Recipe, labels: int) -> AST:
    network = AST(recipe.network_config(labels))
    if recipe.model.initial == "structured":
        state = initial.set_sinusoidal_positions(network.state_dict(), network.config.grid)
        generator = torch.Generator().manual_seed(recipe.seed)
        network.load_state_dict(initial.draw_mimetic_attention(state, network.config.heads, generator))
    return network


def _require_same_sizes(recipe: Recipe, config: ASTConfig) -> None:
    asked = {f"model.{name}": getattr(recipe.model, name) for name in FIXED}
    asked["front_end.mel_bins"] = recipe.front_end.mel_bins
    for field, value in asked.items():
        have = getattr(config, field.split(".")[1])
        if value is not None and value != have:
            raise RecipeError(
                f"recipe {recipe.name}: {field} is {value}, but {recipe.init} has {have}: leave it null to take the "
                "checkpoint's, or train without init"
            )


def _filled(recipe: Recipe, config: ASTConfig, front_end: FrontEnd, *, measure: bool) -> Recipe:
    """The recipe with nulls replaced by what the network and the front end are."""
    open_ends = STATISTICS if measure else ()
    inherited = {name: value for name, value in front_end.to_dict().items() if name not in open_ends}
    model = {name: getattr(config, name) for name in SIZES}
    return fill(fill(recipe, "model", model), "front_end", inherited)


def fill(recipe: Recipe, section: str, values: Mapping[str, Any]) -> Recipe:
    """The recipe with the null keys of a section replaced."""
    data = recipe.model_dump()
    given = {name: value for name, value in data[section].items() if value is not None}
    known = {name: value for name, value in values.items() if name in data[section]}
    return build({**data, section: {**data[section], **known, **given}}, recipe.name)
