"""Decide everything that a recipe may leave open: geometry, front end, statistics and precision."""

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
from spectag.train.recipe import Recipe
from spectag.train.sections import SIZES, FrontEndRecipe

FabricPrecision = Literal["32-true", "bf16-mixed", "16-mixed"]
Measure = Callable[[FrontEnd], tuple[float, float]]
"""Measures the mean and the standard deviation of the training clips' fbank, in natural log units."""

FIXED = ("width", "depth", "heads", "mlp_ratio", "tokens")  # sizes of a checkpoint that cannot be changed


@dataclass(frozen=True)
class Decisions:
    """The values that a run uses. None of them is open.

    Args:
        recipe: the plan's recipe, without nulls in its sections ``model`` and ``front_end``. Its loss and number of
            epochs are decided, too.
        config: the network's geometry.
        front_end: turns waveforms into inputs, and has the statistics that they are normalised with.
        activation: of the bundle. It follows from the loss.
        precision: of the training step.

    >>> decisions = decide(plan, None, torch.device("cpu"), lambda front_end: (-6.0, 4.0))
    >>> decisions.activation, decisions.config.labels
    ('sigmoid', 2)
    """

    recipe: Recipe
    config: ASTConfig
    front_end: FrontEnd
    activation: Activation
    precision: FabricPrecision


def decide(plan: Plan, checkpoint: Checkpoint | None, device: torch.device, measure: Measure) -> Decisions:
    """Replace every null in a plan's recipe by a value.

    A value in the recipe comes first, then that of the checkpoint, then that of the paper: Hamming window, 128 bins,
    1024 frames, patches of 16x16 with stride 10. The statistics are measured if neither the recipe nor a checkpoint
    that was trained on sounds has them.

    Args:
        plan: its recipe is completed.
        checkpoint: the initial weights, if there are any.
        device: the training device. FabricPrecision ``auto`` depends on it.
        measure: measures the statistics. It is called at most once, since it decodes all clips.

    Raises:
        RecipeError: the recipe has a size that does not fit the checkpoint (the message names the key), or a precision
            that the device does not support.

    >>> decisions = decide(plan, None, torch.device("cpu"), lambda front_end: (-6.0, 4.0))
    >>> decisions.recipe.front_end.window, decisions.front_end.mean
    ('hamming', -6.0)
    """
    recipe = plan.recipe
    precision = _precision(recipe, device)
    config = _geometry(recipe, len(plan.train.labels), checkpoint)
    front_end = _front_end(recipe, config, checkpoint, measure)
    sizes = {key: getattr(config, name) for key, name in SIZES.items()}
    fields = {name: getattr(front_end, name) for name in FrontEndRecipe.model_fields}
    complete = recipe.replace(model={**recipe.model.model_dump(), **sizes}, front_end=fields)
    return Decisions(complete, config, front_end, activation_of(recipe), precision)


def activation_of(recipe: Recipe) -> Activation:
    """The activation that goes with the loss of a recipe, in which it is decided already.

    >>> activation_of(recipe.replace(loss="ce"))
    'softmax'
    """
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
                f"recipe {recipe.name}: {key} is {value}, but {recipe.init} has {have}: set it to null to use the "
                "value of the checkpoint, or train without init"
            )
    own = checkpoint.card.config
    try:
        return replace(
            own,
            patch=recipe.model.patch or own.patch,
            stride=recipe.model.stride or own.stride,
            frames=recipe.front_end.frames or own.frames,
            labels=labels,
            frame_head=own.frame_head if recipe.model.frames is None else recipe.model.frames,
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


def _precision(recipe: Recipe, device: torch.device) -> FabricPrecision:
    if recipe.precision == "fp16" and device.type != "cuda":
        raise RecipeError(f"recipe {recipe.name}: precision fp16 needs a CUDA device, got {device}: set bf16 or fp32")
    if recipe.precision == "auto":
        return "bf16-mixed" if trains_faster_in_bf16(device) else "32-true"
    named: dict[str, FabricPrecision] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
    return named[recipe.precision]
