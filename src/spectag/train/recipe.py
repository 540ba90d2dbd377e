"""A recipe: everything that decides how a network is trained, as validated data.

Recipes are YAML files; ``--set key=value`` overrides single keys (``lr=5e-6``, ``model.stride=[10,10]``). The resolved
recipe is saved with every run and in every bundle.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from spectag.errors import RecipeError, ShapeMismatch

if TYPE_CHECKING:
    from spectag.model.config import ASTConfig


def _both(value: Any) -> Any:
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


Pair = Annotated[tuple[int, int], BeforeValidator(_both)]  # one number means it twice
SIZES = ("width", "depth", "heads", "mlp_ratio", "patch", "stride", "tokens")


class Section(BaseModel):
    """Frozen, and closed: an unknown key is an error, not a wish ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelRecipe(Section):
    """Geometry of the network, see :class:`spectag.model.network.ASTConfig`. Pairs are (frequency, time).

    What is null is the initial checkpoint's, or the paper's AST where there is none. A checkpoint is fitted to another
    ``patch``, ``stride`` or ``front_end.frames``; its other sizes are as they are, and differing ones an error.

    Args:
        drop_path: rate of skipping residual branches in the last layer, growing linearly from 0 in the first.
        initial: ``random`` (ViT's), or ``structured``: sinusoidal positions and mimetic attention, see ``initial.py``;
            of no effect with an initial checkpoint.
        positions: how a checkpoint's positional embedding is fitted: ``bilinear`` (paper), ``nearest`` or ``fresh``.
        channels: how a colour kernel becomes one-channel: ``mean`` (paper) or ``sum`` (released code).
    """

    width: int | None = Field(None, ge=1)
    depth: int | None = Field(None, ge=1)
    heads: int | None = Field(None, ge=1)
    mlp_ratio: float | None = Field(None, gt=0)
    patch: Pair | None = None
    stride: Pair | None = None
    tokens: Literal[1, 2] | None = None
    drop_path: float = Field(0.0, ge=0, lt=1)
    initial: Literal["random", "structured"] = "random"
    positions: Literal["bilinear", "nearest", "fresh"] = "bilinear"
    channels: Literal["mean", "sum"] = "mean"

    def given(self) -> dict[str, Any]:
        """The sizes that are not null."""
        return {name: value for name in SIZES if (value := getattr(self, name)) is not None}


class FrontEndRecipe(Section):
    """Front end, see :class:`spectag.audio.front_end.FrontEnd`.

    What is null is the initial checkpoint's; without one Hamming, 128 bins, 1024 frames, and statistics measured on the
    training clips.
    """

    window: Literal["hamming", "hanning"] | None = None
    mel_bins: int | None = Field(None, ge=1)
    frames: int | None = Field(None, ge=1)
    mean: float | None = None
    std: float | None = Field(None, gt=0)


class AugmentRecipe(Section):
    """What happens to a training clip, in this order; every piece is off by default. See ``augment.py``.

    Args:
        excerpt: a random stretch of it, going round where it is too short; else its beginning, as in the paper.
        speed: the stretch is played up to this factor faster or slower, pitch following; 1 for off.
        gain_db: level moved by up to so many decibels.
        mix_rate, mix_alpha: probability that another clip is mixed in, lambda ~ Beta(alpha, alpha).
        mix_law: ``linear`` (mixup, the paper) or ``between`` (between-class: the levels of the clips evened out).
        equalise_db: a random smooth curve over frequency, within so many decibels.
        short_rate: probability that the clip ends early and is padded, as short recordings are when they are tagged.
        time_mask, freq_mask: SpecAugment, limits of the bands in frames and mel bins.
        noise_and_roll: a little noise and a roll of up to 10 frames, after normalising.
        patch_drop: share of the patches that the network does not see, any of them (PaSST, unstructured).
        row_drop, column_drop: share of the rows (frequency) and columns (time) of patches that it does not see (PaSST,
            structured).
    """

    excerpt: bool = False
    speed: float = Field(1.0, ge=1, le=2)
    gain_db: float = Field(0.0, ge=0, le=60)
    mix_rate: float = Field(0.0, ge=0, le=1)
    mix_alpha: float = Field(10.0, gt=0)
    mix_law: Literal["linear", "between"] = "linear"
    equalise_db: float = Field(0.0, ge=0, le=60)
    short_rate: float = Field(0.0, ge=0, le=1)
    time_mask: int = Field(0, ge=0)
    freq_mask: int = Field(0, ge=0)
    noise_and_roll: bool = False
    patch_drop: float = Field(0.0, ge=0, lt=1)
    row_drop: float = Field(0.0, ge=0, lt=1)
    column_drop: float = Field(0.0, ge=0, lt=1)


