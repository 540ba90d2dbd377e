"""spectag train."""

from __future__ import annotations

import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spectag.cli.options import Device, find_model
from spectag.cli.output import say
from spectag.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from spectag.data.manifest import Manifest
    from spectag.train.judge import Scorer
    from spectag.train.plan import Plan, RunOptions
    from spectag.train.recipe import Recipe

Data = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="PATH",
        help="The data set: a directory in any known layout (AudioSet, ESC-50, Speech Commands, Hugging Face "
        "audiofolder, packed, a folder per class), or a table (.csv, .tsv, .jsonl, AST .json).",
    ),
]


def folds(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"all|\d+(,\d+)*", value):
        raise typer.BadParameter(f"expected all, or numbers such as 1,2,3; got {value!r}")
    return value


Fold = Annotated[int | None, typer.Option(help="Hold this fold out and report on it.")]
Folds = Annotated[
    str | None,
    typer.Option("--folds", callback=folds, metavar="all|1,2,..", help="Cross-validation: hold each out in turn."),
]
Seeds = Annotated[int, typer.Option(min=1, help="So many runs, from the recipe's seed on: mean and deviation.")]
Init = Annotated[
    str | None,
    typer.Option(metavar="SOURCE", help="Initial weights: a bundle, .pth file, known name or Hub id."),
]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: --set lr=5e-6.")]
Processes = Annotated[int, typer.Option("--devices", min=1, help="Processes that share each batch; on GPUs one each.")]
Strict = Annotated[bool, typer.Option("--strict", help="A training clip that cannot be read ends the run.")]


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name (spectag recipes) or YAML file.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Directory of the run.")],
    init: Init = None,
    fold: Fold = None,
    every_fold: Folds = None,
    seeds: Seeds = 1,
    override: Set = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run, or the series of runs.")] = False,
    strict: Strict = False,
    device: Device = "cpu",
    processes: Processes = 1,
    wandb: Annotated[str | None, typer.Option(metavar="PROJECT", help="Log to Weights & Biases, too.")] = None,
) -> None:
    """Train a network by a recipe.

    RUN/bundle is the model, RUN/report.html and report.json the figures, RUN/tensorboard the curves. With --folds or
    --seeds each run has a directory below RUN, and RUN/summary.json their mean and standard deviation.
    """
    require_train_extra()
    if wandb is not None and find_spec("wandb") is None:
        raise MissingExtra("wandb", "--wandb")
    from spectag.score.metrics import format_figures
    from spectag.train.plan import RunOptions, check_directory, make_plan
    from spectag.train.recipe import read_recipe

    chosen = read_recipe(recipe, [*(override or ()), *([f"init={init}"] if init is not None else [])])
    if chosen.init is not None:
        find_model(chosen.init)
    manifest = read_data(data)
    command = shlex.join(["spectag", *sys.argv[1:]])
    options = RunOptions(resume, strict, device, processes, wandb, command)
    if every_fold is not None or seeds > 1:
        if every_fold is not None and fold is not None:
            raise typer.BadParameter("--fold and --folds exclude each other")
        held_out = [fold] if every_fold is None else chosen_folds(every_fold, manifest)
        train_series(chosen, manifest, out, held_out, seeds, options)
        return
    todo = make_plan(chosen, manifest, out, fold=fold, options=options)
    if is_first():
        check_directory(todo)
    report = run_one(todo)
    if not is_first():
        return
    print(f"{out / 'bundle'}: {report['parameters']} parameters, trained on {len(todo.train)} clips")
    if report["result"] is not None:
        print(f"held out ({todo.description}): {format_figures(report['result'])}")
        for failure in report["result"]["failed"]:
            say("error", failure)
    elif manifest.folds:
        say("note", "nothing was held out: --fold N or --folds all scores clips that the network has not learned from")
    for clip in report["skipped"]:
        say("warning", f"skipped in training: {clip['reason']}")


def read_data(path: Path) -> Manifest:
    """The data set; a warning where its table names clips that are not there."""
    from spectag.data.layouts import read_manifest

    manifest = read_manifest(path)
    if manifest.missing:
        total = len(manifest) + len(manifest.missing)
        say(
            "warning",
            f"{path}: {len(manifest.missing)} of {total} clips are not on the disk, {manifest.missing[0]} say",
        )
    if manifest.splits and (idle := [clip.id for clip in manifest.clips if clip.split is None]):
        say("warning", f"{path}: {len(idle)} clips belong to no part and are not used, {idle[0]} say")
    return manifest


def chosen_folds(text: str, manifest: Manifest) -> list[int | None]:
    """``all`` or ``1,2,3`` -> numbers of folds."""
    if text == "all" and not manifest.folds:
        raise DataError(f"--folds all: the data set ({manifest.layout}) has no folds")
    return list(manifest.folds) if text == "all" else [int(number) for number in text.split(",")]


def train_series(
    recipe: Recipe, manifest: Manifest, out: Path, held_out: list[int | None], seeds: int, options: RunOptions
) -> dict[str, Any]:
    """Train over folds and seeds, print a line for each and for all; the summary."""
    from spectag.score.metrics import format_figures
    from spectag.train.series import plan_series, run_all, summary, write_summary

    members = plan_series(recipe, manifest, out, folds=held_out, seeds=seeds, options=options)
    reports = run_all(members, run_one)
    whole: dict[str, Any] = {}
    if is_first():
        whole = summary(members, reports)
        write_summary(out, whole)
        for run in whole["runs"]:
            print(f"{run['out']}: {format_figures(run)}")
        for name, part in (("mean", whole), ("pooled", whole.get("pooled", {}))):
            if part.get("mean"):
                print(f"{name}: {format_figures(part['mean'], part.get('std'))}")
    return whole


def run_one(todo: Plan) -> dict[str, Any]:
    """Train as planned, with a progress bar."""
    from rich.console import Console

    from spectag.train.progress import ProgressBar
    from spectag.train.run import run

    return run(todo, make_scorer(todo.options.device), [ProgressBar(Console(stderr=True))] if is_first() else [])


def is_first() -> bool:
    """Whether this is the process that prints, of several that share a run."""
    from spectag.train.processes import rank

    return rank() == 0


def recipes() -> None:
    """List the recipes that come along: name, score, command, cost."""
    require_train_extra()
    from spectag.train.recipe import headers

    for name, header in headers().items():
        print(name)
        for key, text in header.items():
            print(f"  {key:<8} {text}")


def make_scorer(device: str) -> Scorer:
    """Scores held-out clips with the code that tags recordings."""
    from spectag.tag.tagger import Tagger

    return lambda bundle, clips: Tagger(bundle, device=device).scores_many(clips)


def require_train_extra() -> None:
    """Raises MissingExtra where a library of the extra is not there."""
    if any(find_spec(name) is None for name in ("lightning", "pydantic", "yaml", "sklearn", "scipy")):
        raise MissingExtra("train", f"spectag {sys.argv[1] if len(sys.argv) > 1 else 'train'}")
