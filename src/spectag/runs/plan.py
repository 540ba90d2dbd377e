"""The plan of a run: which clips it uses for what. It is checked before anything slow is imported or decoded."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
BUNDLE = "bundle"
LENGTH = ("epochs", "epoch_clips", "steps", "ema", "average", "schedule")  # keys of a recipe


@dataclass(frozen=True)
class RunOptions:
    """Options of a run that do not depend on the recipe or the data set.

    Args:
        resume: continue from the last checkpoint in the run's directory, if it has one.
        strict: stop at the first training clip that cannot be read. Otherwise another clip of its class replaces it,
            and the report names it.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        processes: number of processes that share each batch. On GPUs, each process has its own GPU.
        threads: number of processor threads that each process computes with. None leaves the number to torch.
        minutes: shorten the recipe so that the whole run takes no longer, see :mod:`spectag.runs.budget`.
        wandb: name of a Weights & Biases project to log to, besides TensorBoard.
        command: the command that started the run, for the report.
        begun: when the minutes began to count, by ``time.monotonic``.

    >>> RunOptions(resume=True).device
    'cpu'
    """

    resume: bool = False
    strict: bool = False
    device: str = DEVICE
    processes: int = 1
    threads: int | None = None
    minutes: float | None = None
    wandb: str | None = None
    command: str | None = None
    begun: float = field(default_factory=time.monotonic, compare=False)


DEFAULTS = RunOptions()


@dataclass(frozen=True)
class Plan:
    """Everything that one run does.

    Args:
        recipe: as written, but its loss, metric and number of epochs are decided for these clips. Its other nulls are
            decided when the run starts, see :func:`spectag.runs.decide.decide`.
        train: the clips to learn from.
        validation: the clips that are scored during training and that may choose an epoch, if any.
        test: the clips that the results are reported on, if any. They never choose anything.
        description: the clips that the results are reported on, in words.
        out: the run's directory, see :func:`spectag.runs.run.run`.
        options: how the run is carried out.

    >>> [clip.id for clip in plan.scored.clips]  # plan: that of make_plan's example
    ['2.wav', '3.wav']
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
        """The clips that the run reports on: the test clips or, if there are none, the validation clips."""
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
    """Divide the clips of a data set into training, validation and test clips.

    They are divided by ``fold`` if it is given, otherwise by the splits of the data set. The recipe's ``holdout`` is
    put aside for validation if nothing else is held out, and also if an epoch is to be chosen and there is no
    validation split. If none of these applies, all clips are for training.

    Args:
        recipe: names the splits and the share to hold out.
        manifest: the data set.
        out: the run's directory.
        fold: the fold to report on. The other folds are for training.
        holdout_seed: decides which clips are held out; None for the recipe's seed.
        options: how the run is carried out.

    Raises:
        DataError: there is no such fold, no clips are left to train on, or all of them have the same labels.
        RecipeError: a key does not fit this data set or the number of processes.

    >>> from spectag.data.manifest import Clip
    >>> clips = tuple(Clip(f"{n}.wav", Path(f"{n}.wav"), (n % 2,), fold=1 + n // 2) for n in range(4))
    >>> manifest = Manifest(clips, spectag.LabelSet(("fox", "owl")), "a table of clips")
    >>> recipe = Recipe(name="mine", epochs=1, batch_size=2, lr=1e-3)
    >>> plan = make_plan(recipe, manifest, Path("run"), fold=2)
    >>> plan.description, len(plan.train), len(plan.scored)
    ('fold 2', 2, 2)
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
    else:
        train, description = clips, "nothing"
    if not train.clips:
        raise DataError(f"no clips are left to train on after holding out {description}")
    taught = recipe.teacher.model is not None
    if not taught:
        _require_difference(train)
    if recipe.holdout and validation is None and (test is None or recipe.select == "best"):
        seed = recipe.seed if holdout_seed is None else holdout_seed
        divided = divide(train, share=recipe.holdout, seed=seed, pattern=recipe.groups)
        train, validation = (divided.only(split=split) for split in ("train", "validation"))
        if test is None:
            description = f"{recipe.holdout:.0%} of the clips, drawn by seed {seed}"
    _require_choice(recipe, validation, () if fold is not None else clips.splits)
    if len(train) < options.processes:
        raise DataError(
            f"--devices {options.processes}: expected at least one training clip per process, got {len(train)} clips: "
            "use fewer processes"
        )
    if recipe.epoch_clips is not None and recipe.epoch_clips < options.processes:
        raise RecipeError(
            f"recipe {recipe.name}: epoch_clips: expected at least one clip per process (--devices "
            f"{options.processes}), got {recipe.epoch_clips}: raise it, or use fewer processes"
        )
    if recipe.batch_size % (recipe.accumulate * options.processes):
        raise RecipeError(
            f"recipe {recipe.name}: batch_size {recipe.batch_size} is not a multiple of accumulate {recipe.accumulate} "
            f"times {options.processes} processes"
        )
    metric = _metric(recipe, [part for part in (validation, test) if part] or [train])
    loss = {} if taught else _loss(recipe, clips)
    recipe = recipe.replace(**loss, metric=metric, epochs=_epochs(recipe, len(train)))
    return Plan(recipe, train, validation, test, description, out, options)


def _split(clips: Manifest, names: tuple[str, ...]) -> Manifest | None:
    known = tuple(name for name in names if name in clips.splits)
    return clips.only(split=known) if known else None


def _require_difference(train: Manifest) -> None:
    """Refuse clips that all have the same labels: every network that always gives these would be right."""
    if len({clip.labels for clip in train.clips}) > 1:
        return
    names = " and ".join(map(repr, (train.labels.names[label] for label in train.clips[0].labels)))
    if not names:
        raise DataError(
            f"none of the {len(train)} training clips has a label: add clips in which the classes are heard"
        )
    raise DataError(
        f"all {len(train)} training clips have the label {names}, so there is nothing to tell it from: add clips in "
        "which it is not heard, as rows with an empty label or as a folder (--negatives FOLDER), or add another class"
    )


def _require_choice(recipe: Recipe, validation: Manifest | None, splits: tuple[str, ...]) -> None:
    """Refuse to choose an epoch where nothing can choose it. ``splits`` are those that could."""
    if recipe.select != "best":
        return
    if validation is None:
        idle = [name for name in splits if name not in (*recipe.splits.train, *recipe.splits.test)]
        other = f", or splits.validation=[{idle[0]}]" if idle else ""
        raise RecipeError(
            f"recipe {recipe.name}: select best needs validation clips, and there are none: set holdout=0.1, which "
            f"puts a share of the training clips aside{other}; or set select=last"
        )
    if recipe.teacher.model is not None:  # clips without labels get those of the teacher later
        return
    alike = len({clip.labels for clip in validation.clips}) == 1
    one_label_each = len(validation.labels) > 1 and len(validation.clips[0].labels) == 1
    if alike and not (one_label_each and recipe.metric != "mean_ap"):  # accuracy needs no others, unlike AP
        raise RecipeError(
            f"recipe {recipe.name}: select best cannot choose, since all {len(validation)} validation clips "
            "have the same labels: add others, raise holdout, or set select=last"
        )


def _loss(recipe: Recipe, clips: Manifest) -> dict[str, Any]:
    """Decide the keys ``loss`` and ``label_smoothing`` by whether every clip has exactly one label."""
    others = [clip.id for clip in clips.clips if len(clip.labels) != 1]
    if recipe.loss == "ce" and others:
        raise RecipeError(
            f"recipe {recipe.name}: loss ce is for clips of one label each, and {len(others)} clips have none or "
            f"several, for example {others[0]}: set loss=auto, which takes bce for them"
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
    """The number of epochs, raised or lowered to stay within the recipe's limits on steps."""
    if recipe.steps is None:
        return recipe.epochs
    least, most = recipe.steps
    per_epoch = math.ceil(min(clips, recipe.epoch_clips or clips) / recipe.batch_size)
    return max(1, min(max(recipe.epochs, math.ceil(least / per_epoch)), most // per_epoch))


def check_directory(plan: Plan) -> None:
    """Make sure that the run's directory is new or empty, or holds the same run: same recipe and same clips.

    Raises:
        RecipeError: it holds another run or something else.

    >>> Path("run").mkdir()
    >>> Path("run", "notes.txt").touch()
    >>> check_directory(plan)
    Traceback (most recent call last):
    spectag.errors.RecipeError: --out run: is not empty: ...
    """
    out = plan.out
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out}: expected a directory, found a file")
    if out.is_dir() and any(out.iterdir()):
        if not plan.options.resume:
            raise RecipeError(f"--out {out}: is not empty: continue its run with --resume, or choose another directory")
        _check_same(plan)


def make_directory(plan: Plan, complete: Recipe) -> None:
    """Make the run's directory, and write the complete recipe and the facts that identify the run.

    Args:
        plan: of the run.
        complete: the recipe without nulls, shortened if the plan limits the minutes.

    Raises:
        SaveError: the directory cannot be made.

    >>> make_directory(plan, plan.recipe)
    >>> sorted(path.name for path in Path("run").iterdir())
    ['plan.json', 'recipe.yaml']
    """
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"--out {plan.out}: cannot be created: {error.strerror}") from error
    write_text(plan.out / RECIPE, complete.to_yaml())
    labels = {"names": plan.train.labels.names, "ids": plan.train.labels.ids}
    identity = {"recipe": plan.recipe.to_yaml(), "held out": plan.description, "labels": labels, **_digests(plan)}
    limit = plan.options.minutes
    length = {} if limit is None else {"minutes": limit, "shortened": length_of(complete)}
    write_text(plan.out / PLAN, json.dumps({**identity, **length}, indent=1))


