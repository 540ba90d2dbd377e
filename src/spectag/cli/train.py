"""spectag train, evaluate."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from spectag.cli.options import MODEL, BatchSize, Device, find_model
from spectag.cli.output import say, watched
from spectag.errors import MissingExtra

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The data set, in any known layout.")]


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name (esc10) or YAML file.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Directory of the run.")],
    fold: Annotated[
        int | None, typer.Option(help="Hold this fold out and score it; without, all clips are trained on.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: --set lr=5e-6.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last whole epoch of the run.")] = False,
    device: Device = "cpu",
) -> None:
    """Train a network by a recipe.

    RUN/bundle is the model, RUN/report.json the figures, RUN/metrics.csv and RUN/tensorboard the curves.
    """
    _require_train_extra()
    from spectag.data.layouts import read_manifest
    from spectag.train.plan import plan
    from spectag.train.recipe import read_recipe

    chosen = read_recipe(recipe, override or ())
    todo = plan(chosen, read_manifest(data), out, fold=fold, device=device, resume=resume)

    from rich.console import Console

    from spectag.train.progress import ProgressBar
    from spectag.train.run import run

    report = run(todo, _scorer(device), [ProgressBar(Console(stderr=True))])
    result = report["result"]
    print(f"{out / 'bundle'}: {report['parameters']} parameters, trained on {len(todo.train)} clips")
    if result is not None:
        print(f"held out ({todo.description}): {_figures(result)}")
        for failure in result["failed"]:
            say("error", failure)


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    data: Data,
    fold: Annotated[int | None, typer.Option(help="Only this fold.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this part: train, validation, test.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All figures, per class too, as one JSON object.")] = False,
    device: Device = "cpu",
    batch_size: BatchSize = 16,
) -> None:
    """Score a model on a labelled data set.

    Accuracy, mAP, mAUC, d-prime and AP per class. A clip that cannot be read is reported and left out, and the exit
    code is 1.
    """
    _require_train_extra()
    from spectag.data.layouts import read_manifest

    find_model(model)
    manifest = read_manifest(data).only(fold=fold, split=split)

    from spectag.tag.tagger import Tagger
    from spectag.train.evaluate import evaluate as compare

    tagger = Tagger(model, device=device, batch_size=batch_size)
    sources = [clip.source for clip in manifest.clips]
    result = compare(manifest, watched(tagger.scores_many(sources), len(sources), quiet=False), tagger.labels)
    if as_json:
        print(json.dumps({"model": model, "layout": manifest.layout, **result.to_dict()}, indent=1, ensure_ascii=False))
    else:
        figures = result.metrics.to_dict()
        print(f"{model} on {figures['clips']} clips ({manifest.layout}): {_figures(figures)}")
        width = max(map(len, result.labels.names))
        for name, ap in zip(result.labels.names, figures["ap"], strict=True):
            print(f"  {name:<{width}}  AP {'-' if ap is None else format(ap, '.3f')}")
    for failure in result.failed:
        say("error", failure)
    if result.failed:
        raise typer.Exit(1)


def _scorer(device: str):  # type: ignore[no-untyped-def]  # evaluate.Scorer, which is costly to import
    def score(bundle, clips):  # type: ignore[no-untyped-def]
        from spectag.tag.tagger import Tagger

        return Tagger(bundle, device=device).scores_many(clips)

    return score


def _require_train_extra() -> None:
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("lightning", "pydantic", "yaml", "sklearn", "scipy")):
        raise MissingExtra("train", f"spectag {sys.argv[1] if len(sys.argv) > 1 else 'train'}")


def _figures(result: dict[str, float | None]) -> str:
    names = {"accuracy": "accuracy", "mean_ap": "mAP", "mean_auc": "mAUC", "d_prime": "d-prime"}
    return ", ".join(f"{text} {value:.3f}" for name, text in names.items() if (value := result[name]) is not None)
