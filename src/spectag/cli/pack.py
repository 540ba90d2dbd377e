"""spectag data pack."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from spectag.cli.output import say, watched
from spectag.cli.runs import read_data


def pack(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="The data set, in any known layout.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder for the packed set.")],
    shard_mb: Annotated[int, typer.Option("--shard-mb", min=1, help="Size of a shard at most, in 10^6 bytes.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of the clips.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode; by default one per processor.")
    ] = None,
) -> None:
    """Decode a data set once, to 16 kHz mono FLAC in large tars.

    OUT is a data set like any other, read several times as fast. A clip that cannot be read is reported and left out,
    and the exit code is 1.
    """
    from spectag.data.packing import pack as pack_into

    manifest = read_data(data)
    workers = min(workers or os.cpu_count() or 1, len(manifest))
    done = pack_into(
        manifest,
        out,
        shard_bytes=shard_mb * 10**6,
        seed=seed,
        workers=workers,
        watch=lambda outcomes, total: watched(outcomes, total, quiet=False),
    )
    over = f", {done.over} with peaks above full scale, as WAV" if done.over else ""
    files = f"{done.shards} shard{'s' if done.shards > 1 else ''} of {done.bytes / 1e6:.1f} MB in all"
    print(f"{out}: {done.clips} clips ({manifest.layout}), {done.seconds / 3600:.2f} h, in {files}{over}")
    for failure in done.failed:
        say("error", failure)
    if done.failed:
        raise typer.Exit(1)
