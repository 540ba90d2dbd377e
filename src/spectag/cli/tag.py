"""spectag tag, info, convert."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from spectag.choices import BATCH_SIZE, DEVICE, MODEL, PRECISION, TOP_K, Format, Precision
from spectag.cli.options import MODEL as MODEL_HELP, BatchSize, Device, find_model, pair
from spectag.cli.output import opened, refuse_overwriting, say, watched
from spectag.errors import FileError, SaveError


def tag(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Audio or video files, and folders of them.")],
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP)] = MODEL,
    top_k: Annotated[int, typer.Option(min=1, help="Show at most this many tags per recording.")] = TOP_K,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Show only tags with at least this score.", show_default="none"),
    ] = None,
    format: Annotated[
        Format,
        typer.Option("--format", "-f", help="Output format: a table for people, or one for programs."),
    ] = "text",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the results to this file.", show_default="stdout"),
    ] = None,
    device: Device = DEVICE,
    precision: Annotated[
        Precision,
        typer.Option(help="Number format of the network. bf16 is faster on GPUs and on processors with bf16."),
    ] = PRECISION,
    batch_size: BatchSize = BATCH_SIZE,
) -> None:
    """Name the sounds in recordings.

    Recordings may have any format and length. A file that cannot be read does not stop the others: it is reported, and
    the exit code is 1.
    """
    from spectag.audio.find import find_recordings

    files = list(find_recordings(paths))
    names = [file if isinstance(file, str) else file.path or "" for file in files]
    if output is not None:
        refuse_overwriting(output, names)
    find_model(model)

    from spectag.tag.results import make_writer
    from spectag.tag.tagger import Tagger

    tagger = Tagger(model, device=device, precision=precision, batch_size=batch_size)
    failed = 0
    with opened(output) as file:
        writer = make_writer(format, file, clip_width=max(map(len, names)))
        try:
            for result in watched(tagger.tag_many(files, top_k, threshold), len(files), quiet=file.isatty()):
                writer.write(result)
                if isinstance(result, FileError):
                    failed += 1
                    say("error", str(result))
                else:
                    for warning in result.warnings:
                        say("warning", warning)
        finally:
            writer.close()
    if failed:
        raise typer.Exit(1)


def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print what a model knows about itself."""
    find_model(model)

    from spectag.model.ensemble import load

    facts = load(model).describe()
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
        return
    lines = list(_lines(facts))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:<{width}}  {value}")


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help=MODEL_HELP)],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The bundle directory to write.")],
    stride: Annotated[
        Any, typer.Option(parser=pair, metavar="F,T", help="Patch stride where a .pth leaves it open.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Length in frames of 10 ms, likewise.")] = None,
    heads: Annotated[int | None, typer.Option(min=1, help="Attention heads, where they are not 64 wide.")] = None,
    statistics: Annotated[
        Literal["audioset", "esc50", "speech-commands"] | None, typer.Option(help="Data set a .pth was trained on.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Names of the outputs: index,mid,display_name.")
    ] = None,
    num_labels: Annotated[int | None, typer.Option(min=1, help="Outputs of the fresh head of a DeiT or ViT.")] = None,
    channels: Annotated[Literal["mean", "sum"], typer.Option(help="How a DeiT's colour channels become one.")] = "mean",
    window: Annotated[Literal["hamming", "hanning"] | None, typer.Option(help="Window of the front end.")] = None,
    activation: Annotated[
        Literal["sigmoid", "softmax"] | None, typer.Option(help="What turns logits into scores.")
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Halve the file: weights as float16.")] = False,
) -> None:
    """Write a bundle from any model.

    Whatever spectag reads becomes a directory that transformers reads too.
    """
    if target.exists() and not _is_replaceable(target):
        raise SaveError(f"{target}: there is something that is no bundle: name a new directory")
    find_model(source)

    import torch

    from spectag.labels import LabelSet
    from spectag.model.bundle import load

    bundle = load(
        source,
        stride=stride,
        frames=frames,
        heads=heads,
        statistics=statistics,
        labels=LabelSet.read(labels) if labels else None,
        num_labels=num_labels,
        channels=channels,
        window=window,
        activation=activation,
    )
    bundle.save(target, dtype=torch.float16 if fp16 else torch.float32)
    print(f"{target}: {sum(p.numel() for p in bundle.network.parameters())} parameters, {len(bundle.labels)} labels")


def _is_replaceable(target: Path) -> bool:
    """A bundle of ours, or an empty directory."""
    return target.is_dir() and ((target / "spectag.json").is_file() or not any(target.iterdir()))


def _lines(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as ``a.b`` and a value on one line."""
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            yield from _lines(value, f"{prefix}{name}.")
        elif value is not None and value != {}:
            yield prefix + name, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
