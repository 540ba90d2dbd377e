"""What a run will do, decided and checked before anything costly is imported or decoded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from spectag.data.manifest import Manifest
from spectag.errors import DataError, RecipeError, SaveError
from spectag.train.recipe import Recipe

RECIPE = "recipe.yaml"
PLAN = "plan.json"


@dataclass(frozen=True)
class Plan:
    """What one run does.

    Args:
        recipe: the recipe as given; its statistics are filled in from the training clips where they are null.
        train, held_out: the clips to learn from; the clips to score on, if any.
        out: the run's directory: ``bundle/``, ``report.json``, ``metrics.csv``, ``recipe.yaml``, ``checkpoints/``.
        description: what was held out, in words, for the report.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        resume: go on from the last checkpoint in ``out``, if there is one.
    """

    recipe: Recipe
    train: Manifest
    held_out: Manifest | None
    out: Path
    description: str
    device: str = "cpu"
    resume: bool = False


def plan(
    recipe: Recipe, manifest: Manifest, out: Path, *, fold: int | None = None, device: str = "cpu", resume: bool = False
) -> Plan:
    """Divide a data set as asked: without one fold, without its held-out parts, or all of it for training.

    Raises:
        DataError: no such fold, or nothing left to train on.
    """
    clips = manifest.excluding(recipe.exclude)
    held_out: Manifest | None = None
    if fold is not None:
        held_out = clips.only(fold=fold)
        train, description = clips.without(held_out), f"fold {fold}"
    elif "train" in clips.splits:
        train, description = clips.only(split="train"), "nothing"
        if "validation" in clips.splits:
            held_out, description = clips.only(split="validation"), "split validation"
    else:
        train, description = clips, "nothing"
    if not train.clips:
        raise DataError(f"no clips left to train on after holding out {description}")
    return Plan(recipe, train, held_out, out, description, device, resume)


def prepare(plan: Plan) -> None:
    """Make the run's directory, or check that it holds this very run: same recipe, same clips on both sides.

    Raises:
        RecipeError: the directory holds something else, or another run.
        SaveError: it cannot be made.
    """
    out = plan.out
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out}: expected a directory, found a file")
    if out.is_dir() and any(out.iterdir()):
        if not plan.resume:
            raise RecipeError(f"--out {out}: not empty; go on with that run by --resume, or choose another directory")
        _check_same(plan)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / RECIPE).write_text(plan.recipe.to_yaml(), encoding="utf-8")
        (out / PLAN).write_text(json.dumps(identity(plan), indent=1), encoding="utf-8")
    except OSError as error:
        raise SaveError(f"--out {out}: cannot be made ({error.strerror})") from error


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
        "held-out clips": digest(plan.held_out),
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
