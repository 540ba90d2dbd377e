"""spectag ensemble."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from spectag.choices import THRESHOLD
from spectag.cli.options import find_model
from spectag.cli.output import refuse_overwriting, require_new_folder
from spectag.cli.runs import require_score_extra
from spectag.cli.score import Resamples, Threshold, is_score_file, require_score_file


def ensemble(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE.npz...|MODEL...", help="Score files of the same clips, or models with the same labels."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="Where to write the mean: a FILE.npz, or for models a new directory."
        ),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="For models: store the weights as float16, which halves the files.")
    ] = False,
    threshold: Threshold = THRESHOLD,
    resamples: Resamples = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="For score files: print one JSON object with all figures, including per class."),
    ] = False,
) -> None:
    """Average the scores of several models.

    Given score files, it prints the figures of each file, and those of their mean with 95 % intervals. Given models, it
    writes a directory that tag, evaluate and score accept as a model. An ensemble among the inputs counts once for each
    of its members.
    """
    score_files = [name for name in inputs if is_score_file(name)]
    if score_files and len(score_files) < len(inputs):
        raise typer.BadParameter(f"expected score files (.npz) or models, not both; {score_files[0]!r} is a score file")
    if score_files:
        if half:
            raise typer.BadParameter("is for models, not for score files", param_hint="--half")
        if output is not None:
            require_score_file(output)
            refuse_overwriting(output, inputs)
        require_score_extra()
        _average_files([Path(name) for name in inputs], output, threshold, resamples, as_json)
        return
    if as_json:
        raise typer.BadParameter("is for score files, not for models", param_hint="--json")
    if output is None or is_score_file(output):
        raise typer.BadParameter("expected a new directory for the ensemble", param_hint="--output")
    _combine_models(inputs, output, half)


def _average_files(
    files: Sequence[Path], output: Path | None, threshold: float, resamples: int | None, as_json: bool
) -> None:
    from spectag.score.evaluate import describe_table
    from spectag.score.metrics import FIGURES, name_scopes
    from spectag.score.npz import read_scores, write_scores
    from spectag.score.table import average_tables

    tables = [read_scores(path) for path in files]
    mean = average_tables(tables)
    if output is not None:
        write_scores(output, mean)
    figures = [table.compute_metrics(threshold) for table in (*tables, mean)]
    intervals = mean.compute_intervals(figures[-1], resamples) if resamples != 0 else None
    if as_json:
        *each, whole = [
            {
                **{name: getattr(table, name) for name in ("source", "model", "members", "activation")},
                **describe_table(table, metrics, intervals if table is mean else None),
            }
            for table, metrics in zip((*tables, mean), figures, strict=True)
        ]
        print(json.dumps({"files": each, "ensemble": whole}, indent=1, ensure_ascii=False))
        return
    rows = [(table.source, metrics.to_dict()) for table, metrics in zip((*tables, mean), figures, strict=True)]
    if intervals is not None:
        ends = enumerate(("95 % from", "95 % to"))
        rows += [(text, {name: bounds[end] for name, bounds in intervals.bounds.items()}) for end, text in ends]
    width = max(len(source) for source, _ in rows)
    print(f"{'':<{width}}  " + "  ".join(f"{text:>8}" for text in FIGURES.values()))
    for source, values in rows:
        cells = ("-" if values.get(name) is None else f"{values[name]:.4f}" for name in FIGURES)
        print(f"{source:<{width}}  " + "  ".join(f"{cell:>8}" for cell in cells))
    scopes = name_scopes(figures[-1].to_dict())
    print(", ".join(f"{FIGURES[name]} {scopes[name]}" for name in ("mean_ap", "macro_f1") if name in scopes))


def _combine_models(models: Sequence[str], output: Path, half: bool) -> None:
    require_new_folder(output)
    for name in models:
        find_model(name)

    import torch

    from spectag.model.ensemble import Ensemble
    from spectag.model.loading import load

    whole = Ensemble.of(load(name) for name in models)
    whole.save(output, dtype=torch.float16 if half else torch.float32)
    parameters = whole.describe()["parameters"]
    print(f"{output}: ensemble of {len(whole.members)}, {parameters} parameters, {len(whole.labels)} labels")
