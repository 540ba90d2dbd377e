"""What a run will do, decided and checked before anything costly is imported or decoded."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectag.data.manifest import Manifest
from spectag.data.splits import divide
from spectag.errors import DataError, RecipeError, SaveError
from spectag.train.recipe import Recipe, build

RECIPE = "recipe.yaml"
PLAN = "plan.json"


@dataclass(frozen=True)
class Plan:
    """What one run does.

    Args:
        recipe: the recipe as given; what it leaves null is filled in when the run starts.
        train: the clips to learn from.
        validation: the clips to score while training and to choose by, if any.
        test: the clips to report on, if any; they choose nothing.
        out: the run's directory, see :func:`spectag.train.run.run`.
        description: what is reported on, in words.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        processes: how many share each batch; on GPUs, one each.
        resume: go on from the last checkpoint in ``out``, if there is one.
        strict: a training clip that cannot be read ends the run; else it is skipped and named in the report.
        wandb: name of a Weights & Biases project to log to, besides TensorBoard.
        command: what was typed, for the report.
    """

    recipe: Recipe
    train: Manifest
    validation: Manifest | None
    test: Manifest | None
    out: Path
    description: str
    device: str = "cpu"
    processes: int = 1
    resume: bool = False
    strict: bool = False
    wandb: str | None = None
    command: str | None = None

    @property
    def scored(self) -> Manifest | None:
        """The clips that the run's figures are about: the test clips, else those for validation."""
        return self.validation if self.test is None else self.test


def plan(
    recipe: Recipe,
    manifest: Manifest,
    out: Path,
    *,
    fold: int | None = None,
    holdout_seed: int | None = None,
    **options: Any,
) -> Plan:
    """Divide a data set as asked: by one fold, by its parts, by a share put aside, or all of it for training.

    Args:
        recipe: says which parts, and what share.
        manifest: the data set.
        out: the run's directory.
        fold: the fold to report on; the others are for training.
        holdout_seed: of the draw of the share put aside; None: the recipe's.
        options: further fields of :class:`Plan`.

    Raises:
        DataError: no such fold, or nothing left to train on.
        RecipeError: keys that do not go with this data set.
    """
    clips = manifest.excluding(recipe.exclude)
    validation: Manifest | None = None
    test: Manifest | None = None
    parts = recipe.parts
    if fold is not None:
        test = clips.only(fold=fold)
        train, description = clips.without(test), f"fold {fold}"
    elif clips.splits:
        learned = _part(clips, parts.train)
        if learned is None:
            have = ", ".join(clips.splits)
            raise DataError(f"parts.train: the data set has none of {', '.join(parts.train)}; it has: {have}")
        train = learned
        validation, test = _part(clips, parts.validation), _part(clips, parts.test)
        reported = parts.validation if test is None else parts.test
        names = [name for name in reported if name in clips.splits]
        description = f"part {' and '.join(names)}" if names else "nothing"
    elif recipe.holdout and not clips.folds:
        seed = recipe.seed if holdout_seed is None else holdout_seed
        divided = divide(clips, share=recipe.holdout, seed=seed, pattern=recipe.groups)
        train, validation = divided.only(split="train"), divided.only(split="validation")
        description = f"{recipe.holdout:.0%} of the clips, drawn by seed {seed}"
    else:
        train, description = clips, "nothing"
    if not train.clips:
        raise DataError(f"no clips left to train on after holding out {description}")
    if recipe.select == "best" and validation is None:
        raise RecipeError(
            f"recipe {recipe.name}: select best needs clips to choose by, and here are none: set select=last, or "
            "parts.validation to a part of the data set, or holdout to a share"
        )
    recipe = _with_loss(recipe, clips)
    processes = options.get("processes", 1)
    if recipe.batch_size % (recipe.accumulate * processes):
        raise RecipeError(
            f"recipe {recipe.name}: batch_size {recipe.batch_size} is not a multiple of accumulate {recipe.accumulate} "
            f"times {processes} processes"
        )
    return Plan(_within_steps(recipe, len(train)), train, validation, test, out, description, **options)


def _part(clips: Manifest, names: tuple[str, ...]) -> Manifest | None:
    known = tuple(name for name in names if name in clips.splits)
    return clips.only(split=known) if known else None


def _with_loss(recipe: Recipe, clips: Manifest) -> Recipe:
    """The recipe with a loss that goes with the labels."""
    others = [clip.id for clip in clips.clips if len(clip.labels) != 1]
    if recipe.loss == "auto":
        smoothing = 0.0 if others else recipe.label_smoothing
        choice = {"loss": "bce" if others else "ce", "label_smoothing": smoothing}
        return build({**recipe.model_dump(), **choice}, recipe.name)
    if recipe.loss == "ce" and others:
        raise RecipeError(
            f"recipe {recipe.name}: loss ce is for clips of one label each, and {len(others)} have none or several "
            f"({others[0]}, say): set loss=bce"
        )
    return recipe


def _within_steps(recipe: Recipe, clips: int) -> Recipe:
    """The recipe with as many epochs as its limits on steps allow."""
    if recipe.steps is None:
        return recipe
    least, most = recipe.steps
    per_epoch = math.ceil(clips / recipe.batch_size)
    epochs = max(1, min(max(recipe.epochs, math.ceil(least / per_epoch)), most // per_epoch))
    return build({**recipe.model_dump(), "epochs": epochs}, recipe.name)


def check_directory(plan: Plan) -> None:
    """Make sure that the run's directory is new or empty, or holds this very run: same recipe, same clips on all sides.

    Raises:
        RecipeError: it holds something else, or another run.
    """
    out = plan.out
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out}: expected a directory, found a file")
    if out.is_dir() and any(out.iterdir()):
        if not plan.resume:
            raise RecipeError(f"--out {out}: not empty; go on with that run by --resume, or choose another directory")
        _check_same(plan)


def prepare(plan: Plan, resolved: Recipe) -> None:
    """Make the run's directory, with the recipe as it was resolved.

    Raises:
        SaveError: it cannot be made.
    """
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        (plan.out / RECIPE).write_text(resolved.to_yaml(), encoding="utf-8")
        (plan.out / PLAN).write_text(json.dumps(identity(plan), indent=1), encoding="utf-8")
    except OSError as error:
        raise SaveError(f"--out {plan.out}: cannot be made ({error.strerror})") from error


def identity(plan: Plan) -> dict[str, str]:
    """What must not change between two sittings of one run, each with a name to complain by."""

    def digest(manifest: Manifest | None) -> str:
        rows = [(clip.id, *map(str, clip.labels)) for clip in manifest.clips] if manifest else []
        names = list(manifest.labels.names) if manifest else []
        return hashlib.sha256(json.dumps([rows, names]).encode()).hexdigest()

    return {
        "recipe": plan.recipe.to_yaml(),
        "held out": plan.description,
        "training clips": digest(plan.train),
        "validation clips": digest(plan.validation),
        "test clips": digest(plan.test),
    }


def _check_same(plan: Plan) -> None:
    try:
        before = json.loads((plan.out / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"--out {plan.out}: not empty, and holds no {PLAN} of a run to resume") from error
    for name, now in identity(plan).items():
        if not isinstance(before, dict) or before.get(name) != now:
            raise RecipeError(
                f"--resume: the {name} of the run in {plan.out} differed from what is given now; resume with the same "
                "recipe, --set, --data and --fold"
            )
