"""spectag calibrate."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from spectag.choices import BATCH_SIZE, DEVICE, THRESHOLD, EventMethod
from spectag.cli.options import MODEL, BatchSize, Data, Device, Negatives, Separator, find_model
from spectag.cli.output import refuse_overwriting, require_new_folder, say, watched
from spectag.cli.runs import require_plots, require_score_extra
from spectag.cli.score import Fold, Split, is_score_file, read_clips
from spectag.cli.threads import Threads, use_threads
from spectag.cli.times import TIMES
from spectag.errors import FileError, InputError
from spectag.labels import align

if TYPE_CHECKING:
    from spectag.cli.clip_outputs import ClipOutputs
    from spectag.data.manifest import Manifest
    from spectag.model.bundle import Bundle
    from spectag.model.unknown import Unknown
    from spectag.score.calibration import Calibration
    from spectag.score.event_thresholds import EventThresholds

PLOTS = (".svg", ".png")


def _check_plot(value: Path | None) -> Path | None:
    if value is not None and value.suffix.lower() not in PLOTS:
        raise typer.BadParameter(f"expected a file name that ends in {' or '.join(PLOTS)}; got {str(value)!r}")
    return value


def _check_share(value: float | None) -> float | None:
    if value is not None and not 0 < value < 1:
        raise typer.BadParameter(f"expected more than 0 and less than 1; got {value:g}")
    return value


def calibrate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE",
            help="Directory to create: the calibrated model. Nothing that is there already is overwritten.",
            show_default="only print the figures",
        ),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            callback=_check_share,
            help="Choose the lowest threshold of each class that reaches this precision.",
            show_default="the threshold of the highest F1",
        ),
    ] = None,
    unknown: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            callback=_check_share,
            help="Also answer unknown where a sound is none of the classes. RATE is the share of known sounds that may "
            "be called unknown, for example 0.05.",
            show_default="no such answer",
        ),
    ] = None,
    events: Annotated[
        bool,
        typer.Option(
            "--events",
            help="Also find the score that an event of each class needs, on tables with onsets and offsets.",
            **TIMES,
        ),
    ] = False,
    fold: Fold = None,
    split: Split = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=_check_plot,
            help="Draw how reliable the scores are, before and after: .svg or .png.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as one JSON object.")] = False,
    device: Device = DEVICE,
    batch_size: BatchSize = BATCH_SIZE,
    threads: Threads = None,
    negatives: Negatives = None,
    separator: Separator = None,
) -> None:
    """Make the scores of a model mean something, and find a threshold for each class.

    A calibrated score of 0.8 is right in 80 % of the cases. Use clips that the model was not trained on: on those that
    it was trained on, it is surer than elsewhere. The calibration becomes part of the weights, so every program that
    runs the model gives the calibrated scores. Figures are cross-validated: clips of one group stay together.

    With --events, rows with times are events of a clip. Events then get thresholds of their own, for each method of
    finding them.
    """
    if is_score_file(model):
        raise InputError(f"{model}: is a score file, and the model itself is needed: name its bundle")
    if out is not None:
        require_new_folder(out)
    if plot is not None:
        require_plots()
        refuse_overwriting(plot, [])
    require_score_extra()
    find_model(model)
    manifest = read_clips(model, data, separator, negatives, events=events).only(fold=fold, split=split)

    from spectag.cli.clip_outputs import run_network
    from spectag.model.loading import load_bundle
    from spectag.score.calibration import calibrate as fit

    use_threads(threads)
    bundle = load_bundle(model)
    if bundle.card.untrained:
        raise InputError(f"{model}: the classification head is not trained: train the model first")
    _tell_training_data(bundle)
    clips = run_network(bundle, manifest, device, batch_size)
    found = fit(clips.outputs, clips.groups, precision)
    frames = None if clips.frames is None else fit(clips.frames, clips.groups, precision)
    novel: Unknown | None = None
    rejected: dict[str, Any] = {}
    if unknown is not None:
        novel, rejected = _fit_unknown(clips, found, unknown)
    aim = "highest F1" if precision is None else f"precision {precision:g}"
    scaled = _scale(bundle, found, frames)
    of_events = _fit_events(scaled, manifest, device, batch_size) if events else {}
    facts = {"thresholds": aim, "data": manifest.layout, "fold": fold, "split": split, **found.to_dict()}
    if events:
        facts["events"] = {method: each.to_dict() for method, each in of_events.items()}
    if as_json:
        figures = {"model": model, **facts, "log_losses": found.losses, "classes": _rows(bundle, found)}
        print(
            json.dumps({**figures, "unknown": rejected or None, "failed": clips.failed}, indent=1, ensure_ascii=False)
        )
    else:
        print(f"{model} on {len(found.folds)} clips ({manifest.layout}), {found.groups} groups, {facts['folds']} folds")
        _print_figures(bundle, found, aim, rejected)
        for method, each in of_events.items():
            before, after = each.f1
            print(f"events by {method}: event F1 {before:.3f} at 0.5, {after:.3f} at such thresholds (cross-validated)")
    if plot is not None:
        from spectag.score.plots import plot_reliability

        plot_reliability(*found.reliability, plot)
    if out is not None:
        facts = {name: value for name, value in facts.items() if value is not None} | _about(frames)
        card = replace(
            scaled.card,
            thresholds=tuple(found.thresholds.values.tolist()),
            event_thresholds={method: tuple(each.values.tolist()) for method, each in of_events.items()} or None,
            unknown=novel,
            provenance={**bundle.provenance, "calibration": facts},
        )
        replace(scaled, card=card).save(out)
        if not as_json:
            print(f"{out}: {len(bundle.labels)} thresholds{', unknown sounds' if novel else ''}")
    elif not as_json:
        say("note", "nothing was written: --out BUNDLE writes the calibrated model")
    for failure in clips.failed:
        say("error", failure)
    if clips.failed:
        raise typer.Exit(1)


def _tell_training_data(bundle: Bundle) -> None:
    data = bundle.provenance.get("data")
    if isinstance(data, dict) and {"layout", "held_out"} <= data.keys():
        held_out = data["held_out"]
        say(
            "note", f"the model was trained on {data['layout']}, held out: {held_out}: calibrate it on other clips only"
        )


def _fit_unknown(clips: ClipOutputs, found: Calibration, rate: float) -> tuple[Unknown, dict[str, Any]]:
    """Fit what tells unknown sounds, and count what it says about the clips."""
    from spectag.model.unknown import fit_unknown

    outputs = clips.outputs
    unknown, distances = fit_unknown(clips.features, outputs.clips, outputs.weights, outputs.targets, found.folds, rate)
    known = outputs.targets.any(1)
    beyond = distances > unknown.limit
    counts = {"known": int(known.sum()), "known_rejected": int(beyond[known].sum())}
    return unknown, {
        "rate": rate,
        **counts,
        "negatives": int((~known).sum()),
        "negatives_rejected": int(beyond[~known].sum()),
    }


def _scale(bundle: Bundle, found: Calibration, frames: Calibration | None) -> Bundle:
    """The bundle with calibrated scores."""
    from spectag.model.scaling import scale_logits

    scaled = scale_logits(bundle, found.scaling.scale, found.scaling.offset)
    return scaled if frames is None else scale_logits(scaled, frames.scaling.scale, frames.scaling.offset, frames=True)


def _about(frames: Calibration | None) -> dict[str, Any]:
    """Further facts for the provenance."""
    from spectag.version import __version__

    names = ("method", "scale", "offset", "log_loss", "ece")
    about = {} if frames is None else {"frames": {name: frames.to_dict()[name] for name in names}}
    return {**about, "spectag": __version__}


def _fit_events(bundle: Bundle, manifest: Manifest, device: str, batch_size: int) -> dict[EventMethod, EventThresholds]:
    """Find thresholds of events for each method, with the calibrated model, in a second pass over the clips."""
    from spectag.score.event_thresholds import GRID, EventTally
    from spectag.score.events import cut_times
    from spectag.score.scaling import make_folds
    from spectag.tag.detector import Detector
    from spectag.tag.events import EventRule, find_events_at
    from spectag.tag.tagger import Tagger

    manifest = manifest.timed()
    folds = make_folds(manifest.targets(), [clip.group or "" for clip in manifest.clips])
    called = [bundle.labels.names[place] for place in align(manifest.labels, bundle.labels)]
    methods: tuple[EventMethod, ...] = get_args(EventMethod)
    tallies = {method: EventTally(bundle.labels.names, int(folds.max()) + 1) for method in methods}
    detector = Detector(Tagger(bundle, device=device, batch_size=batch_size))
    results = detector.detect_many([clip.source for clip in manifest.clips], timeline=True)
    for clip, fold, result in zip(manifest.clips, folds, watched(results, len(manifest), quiet=False), strict=True):
        if isinstance(result, FileError):  # it was reported in the first pass
            continue
        times = ((event.onset, event.offset, called[event.label]) for event in clip.events or ())
        true = cut_times(times, result.duration)
        for method, tally in tallies.items():
            assert result.timeline is not None
            tally.add(int(fold), true, find_events_at(result.timeline, result.duration, EventRule(method), GRID))
    return {method: tally.choose() for method, tally in tallies.items()}


def _rows(bundle: Bundle, found: Calibration) -> list[dict[str, Any]]:
    """The figures of each class that the data set knows."""
    after = found.decisions[1]
    rows = []
    for place, column in enumerate(found.columns.tolist()):
        figures = {name: float(getattr(after, name)[place]) for name in ("precision", "recall", "f1")}
        rows.append(
            {
                "label": bundle.labels.names[column],
                "clips": int(found.positives[column]),
                "threshold": float(found.thresholds.values[column]),
                "reached": bool(found.thresholds.reached[column]),
                **{name: None if value != value else value for name, value in figures.items()},
            }
        )
    return rows


def _print_figures(bundle: Bundle, found: Calibration, aim: str, rejected: dict[str, Any]) -> None:
    before, after = found.decisions
    names = {
        "none": "none is better than what there is",
        "temperature": "one scale for all classes (temperature)",
        "platt": "one scale and one offset for all classes (Platt)",
        "classes": "a scale and an offset for each class (Platt)"
        if bundle.activation == "sigmoid"
        else "a scale and an offset for each class (vector scaling)",
    }
    print(f"scaling: {names[found.method]}")
    print(f"{'':<34}  before  after")
    over = "of the first tag" if bundle.activation == "softmax" else "of all decisions"
    figures = {
        f"calibration error {over}": [each.error for each in found.reliability],
        "log loss": [found.losses["none"], found.losses[found.method]],
        "macro F1": [before.macro_f1, after.macro_f1],
        "micro F1": [before.micro_f1, after.micro_f1],
    }
    for name, values in figures.items():
        print(f"{name:<34}  " + "   ".join(f"{value:.3f}" for value in values))
    print(f"before: as the model is, at the threshold {THRESHOLD}; after: cross-validated, thresholds for {aim}")
    rows = _rows(bundle, found)
    width = max(len(row["label"]) for row in rows)
    print(f"  {'':<{width}}  clips  threshold  precision  recall")
    for row in rows:
        marks = "" if row["clips"] else "  threshold of all classes together"
        marks += "" if row["reached"] else "  this precision is not reached"
        shown = ["-" if row[name] is None else f"{row[name]:.2f}" for name in ("precision", "recall")]
        figures_of = f"{row['clips']:>5}  {row['threshold']:>9.3f}  {shown[0]:>9}  {shown[1]:>6}{marks}"
        print(f"  {row['label']:<{width}}  {figures_of}")
    others = len(bundle.labels) - len(rows)
    if others:
        print(f"  {others} other classes, which the data set lacks: the threshold of all classes together")
    if rejected:
        text = f"{rejected['known_rejected']} of {rejected['known']} clips with labels are called unknown"
        if rejected["negatives"]:
            text += f", and {rejected['negatives_rejected']} of {rejected['negatives']} without"
        print(f"unknown, at a rate of {rejected['rate']:g}: {text} (the limit was chosen on those with labels)")
