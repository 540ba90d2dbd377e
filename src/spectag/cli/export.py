"""spectag export."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spectag.choices import ExportPrecision, Target
from spectag.cli.options import MODEL, Separator, find_model
from spectag.cli.output import require_new_folder, say
from spectag.cli.runs import require_score_extra
from spectag.cli.score import Fold, Split, read_clips
from spectag.cli.threads import Threads, use_threads
from spectag.errors import DataError, FileError

if TYPE_CHECKING:
    from spectag.data.manifest import Manifest
    from spectag.export.agreement import Agreement
    from spectag.export.samples import Sample
    from spectag.model.card import Card


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Directory to create.")],
    to: Annotated[Target, typer.Option(help="Library that is to run the model.")],
    precision: Annotated[
        ExportPrecision,
        typer.Option(
            help="Number format of the network. onnx has fp32 and int8. int8 for openvino needs the extra nncf."
        ),
    ] = "fp32",
    front_end: Annotated[
        bool,
        typer.Option(
            "--front-end",
            help="Let the graph take a waveform, so that other programs need no spectrogram of their own.",
        ),
    ] = False,
    calibrate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOUNDS",
            help="Recordings, or folders of them, that int8 is calibrated with and the graph is compared on. Can be "
            "repeated.",
            show_default="those of --data, otherwise the examples of the repository",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Labelled data set to compare on: the loss is then that of accuracy or mAP.",
            show_default="none",
        ),
    ] = None,
    fold: Fold = None,
    split: Split = None,
    separator: Separator = None,
    clips: Annotated[int, typer.Option(metavar="N", min=1, help="Use at most this many clips, taken evenly.")] = 200,
    max_loss: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Largest loss: how far the worst score of a clip is off, on average; with --data, what accuracy or "
            "mAP lose. Nothing is written if it is exceeded.",
        ),
    ] = 0.005,
    keep_float: Annotated[
        bool,
        typer.Option(
            "--keep-float",
            help="If int8 loses too much, let the layers that lose most stay in float.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the agreement as one JSON object.")] = False,
    threads: Threads = None,
) -> None:
    """Write a model for ONNX Runtime or OpenVINO, and compare it with the model on real clips.

    The directory that is written can be given as MODEL to tag, evaluate and score. Batch and length of the inputs are
    free. The agreement with the model in fp32 is printed, and kept in agreement.json.
    """
    require_new_folder(output)
    find_model(model)
    if data is not None:
        require_score_extra()

    from spectag.export.samples import EXAMPLES, find_examples
    from spectag.export.write import Plan, export as write
    from spectag.model.loading import load

    plan = Plan(to, precision, front_end)
    use_threads(threads)
    loaded = load(model)
    sounds = _read_sounds(calibrate, clips, loaded.card) if calibrate else None
    manifest = None
    if data is not None:
        labelled = read_clips(model, data, separator, None).only(fold=fold, split=split)
        manifest, samples = _read_clips(labelled, clips, loaded.card)
    elif sounds is not None:
        samples = sounds
    else:
        samples = _read_sounds(find_examples(), clips, loaded.card)
        say("note", f"compared on the recordings in {EXAMPLES}; give your own with --calibrate or --data")

    def watch(agreement: Agreement, kept: Collection[str]) -> None:
        if as_json:
            return
        if kept:
            say("note", f"{len(kept)} layers in float: {', '.join(kept)}")
        width = max(len(name) for name, _ in agreement.lines())
        for name, value in agreement.lines():
            print(f"{name:<{width}}  {value}")
        print(f"{'loss':<{width}}  {agreement.loss:.2g} (at most {max_loss:g})")

    artefact, agreement = write(loaded, output, plan, samples, sounds, manifest, max_loss, keep_float, watch)
    if as_json:
        print(json.dumps(agreement.to_dict(), indent=1))
        return
    size = sum((output / name).stat().st_size for name in artefact.files) / 1e6
    print(f"{output}: {to}, {precision}, {size:.1f} MB")


def _read_sounds(paths: list[str], most: int, card: Card) -> list[Sample]:
    """The recordings that can be read. Raises DataError if there are none."""
    from spectag.audio.find import find_recordings
    from spectag.export.samples import read_samples

    found = list(find_recordings(paths))
    samples, _ = read_samples([file for file in found if isinstance(file, str)], card.front_end, most)
    return _usable([*samples, *(file for file in found if isinstance(file, FileError))], ", ".join(paths))


def _read_clips(manifest: Manifest, most: int, card: Card) -> tuple[Manifest, list[Sample]]:
    """The clips of a data set that can be read, with their labels."""
    from spectag.export.samples import choose_evenly, read_samples

    taken = [manifest.clips[place] for place in choose_evenly(len(manifest.clips), most)]
    if len(taken) < len(manifest.clips):
        say("note", f"{len(taken)} of {len(manifest.clips)} clips are used (--clips)")
    samples, _ = read_samples([clip.source for clip in taken], card.front_end, most)
    pairs = zip(taken, samples, strict=True)
    kept = tuple(clip for clip, sample in pairs if not isinstance(sample, FileError))
    return replace(manifest, clips=kept), _usable(samples, manifest.layout)


def _usable(samples: list[Sample | FileError], where: str) -> list[Sample]:
    usable = []
    for sample in samples:
        if isinstance(sample, FileError):
            say("warning", f"{sample}: left out")
        else:
            usable.append(sample)
    if not usable:
        raise DataError(f"{where}: expected at least one recording that can be read, got none")
    return usable
