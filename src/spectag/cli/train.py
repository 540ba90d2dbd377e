"""spectag train, recipes."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from spectag.choices import DEVICE
from spectag.cli.options import RECIPE, Data, Device, Fold, Folds, Init, Processes, Seeds, Set, find_model
from spectag.cli.output import say
from spectag.cli.runs import (
    fail_if_unscored,
    list_folds,
    read_data,
    report_clips,
    require_train_extra,
    run_one,
    train_series,
)
from spectag.errors import MissingExtra


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help=RECIPE)],
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder for the results; new or empty.")],
    init: Init = None,
    fold: Fold = None,
    every_fold: Folds = None,
    seeds: Seeds = 1,
    override: Set = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in RUN where it stopped, even in the middle of an epoch.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Stop at the first training clip that cannot be read, instead of hearing another of its class.",
        ),
    ] = False,
    device: Device = DEVICE,
    processes: Processes = 1,
    wandb: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="Also log to this project of Weights & Biases.")
    ] = None,
) -> None:
    """Train a model.

    RUN/bundle is the model, RUN/report.html and RUN/report.json show how good it is, and RUN/tensorboard holds the
    curves. With --folds or --seeds, each run has its own folder in RUN, and RUN/summary.json holds the mean and
    standard deviation of their figures. If held-out clips cannot be scored, they are named and the exit code is 1.
    """
    require_train_extra()
    if wandb is not None and find_spec("wandb") is None:
        raise MissingExtra("wandb", "--wandb")
    if every_fold is not None and fold is not None:
        raise typer.BadParameter("--fold and --folds cannot be used together")
    from spectag.runs.plan import RunOptions, check_directory, make_plan
    from spectag.runs.processes import rank
    from spectag.train.recipe_files import read_recipe

    chosen = read_recipe(recipe, [*(override or ()), *([f"init={init}"] if init is not None else [])])
    if chosen.init is not None:
        find_model(chosen.init)
    manifest = read_data(data)
    options = RunOptions(resume, strict, device, processes, wandb, shlex.join(["spectag", *sys.argv[1:]]))
    if every_fold is not None or seeds > 1:
        held_out = [fold] if every_fold is None else list_folds(every_fold, manifest)
        fail_if_unscored(train_series(chosen, manifest, out, held_out, seeds, options)["runs"])
        return
    plan = make_plan(chosen, manifest, out, fold=fold, options=options)
    if rank() == 0:  # before torch is loaded
        check_directory(plan)
    report = run_one(plan)
    if rank():
        return
    from spectag.model.directory import read_card
    from spectag.model.huggingface import compare_with_transformers
    from spectag.score.metrics import format_figures

    heard = report["heard"]["clips"]
    clips = f"{heard} of {len(plan.train)}" if heard < len(plan.train) else heard
    print(f"{out / 'bundle'}: {report['parameters']} parameters, trained on {clips} clips")
    if difference := compare_with_transformers(read_card(out / "bundle")):
        say("note", f"{out / 'bundle'}: {difference}")
    if report["result"] is not None:
        print(f"held out ({plan.description}): {format_figures(report['result'])}")
    elif manifest.folds:
        say("note", "no clips were held out: use --fold N or --folds all to score clips that were not trained on")
    report_clips(report)
    fail_if_unscored([report["result"]])


def recipes() -> None:
    """List the recipes that come with spectag: the purpose, command, cost and score of each."""
    require_train_extra()
    from spectag.train.recipe_files import describe_recipes

    for name, description in describe_recipes().items():
        print(name)
        for key, text in description.items():
            print(f"  {key:<8} {text}")
