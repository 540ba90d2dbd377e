"""spectag tag, info, convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spectag.choices import BATCH_SIZE, DEVICE, MODEL, PRECISION, TOP_K, Format, Precision
from spectag.cli.options import MODEL as MODEL_HELP, BatchSize, Device, find_model
from spectag.cli.output import opened, refuse_overwriting, say, watched
from spectag.cli.threads import Threads, use_threads
from spectag.errors import FileError


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
    threads: Threads = None,
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

    use_threads(threads)
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
