"""spectag evaluate, score."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spectag.choices import BATCH_SIZE, DEVICE, EVENT_METHOD, THRESHOLD, EngineName
from spectag.cli.options import MODEL, BatchSize, Data, Device, EngineOption, Negatives, Separator, find_model
from spectag.cli.output import refuse_overwriting, say, watched
from spectag.cli.runs import read_data, require_score_extra
from spectag.cli.threads import Threads, use_threads
from spectag.cli.times import TIMES, EventThreshold, Gap, Hop, Method, Shortest
from spectag.errors import FileError

if TYPE_CHECKING:
    from spectag.data.manifest import Manifest
    from spectag.score.events import Detected
    from spectag.score.intervals import Intervals
    from spectag.score.metrics import Metrics
    from spectag.score.table import ScoreRow, ScoreTable
    from spectag.tag.detector import Detector
    from spectag.tag.events import EventRule
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
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Score from which on a class counts as found, for F1.",
            show_default="the model's own thresholds, otherwise 0.5",
        ),
    ] = None,
    resamples: Resamples = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all figures as one JSON object, including those per class.")
    ] = False,
    engine: EngineOption = None,
    device: Device = DEVICE,
    batch_size: BatchSize = BATCH_SIZE,
    threads: Threads = None,
    negatives: Negatives = None,
    separator: Separator = None,
    events: Annotated[
        bool,
        typer.Option("--events", help="Measure when each label is heard, on tables with onsets and offsets.", **TIMES),
    ] = False,
    hop: Hop = None,
    event_method: Method = EVENT_METHOD,
    event_threshold: EventThreshold = None,
    gap: Gap = 0.0,
    shortest: Shortest = 0.0,
) -> None:
    """Measure how well a model tags a labelled data set.

    Prints accuracy (where each clip has exactly one label), mAP, mAUC, d-prime and F1 over all clips with 95 %
    intervals, and the average precision (AP) of each class. Every class of the model counts as an answer, also those
    that the data set lacks. A clip that cannot be read is reported and left out, and the exit code is 1.

    With --events, rows with times are events of a clip. Prints PSDS 1 and 2 and, with the best threshold of each class
    and with the threshold in use, the F1 of events and of seconds. This needs the extra eval.
    """
    _require(model)
    if events:
        from spectag.score.events import require_eval_extra

        require_eval_extra()
    manifest = read_clips(model, data, separator, negatives, events=events).only(fold=fold, split=split)
    tagger = _load(model, device, batch_size, threads, engine)
    if events:
        from spectag.tag.events import EventRule

        rule = EventRule(event_method, event_threshold, gap=gap, shortest=shortest)
        _evaluate_events(model, manifest, tagger, rule, hop, as_json)
        return

    from spectag.score.evaluate import evaluate_scores

    own = THRESHOLD if tagger.card.thresholds is None else tagger.card.thresholds
    limits = own if threshold is None else threshold
    result = evaluate_scores(manifest, _scores(tagger, manifest), tagger.labels, tagger.card.activation, limits)
    table, metrics = result.table, result.metrics
    intervals = table.compute_intervals(metrics, resamples) if resamples != 0 else None
    if as_json:
        figures = result.to_dict(intervals)
        print(json.dumps({"model": model, "layout": manifest.layout, **figures}, indent=1, ensure_ascii=False))
    else:
        print(f"{model} on {metrics.clips} clips ({manifest.layout})")
        _print_figures(table, metrics, intervals)
    _report_failures(result.failed)


def _evaluate_events(
    model: str, manifest: Manifest, tagger: Tagger, rule: EventRule, hop: float | None, as_json: bool
) -> None:
    """Print the figures of events."""
    from spectag.score.events import EVENT_FIGURES, evaluate_events
    from spectag.tag.detector import Detector

    manifest = manifest.timed()
    detector = Detector(tagger, rule, hop)
    metrics, failed = evaluate_events(manifest, _detections(detector, manifest), tagger.labels)
    values = metrics.to_dict()
    if as_json:
        about = {"model": model, "layout": manifest.layout, "method": rule.method, "step": detector.step}
        print(json.dumps({**about, **values, "failed": list(failed)}, indent=1, ensure_ascii=False))
    else:
        size = f"{metrics.clips} clips, {metrics.hours:.2f} h, {metrics.events} events"
        print(f"{model} on {size} ({manifest.layout}); events by {rule.method}, scores every {detector.step:g} s")
        width = max(map(len, EVENT_FIGURES.values()))
        for name, text in EVENT_FIGURES.items():
            print(f"{text:<{width}}  {values[name]:.3f}")
        width = max(map(len, metrics.labels))
        for label, f1, best in zip(
            metrics.labels, metrics.event_f1_by_class, metrics.best_event_f1_by_class, strict=True
        ):
            threshold = metrics.best_thresholds[metrics.labels.index(label)]
            at = "" if threshold is None else f" at {threshold:.2f}"
            print(f"  {label:<{width}}  event F1 {f1:.3f}, best {best:.3f}{at}")
    _report_failures(failed)


def _detections(detector: Detector, manifest: Manifest) -> Iterator[Detected | FileError]:
    """What the model says about each clip: its timeline, the events, and their candidates whatever the threshold."""
    from spectag.score.events import Detected
    from spectag.tag.events import find_events

    every = replace(detector.rule, threshold=0.0)
    sources = [clip.source for clip in manifest.clips]
    for result in watched(detector.detect_many(sources, timeline=True), len(sources), quiet=False):
        if isinstance(result, FileError):
            yield result
            continue
        assert result.timeline is not None
        assert result.events is not None
        changes = detector.rule.method == "change"
        candidates = find_events(result.timeline, result.duration, every) if changes else None
        yield Detected(result.duration, result.timeline, candidates, result.events)


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
    manifest = read_clips(model, data, separator, negatives).only(fold=fold, split=split)
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


def read_clips(
    model: str, data: Path, separator: str | None, negatives: list[Path] | None, *, events: bool = False
) -> Manifest:
    """Read a data set for a model: labels and times mean what they meant when it was trained, unless said otherwise.

    Args:
        model: a bundle, by name or path.
        data, separator, negatives: as for :func:`spectag.cli.runs.read_data`.
        events: rows with times say when a label is heard. They do so anyway if the model learned that.

    >>> Path("1.wav").touch()
    >>> _ = Path("clips.csv").write_text("path,label\\n1.wav,owl")
    >>> len(read_clips("esc10", Path("clips.csv"), None, None))
    1
    """
    separator = _find_separator(model, separator)
    timed = events or _find_rule(model, "events") is True
    return read_data(data, separator=separator, negatives=negatives, events=timed)


def _find_separator(model: str, given: str | None) -> str | None:
    """What separates labels in a cell: as given, or as in the recipe that the model was trained with."""
    if given is not None:
        return given
    value = _find_rule(model, "separator")
    if not isinstance(value, str):
        return None
    say("note", f"labels in a cell are separated by {value!r}, as when {model} was trained (--separator changes it)")
    return value


def _find_rule(model: str, rule: str) -> object:
    """How labels are read in the recipe that the model was trained with; None if that is not known."""
    from spectag.model.fields import EXTRA, Fields
    from spectag.model.source import resolve

    file = resolve(model).path / EXTRA
    value: object = Fields.read(file).data if file.is_file() else None
    for name in ("provenance", "recipe", "labels", rule):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _load(model: str, device: str, batch_size: int, threads: int | None, engine: EngineName | None = None) -> Tagger:
    from spectag.tag.tagger import Tagger

    use_threads(threads)
    return Tagger(model, engine=engine, device=device, batch_size=batch_size)


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