class ScheduleRecipe(Section):
    """Learning rate over time, as a factor of ``lr``.

    Args:
        kind: ``milestones`` (the paper's: times gamma at the end of each listed epoch), ``cosine`` (to zero at the end)
            or ``constant``.
        warmup_steps: steps of linear growth at the beginning; held in stairs of ``warmup_every`` steps.
        milestones, gamma: see ``kind``.
        repeat: further milestones follow the last one after so many epochs each; 0 for none.
    """

    kind: Literal["milestones", "cosine", "constant"] = "milestones"
    warmup_steps: int = Field(0, ge=0)
    warmup_every: int = Field(1, ge=1)
    milestones: tuple[int, ...] = ()
    repeat: int = Field(0, ge=0)
    gamma: float = Field(0.5, gt=0, le=1)


class PartsRecipe(Section):
    """Names of the data set's parts (``Clip.split``), for sets that have parts; those it does not have are passed over.

    Args:
        train: to learn from.
        validation: to choose by, and to score while training.
        test: to report on; it never chooses anything.
    """

    train: tuple[str, ...] = ("train",)
    validation: tuple[str, ...] = ("validation",)
    test: tuple[str, ...] = ("test",)


class Recipe(Section):
    """Everything that decides a training run but the data.

    Args:
        name: what the run is called.
        init: initial weights: whatever :func:`spectag.load` takes; null: from scratch.
        epochs, batch_size: passes over the training clips; clips per step, over all processes.
        steps: least and most optimiser steps of a run; ``epochs`` gives way. Null: no limits.
        lr: highest learning rate.
        seed: of everything drawn at random.
        optimizer, betas, weight_decay: Adam (the paper), AdamW, or Muon for the encoder and AdamW for the rest.
        layer_decay: learning rate of a layer over that of the next; 1 for one rate everywhere.
        head_lr: learning rate of the classification head; null: ``lr``.
        loss: ``bce`` (sigmoid) or ``ce`` (softmax, one label per clip); it decides the bundle's activation. Both take
            mixed targets. ``auto``: by whether every clip has one label.
        label_smoothing: share of the target spread over all classes (``ce`` only).
        clip_norm: largest gradient norm; 0 leaves gradients alone.
        accumulate: a step's batch is computed in so many parts, for less memory.
        ema: decay of the exponential moving average of the weights per step, 0 for none; the average is what is scored
            and saved.
        average: first and last epoch of those after which the weights are taken for their arithmetic mean; null: none.
        select: which weights become the run's model: of the ``last`` epoch, of the ``best`` epoch on the validation
            part, or the ``averaged`` ones.
        metric: what ``best`` is the highest of.
        balanced: draw clips with replacement, each weighing the sum of ``1000 / (clips of the label + 0.01)`` over its
            labels (released code).
        precision: ``auto`` computes in bf16 where the device has instructions for it; ``fp16`` needs a GPU.
        compile: translate the network by ``torch.compile`` first: minutes at the start, faster steps.
        checkpoint_layers: keep no activations within layers but compute them again: less memory, a third more time.
        evaluate_every: epochs between scorings of the held-out clips; the last epoch is always scored.
        holdout: share of the clips put aside for validation, where a data set has neither folds nor parts.
        groups: regular expression on file names whose first group says what must stay on one side of ``holdout``: the
            recording of several takes, say; null: the data set's own groups.
        cache_gb: decoded waveforms kept in memory, at most.
        exclude: file names never to train or score on; other takes of the same recording go with them.
    """

    name: str
    init: str | None = None
    epochs: int = Field(ge=1)
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
    metric: Literal["accuracy", "mean_ap"] = "mean_ap"
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
    schedule: ScheduleRecipe = ScheduleRecipe()
    parts: PartsRecipe = PartsRecipe()

    @model_validator(mode="after")
    def _keys_agree(self) -> Recipe:
        """What no key can tell alone."""
        if (self.front_end.mean is None) != (self.front_end.std is None):
            raise ValueError("front_end.mean and front_end.std must both be given or both be null")
        if self.label_smoothing and self.loss == "bce":
            raise ValueError("label_smoothing is of use with loss ce only; set it to 0")
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} must divide batch_size {self.batch_size}")
        if self.average and not 1 <= self.average[0] <= self.average[1] <= self.epochs:
            raise ValueError(f"average {list(self.average)} must lie within epochs 1 to {self.epochs}, first then last")
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
        """The network's geometry for so many labels, the paper's where the recipe has nulls."""
        from spectag.model.config import ASTConfig  # imports torch, which a misspelt key must not wait for

        lengths = {
            name: value for name in ("mel_bins", "frames") if (value := getattr(self.front_end, name)) is not None
        }
        return ASTConfig(**self.model.given(), **lengths, labels=labels)

    def replace(self, **keys: Any) -> Recipe:
        """The recipe with other values of some keys, validated again.

        Raises:
            RecipeError: a value that does not fit.

        >>> Recipe(name="mine", epochs=2, batch_size=4, lr=1e-3).replace(epochs=3).epochs
        3
        """
        return build({**self.model_dump(), **keys}, self.name)

    def to_yaml(self) -> str:
        """The recipe as YAML, every key written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def packaged() -> dict[str, str]:
    """The recipes that come with spectag: name -> YAML text."""
    folder = resources.files("spectag.train") / "recipes"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    return {f.name.removesuffix(".yaml"): f.read_text(encoding="utf-8") for f in files}


def headers() -> dict[str, dict[str, str]]:
    """What the packaged recipes say of themselves: name -> ``about``, ``command``, ``cost``, ``score``."""
    out = {}
    for name, text in packaged().items():
        comments = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
        rows = {"about": comments[0]}
        for comment in comments[1:]:
            key, _, rest = comment.partition(" ")
            if key in ("Command", "Cost", "Score"):
                rows[key.lower()] = rest.strip()
        out[name] = rows
    return out


def read_recipe(source: str, overrides: Iterable[str] = ()) -> Recipe:
    """A packaged recipe by name or a YAML file by path, with overrides.

    Args:
        source: ``esc10`` or ``my-recipe.yaml``.
        overrides: ``key=value`` each; nested keys with dots, values as YAML.

    Raises:
        RecipeError: no such recipe, an unknown key (the message lists the nearest), or a value that does not fit.
    """
    known = packaged()
    if source in known:
        text = known[source]
    elif Path(source).is_file():
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"recipe {source}: expected YAML in UTF-8; {error}") from error
    else:
        near = _nearest(source, known)
        raise RecipeError(f"recipe {source!r}: neither a file nor one of {', '.join(known)}{near}")
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"recipe {source}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"recipe {source}: expected keys and values, got {type(data).__name__}")
    for override in overrides:
        _set(data, override)
    return build(data, source)


def build(data: Mapping[str, Any], source: str) -> Recipe:
    """Validate plain values into a recipe; ``source`` opens the error message."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise RecipeError(f"recipe {source}: {'; '.join(_explain(e) for e in error.errors())}") from error


def _set(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {override}: expected key=value, for instance --set lr=1e-4")
    *parents, last = key.strip().split(".")
    section: Any = data
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise RecipeError(f"--set {override}: {parent!r} is a value, not a section")
    try:
        section[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: {value!r} is not a YAML value") from error


def _explain(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown key {place!r}{_nearest(place, _keys(Recipe))}"
    if error["type"] == "missing":
        return f"key {place!r} is missing"
    got = "" if isinstance(error["input"], dict) else f", got {error['input']!r}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{place + ': ' if place else ''}{message}{got}"


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += _keys(kind, f"{prefix}{name}.")
    return keys


def _nearest(word: str, known: Iterable[str]) -> str:
    by_last = {key.rsplit(".", 1)[-1]: key for key in known}
    near = difflib.get_close_matches(word, list(known), 3, 0.5)
    near += [by_last[k] for k in difflib.get_close_matches(word.rsplit(".", 1)[-1], list(by_last), 3, 0.6)]
    return f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
