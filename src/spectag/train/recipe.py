"""A recipe: all settings that decide how a network is trained, as validated data.

Recipes are YAML files. ``--set key=value`` overrides single keys, for example ``lr=5e-6`` or ``model.stride=[10,10]``.
Every run and every bundle has a copy of the complete recipe, in which every open value is decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from spectag.errors import RecipeError, ShapeMismatch
from spectag.train.sections import (
    AugmentRecipe,
    FrontEndRecipe,
    LabelsRecipe,
    ModelRecipe,
    Pair,
    ScheduleRecipe,
    Section,
    SplitsRecipe,
    TeacherRecipe,
)
from spectag.validation import explain, list_keys, show, suggest

if TYPE_CHECKING:
    from spectag.model.config import ASTConfig


RENAMED = {"parts": "splits"}  # keys that had another name in older versions


class Recipe(Section):
    """All settings of a training run, except for the data.

    Args:
        name: name of the recipe.
        init: initial weights: a bundle, a ``.pth`` file, a known name or a Hub id; null to train from scratch.
        epochs: number of passes over the training clips.
        epoch_clips: number of clips to draw in an epoch; null for as many as there are.
        batch_size: clips per step, over all processes.
        steps: lowest and highest number of steps of a run. ``epochs`` is raised or lowered to stay within these limits.
            Null for no limits.
        lr: highest learning rate.
        seed: seed of all random numbers.
        optimizer: ``adam`` (paper), ``adamw``, or ``muon`` (Muon for the encoder's matrices, AdamW for the rest).
        betas: decay of the optimiser's averages of gradients and of their squares.
        weight_decay: weight decay. AdamW and Muon do not apply it to biases, norms, tokens and positions.
        layer_decay: learning rate of a layer, as a fraction of that of the next layer; 1 for the same rate everywhere.
        head_lr: highest learning rate of the heads; null for ``lr``.
        loss: ``bce`` (several labels per clip; the model's scores are sigmoids), ``ce`` (one label per clip; the scores
            are a softmax), or ``auto`` to take ``ce`` if every clip has exactly one label.
        label_smoothing: fraction of each target that is spread evenly over all classes; only for ``ce``.
        clip_norm: highest norm of a gradient. Longer gradients are scaled down to it; 0 for no limit.
        accumulate: number of pieces in which each batch is computed. More pieces need less memory.
        ema: decay per step of a moving average of the weights. If it is above 0, the average is scored and saved.
        average: first and last of the epochs whose weights are averaged at the end; null for none.
        select: weights to keep as the model: those of the ``last`` epoch, those of the ``best`` epoch on the validation
            clips, or the ``averaged`` ones.
        metric: figure that chooses the ``best`` epoch and that a sweep compares: ``accuracy`` (for one label per clip),
            ``mean_ap``, or ``auto`` to take the accuracy if every clip that is scored has exactly one label.
        balanced: draw clips of rare labels more often, with replacement (released code).
        precision: ``fp32``, ``bf16``, ``fp16`` (GPUs only), or ``auto`` for bf16 where that is faster.
        compile: compile the network with ``torch.compile``. This takes minutes at the start and makes steps faster.
        checkpoint_layers: recompute each layer's activations in the backward pass. This needs less memory and a third
            more time.
        evaluate_every: score the held-out clips after every N epochs. They are always scored after the last one.
        holdout: fraction of the clips to hold out for validation if nothing else is held out. If ``select`` is
            ``best``, also beside a test split or a fold that is held out: a fraction of the training clips.
        groups: regular expression for file names. Clips for which its first group matches the same text stay together
            when clips are held out, for example all takes of a recording. Null for the data set's own groups.
        cache_gb: maximum memory for decoded clips, in GB.
        exclude: file names of clips that are neither trained nor scored on. Other takes of the same recordings are
            excluded, too.
    """

    name: str
    init: str | None = None
    epochs: int = Field(ge=1)
    epoch_clips: int | None = Field(None, ge=1)
    batch_size: int = Field(ge=1)
    steps: Pair | None = None
    lr: float = Field(gt=0)
    seed: int = Field(0, ge=0, lt=2**32)
    optimizer: Literal["adam", "adamw", "muon"] = "adam"
    betas: tuple[float, float] = (0.95, 0.999)
    weight_decay: float = Field(5e-7, ge=0)
    layer_decay: float = Field(1.0, gt=0, le=1)
    head_lr: float | None = Field(None, gt=0)
    loss: Literal["auto", "bce", "ce"] = "bce"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    clip_norm: float = Field(0.0, ge=0)
    accumulate: int = Field(1, ge=1)
    ema: float = Field(0.0, ge=0, lt=1)
    average: Pair | None = None
    select: Literal["last", "best", "averaged"] = "last"
    metric: Literal["auto", "accuracy", "mean_ap"] = "mean_ap"
    balanced: bool = False
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = False
    checkpoint_layers: bool = False
    evaluate_every: int = Field(1, ge=1)
    holdout: float = Field(0.0, ge=0, lt=1)
    groups: str | None = None
    cache_gb: float = Field(2.0, ge=0)
    exclude: tuple[str, ...] = ()
    model: ModelRecipe = ModelRecipe()
    front_end: FrontEndRecipe = FrontEndRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    teacher: TeacherRecipe = TeacherRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    splits: SplitsRecipe = SplitsRecipe()
    labels: LabelsRecipe = LabelsRecipe()

    @model_validator(mode="after")
    def _keys_agree(self) -> Recipe:
        """Check the keys that depend on one another."""
        if (self.front_end.mean is None) != (self.front_end.std is None):
            raise ValueError("front_end.mean and front_end.std must both be given or both be null")
        if self.label_smoothing and self.loss == "bce":
            raise ValueError("label_smoothing needs loss ce: set it to 0")
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} must divide batch_size {self.batch_size}")
        if self.average and not 1 <= self.average[0] <= self.average[1] <= self.epochs:
            raise ValueError(
                f"average {list(self.average)} must lie within epochs 1 to {self.epochs} and not end before it begins"
            )
        if self.select == "averaged" and not self.average:
            raise ValueError("select averaged needs average: [first epoch, last epoch]")
        return self

    @model_validator(mode="after")
    def _geometry_fits(self) -> Recipe:
        if self.init is None:
            try:
                self.network_config(labels=1)
            except ShapeMismatch as error:
                raise ValueError(f"model and front_end: {error}") from error
        return self

    def network_config(self, labels: int) -> ASTConfig:
        """Return the geometry of a network from scratch, with the paper's sizes where the recipe has nulls."""
        from spectag.model.config import ASTConfig

        lengths = {
            name: value for name in ("mel_bins", "frames") if (value := getattr(self.front_end, name)) is not None
        }
        return ASTConfig(**self.model.given(), **lengths, labels=labels)

    def replace(self, **keys: Any) -> Recipe:
        """Return a copy with other values for some keys. The copy is validated.

        Raises:
            RecipeError: a value is not valid.

        >>> Recipe(name="mine", epochs=2, batch_size=4, lr=1e-3).replace(epochs=3).epochs
        3
        """
        return build({**self.model_dump(), **keys}, self.name)

    def to_yaml(self) -> str:
        """Return the recipe as YAML, with all keys."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def build(data: Any, source: str) -> Recipe:
    """Make a recipe of plain values. Error messages begin with ``source``.

    Raises:
        RecipeError: the data are not keys and values, a key is unknown or missing, or a value is not valid.

    >>> build({"name": "mine", "epochs": 2, "batch_size": 4, "lr": 1e-3}, "mine").lr
    0.001
    """
    if not isinstance(data, dict):
        raise RecipeError(f"recipe {source}: expected keys and values, got {type(data).__name__}")
    try:
        return Recipe.model_validate(present_names(data))
    except ValidationError as error:
        raise RecipeError(
            f"recipe {source}: {'; '.join(dict.fromkeys(_explain(e) for e in error.errors()))}"
        ) from error


def present_names(data: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the old names of keys by their present names.

    >>> present_names({"parts": {"train": ["learn"]}})
    {'splits': {'train': ['learn']}}
    """
    return {RENAMED.get(key, key): value for key, value in data.items()}


def _explain(error: Any) -> str:
    """What is wrong with one key. Everything else about it is in :mod:`spectag.validation`."""
    *parents, last = error["loc"] or ("",)
    place = ".".join(str(key) for key in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown key {place!r}{suggest(place, list_keys(Recipe))}"
    if error["type"] == "missing" and isinstance(last, str):
        return f"key {place!r} is missing: add it"
    if error["type"] in ("missing", "too_long"):  # all lists of a fixed length are pairs
        key = parents if error["type"] == "missing" else [*parents, last]
        return f"{'.'.join(map(str, key))}: expected two values such as [1, 2], got {show(error['input'])}"
    return f"{place + ': ' if place else ''}{explain(error)}"
