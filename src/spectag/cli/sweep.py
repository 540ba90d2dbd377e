"""spectag sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spectag.choices import DEVICE
from spectag.cli.options import RECIPE, Data, Device, Fold, Folds, Init, Negatives, Processes, Seeds, Set, find_model
from spectag.cli.output import require_folder_name
from spectag.cli.runs import fail_if_unscored, list_folds, read_for, require_train_extra, train_series
from spectag.cli.threads import Threads
from spectag.cores import choose_threads


def sweep(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help=RECIPE)],
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results; new or empty.")],
    axes: Annotated[
        list[str] | None,
        typer.Option(
            "--over",
            metavar="KEY=V,V,..",
            help="A key of the recipe and the values to try, for example lr=1e-4,1e-5. Repeat the option to try all "
            "combinations.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A sweep that comes with spectag. The paper's ablations are initial-weights, overlap, patch-shape, "
            "positions and pretraining. from-scratch adds the parts of the recipe esc50-scratch one by one.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder with the files of initial weights that the recipe or the settings name.",
            show_default="the current folder",
        ),
    ] = None,
    init: Init = None,
    fold: Fold = None,
    every_fold: Folds = None,
    seeds: Seeds = 1,
    override: Set = None,
    negatives: Negatives = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the sweep in DIR where it stopped. Finished runs are kept.")
    ] = False,
    device: Device = DEVICE,
    processes: Processes = 1,
    threads: Threads = None,
) -> None:
    """Train a recipe with several values of its keys, and compare the results.

    DIR/sweep.html shows a table and a plot, which are also written to sweep.csv, sweep.json and sweep.svg. Each setting
    has a folder in DIR.
    """
    require_train_extra()
    require_folder_name(out)
    if (axes is None) == (preset is None):
        raise typer.BadParameter("give either --over KEY=VALUES or --preset NAME")
    if every_fold is not None and fold is not None:
        raise typer.BadParameter("--fold and --folds cannot be used together")
    from spectag.runs.plan import RunOptions, make_plan
    from spectag.runs.processes import rank
    from spectag.runs.sweep import combine_axes, read_preset, tabulate_sweep, take_weights_from, write_sweep_files
    from spectag.train.recipe_files import read_recipe

    settings = combine_axes(axes) if axes is not None else read_preset(preset or "", read_recipe(recipe).name)
    common = [*([f"init={init}"] if init is not None else []), *(override or ())]
    recipes = [read_recipe(recipe, [*common, *setting.overrides]) for setting in settings]
    if weights is not None:
        recipes = take_weights_from(weights, recipes)
    for source in {chosen.init for chosen in recipes} - {None}:
        find_model(str(source))
    if len({chosen.teacher.model for chosen in recipes}) > 1:
        raise typer.BadParameter("expected one teacher for all settings, or none: begin a sweep for each")
    first, manifest = read_for(recipes[0], data, negatives)
    if first.teacher.model is not None:  # it decides these keys
        recipes = [chosen.replace(loss=first.loss, label_smoothing=0.0, metric=first.metric) for chosen in recipes]
    held_out = [fold] if every_fold is None else list_folds(every_fold, manifest)
    threads = choose_threads(threads, processes)
    options = RunOptions(resume=resume, device=device, processes=processes, threads=threads)
    plans = [make_plan(chosen, manifest, out, fold=held_out[0], options=options) for chosen in recipes]
    for plan in plans:  # all of them are checked before the first run
        if plan.scored is None:
            folds = "--fold or --folds, or " if manifest.folds else ""
            raise typer.BadParameter(f"no clips are held out to compare on: give {folds}--set holdout=0.2")
    summaries = []
    for setting, chosen in zip(settings, recipes, strict=True):
        if rank() == 0:
            print(setting.name)
        summaries.append(train_series(chosen, manifest, out / setting.directory, held_out, seeds, options))
    if rank():
        return
    metric = plans[0].recipe.metric  # "auto" is decided there
    rows = tabulate_sweep(settings, summaries)
    write_sweep_files(out, f"{recipe}: {preset or ', '.join(axes or ())}", metric, rows)
    width = max(len(row["setting"]) for row in rows)
    for row in rows:
        value, spread = row[metric], row[f"{metric} std"]
        figure = "-" if value is None else f"{value:.3f}" + (f" +- {spread:.3f}" if spread is not None else "")
        print(f"{row['setting']:<{width}}  {metric} {figure}")
    fail_if_unscored(run for summary in summaries for run in summary["runs"])