def length_of(recipe: Recipe) -> dict[str, Any]:
    """The keys of a recipe that decide how long a run takes.

    >>> length_of(recipe)["epochs"]
    1
    """
    return recipe.model_dump(mode="json", include=set(LENGTH))


def recorded_length(plan: Plan) -> dict[str, Any] | None:
    """The keys of the recipe that decide how long a run takes, as they were decided when it was begun with a limit.

    Returns:
        None unless a run with a limit is resumed.

    >>> recorded_length(plan)
    """
    path = plan.out / PLAN
    if not (plan.options.resume and path.is_file()):
        return None
    shortened = json.loads(path.read_text(encoding="utf-8")).get("shortened")
    return {key: shortened[key] for key in LENGTH} if shortened else None


def _digests(plan: Plan) -> dict[str, str]:
    """Digests of the training, validation and test clips, which must not change when a run is resumed."""

    def digest(manifest: Manifest | None) -> str:
        clips = manifest.clips if manifest else ()
        if plan.recipe.teacher.model is not None:  # what a teacher says may differ by rounding on another machine
            clips = tuple(replace(clip, labels=(), start=None, end=None) for clip in clips)
        rows = [(clip.id, *map(str, (*clip.labels, *(clip.events or ())))) for clip in clips]
        names = list(manifest.labels.names) if manifest else []
        return hashlib.sha256(json.dumps([rows, names]).encode()).hexdigest()

    return {
        "training clips": digest(plan.train),
        "validation clips": digest(plan.validation),
        "test clips": digest(plan.test),
    }


