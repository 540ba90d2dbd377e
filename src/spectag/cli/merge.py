"""spectag merge-results."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from spectag.choices import Format
from spectag.cli.documents import asks_for, choose_format, open_writer, refuse_output
from spectag.cli.jobs import Overwrite, journal_of, tell
from spectag.cli.output import Bar
from spectag.errors import SaveError


def merge_results(
    context: typer.Context,
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS...", help="Outputs of all shards, with their journals beside them."),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Output file. Its name chooses the format.")
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
    journals = [path if path.suffix == ".journal" else journal_of(path) for path in results]
    refuse_output(output, list(map(str, results)))
    refuse_output(str(journal_of(output)), list(map(str, journals)))
    if journal_of(output).exists() and not overwrite:
        raise SaveError(f"{output}: has the results of an earlier run: choose another output, or add --overwrite")

    from spectag.jobs.journal import Journal
    from spectag.jobs.merge import ShardResults, check_shards, listing_of, read_in_order
    from spectag.jobs.record import pack, state_of
    from spectag.jobs.summary import Summary

    shards = [ShardResults.read(journal) for journal in journals]
    run = check_shards(shards)
    events, timeline = (bool(run.options.get(name)) for name in ("events", "timeline"))
    format = choose_format(context, format, output, shards[0].files, events=events, timeline=timeline)
    if (needs := asks_for(format, events, timeline)) != (events, timeline):
        lacking = "timeline" if needs[1] > timeline else "events"
        raise typer.BadParameter(
            f"--format {format} needs --{lacking}, which the shards were made without: choose another format, or run "
            f"the shards again with --{lacking} and --overwrite",
            context,
        )
    names = [record["path"] for record, _ in read_in_order(shards)]
    summary, bar = Summary(), Bar(shards[0].files)
    with closing(Journal.create(journal_of(output), run)) as journal, open_writer(output, format, names) as writer:
        for record, result in bar.over(read_in_order(shards)):
            journal.append(pack(record["path"], state_of(record), result, journal.timelines.append))
            writer.write(result)
            summary.add(result)
        journal.finish(listing_of(shards))
    tell(summary)
