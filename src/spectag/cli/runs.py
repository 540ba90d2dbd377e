"""Functions that several commands share for reading data sets and for training."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from spectag.cli.output import say
from spectag.cores import choose_threads, describe_threads
from spectag.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from spectag.data.manifest import Manifest
    from spectag.runs.judge import Scorer
    from spectag.runs.plan import Plan, RunOptions
    from spectag.train.recipe import Recipe


def require_train_extra() -> None:
    """Raise MissingExtra if a library of the extra ``train`` is not installed.

    >>> require_train_extra()  # all of them are installed here
    """
    _require("train", "lightning_fabric", "pydantic", "yaml", "matplotlib", "jinja2", "tensorboard", "sklearn", "scipy")


def require_score_extra() -> None:
    """Raise MissingExtra if a library of the extra ``score`` is not installed.

    >>> require_score_extra()  # all of them are installed here
    """
    _require("score", "scipy")


def require_plots() -> None:
    """Raise MissingExtra if matplotlib is not installed.

    >>> require_plots()  # it is installed here
    """
    _require("train", "matplotlib")


def _require(extra: str, *libraries: str) -> None:
    if any(find_spec(name) is None for name in libraries):
        raise MissingExtra(extra, f"spectag {sys.argv[1] if len(sys.argv) > 1 else extra}")


def read_data(
    path: Path, *, separator: str | None = None, negatives: Sequence[Path] | None = None, events: bool = False
) -> Manifest:
    """Read a data set and negatives beside it, and say which clips and files are missing or not used.

    Args:
        path: the data set.
        separator: what separates labels in a cell of its tables.
        negatives: folders of recordings in which nothing of interest is heard.
        events: rows with times say when a label is heard, see :func:`spectag.data.events.join_events`.

    >>> Path("1.wav").touch()
    >>> _ = Path("clips.csv").write_text("path,label\\n1.wav,owl")
    >>> len(read_data(Path("clips.csv")))
    1
    """
    from spectag.data.layouts import read_manifest

    manifest = read_manifest(path, separator=separator, negatives=negatives or (), events=events)
    for note in manifest.notes:
        say("note", f"{path}: {note}")
    if manifest.missing:
        total = len(manifest) + len(manifest.missing)
        missing = f"{len(manifest.missing)} of {total} clips are missing, for example {manifest.missing[0]}"
        say("warning", f"{path}: {missing}")
    if manifest.splits and (idle := [clip.id for clip in manifest.clips if clip.split is None]):
        say("warning", f"{path}: {len(idle)} clips belong to no split and are not used, for example {idle[0]}")
    return manifest


def read_for(recipe: Recipe, path: Path, negatives: Sequence[Path] | None = None) -> tuple[Recipe, Manifest]:
    """Read the data set of a recipe, and decide its loss if it has a teacher.

    >>> Path("1.wav").touch()
    >>> recipe = spectag.train.recipe_files.read_recipe("distill", ["teacher.model=esc10"])
    >>> len(read_for(recipe, Path("."))[1])
    1
    """
    if recipe.teacher.model is None:
        rules = recipe.labels
        return recipe, read_data(path, separator=rules.separator, negatives=negatives, events=rules.events)
    if negatives:
        raise typer.BadParameter("--negatives is for runs that learn from labels, and this one has a teacher")
    from spectag.runs.teaching import follow_teacher

    recipe, manifest = follow_teacher(recipe, path)
    for note in manifest.notes:
        say("note", f"{path}: {note}")
    return recipe, manifest


def list_folds(text: str, manifest: Manifest) -> list[int | None]:
    """Turn ``all`` or ``1,2,3`` into the numbers of folds.

    >>> list_folds("1,2", manifest=None)
    [1, 2]
    """
    if text == "all" and not manifest.folds:
        raise DataError(f"--folds all: the data set ({manifest.layout}) has no folds: leave --folds out")
    return list(manifest.folds) if text == "all" else [int(number) for number in text.split(",")]


def train_series(
    recipe: Recipe, manifest: Manifest, out: Path, held_out: list[int | None], seeds: int, options: RunOptions
) -> dict[str, Any]:
    """Train runs over folds and seeds, print a line for each run and for the summary, and return the summary.

    Only the first of several processes has the figures.
    """
    from spectag.runs.processes import rank
    from spectag.runs.series import plan_series, run_all, summarise, write_summary
    from spectag.score.metrics import format_figures

    members = plan_series(recipe, manifest, out, folds=held_out, seeds=seeds, options=options)
    reports = run_all(members, run_one)
    whole: dict[str, Any] = {"runs": []}
    if rank() == 0:
        whole = summarise(members, reports)
        write_summary(out, whole)
        for run, report in zip(whole["runs"], reports, strict=True):
            print(f"{run['out']}: {format_figures(run)}")
            report_clips(report, f"{run['out']}: ")
        pooled = whole.get("pooled", {})
        for name, part in (("mean", whole), ("pooled", pooled)):
            if part.get("mean"):
                values = part["runs"][0] if part is pooled and len(part["runs"]) == 1 else part["mean"]
                print(f"{name}: {format_figures(values, part.get('std'))}")
    return whole


def report_clips(report: Mapping[str, Any], where: str = "") -> None:
    """Name the clips of a run that could not be used, and the classes of which nothing was heard.

    Args:
        report: of the run.
        where: which run of several it was, at the beginning of each line.

    >>> report_clips({"skipped": [], "heard": {"labels": {"owl": 3}}, "result": None})  # nothing to name
    """
    for clip in report["skipped"]:
        say("warning", f"{where}skipped in training: {clip['reason']}")
    heard = report.get("heard", {}).get("labels", {})  # not in the reports of earlier versions
    if report.get("recipe", {}).get("teacher", {}).get("model") is not None:  # labels are not learned
        heard = {}
    if silent := [name for name, clips in heard.items() if not clips]:
        some = f"{', '.join(silent[:5])}{', ...' if len(silent) > 5 else ''}"
        say("warning", f"{where}no training clip of {len(silent)} of {len(heard)} classes was heard: {some}")
    for failure in (report["result"] or {}).get("failed", ()):
        say("error", f"{where}{failure}")


def fail_if_unscored(results: Iterable[Mapping[str, Any] | None]) -> None:
    """End with exit code 1 if held-out clips of a run could not be scored. They were named before.

    >>> fail_if_unscored([{"failed": []}, None])
    """
    if any(result and result.get("failed") for result in results):
        raise typer.Exit(1)


def run_one(plan: Plan) -> dict[str, Any]:
    """Carry out one run with a progress bar, and return its report."""
    from rich.console import Console

    from spectag.runs.processes import rank

    if rank() == 0:
        _announce(plan)
    from spectag.cli.progress import TrainingBar
    from spectag.runs.run import run

    return run(plan, make_scorer(plan.options.device), TrainingBar(Console(stderr=True)) if rank() == 0 else None)


def _announce(plan: Plan) -> None:
    """Say what the run is about to do, before torch is loaded for it, and what it cannot find out."""
    options, train, scored = plan.options, plan.train, plan.scored
    held_out = "nothing" if scored is None else f"{len(scored)} clips ({plan.description})"
    threads = describe_threads(options.threads or choose_threads(), options.processes)
    say("train", f"{plan.out}: {len(train)} clips of {len(train.labels)} classes; held out: {held_out}; {threads}")
    if scored is None:
        folds = "--fold N holds out a fold, and --folds all each fold in turn"
        how = folds if train.folds else "--set holdout=0.2 holds out a fifth of the clips"
        say("warning", f"nothing is held out, so the run cannot tell how good its model is: {how}")


def make_scorer(device: str) -> Scorer:
    """Make a scorer of held-out clips that uses the tagger.

    >>> import numpy as np
    >>> [scores] = make_scorer("cpu")(spectag.load("esc10"), [np.sin(np.arange(16_000))])
    >>> scores.shape
    (10,)
    """
    from spectag.audio.readers import Readers
    from spectag.tag.tagger import Tagger

    readers = Readers()  # shared by all epochs
    return lambda bundle, clips: Tagger(bundle, device=device, readers=readers).scores_many(clips)
