"""spectag tag."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from spectag.audio.limits import MEBIBYTES, SECONDS, FileLimits
from spectag.choices import BATCH_SIZE, DEVICE, ENGINE, EVENT_METHOD, LENGTH, MODEL, PRECISION, TOP_K, Format
from spectag.cli.cluster import RayAddress, RayWorkers, WorkerOptions, refuse_with_ray, tag_with_ray
from spectag.cli.documents import asks_for, choose_format, open_writer, refuse_output
from spectag.cli.jobs import (
    FileMemory,
    FileTimeout,
    JobOptions,
    Jobs,
    Overwrite,
    Resume,
    RetryFailed,
    ShardOf,
    Verify,
    check_options,
    name_rule,
    needs_journal,
    open_journal,
    report,
    run_job,
)
from spectag.cli.options import (
    MODEL as MODEL_HELP,
    BatchSize,
    Device,
    EngineOption,
    LengthOf,
    PrecisionOption,
    TagThreshold,
    TopK,
    find_model,
)
from spectag.cli.output import Bar
from spectag.cli.plots import draw_many, refuse_plot
from spectag.cli.threads import Threads, use_threads
from spectag.cli.times import TIMES, EventThreshold, Gap, Hop, Method, Shortest
from spectag.errors import FileError

if TYPE_CHECKING:
    from spectag.jobs.job import TagAll
    from spectag.tag.results import Result


def tag(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Audio or video files, and folders of them; - for standard input."),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP)] = MODEL,
    top_k: TopK = TOP_K,
    threshold: TagThreshold = None,
    format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            help="Output format: a table for people, or one for programs.",
            show_default="from the name of the output, otherwise text",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|FOLDER/",
            help="Write the results to this file, whose name chooses the format: .txt, .json, .jsonl, .csv, .parquet, "
            ".vtt, .rttm, .eaf or .tsv. With a slash at its end, write a file per recording to this folder.",
            show_default="stdout",
        ),
    ] = None,
    events: Annotated[
        bool,
        typer.Option("--events", help="Also say when each label is heard: from when to when, and its score.", **TIMES),
    ] = False,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Also write the scores of all labels over time.", **TIMES)
    ] = False,
    hop: Hop = None,
    event_method: Method = EVENT_METHOD,
    event_threshold: EventThreshold = None,
    gap: Gap = 0.0,
    shortest: Shortest = 0.0,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|FOLDER/",
            help="Draw the recording to this .png, .svg or .html file: its spectrogram, scores over time and events. "
            "Of several recordings, draw in which hours each label is heard. With a slash at its end, draw each "
            "recording to this folder, and the hours.",
            show_default="none",
        ),
    ] = None,
    device: Device = DEVICE,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    length: LengthOf = LENGTH,
    batch_size: BatchSize = BATCH_SIZE,
    threads: Threads = None,
    jobs: Jobs = None,
    file_timeout: FileTimeout = SECONDS,
    file_memory: FileMemory = MEBIBYTES,
    resume: Resume = False,
    overwrite: Overwrite = False,
    verify: Verify = False,
    retry_failed: RetryFailed = False,
    shard: ShardOf = None,
    ray: RayAddress = None,
    ray_workers: RayWorkers = None,
) -> None:
    """Name the sounds in recordings.

    Recordings may have any format and length. A file that cannot be read does not stop the others: it is reported, and
    the exit code is 1.

    With -o FILE, the results of several files are also kept in FILE.journal as they come. If the job is killed at any
    moment, --resume continues it, and FILE becomes what it would have been. Results of an earlier job are not replaced
    without --overwrite. Delete the journal when you will not add files any more.
    """
    output = None if output in _STDOUT else output
    limits = FileLimits(file_timeout, file_memory)
    options = JobOptions(resume, overwrite, verify, retry_failed, shard, jobs, limits)
    if ray is not None:
        given: dict[str, object] = {"timeline": timeline, "plot": plot, "format": format, "engine": engine}
        given["length"] = length != LENGTH
        refuse_with_ray(context, [name for name, value in given.items() if value])

        from spectag.tag.events import EventRule

        rule = EventRule(event_method, event_threshold, gap=gap, shortest=shortest) if events else None
        worker = WorkerOptions(model, top_k, threshold, hop, rule, device, precision, batch_size, threads)
        if tag_with_ray(context, ray, ray_workers, paths, output, worker, options):
            raise typer.Exit(1)
        return

    from spectag.audio.find import find_recordings

    files = list(find_recordings(paths))
    names = [file if isinstance(file, str) else file.path or "" for file in files]
    if output is not None:
        refuse_output(output, names)
    format = choose_format(context, format, output, len(files), events=events, timeline=timeline)
    if timeline and format == "text" and plot is None:
        raise typer.BadParameter(
            "--timeline: a table for people does not hold scores over time: choose --format json, jsonl or "
            "csv-timeline, or an --output of one of these kinds",
            context,
        )
    events, timeline = asks_for(format, events, timeline)
    if plot is not None:
        refuse_plot(plot, names)
    check_options(context, options, output, plot=plot is not None)
    job = plot is None and needs_journal(output, paths, len(files), options)
    find_model(model)

    readers = options.make_readers(len(files), job=job)  # before torch is imported, which takes longer

    from spectag.engines.padded import PaddedEngine
    from spectag.jobs.run import Run, digest_of_model
    from spectag.tag.detector import Detector
    from spectag.tag.events import EventRule
    from spectag.tag.tagger import Tagger

    use_threads(threads)
    tagger = Tagger(
        model,
        engine=engine,
        device=device,
        precision=precision,
        batch_size=batch_size,
        length=length,
        readers=readers,
    )
    rule = EventRule(event_method, event_threshold, gap=gap, shortest=shortest)

    def tag_all(bar: Bar) -> TagAll:
        def tag_files(files: Iterable[str | FileError]) -> Iterator[Result]:
            sources = (_open_stdin() if file == "-" else file for file in files)
            watch = lambda recording: bar.within(recording.progress)  # noqa: E731
            if plot is not None:
                detector = Detector(tagger, rule, hop)
                return draw_many(plot, names, detector, list(sources), top_k, threshold, events, timeline, watch)
            if events or timeline:
                detector = Detector(tagger, rule, hop)
                return detector.detect_many(sources, top_k, threshold, timeline=timeline, watch=watch)
            return tagger.tag_many(sources, top_k, threshold, hop, watch=watch)

        return tag_files

    if job and output is not None:
        # Few files do not fill a batch; batches that are filled up take as long as full ones.
        tagger.engine = PaddedEngine(tagger.engine, min(batch_size, len(files)), tagger.card.front_end.frames)
        # An exported model has its own.
        engine = getattr(tagger.bundle, "engine", engine)
        computed = getattr(tagger.bundle, "precision", precision or PRECISION)
        decisive: dict[str, Any] = {"top-k": top_k, "threshold": threshold, "precision": computed, "hop": hop}
        decisive |= {"engine": None if engine == ENGINE else engine, "length": None if length == LENGTH else length}
        if events or timeline:
            decisive |= {"events": events, "timeline": timeline} | name_rule(rule)
        run = Run(digest_of_model(tagger.bundle or tagger.card), decisive, shard)
        with (
            closing(open_journal(output, run, options)) as journal,
            open_writer(output, format, names, resumable=True) as writer,
        ):
            failed = run_job(files, journal, options, tag_all, writer)
    else:
        failed = False
        with open_writer(output, format, names) as writer:
            bar = Bar(len(files), shared=output is None and sys.stdout.isatty())
            for result in bar.over(tag_all(bar)(files)):
                writer.write(result)
                failed = failed or isinstance(result, FileError)
                report(result)
    if failed:
        raise typer.Exit(1)


# What the last two name is not stdout any more, since decoders print there.
_STDOUT = ("-", "/dev/stdout", "/dev/fd/1")


def _open_stdin() -> BinaryIO | FileError:
    if sys.stdin.isatty():
        return FileError("-", "expected a recording from a pipe or a file, got a terminal: name a file")
    stream = io.FileIO(sys.stdin.fileno(), closefd=False)
    stream.name = "-"  # what messages and results call it
    return io.BufferedReader(stream)
