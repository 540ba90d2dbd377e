"""spectag info, convert."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from spectag.choices import Activation, Channels, Statistics, WindowFunction
from spectag.cli.options import MODEL, find_model, pair
from spectag.cli.output import require_new_folder, say
from spectag.labels import name_some


def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Print what is known about a model: its size, front end, labels and origin."""
    find_model(model)

    from spectag.engines.artefact import open_model

    facts = open_model(model).describe()
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
        return
    lines = list(_lines(facts))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:<{width}}  {value}")


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help=MODEL)],
    target: Annotated[
        Path, typer.Argument(metavar="DST", help="Directory to create. Nothing that is there already is overwritten.")
    ],
    stride: Annotated[
        Any,
        typer.Option(
            parser=pair,
            metavar="F,T",
            help="Distance between patches in mel bins and frames. Give it if a warning says that it was guessed.",
            show_default="from the weights",
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Length of the inputs in frames of 10 ms. A DeiT or ViT is adapted to it.",
            show_default="from the weights; 1024 for a DeiT or ViT",
        ),
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, help="Number of attention heads of a weight file.", show_default="width / 64")
    ] = None,
    statistics: Annotated[
        Statistics | None,
        typer.Option(
            help="Data set that a .pth file was trained on. Its mean and deviation normalise the inputs.",
            show_default="from the number of labels",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Table of the outputs' names with the columns index,mid,display_name; mid may be missing.",
            show_default="the names in the model",
        ),
    ] = None,
    num_labels: Annotated[
        int | None,
        typer.Option(min=1, help="Number of outputs for a DeiT or ViT, if --labels is not given.", show_default="527"),
    ] = None,
    channels: Annotated[
        Channels | None,
        typer.Option(help="How to merge the three colour channels of a DeiT or ViT.", show_default="mean"),
    ] = None,
    window: Annotated[
        WindowFunction | None, typer.Option(help="Window function of the front end.", show_default="from the model")
    ] = None,
    activation: Annotated[
        Activation | None,
        typer.Option(
            help="How outputs become scores: sigmoid if a recording can have several labels, softmax if it has one.",
            show_default="from the model",
        ),
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Store the weights as float16, which halves the size.")] = False,
) -> None:
    """Write any model as a bundle: a directory that spectag reads.

    transformers reads it, too, unless patches are not square or there is one class token. It knows no Hamming window,
    so its scores differ for models that were trained with one. The command says when this is so.

    Most options are for weight files (.pth), which do not say how they were trained.
    """
    require_new_folder(target)
    find_model(source)

    import torch

    from spectag.labels import LabelSet
    from spectag.model.given import Given
    from spectag.model.huggingface import compare_with_transformers
    from spectag.model.loading import load_bundle

    names = LabelSet.read(labels) if labels else None
    given = Given(stride, frames, heads, statistics, names, num_labels, channels, window, activation)
    bundle = load_bundle(source, given)
    bundle.save(target, dtype=torch.float16 if fp16 else torch.float32)
    print(f"{target}: {bundle.describe()['parameters']} parameters, {len(bundle.labels)} labels")
    if difference := compare_with_transformers(bundle.card):
        say("note", f"{target}: {difference}")


def _lines(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as ``a.b`` and a value on one line."""
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            yield from _lines(value, f"{prefix}{name}.")
        elif value is not None and value != {}:
            yield (
                prefix + name,
                name_some(list(map(str, value)), 20) if isinstance(value, (list, tuple)) else str(value),
            )
