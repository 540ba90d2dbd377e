"""spectag merge-results."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from spectag.choices import Format
from spectag.cli.jobs import JobOptions, Overwrite, check_options, journal_of
from spectag.cli.output import Bar, opened, refuse_overwriting, say
from spectag.cli.tag import _choose_format


def merge_results(
    context: typer.Context,
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS...", help="Outputs of all shards, with their journals beside them."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Output file. Its name chooses the format.")
    ],
    format: Annotated[
        Format | None,
        typer.Option("--format", "-f", help="Output format.", show_default="from the name of the output"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Join the outputs of `spectag tag --shard 1/N` to `--shard N/N` to what one job would have written.

    All shards must be finished, and of one run: the same files, model and options, each shard once. The outputs may
    have any format, since the journals beside them are read.
    """
    refuse_overwriting(output, map(str, results))
    format = _choose_format(context, format, output)
    check_options(context, JobOptions(overwrite=overwrite), output, job=True)

    from spectag.jobs.journal import Journal
    from spectag.jobs.merge import ShardResults, check_shards, listing_of, read_in_order
    from spectag.jobs.summary import Summary
    from spectag.tag.results import make_writer

    shards = [ShardResults.read(path if path.suffix == ".journal" else journal_of(path)) for path in results]
    run = check_shards(shards)
    width = max((len(record["path"]) for record, _ in read_in_order(shards)), default=4)
    summary, bar = Summary(), Bar(shards[0].files)
    with closing(Journal.create(journal_of(output), run)) as journal, opened(output, mark=format == "csv") as file:
        writer = make_writer(format, file, clip_width=width)
        for record, result in bar.over(read_in_order(shards)):
            journal.append(record)
            writer.write(result)
            summary.add(result)
        writer.close()
        journal.finish(listing_of(shards))
    for kind, text in summary.lines():
        say(kind, text)
