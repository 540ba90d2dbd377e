"""spectag score, ensemble."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spectag.cli.options import MODEL, BatchSize, Device, find_model
from spectag.cli.output import refuse_overwriting, say, watched
from spectag.cli.train import Data, read_data, require_train_extra

if TYPE_CHECKING:
    from spectag.train.scores import ScoreTable

FIGURES = {"mean_ap": "mAP", "accuracy": "accuracy", "mean_auc": "mAUC", "d_prime": "d-prime"}


def is_scores(path: str | Path) -> bool:
    return str(path).lower().endswith(".npz")


def score_file(value: Path | None) -> Path | None:
    if value is not None and not is_scores(value):
        raise typer.BadParameter(f"scores are written as .npz only: expected a name that ends so; got {str(value)!r}")
    return value


def score(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    data: Data,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.npz", callback=score_file, help="The score file to write.")
    ],
    fold: Annotated[int | None, typer.Option(help="Only this fold.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this part: train, validation, test.")] = None,
    device: Device = "cpu",
    batch_size: BatchSize = 16,
) -> None:
    """Write a model's scores of a labelled data set to a file.

    spectag ensemble averages such files. A clip that cannot be read is reported and left out, and the exit code is 1.
    """
    require_train_extra()
    refuse_overwriting(output, [])
    find_model(model)

    manifest = read_data(data).only(fold=fold, split=split)

    from spectag.model.ensemble import Ensemble
    from spectag.tag.tagger import Tagger
    from spectag.train.scores import tabulate, write

    tagger = Tagger(model, device=device, batch_size=batch_size)
    sources = [clip.source for clip in manifest.clips]
    rows = watched(tagger.scores_many(sources), len(sources), quiet=False)
    table, failed = tabulate(manifest, rows, tagger.labels, model=model, activation=tagger.bundle.activation)
    members = len(tagger.bundle.members) if isinstance(tagger.bundle, Ensemble) else 1
    write(replace(table, members=members), output)
    print(f"{output}: {len(table.ids)} clips, {len(table.labels)} classes")
    for failure in failed:
        say("error", failure)
    if failed:
        raise typer.Exit(1)


def ensemble(
    inputs: Annotated[
        list[str], typer.Argument(metavar="FILE.npz...|MODEL...", help="Score files of the same clips; or models.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="The averaged scores, a FILE.npz; or of models, the new directory."
        ),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Models: halve the files, weights as float16.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Score files: all figures, per class too.")] = False,
) -> None:
    """Average the scores of several models.

    From score files: a table of each one's figures and of their mean's. From models: a directory that is used like any
    other model. In both, an ensemble among the inputs counts as its members.
    """
    files = [is_scores(name) for name in inputs]
    if all(files):
        if half:
            raise typer.BadParameter("is for models, not for score files", param_hint="--half")
        if output is not None:
            score_file(output)
            refuse_overwriting(output, inputs)
        require_train_extra()
        _average([Path(name) for name in inputs], output, as_json)
        return
    if any(files):
        name = inputs[files.index(True)]
        raise typer.BadParameter(f"expected score files (.npz) or models, not both; {name!r} is a score file")
    if as_json:
        raise typer.BadParameter("is for score files, not for models", param_hint="--json")
    if output is None or is_scores(output):
        raise typer.BadParameter("expected the new directory of the ensemble of these models", param_hint="--output")
    _combine(inputs, output, half)


def _average(files: Sequence[Path], output: Path | None, as_json: bool) -> None:
    from spectag.train.scores import average, read, write

    tables = [read(path) for path in files]
    mean = average(tables)
    if output is not None:
        write(mean, output)
    rows = [(table, table.metrics().to_dict()) for table in (*tables, mean)]
    if as_json:
        *each, whole = [_facts(*row) for row in rows]
        print(json.dumps({"files": each, "ensemble": whole}, indent=1, ensure_ascii=False))
        return
    width = max(len(table.source) for table, _ in rows)
    print(f"{'':<{width}}  " + "  ".join(f"{text:>8}" for text in FIGURES.values()))
    for table, figures in rows:
        cells = ("-" if figures[name] is None else f"{figures[name]:.4f}" for name in FIGURES)
        print(f"{table.source:<{width}}  " + "  ".join(f"{cell:>8}" for cell in cells))


def _facts(table: ScoreTable, figures: dict[str, Any]) -> dict[str, Any]:
    about = {"source": table.source, "model": table.model, "members": table.members, "activation": table.activation}
    per_class = {name: dict(zip(table.labels, figures[name], strict=True)) for name in ("ap", "auc")}
    return {**about, **figures, **per_class}


def _combine(models: Sequence[str], output: Path, half: bool) -> None:
    for name in models:
        find_model(name)

    import torch

    from spectag.files import require_new
    from spectag.model.ensemble import Ensemble
    from spectag.model.loading import load

    require_new(output)
    whole = Ensemble.of(load(name) for name in models)
    whole.save(output, dtype=torch.float16 if half else torch.float32)
    parameters = whole.describe()["parameters"]
    print(f"{output}: ensemble of {len(whole.members)}, {parameters} parameters, {len(whole.labels)} labels")
