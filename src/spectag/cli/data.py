"""The commands ``spectag data check`` and ``spectag data stats``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spectag.choices import WindowFunction
from spectag.cli.commands import Commands
from spectag.cli.options import Negatives, Separator
from spectag.cli.output import say, watched
from spectag.cli.runs import read_data
from spectag.cores import count_cores

if TYPE_CHECKING:
    from spectag.data.check import CheckReport
    from spectag.data.findings import Finding

Directory = Annotated[
    Path, typer.Argument(metavar="DIR", help="The data set: a directory in any known layout, or a table of clips.")
]
Jobs = Annotated[
    int | None,
    typer.Option(min=1, help="Number of clips to decode at the same time.", show_default="one per core"),
]

app = typer.Typer(cls=Commands, help="Examine, pack and mix data sets before training on them.", rich_markup_mode=None)

_SHOWN = 5  # findings of each kind that are printed as text


@app.command()
def check(
    directory: Directory,
    jobs: Jobs = None,
    negatives: Negatives = None,
    separator: Separator = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all findings as one JSON object.")] = False,
) -> None:
    """Find problems in a data set.

    Every clip is decoded. Errors are clips that cannot be read, classes that cannot be learned, and recordings that
    are in several splits or folds. If there are any errors, the exit code is 1. All other problems, such as a silent
    clip, are warnings.
    """
    from spectag.data.check import check_data_set
    from spectag.data.layouts import read_manifest

    manifest = read_manifest(directory, separator=separator, negatives=negatives or ())
    report = check_data_set(manifest, jobs or count_cores(), lambda clips: watched(clips, len(manifest), quiet=False))
    if as_json:
        print(json.dumps({"data": str(directory), **report.to_dict()}, indent=1, ensure_ascii=False))
    else:
        for line in _report(directory, report):
            print(line)
    if report.errors:
        raise typer.Exit(1)


@app.command()
def stats(
    directory: Directory,
    window: Annotated[
        WindowFunction, typer.Option(help="Window function of the spectrogram; use the one in your recipe.")
    ] = "hamming",
    frames: Annotated[
        int | None,
        typer.Option(
            min=1, help="Measure only the first N frames (of 10 ms) of each clip.", metavar="N", show_default="all"
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split to measure.", show_default="train if there is one, otherwise all clips")
    ] = None,
    jobs: Jobs = None,
    negatives: Negatives = None,
    separator: Separator = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Measure the mean and standard deviation of the spectrogram.

    The inputs of a network are normalised with these two numbers. They are printed as a line to paste into a recipe.
    If a recipe does not give them, `spectag train` measures them itself. A clip that cannot be read is reported and
    left out.
    """
    manifest = read_data(directory, separator=separator, negatives=negatives)
    if split is None and "train" in manifest.splits:
        split = "train"
    if split is not None:
        manifest = manifest.only(split=split)
    over = split or "all"

    from spectag.audio.front_end import FrontEnd
    from spectag.data.statistics import measure_statistics

    front_end = FrontEnd(window)
    sources = [manifest.clips[at].source for at in manifest.by_file()]
    result = measure_statistics(
        sources,
        front_end,
        jobs or count_cores(),
        frames=frames,
        watch=lambda clips: watched(clips, len(sources), quiet=False),
    )
    for failure in result.failed:
        say("warning", f"left out: {failure}")
    facts = {
        "data": str(directory),
        "layout": manifest.layout,
        "over": over,
        "clips": len(sources) - len(result.failed),
        "frames": result.frames,
        "frames_per_clip": frames,
        "window": front_end.window,
        "mel_bins": front_end.mel_bins,
        "mean": result.mean,
        "std": result.std,
        "failed": [str(failure) for failure in result.failed],
    }
    if as_json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
    else:
        reach = "all frames" if frames is None else f"the first {frames} frames of each"
        print(f"{directory} ({manifest.layout}): {facts['clips']} clips ({over}), {reach}, {front_end.window}")
        print(f"front_end: {{mean: {result.mean:.7f}, std: {result.std:.7f}}}")


# the report as text


def _report(directory: Path, report: CheckReport) -> Iterator[str]:
    whole = report.summary
    negatives = f" ({whole['negatives']} negatives)" if whole["negatives"] else ""
    size = f"{whole['clips']} clips{negatives}, {whole['classes']} classes, {whole['hours']:.2f} hours"
    yield f"{directory} ({whole['layout']}): {size}"
    if whole["seconds"]:
        yield "durations  " + ", ".join(f"{name} {seconds:.4g} s" for name, seconds in whole["seconds"].items())
    for name, unit in (("rates", " Hz"), ("channels", "")):
        if whole[name]:
            yield f"{name:<9}  " + ", ".join(f"{value}{unit}: {count}" for value, count in whole[name].items())
    yield ""
    yield from _table(report)
    yield ""
    yield f"{whole['errors']} errors, {whole['warnings']} warnings"
    for (level, kind), findings in groupby(report.findings, key=lambda finding: (finding.level, finding.kind)):
        yield from _some(level, kind, list(findings))


def _some(level: str, kind: str, findings: Sequence[Finding]) -> Iterator[str]:
    yield f"{level}: {kind} ({len(findings)})"
    for finding in findings[:_SHOWN]:
        yield f"  {finding.message}"
    if len(findings) > _SHOWN:
        yield f"  and {len(findings) - _SHOWN} more"


def _table(report: CheckReport) -> Iterator[str]:
    splits, folds = report.summary["splits"], report.summary["folds"]
    rows = [("class", "clips", "minutes", *splits, *(f"fold {fold}" for fold in folds))]
    for row in report.classes:
        counts = [row["splits"].get(split, 0) for split in splits] + [row["folds"].get(fold, 0) for fold in folds]
        rows.append((row["name"], str(row["clips"]), f"{row['seconds'] / 60:.1f}", *map(str, counts)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        cells = (f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=True))
        yield "  ".join((f"{name:<{widths[0]}}", *cells))
