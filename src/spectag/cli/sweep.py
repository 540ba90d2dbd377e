"""spectag sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spectag.cli.options import Device, find_model
from spectag.cli.train import (
    Data,
    Fold,
    Folds,
    Init,
    Processes,
    Seeds,
    Set,
    chosen_folds,
    is_first,
    read_data,
    require_train_extra,
    train_series,
)


def sweep(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name or YAML file.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Directory of the sweep.")],
    axes: Annotated[
        list[str] | None,
        typer.Option("--over", metavar="KEY=V,V,..", help="Values of a key; several: all combinations."),
    ] = None,
    ablation: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="The paper's: initial-weights, positions, overlap, patch-shape, pretraining; ours: from-scratch.",
        ),
    ] = None,
    weights: Annotated[str, typer.Option(metavar="FOLDER", help="Where a preset's initial weights lie.")] = ".",
    init: Init = None,
    fold: Fold = None,
    every_fold: Folds = None,
    seeds: Seeds = 1,
    override: Set = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the sweep.")] = False,
    device: Device = "cpu",
    processes: Processes = 1,
) -> None:
    """Run a recipe over values of its keys: a table and a plot of the figures.

    DIR/sweep.html, sweep.csv, sweep.json, sweep.svg; below DIR a directory per setting.
    """
    require_train_extra()
    if (axes is None) == (ablation is None):
        raise typer.BadParameter("give either --over KEY=VALUES or --preset NAME")
    if every_fold is not None and fold is not None:
        raise typer.BadParameter("--fold and --folds exclude each other")
    from spectag.train.plan import RunOptions, make_plan
    from spectag.train.recipe import read_recipe
    from spectag.train.sweep import over, preset, table, write

    settings = over(axes) if axes is not None else preset(ablation or "", weights, read_recipe(recipe).name)
    common = [*([f"init={init}"] if init is not None else []), *(override or ())]
    recipes = [read_recipe(recipe, [*common, *setting.overrides]) for setting in settings]
    for source in {chosen.init for chosen in recipes} - {None}:
        find_model(str(source))
    manifest = read_data(data)
    held_out = [fold] if every_fold is None else chosen_folds(every_fold, manifest)
    options = RunOptions(resume=resume, device=device, processes=processes)
    for chosen in recipes:  # what cannot be is said before the first run
        if make_plan(chosen, manifest, out, fold=held_out[0], options=options).scored is None:
            raise typer.BadParameter("nothing is held out to compare by: give --fold or --folds, or --set holdout=0.2")
    summaries = []
    for setting, chosen in zip(settings, recipes, strict=True):
        if is_first():
            print(setting.name)
        summaries.append(train_series(chosen, manifest, out / setting.directory, held_out, seeds, options))
    if is_first():
        metric = recipes[0].metric
        rows = table(settings, summaries)
        write(out, f"{recipe}: {ablation or ', '.join(axes or ())}", metric, rows)
        width = max(len(row["setting"]) for row in rows)
        for row in rows:
            value, spread = row[metric], row[f"{metric} std"]
            figure = "-" if value is None else f"{value:.3f}" + (f" +- {spread:.3f}" if spread is not None else "")
            print(f"{row['setting']:<{width}}  {metric} {figure}")
