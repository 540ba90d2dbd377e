"""spectag evaluate, score."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spectag.choices import BATCH_SIZE, DEVICE
from spectag.cli.options import MODEL, BatchSize, Data, Device, find_model
from spectag.cli.output import refuse_overwriting, say, watched
from spectag.cli.runs import read_data, require_train_extra
from spectag.errors import FileError

if TYPE_CHECKING:
    from spectag.data.manifest import Manifest
    from spectag.score.table import ScoreRow
    from spectag.tag.tagger import Tagger

Fold = Annotated[int | None, typer.Option(help="Use only the clips of this fold.")]
Split = Annotated[str | None, typer.Option(help="Use only the clips of this split, for example test.")]


def is_score_file(path: str | Path) -> bool:
    """Whether a name is that of a score file.

    >>> is_score_file("scores.npz"), is_score_file("esc10")
    (True, False)
    """
    return str(path).lower().endswith(".npz")


def require_score_file(value: Path | None) -> Path | None:
    """Refuse the name of an output file that is not that of a score file.

    >>> require_score_file(Path("scores.npz")).name
    'scores.npz'
    """
    if value is not None and not is_score_file(value):
        raise typer.BadParameter(f"expected a file name that ends in .npz; got {str(value)!r}")
    return value


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    data: Data,
    fold: Fold = None,
    split: Split = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all figures as one JSON object, including those per class.")
    ] = False,
    device: Device = DEVICE,
    batch_size: BatchSize = BATCH_SIZE,
) -> None:
    """Measure how well a model tags a labelled data set.

    Prints accuracy, mAP, mAUC and d-prime over all clips, and the average precision (AP) of each class. A clip that
    cannot be read is reported and left out, and the exit code is 1.
    """
    manifest, tagger = _prepare(model, data, fold, split, device, batch_size)

    from spectag.score.evaluate import evaluate_scores
    from spectag.score.metrics import format_figures

    result = evaluate_scores(manifest, _scores(tagger, manifest), tagger.labels, tagger.card.activation)
    if as_json:
        print(json.dumps({"model": model, "layout": manifest.layout, **result.to_dict()}, indent=1, ensure_ascii=False))
    else:
        values = result.metrics.to_dict()
        print(f"{model} on {values['clips']} clips ({manifest.layout}): {format_figures(values)}")
        width = max(map(len, result.labels.names))
        for name, ap in zip(result.labels.names, values["ap"], strict=True):
            print(f"  {name:<{width}}  AP {'-' if ap is None else format(ap, '.3f')}")
    _report_failures(result.failed)


def score(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    data: Data,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE.npz", callback=require_score_file, help="The score file to write."
        ),
    ],
    fold: Fold = None,
    split: Split = None,
    device: Device = DEVICE,
    batch_size: BatchSize = BATCH_SIZE,
) -> None:
    """Write a model's scores for the clips of a labelled data set to a file.

    spectag ensemble prints the figures of such files and averages them. A clip that cannot be read is reported and
    left out, and the exit code is 1.
    """
    refuse_overwriting(output, [])
    manifest, tagger = _prepare(model, data, fold, split, device, batch_size)

    from spectag.model.ensemble import Ensemble
    from spectag.score.npz import write_scores
    from spectag.score.table import make_table

    table, failed = make_table(
        manifest,
        _scores(tagger, manifest),
        tagger.labels,
        model=model,
        activation=tagger.card.activation,
        members=len(tagger.bundle.members) if isinstance(tagger.bundle, Ensemble) else 1,
    )
    write_scores(output, table)
    print(f"{output}: {len(table.ids)} clips, {len(table.labels)} classes")
    _report_failures(failed)


def _prepare(
    model: str, data: Path, fold: int | None, split: str | None, device: str, batch_size: int
) -> tuple[Manifest, Tagger]:
    """The clips to score, and the tagger. Errors in the arguments are reported before torch is imported."""
    require_train_extra()
    find_model(model)
    manifest = read_data(data).only(fold=fold, split=split)

    from spectag.tag.tagger import Tagger

    return manifest, Tagger(model, device=device, batch_size=batch_size)


def _scores(tagger: Tagger, manifest: Manifest) -> Iterator[ScoreRow | FileError]:
    sources = [clip.source for clip in manifest.clips]
    return watched(tagger.scores_many(sources), len(sources), quiet=False)


def _report_failures(failed: tuple[str, ...]) -> None:
    for failure in failed:
        say("error", failure)
    if failed:
        raise typer.Exit(1)
