"""The command ``spectag data pack``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spectag.cli.options import Negatives, Separator
from spectag.cli.output import require_folder_name, say, watched
from spectag.cli.runs import read_data
from spectag.cores import count_cores


def pack(
    data: Annotated[
        Path, typer.Argument(metavar="DIR", help="The data set: a directory in any known layout, or a table of clips.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder to create for the packed data set (new or empty).")
    ],
    shard_mb: Annotated[int, typer.Option("--shard-mb", min=1, help="Maximum size of a shard in megabytes.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Seed for shuffling the clips.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes that decode.", show_default="one per core")
    ] = None,
    negatives: Negatives = None,
    separator: Separator = None,
) -> None:
    """Pack a data set, so that training reads it faster.

    Clips are decoded once and stored as 16 kHz mono FLAC in large tar files, which are read several times as fast. OUT
    is a data set like any other. A clip that cannot be read is reported and left out, and the exit code is then 1.
    """
    from spectag.data.packing import pack_data_set

    require_folder_name(out)
    manifest = read_data(data, separator=separator, negatives=negatives)
    workers = min(workers or count_cores(), len(manifest))
    done = pack_data_set(
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
