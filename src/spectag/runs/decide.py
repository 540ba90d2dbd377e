"""Everything that a recipe may leave open, decided once: geometry, front end, statistics, precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch

from spectag.audio.front_end import FrontEnd
from spectag.choices import Activation
from spectag.errors import RecipeError, ShapeMismatch
from spectag.model.checkpoint import Checkpoint
from spectag.model.config import ASTConfig
from spectag.model.device import trains_faster_in_bf16
from spectag.runs.plan import Plan
from spectag.train.recipe import SIZES, FrontEndRecipe, Recipe

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Measure = Callable[[FrontEnd], tuple[float, float]]
"""Measures the mean and the standard deviation of the training clips' fbank, in natural log units."""

FIXED = ("width", "depth", "heads", "mlp_ratio", "tokens")  # sizes that a checkpoint cannot be fitted to


@dataclass(frozen=True)
class Decisions:
    """What a run works with; no field is optional.

    Args:
        recipe: the plan's recipe without nulls in its sections ``model`` and ``front_end``; its loss and number of
            epochs are decided too.
        config: the network's geometry.
        front_end: turns waveforms into inputs; its statistics are those to normalise with.
        activation: of the bundle, which follows from the loss.
        precision: of the training step.
    """

    recipe: Recipe
    config: ASTConfig
    front_end: FrontEnd
    activation: Activation
    precision: Precision


def decide(plan: Plan, checkpoint: Checkpoint | None, device: torch.device, measure: Measure) -> Decisions:
    """Answer every null of a plan's recipe.

    The recipe has the first word, then the checkpoint, then the paper: Hamming window, 128 bins, 1024 frames, patches
    of 16x16 with stride 10. Statistics are measured where neither the recipe nor a checkpoint that was trained on
    sounds brings any.

    Args:
        plan: whose recipe is completed.
        checkpoint: its initial weights, if it has any.
        device: that trains; precision ``auto`` depends on it.
        measure: called at most once, since it decodes all clips.

    Raises:
        RecipeError: the recipe asks for sizes that the checkpoint does not have (the message names the key), or for a
            precision that the device does not have.
    """
    recipe = plan.recipe
    precision = _precision(recipe, device)
    config = _geometry(recipe, len(plan.train.labels), checkpoint)
    front_end = _front_end(recipe, config, checkpoint, measure)
    sizes = {name: getattr(config, name) for name in SIZES}
    fields = {name: getattr(front_end, name) for name in FrontEndRecipe.model_fields}
    complete = recipe.replace(model={**recipe.model.model_dump(), **sizes}, front_end=fields)
    return Decisions(complete, config, front_end, activation_of(recipe), precision)


def activation_of(recipe: Recipe) -> Activation:
    """The activation that goes with a recipe's loss, which is decided already."""
    return "sigmoid" if recipe.loss == "bce" else "softmax"


def _geometry(recipe: Recipe, labels: int, checkpoint: Checkpoint | None) -> ASTConfig:
    if checkpoint is None:
        return recipe.network_config(labels)
    asked = {f"model.{name}": getattr(recipe.model, name) for name in FIXED}
    asked["front_end.mel_bins"] = recipe.front_end.mel_bins
    for key, value in asked.items():
        have = getattr(checkpoint.card.config, key.split(".")[1])
        if value is not None and value != have:
            raise RecipeError(
                f"recipe {recipe.name}: {key} is {value}, but {recipe.init} has {have}: leave it null to take the "
                "checkpoint's, or train without init"
            )
    own = checkpoint.card.config
    try:
        return replace(
            own,
            patch=recipe.model.patch or own.patch,
            stride=recipe.model.stride or own.stride,
            frames=recipe.front_end.frames or own.frames,
            labels=labels,
        )
    except ShapeMismatch as error:
        raise RecipeError(f"recipe {recipe.name}: model and front_end do not fit {recipe.init}: {error}") from error


def _front_end(recipe: Recipe, config: ASTConfig, checkpoint: Checkpoint | None, measure: Measure) -> FrontEnd:
    asked = recipe.front_end
    own = FrontEnd(window="hamming") if checkpoint is None else checkpoint.card.front_end
    front_end = replace(own, window=asked.window or own.window, mel_bins=config.mel_bins, frames=config.frames)
    if asked.mean is not None and asked.std is not None:
        return replace(front_end, mean=asked.mean, std=asked.std)
    if checkpoint is not None and checkpoint.image_grid is None:
        return front_end
    mean, std = measure(front_end)
    return replace(front_end, mean=mean, std=std)


def _precision(recipe: Recipe, device: torch.device) -> Precision:
    if recipe.precision == "fp16" and device.type != "cuda":
        raise RecipeError(f"recipe {recipe.name}: precision fp16 needs a CUDA device, got {device}: set bf16 or fp32")
    if recipe.precision == "auto":
        return "bf16-mixed" if trains_faster_in_bf16(device) else "32-true"
    named: dict[str, Precision] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
    return named[recipe.precision]