def _check_same(plan: Plan) -> None:
    """Raise RecipeError unless the directory's ``plan.json`` belongs to this run.

    Recipes are compared after parsing, so keys that were renamed or added since then make no difference. Neither does
    ``cache_gb``, which changes no result: a run that ran out of memory can go on with less.
    """
    path = plan.out / PLAN
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        recipe = build(yaml.safe_load(str(before["recipe"])), f"in {path}")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, RecipeError) as error:
        raise RecipeError(
            f"--out {plan.out}: is not empty, but has no {PLAN} of a run to resume: choose another directory"
        ) from error
    differing = ["recipe"] if recipe.replace(cache_gb=plan.recipe.cache_gb) != plan.recipe else []
    differing += [name for name, value in _digests(plan).items() if before.get(name) != value]
    if differing:
        different = "another recipe" if differing[0] == "recipe" else f"other {differing[0]}"
        raise RecipeError(
            f"--resume: the run in {plan.out} was started with {different}: use the same recipe, --set, --data and "
            "--fold as then, or another --out"
        )
    minutes = before.get("minutes")
    if plan.options.minutes not in (None, minutes):
        limit = "without --minutes" if minutes is None else f"with --minutes {minutes}"
        raise RecipeError(f"--resume: the run in {plan.out} was started {limit}: use the same, or another --out")
