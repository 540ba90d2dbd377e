"""What a run will do with the clips of a data set, checked before anything costly is imported or decoded."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spectag.choices import DEVICE
from spectag.data.manifest import Manifest
from spectag.data.splits import divide
from spectag.errors import DataError, RecipeError, SaveError
from spectag.files import write_text
from spectag.train.recipe import Recipe, build

RECIPE = "recipe.yaml"
PLAN = "plan.json"
REPORT = "report.json"


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out, as whoever starts it chooses; the recipe and the clips decide the rest.

    Args:
        resume: continue from the last checkpoint in the run's directory, if there is one.
        strict: a training clip that cannot be read ends the run; otherwise it is skipped and named in the report.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        processes: number of processes that share each batch; on GPUs each has one of its own.
        wandb: name of a Weights & Biases project to log to, besides TensorBoard.
        command: what was typed, for the report.

    >>> RunOptions(resume=True).device
    'cpu'
    """

    resume: bool = False
    strict: bool = False
    device: str = DEVICE
    processes: int = 1
    wandb: str | None = None
    command: str | None = None


DEFAULTS = RunOptions()


@dataclass(frozen=True)
class Plan:
    """What one run does.

    Args:
        recipe: as written, except that the loss, the metric and the number of epochs are decided for these clips. What
            else it leaves null is decided when the run starts, see :func:`spectag.runs.decide.decide`.
        train: the clips to learn from.
        validation: the clips to score while training and to choose by, if any.
        test: the clips to report on, if any; they choose nothing.
        description: in words, which clips are reported on.
        out: the run's directory, see :func:`spectag.runs.run.run`.
        options: how the run is carried out.
    """

    recipe: Recipe
    train: Manifest
    validation: Manifest | None
    test: Manifest | None
    description: str
    out: Path
    options: RunOptions = DEFAULTS

    @property
    def scored(self) -> Manifest | None:
        """The clips that the run's figures are about: the test clips, or else those for validation."""
        return self.validation if self.test is None else self.test


def make_plan(
    recipe: Recipe,
    manifest: Manifest,
    out: Path,
    *,
    fold: int | None = None,
    holdout_seed: int | None = None,
    options: RunOptions = DEFAULTS,
) -> Plan:
    """Divide a data set as asked: by one fold, by its splits, by a share put aside, or all of it for training.

    Args:
        recipe: says which splits, and what share.
        manifest: the data set.
        out: the run's directory.
        fold: the fold to report on; the others are for training.
        holdout_seed: decides which clips are put aside; None for the recipe's seed.
        options: how the run is carried out.

    Raises:
        DataError: there is no such fold, or nothing is left to train on.
        RecipeError: keys that do not fit this data set or the number of processes.
    """
    clips = manifest.excluding(recipe.exclude)
    validation: Manifest | None = None
    test: Manifest | None = None
    splits = recipe.splits
    if fold is not None:
        test = clips.only(fold=fold)
        train, description = clips.without(test), f"fold {fold}"
    elif clips.splits:
        learned = _split(clips, splits.train)
        if learned is None:
            have = ", ".join(clips.splits)
            raise DataError(f"splits.train: the data set has none of {', '.join(splits.train)}; it has: {have}")
        train = learned
        validation, test = _split(clips, splits.validation), _split(clips, splits.test)
        reported = splits.validation if test is None else splits.test
        names = [name for name in reported if name in clips.splits]
        description = f"split {' and '.join(names)}" if names else "nothing"
    elif recipe.holdout and not clips.folds:
        seed = recipe.seed if holdout_seed is None else holdout_seed
        divided = divide(clips, share=recipe.holdout, seed=seed, pattern=recipe.groups)
        train, validation = divided.only(split="train"), divided.only(split="validation")
        description = f"{recipe.holdout:.0%} of the clips, drawn by seed {seed}"
    else:
        train, description = clips, "nothing"
    if not train.clips:
        raise DataError(f"no clips are left to train on after holding out {description}")
    if recipe.select == "best" and validation is None:
        raise RecipeError(
            f"recipe {recipe.name}: select best needs clips to choose by, and there are none: set select=last, or "
            "splits.validation to a split of the data set, or holdout to a fraction"
        )
    if recipe.batch_size % (recipe.accumulate * options.processes):
        raise RecipeError(
            f"recipe {recipe.name}: batch_size {recipe.batch_size} is not a multiple of accumulate {recipe.accumulate} "
            f"times {options.processes} processes"
        )
    metric = _metric(recipe, [part for part in (validation, test) if part] or [train])
    recipe = recipe.replace(**_loss(recipe, clips), metric=metric, epochs=_epochs(recipe, len(train)))
    return Plan(recipe, train, validation, test, description, out, options)


