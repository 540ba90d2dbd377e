"""Several runs of one recipe, over folds and seeds, and what they come to together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from spectag.data.manifest import Manifest
from spectag.files import write_text
from spectag.runs.plan import DEFAULTS, REPORT, Plan, RunOptions, check_directory, make_plan
from spectag.runs.processes import rank
from spectag.score.evaluate import describe_table
from spectag.score.metrics import FIGURES
from spectag.score.npz import read_scores
from spectag.score.table import concatenate_tables
from spectag.train.recipe import Recipe

SUMMARY = "summary.json"


@dataclass(frozen=True)
class Member:
    """One run of a series: its fold and seed, and what it does."""

    fold: int | None
    seed: int
    plan: Plan


def plan_series(
    recipe: Recipe,
    manifest: Manifest,
    out: Path,
    *,
    folds: Sequence[int | None],
    seeds: int,
    options: RunOptions = DEFAULTS,
) -> list[Member]:
    """The runs over folds and seeds, each in a directory of its own, such as ``out/fold1-seed0``.

    Where a share of the clips is put aside, it is the same one in all runs.

    Args:
        recipe: its seed is the first; the others follow it.
        manifest: the data set.
        out: directory of the series.
        folds: each held out in turn; ``[None]`` for no folds.
        seeds: number of seeds, at least 1.
        options: how the runs are carried out.

    Raises:
        DataError, RecipeError: as :func:`spectag.runs.plan.make_plan`.
    """
    members = []
    for fold in dict.fromkeys(folds):
        for seed in range(recipe.seed, recipe.seed + seeds):
            name = "-".join(([f"fold{fold}"] if fold is not None else []) + ([f"seed{seed}"] if seeds > 1 else []))
            plan = make_plan(
                recipe.replace(seed=seed), manifest, out / name, fold=fold, holdout_seed=recipe.seed, options=options
            )
            members.append(Member(fold, seed, plan))
    return members


def run_all(members: Sequence[Member], run: Callable[[Plan], dict[str, Any]]) -> list[dict[str, Any]]:
    """The reports of the members, in order. Members that were finished earlier are not run again.

    Raises:
        RecipeError: the directory of a member holds something else, or another run; nothing was run then.
    """
    if rank() == 0:  # the others find what the first has written by now
        for member in members:
            check_directory(member.plan)
    finished = {plan.out for plan in (member.plan for member in members) if _is_finished(plan)}
    return [_read_report(member.plan) if member.plan.out in finished else run(member.plan) for member in members]


def _is_finished(plan: Plan) -> bool:
    return plan.options.resume and (plan.out / REPORT).is_file()


def _read_report(plan: Plan) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((plan.out / REPORT).read_text(encoding="utf-8"))
    return report


def summarise(members: Sequence[Member], reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of every run, their mean and sample standard deviation.

    Where folds were held out in turn, also those of each seed's clips of all folds pooled, with 95 % intervals.
    """
    runs = [
        {"fold": member.fold, "seed": member.seed, "out": member.plan.out.name, **_figures(report["result"])}
        for member, report in zip(members, reports, strict=True)
    ]
    out: dict[str, Any] = {"runs": runs, **measure_spread(runs)}
    if len({member.fold for member in members}) > 1 and all(run.get("clips") for run in runs):
        pooled = [_pooled(m for m in members if m.seed == seed) for seed in dict.fromkeys(m.seed for m in members)]
        out["pooled"] = {"runs": pooled, **measure_spread(pooled)}
    return out


def measure_spread(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
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
    """What a summary says of a run; reports of earlier versions have fewer figures."""
    return {name: result.get(name) for name in ("clips", *FIGURES, "mean_ap_classes", "intervals")} if result else {}


def _pooled(members: Iterable[Member]) -> dict[str, Any]:
    table = concatenate_tables([read_scores(member.plan.out / "scores.npz") for member in members])
    metrics = table.compute_metrics()
    return _figures(describe_table(table, metrics, table.compute_intervals(metrics)))
