"""spectag evaluate, score."""

from __future__ import annotations

import json
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spectag.choices import BATCH_SIZE, DEVICE, THRESHOLD
from spectag.cli.options import MODEL, BatchSize, Data, Device, Negatives, Separator, find_model
from spectag.cli.output import refuse_overwriting, say, watched
from spectag.cli.runs import read_data, require_score_extra
from spectag.cli.threads import Threads, use_threads
from spectag.errors import FileError

if TYPE_CHECKING:
    from spectag.data.manifest import Manifest
    from spectag.score.intervals import Intervals
    from spectag.score.metrics import Metrics
    from spectag.score.table import ScoreRow, ScoreTable
    from spectag.tag.tagger import Tagger

Fold = Annotated[int | None, typer.Option(help="Use only the clips of this fold.")]
Split = Annotated[str | None, typer.Option(help="Use only the clips of this split, for example test.")]

Threshold = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Score from which on a class counts as found, for F1.")
]
Resamples = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="Number of draws for the 95 % intervals; 0 for no intervals. The default is 1000, or fewer (at least 100) "
        "for more than about ten thousand clips.",
    ),
]


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
    threshold: Threshold = THRESHOLD,
    resamples: Resamples = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all figures as one JSON object, including those per class.")
    ] = False,
    device: Device = DEVICE,
    batch_size: BatchSize = BATCH_SIZE,
    threads: Threads = None,
    negatives: Negatives = None,
    separator: Separator = None,
) -> None:
    """Measure how well a model tags a labelled data set.

    Prints accuracy (where each clip has exactly one label), mAP, mAUC, d-prime and F1 over all clips with 95 %
    intervals, and the average precision (AP) of each class. Every class of the model counts as an answer, also those
    that the data set lacks. A clip that cannot be read is reported and left out, and the exit code is 1.
    """
    _require(model)
    separator = _find_separator(model, separator)
    manifest = read_data(data, separator=separator, negatives=negatives).only(fold=fold, split=split)
    tagger = _load(model, device, batch_size, threads)

    from spectag.score.evaluate import evaluate_scores

    result = evaluate_scores(
        manifest, _scores(tagger, manifest), tagger.labels, tagger.card.activation, threshold=threshold
    )
    table, metrics = result.table, result.metrics
    intervals = table.compute_intervals(metrics, resamples) if resamples != 0 else None
    if as_json:
        figures = result.to_dict(intervals)
        print(json.dumps({"model": model, "layout": manifest.layout, **figures}, indent=1, ensure_ascii=False))
    else:
        print(f"{model} on {metrics.clips} clips ({manifest.layout})")
        _print_figures(table, metrics, intervals)
    _report_failures(result.failed)


def _print_figures(table: ScoreTable, metrics: Metrics, intervals: Intervals | None) -> None:
    """A line for each figure, with its interval and what it is over, and a line for each class of the data set."""
    from spectag.score.metrics import FIGURES, name_scopes

    values, bounds = metrics.to_dict(), intervals.bounds if intervals else {}
    notes = {"mean_ap": "no class is in some of the clips but not in all", **name_scopes(values)}
    if metrics.accuracy is None:
        notes["accuracy"] = "only where each clip has exactly one of several labels"
    width = max(map(len, FIGURES.values()))
    for name, text in FIGURES.items():
        value = f"{'-':<5}" if values[name] is None else f"{values[name]:.3f}"
        interval = "{:.3f} to {:.3f}".format(*bounds[name]) if name in bounds else ""
        print(f"{text:<{width}}  {value}  {interval:<14}  {notes.get(name, '')}".rstrip())
    if intervals is not None:
        units = f"{intervals.units} {'groups of clips' if intervals.grouped else 'clips'}"
        print(f"95 % intervals: bootstrap over {units}, {intervals.resamples} draws")
    if metrics.negatives:
        print(f"{metrics.negatives} of the clips have no label")
    if table.other_labels:
        print(f"classes of the model: {len(table.labels)}, {_name_others(table)}")
    width = max(map(len, table.data_labels))
    for label, ap in zip(table.data_labels, metrics.ap, strict=False):
        print(f"  {label:<{width}}  AP {'-' if ap is None else format(ap, '.3f')}")


def _name_others(table: ScoreTable) -> str:
    """How many classes of the model the data set lacks, and which."""
    named = ", ".join(table.other_labels[:10])
    more = ", ..." if len(table.other_labels) > 10 else ""
    return f"{len(table.other_labels)} of which the data set lacks: {named}{more}"


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
    threads: Threads = None,
    negatives: Negatives = None,
    separator: Separator = None,
) -> None:
    """Write a model's scores for the clips of a labelled data set to a file.

    spectag ensemble prints the figures of such files and averages them. A clip that cannot be read is reported and
    left out, and the exit code is 1. The file holds all classes of the model, also those that the data set lacks.
    """
    refuse_overwriting(output, [])
    _require(model)
    separator = _find_separator(model, separator)
    manifest = read_data(data, separator=separator, negatives=negatives).only(fold=fold, split=split)
    tagger = _load(model, device, batch_size, threads)

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
    others = f", {_name_others(table)}" if table.other_labels else ""
    print(f"{output}: {len(table.ids)} clips, {len(table.labels)} classes{others}")
    _report_failures(failed)


def _require(model: str) -> None:
    """Report what is missing before the data set is read and torch is imported."""
    require_score_extra()
    find_model(model)


def _find_separator(model: str, given: str | None) -> str | None:
    """What separates labels in a cell: as given, or as in the recipe that the model was trained with."""
    if given is not None:
        return given
    from spectag.model.fields import EXTRA, Fields
    from spectag.model.source import resolve

    file = resolve(model).path / EXTRA
    value: object = Fields.read(file).data if file.is_file() else None
    for name in ("provenance", "recipe", "labels", "separator"):
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, str):
        return None
    say("note", f"labels in a cell are separated by {value!r}, as when {model} was trained (--separator changes it)")
    return value


def _load(model: str, device: str, batch_size: int, threads: int | None) -> Tagger:
    from spectag.tag.tagger import Tagger

    use_threads(threads)
    return Tagger(model, device=device, batch_size=batch_size)


def _scores(tagger: Tagger, manifest: Manifest) -> list[ScoreRow | FileError]:
    """The scores of the clips, in their order. A file is read once for all of its stretches."""
    order = manifest.by_file()
    rows = watched(tagger.scores_many(manifest.clips[at].source for at in order), len(order), quiet=False)
    return [row for _, row in sorted(zip(order, rows, strict=True), key=itemgetter(0))]


def _report_failures(failed: tuple[str, ...]) -> None:
    for failure in failed:
        say("error", failure)
    if failed:
        raise typer.Exit(1)
