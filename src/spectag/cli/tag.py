"""spectag tag."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from spectag.choices import BATCH_SIZE, DEVICE, EVENT_METHOD, MODEL, PRECISION, TOP_K, EventMethod, Format, Precision
from spectag.cli.options import MODEL as MODEL_HELP, BatchSize, Device, find_model
from spectag.cli.output import Bar, opened, refuse_overwriting, say
from spectag.cli.threads import Threads, use_threads
from spectag.errors import FileError

_TIME: dict[str, Any] = {"rich_help_panel": "Times"}
FORMATS: dict[str, Format] = {".txt": "text", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}


def tag(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Audio or video files, and folders of them; - for standard input."),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP)] = MODEL,
    top_k: Annotated[int, typer.Option(min=1, help="Show at most this many tags per recording.")] = TOP_K,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Show only tags with at least this score; 0 shows all.",
            show_default="the model's own thresholds, otherwise 0",
        ),
    ] = None,
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
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the results to this file. Its name chooses the format: .txt, .json, .jsonl or .csv.",
            show_default="stdout",
        ),
    ] = None,
    events: Annotated[
        bool,
        typer.Option("--events", help="Also say when each label is heard: from when to when, and its score.", **_TIME),
    ] = False,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Also write the scores of all labels over time.", **_TIME)
    ] = False,
    hop: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Time from one window to the next. A smaller one finds onsets more exactly and takes longer.",
            show_default="half a window; 1 s at most, if the model has no frame scores",
            **_TIME,
        ),
    ] = None,
    event_method: Annotated[
        EventMethod,
        typer.Option(
            help="Where events begin and end: where scores change most, or where they pass the threshold.", **_TIME
        ),
    ] = EVENT_METHOD,
    event_threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Score that an event needs.",
            show_default="the model's own thresholds, otherwise 0.5",
            **_TIME,
        ),
    ] = None,
    gap: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Join events of a label that are no further apart.", **_TIME),
    ] = 0.0,
    shortest: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Leave out events that are shorter.", **_TIME)
    ] = 0.0,
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
    if output is not None and str(output) == "-":
        output = None

    from spectag.audio.find import find_recordings

    files = list(find_recordings(paths))
    names = [file if isinstance(file, str) else file.path or "" for file in files]
    if output is not None:
        refuse_overwriting(output, names)
    format = _choose_format(context, format, output)
    find_model(model)

    from spectag.audio.readers import COUNT, Readers

    # Started before torch is imported, which takes longer.
    readers = Readers(min(COUNT, len(files)) if len(files) > 1 else 0)

    from spectag.tag.detector import Detector
    from spectag.tag.events import EventRule
    from spectag.tag.results import make_writer
    from spectag.tag.tagger import Tagger

    use_threads(threads)
    tagger = Tagger(model, device=device, precision=precision, batch_size=batch_size, readers=readers)
    sources = [_open_stdin() if file == "-" else file for file in files]
    failed = 0
    with opened(output, mark=format == "csv") as file:
        writer = make_writer(format, file, clip_width=max(map(len, names)))
        bar = Bar(len(files), shared=file.isatty())
        watch = lambda recording: bar.within(recording.progress)  # noqa: E731
        if events or timeline:
            rule = EventRule(event_method, event_threshold, gap=gap, shortest=shortest)
            detector = Detector(tagger, rule, hop)
            results = detector.detect_many(sources, top_k, threshold, timeline=timeline, watch=watch)
        else:
            results = tagger.tag_many(sources, top_k, threshold, hop, watch=watch)
        try:
            for result in bar.over(results):
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


def _choose_format(context: typer.Context, format: Format | None, output: Path | None) -> Format:
    """The format that is asked for, by --format or by the name of the output.

    Raises:
        typer.BadParameter: the two contradict each other, or the name has an extension that says nothing.
    """
    extension = output.suffix.lower() if output else ""
    named = FORMATS.get(extension)
    if format is None and extension and named is None:
        known = ", ".join(FORMATS)
        raise typer.BadParameter(
            f"--output {output}: expected a name that ends in one of {known}, or a --format; got {extension}", context
        )
    if format is not None and named is not None and format != named:
        raise typer.BadParameter(
            f"--output {output} means the format {named}, but --format says {format}: leave one out", context
        )
    return format or named or "text"


def _open_stdin() -> BinaryIO | FileError:
    if sys.stdin.isatty():
        return FileError("-", "expected a recording from a pipe or a file, got a terminal: name a file")
    stream = io.FileIO(sys.stdin.fileno(), closefd=False)
    stream.name = "-"  # what messages and results call it
    return io.BufferedReader(stream)
