"""spectag data check, stats."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spectag.cli.output import say, watched
from spectag.errors import MissingExtra, RecipeError

if TYPE_CHECKING:
    from spectag.data.check import Finding, Report
    from spectag.data.manifest import Manifest
    from spectag.train.recipe import Recipe

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The data set, in any known layout.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Threads that decode.", show_default="one per processor")]
AsJson = Annotated[bool, typer.Option("--json", help="Everything, as one JSON object.")]

app = typer.Typer(help="Look at data sets before training on them.", rich_markup_mode=None)

_SHOWN = 5  # findings of a kind, as text


@app.command()
def check(directory: Directory, jobs: Jobs = None, as_json: AsJson = False) -> None:
    """Decode every clip, and say what is wrong.

    Errors are clips that cannot be read, classes that cannot be learned, and the same recording on both sides of a
    split; with them the exit code is 1. All else, such as silence, is a warning.
    """
    from spectag.data.check import check as examine
    from spectag.data.layouts import read_manifest

    manifest = read_manifest(directory)
    report = examine(manifest, jobs or _processors(), lambda clips: watched(clips, len(manifest), quiet=False))
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
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", metavar="FILE", help="Write them into this recipe; measure as it says."),
    ] = None,
    window: Annotated[
        Literal["hamming", "hanning"] | None, typer.Option(help="Of the front end.", show_default="hamming")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many of each clip.", show_default="all")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only this part.", show_default="train, where there is one")] = None,
    jobs: Jobs = None,
    as_json: AsJson = False,
) -> None:
    """Measure what inputs are normalised with.

    The mean and standard deviation of the spectrogram, over all frames and bands of the training clips. A clip that
    cannot be read is warned of and left out. With --recipe, front_end.mean and front_end.std are set in that file, and
    the rest of it stays as it is: its window, bands, parts and excluded clips are what is measured, and of each clip
    as many frames from its beginning as the network sees: what `spectag train` measures by
    itself where nothing is held out.
    """
    bins = 128
    chosen = None if recipe is None else _read(recipe)
    if chosen is not None:
        window, bins, frames = _front_end(chosen, window, frames)
    from spectag.data.layouts import read_manifest

    manifest, over = _training(read_manifest(directory), split, chosen)

    from spectag.audio.front_end import FrontEnd
    from spectag.data.statistics import statistics

    front_end = FrontEnd(window or "hamming", bins)
    sources = [clip.source for clip in manifest.clips]
    result = statistics(
        sources,
        front_end,
        jobs or _processors(),
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
        print(f"mean  {result.mean:.7f}\nstd   {result.std:.7f}")
    if recipe is not None:
        from spectag.train.amend import write_statistics

        write_statistics(recipe, result.mean, result.std)
        say("written", f"{recipe}: front_end.mean and front_end.std")


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# A report as text


def _report(directory: Path, report: Report) -> Iterator[str]:
    whole = report.summary
    size = f"{whole['clips']} clips, {whole['classes']} classes, {whole['hours']:.2f} hours"
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


def _table(report: Report) -> Iterator[str]:
    splits, folds = report.summary["splits"], report.summary["folds"]
    rows = [("class", "clips", "minutes", *splits, *(f"fold {fold}" for fold in folds))]
    for row in report.classes:
        counts = [row["splits"].get(split, 0) for split in splits] + [row["folds"].get(fold, 0) for fold in folds]
        rows.append((row["name"], str(row["clips"]), f"{row['seconds'] / 60:.1f}", *map(str, counts)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        cells = (f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=True))
        yield "  ".join((f"{name:<{widths[0]}}", *cells))


# What a recipe asks for


def _read(recipe: Path) -> Recipe:
    if any(find_spec(name) is None for name in ("pydantic", "yaml")):
        raise MissingExtra("train", "spectag data stats --recipe")
    if not recipe.is_file():
        raise RecipeError(f"--recipe {recipe}: expected a YAML file to write into, found none")
    from spectag.train.amend import amended, read_text
    from spectag.train.recipe import read_recipe

    chosen = read_recipe(str(recipe.absolute()))  # a path, even where a packaged recipe goes by that name
    amended(read_text(recipe), 0.0, 1.0)  # what cannot be written must not be measured first
    return chosen


def _front_end(
    recipe: Recipe, window: Literal["hamming", "hanning"] | None, frames: int | None
) -> tuple[Literal["hamming", "hanning"] | None, int, int | None]:
    """Window, bands and frames per clip: of the command line, the recipe, or its defaults."""
    fields = recipe.front_end
    if None not in (window, fields.window) and window != fields.window:
        raise typer.BadParameter(f"--window {window}: the recipe says {fields.window}; change front_end.window there")
    window, frames = window or fields.window, frames or fields.frames
    if recipe.init is not None and None in (window, frames):
        raise RecipeError(
            f"recipe {recipe.name}: leaves front_end.window or frames to {recipe.init}: add them, or give --window "
            "and --frames"
        )
    return window, fields.mel_bins or 128, frames or 1024


def _training(manifest: Manifest, split: str | None, recipe: Recipe | None) -> tuple[Manifest, str]:
    """The clips to measure, and which they are in words."""
    names: tuple[str, ...] = ("train",)
    if recipe is not None:
        manifest, names = manifest.excluding(recipe.exclude), recipe.parts.train
    chosen = (split,) if split is not None else tuple(name for name in names if name in manifest.splits)
    if not chosen:
        return manifest, "all"
    return manifest.only(split=chosen), " and ".join(chosen)