def _split(clips: Manifest, names: tuple[str, ...]) -> Manifest | None:
    known = tuple(name for name in names if name in clips.splits)
    return clips.only(split=known) if known else None


def _loss(recipe: Recipe, clips: Manifest) -> dict[str, Any]:
    """The keys ``loss`` and ``label_smoothing``, decided by whether every clip has one label."""
    others = [clip.id for clip in clips.clips if len(clip.labels) != 1]
    if recipe.loss == "ce" and others:
        raise RecipeError(
            f"recipe {recipe.name}: loss ce is for clips of one label each, and {len(others)} clips have none or "
            f"several, for example {others[0]}: set loss=bce"
        )
    if recipe.loss == "auto" and others:
        return {"loss": "bce", "label_smoothing": 0.0}
    return {"loss": "ce" if recipe.loss == "auto" else recipe.loss, "label_smoothing": recipe.label_smoothing}


def _metric(recipe: Recipe, scored: Sequence[Manifest]) -> str:
    """The key ``metric``, decided by whether each of the clips to score has exactly one label."""
    others = [clip.id for part in scored for clip in part.clips if len(clip.labels) != 1]
    exclusive = not others and len(scored[0].labels) > 1
    if recipe.metric == "accuracy" and not exclusive:
        found = (
            f"{len(others)} of those to score have none or several, for example {others[0]}"
            if others
            else "there is one class"
        )
        raise RecipeError(
            f"recipe {recipe.name}: metric accuracy is for clips of exactly one of several labels, and {found}: set "
            "metric=mean_ap"
        )
    if recipe.metric == "auto":
        return "accuracy" if exclusive else "mean_ap"
    return recipe.metric


def _epochs(recipe: Recipe, clips: int) -> int:
    """As many epochs as the recipe's limits on steps allow."""
    if recipe.steps is None:
        return recipe.epochs
    least, most = recipe.steps
    per_epoch = math.ceil(clips / recipe.batch_size)
    return max(1, min(max(recipe.epochs, math.ceil(least / per_epoch)), most // per_epoch))


def check_directory(plan: Plan) -> None:
    """Make sure that the run's directory is new or empty, or holds this very run: same recipe, same clips on all sides.

    Raises:
        RecipeError: it holds something else, or another run.
    """
    out = plan.out
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out}: expected a directory, found a file")
    if out.is_dir() and any(out.iterdir()):
        if not plan.options.resume:
            raise RecipeError(f"--out {out}: is not empty: continue its run with --resume, or choose another directory")
        _check_same(plan)


def make_directory(plan: Plan, complete: Recipe) -> None:
    """Make the run's directory, with the complete recipe and what the run is recognised by.

    Raises:
        SaveError: it cannot be made.
    """
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"--out {plan.out}: cannot be created: {error.strerror}") from error
    write_text(plan.out / RECIPE, complete.to_yaml())
    identity = {"recipe": plan.recipe.to_yaml(), "held out": plan.description, **_digests(plan)}
    write_text(plan.out / PLAN, json.dumps(identity, indent=1))


def _digests(plan: Plan) -> dict[str, str]:
    """Which clips are on which side; with the recipe, this is what must not change when a run is continued."""

    def digest(manifest: Manifest | None) -> str:
        rows = [(clip.id, *map(str, clip.labels)) for clip in manifest.clips] if manifest else []
        names = list(manifest.labels.names) if manifest else []
        return hashlib.sha256(json.dumps([rows, names]).encode()).hexdigest()

    return {
        "training clips": digest(plan.train),
        "validation clips": digest(plan.validation),
        "test clips": digest(plan.test),
    }


def _check_same(plan: Plan) -> None:
    """Raise RecipeError unless the directory's ``plan.json`` is of this run.

    Recipes are compared as parsed, so that keys that were renamed or added since do not make another run of it.
    """
    path = plan.out / PLAN
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        recipe = build(yaml.safe_load(str(before["recipe"])), f"in {path}")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, RecipeError) as error:
        raise RecipeError(f"--out {plan.out}: is not empty, and holds no {PLAN} of a run to resume") from error
    differing = ["recipe"] if recipe != plan.recipe else []
    differing += [name for name, value in _digests(plan).items() if before.get(name) != value]
    if differing:
        different = "another recipe" if differing[0] == "recipe" else f"other {differing[0]}"
        raise RecipeError(
            f"--resume: the run in {plan.out} was started with {different}: use the same recipe, --set, --data and "
            "--fold as then, or another --out"
        )
