"""spectag tag."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from spectag.cli.options import MODEL, BatchSize, Device, find_model
from spectag.cli.output import opened, refuse_overwriting, say, watched


def tag(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Recordings, and folders of them.")],
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL)] = "esc10",
    top_k: Annotated[int, typer.Option(min=1, help="At most so many tags per recording.")] = 5,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only tags with at least this score.", show_default="none")
    ] = None,
    format: Annotated[
        Literal["text", "json", "jsonl", "csv"], typer.Option("--format", "-f", help="How results are written.")
    ] = "text",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to.", show_default="stdout")
    ] = None,
    device: Device = "cpu",
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="Of the network; the front end stays fp32.")
    ] = "fp32",
    batch_size: BatchSize = 16,
) -> None:
    """Name what is heard in recordings.

    Of any length and format. A broken one costs just itself, and the exit code is 1.
    """
    from spectag.tag.folder import expand

    files = list(expand(paths))
    names = [file if isinstance(file, str) else file.path or "" for file in files]
    if output is not None:
        refuse_overwriting(output, names)
    find_model(model)

    from spectag.errors import FileError
    from spectag.tag.results import writer
    from spectag.tag.tagger import Tagger

    tagger = Tagger(model, device=device, precision=precision, batch_size=batch_size)
    failed = 0
    with opened(output) as file:
        results = writer(format, file, clip_width=max(map(len, names)))
        try:
            for result in watched(tagger.tag_many(files, top_k, threshold), len(files), quiet=file.isatty()):
                results.write(result)
                if isinstance(result, FileError):
                    failed += 1
                    say("error", str(result))
        finally:
            results.close()
    if failed:
        raise typer.Exit(1)
