"""Several runs of one recipe, over folds and seeds, and what they come to together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from spectag.data.manifest import Manifest
from spectag.score.metrics import FIGURES, compute_metrics
from spectag.score.npz import read_scores
from spectag.train.files import write_text
from spectag.train.plan import Plan, check_directory, plan
from spectag.train.recipe import Recipe, build

SUMMARY = "summary.json"


@dataclass(frozen=True)
class Member:
    """One run of a series: its fold and seed, and what it does."""

    fold: int | None
    seed: int
    plan: Plan


def series(
    recipe: Recipe, manifest: Manifest, out: Path, *, folds: Sequence[int | None], seeds: int, **options: Any
) -> list[Member]:
    """The runs over folds and seeds, each in a directory of its own: ``out/fold1-seed0``.

    Args:
        recipe: its seed is the first; the others follow it.
        manifest: the data set.
        out: directory of the series.
        folds: each held out in turn; ``[None]`` for no folds.
        seeds: how many, at least 1.
        options: of :func:`spectag.train.plan.plan`.

    Raises:
        DataError, RecipeError: as :func:`spectag.train.plan.plan`.
    """
    members = []
    options.setdefault("holdout_seed", recipe.seed)  # the same clips put aside in all runs
    for fold in dict.fromkeys(folds):
        for seed in range(recipe.seed, recipe.seed + seeds):
            name = "-".join(([f"fold{fold}"] if fold is not None else []) + ([f"seed{seed}"] if seeds > 1 else []))
            one = build({**recipe.model_dump(), "seed": seed}, recipe.name)
            members.append(Member(fold, seed, plan(one, manifest, out / name, fold=fold, **options)))
    return members


def run_all(members: Iterable[Member], run: Callable[[Plan], dict[str, Any]]) -> list[dict[str, Any]]:
    """The reports of the members, in order; those that are finished, from an earlier sitting, are read.

    Raises:
        RecipeError: the directory of one holds something else, or another run.
    """
    members = list(members)
    for member in members:  # before hours are spent on the first
        check_directory(member.plan)
    done = {member.plan.out for member in members if (member.plan.out / "report.json").is_file() and member.plan.resume}
    return [
        json.loads((member.plan.out / "report.json").read_text(encoding="utf-8"))
        if member.plan.out in done
        else run(member.plan)
        for member in members
    ]


def summary(members: Sequence[Member], reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of every run, their mean and sample standard deviation.

    Where folds were held out in turn, also those of each seed's clips of all folds pooled.
    """
    runs = [
        {"fold": member.fold, "seed": member.seed, "out": member.plan.out.name, **_figures(report["result"])}
        for member, report in zip(members, reports, strict=True)
    ]
    out: dict[str, Any] = {"runs": runs, **spread(runs)}
    if len({member.fold for member in members}) > 1 and all(run.get("clips") for run in runs):
        pooled = [_pooled(m for m in members if m.seed == seed) for seed in dict.fromkeys(m.seed for m in members)]
        out["pooled"] = {"runs": pooled, **spread(pooled)}
    return out


def spread(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """``mean`` and, of two rows or more, ``std`` (n - 1) of each figure that all rows have."""
    names = [name for name in FIGURES if all(row.get(name) is not None for row in rows)]
    columns = {name: [float(row[name]) for row in rows] for name in names}
    out = {"mean": {name: fmean(values) for name, values in columns.items()}}
    if len(rows) > 1:
        out["std"] = {name: stdev(values) for name, values in columns.items()}
    return out


def write_summary(out: Path, figures: Mapping[str, Any]) -> None:
    """``out/summary.json``. Raises SaveError."""
    write_text(out / SUMMARY, json.dumps(figures, indent=1))


def _figures(result: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: result[name] for name in ("clips", *FIGURES)} if result else {}


def _pooled(members: Iterable[Member]) -> dict[str, Any]:
    tables = [read_scores(member.plan.out / "scores.npz") for member in members]
    figures = compute_metrics(
        np.concatenate([table.targets for table in tables]), np.concatenate([table.scores for table in tables])
    )
    return _figures(figures.to_dict())
