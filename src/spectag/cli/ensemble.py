"""spectag ensemble."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spectag.cli.options import find_model
from spectag.cli.output import refuse_overwriting, require_new_directory
from spectag.cli.runs import require_train_extra
from spectag.cli.score import is_score_file, require_score_file

if TYPE_CHECKING:
    from spectag.score.table import ScoreTable


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
    as_json: Annotated[
        bool,
        typer.Option("--json", help="For score files: print one JSON object with all figures, including per class."),
    ] = False,
) -> None:
    """Average the scores of several models.

    Given score files, it prints the figures of each file and of their mean. Given models, it writes a directory that
    tag, evaluate and score accept as a model. An ensemble among the inputs counts once for each of its members.
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
        require_train_extra()
        _average_files([Path(name) for name in inputs], output, as_json)
        return
    if as_json:
        raise typer.BadParameter("is for score files, not for models", param_hint="--json")
    if output is None or is_score_file(output):
        raise typer.BadParameter("expected a new directory for the ensemble", param_hint="--output")
    _combine_models(inputs, output, half)


def _average_files(files: Sequence[Path], output: Path | None, as_json: bool) -> None:
    from spectag.score.metrics import FIGURES
    from spectag.score.npz import read_scores, write_scores
    from spectag.score.table import average_tables

    tables = [read_scores(path) for path in files]
    mean = average_tables(tables)
    if output is not None:
        write_scores(output, mean)
    rows = [(table, table.compute_metrics().to_dict()) for table in (*tables, mean)]
    if as_json:
        *each, whole = [_describe(*row) for row in rows]
        print(json.dumps({"files": each, "ensemble": whole}, indent=1, ensure_ascii=False))
        return
    width = max(len(table.source) for table, _ in rows)
    print(f"{'':<{width}}  " + "  ".join(f"{text:>8}" for text in FIGURES.values()))
    for table, figures in rows:
        cells = ("-" if figures[name] is None else f"{figures[name]:.4f}" for name in FIGURES)
        print(f"{table.source:<{width}}  " + "  ".join(f"{cell:>8}" for cell in cells))


def _describe(table: ScoreTable, figures: dict[str, Any]) -> dict[str, Any]:
    about = {"source": table.source, "model": table.model, "members": table.members, "activation": table.activation}
    per_class = {name: dict(zip(table.labels, figures[name], strict=True)) for name in ("ap", "auc")}
    return {**about, **figures, **per_class}


def _combine_models(models: Sequence[str], output: Path, half: bool) -> None:
    require_new_directory(output)
    for name in models:
        find_model(name)

    import torch

    from spectag.model.ensemble import Ensemble
    from spectag.model.loading import load

    whole = Ensemble.of(load(name) for name in models)
    whole.save(output, dtype=torch.float16 if half else torch.float32)
    parameters = whole.describe()["parameters"]
    print(f"{output}: ensemble of {len(whole.members)}, {parameters} parameters, {len(whole.labels)} labels")
