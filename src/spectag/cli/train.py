"""spectag train, recipes."""

from __future__ import annotations

import shlex
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from spectag.choices import DEVICE
from spectag.cli.options import RECIPE, Data, Device, Fold, Folds, Init, Negatives, Processes, Seeds, Set, find_model
from spectag.cli.output import require_folder_name, say
from spectag.cli.runs import (
    fail_if_unscored,
    list_folds,
    read_for,
    report_clips,
    require_train_extra,
    run_one,
    train_series,
)
from spectag.cli.threads import Threads
from spectag.cores import choose_threads
from spectag.errors import MissingExtra, ModelNotFetched


def _finish(out: Path | None) -> None:
    """Write the model so far of a run, and end the command."""
    if out is None:
        return
    require_train_extra()
    from spectag.runs.finish import finish
    from spectag.score.metrics import format_figures

    done = finish(out)
    print(f"{done.bundle}: {done.weights}")
    if done.row is not None:
        print(f"held out, after epoch {done.row['epoch']:.0f}: {format_figures(done.row)}")
    raise typer.Exit


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help=RECIPE)],
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder for the results; new or empty.")],
    init: Init = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Learn the scores of this teacher instead of labels, from any recordings: a model, an ensemble, a "
            "score file (.npz), or module:function, which takes a waveform and its rate and returns scores.",
            show_default="the recipe's",
        ),
    ] = None,
    fold: Fold = None,
    every_fold: Folds = None,
    seeds: Seeds = 1,
    override: Set = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="M",
            min=0.1,
            help="Shorten the recipe so that the whole run, with its evaluation, ends within M minutes. The speed is "
            "measured on the first steps.",
            show_default="the whole recipe",
        ),
    ] = None,
    negatives: Negatives = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in RUN where it stopped, even in the middle of an epoch.")
    ] = False,
    unfinished: Annotated[
        Path | None,
        typer.Option(
            "--finish",
            metavar="RUN",
            callback=_finish,
            is_eager=True,  # nothing else is needed beside it
            help="Train nothing, but write RUN/bundle: the model so far of a run that was interrupted. Needs no other "
            "argument.",
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Stop at the first training clip that cannot be read, instead of hearing another of its class.",
        ),
    ] = False,
    device: Device = DEVICE,
    processes: Processes = 1,
    threads: Threads = None,
    wandb: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="Also log to this project of Weights & Biases.")
    ] = None,
) -> None:
    """Train a model.

    RUN/bundle is the model, RUN/report.html and RUN/report.json show how good it is, and RUN/tensorboard holds the
    curves. With --folds or --seeds, each run has its own folder in RUN, and RUN/summary.json holds the mean and
    standard deviation of their figures. If held-out clips cannot be scored, they are named and the exit code is 1.
    """
    begun = time.monotonic()
    require_train_extra()
    require_folder_name(out)
    if wandb is not None and find_spec("wandb") is None:
        raise MissingExtra("wandb", "--wandb")
    if every_fold is not None and fold is not None:
        raise typer.BadParameter("--fold and --folds cannot be used together")
    if minutes is not None and (every_fold is not None or seeds > 1):
        raise typer.BadParameter(
            "is for a single run, since the runs of a series must be of equal length: try it with one --fold, and give "
            "the number of epochs that it says with --set epochs=N",
            param_hint="--minutes",
        )
    from spectag.runs.plan import RunOptions, check_directory, make_plan
    from spectag.runs.processes import rank
    from spectag.train.recipe_files import read_recipe

    named = {"init": init, "teacher.model": teacher}
    chosen = read_recipe(
        recipe, [*(override or ()), *(f"{key}={value}" for key, value in named.items() if value is not None)]
    )
    if chosen.init is not None:
        _find_weights(chosen.init, data, out)
    options = RunOptions(
        resume=resume,
        strict=strict,
        device=device,
        processes=processes,
        threads=choose_threads(threads, processes),
        minutes=minutes,
        wandb=wandb,
        command=shlex.join(["spectag", *sys.argv[1:]]),
        begun=begun,
    )
    chosen, manifest = read_for(chosen, data, negatives)
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
    else:
        print("held out: nothing")
    report_clips(report)
    fail_if_unscored([report["result"]])


def _find_weights(init: str, data: Path, out: Path) -> None:
    """Find initial weights. Where they cannot be fetched, name what needs none."""
    try:
        find_model(init)
    except ModelNotFetched as error:
        words = shlex.join(["spectag", "train", "scratch", "--data", str(data), "--out", str(out)])
        raise ModelNotFetched(f"{error}; or train without any weights: {words}") from error


def recipes() -> None:
    """List the recipes that come with spectag: the purpose, command, cost and score of each."""
    require_train_extra()
    from spectag.train.recipe_files import describe_recipes

    for name, description in describe_recipes().items():
        print(name)
        for key, text in description.items():
            print(f"  {key:<8} {text}")
