"""Several runs of one recipe with different folds and seeds, and a summary of their figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from spectag.data.manifest import Manifest
from spectag.files import write_text
from spectag.runs.plan import DEFAULTS, REPORT, Plan, RunOptions, check_directory, make_plan
from spectag.runs.processes import rank
from spectag.score.metrics import FIGURES, compute_metrics
from spectag.score.npz import read_scores
from spectag.train.recipe import Recipe

SUMMARY = "summary.json"


@dataclass(frozen=True)
class SeriesRun:
    """One run of a series.

    Args:
        fold: the fold that is held out; None for no folds.
        seed: of the recipe.
        plan: what the run does.

    >>> [member.fold for member in plan_series(recipe, manifest, Path("cv"), folds=[1, 2], seeds=1)]
    [1, 2]
    """

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
) -> list[SeriesRun]:
    """Plan one run for each fold and seed. Each run has its own directory, such as ``out/fold1-seed0``.

    If a share of the clips is held out for validation, all runs hold out the same clips.

    Args:
        recipe: its seed is the first one; the other seeds are the numbers that follow.
        manifest: the data set.
        out: directory of the series.
        folds: one is held out in each run; ``[None]`` for no folds.
        seeds: number of seeds, at least 1.
        options: how the runs are carried out.

    Raises:
        DataError, RecipeError: as :func:`spectag.runs.plan.make_plan`.

    >>> members = plan_series(recipe, manifest, Path("cv"), folds=[2], seeds=2)
    >>> [member.plan.out.name for member in members]
    ['fold2-seed0', 'fold2-seed1']
    """
    members = []
    for fold in dict.fromkeys(folds):
        for seed in range(recipe.seed, recipe.seed + seeds):
            name = "-".join(([f"fold{fold}"] if fold is not None else []) + ([f"seed{seed}"] if seeds > 1 else []))
            plan = make_plan(
                recipe.replace(seed=seed), manifest, out / name, fold=fold, holdout_seed=recipe.seed, options=options
            )
            members.append(SeriesRun(fold, seed, plan))
    return members


def run_all(members: Sequence[SeriesRun], run: Callable[[Plan], dict[str, Any]]) -> list[dict[str, Any]]:
    """Run the members, and return their reports in order. Members that were finished earlier are not run again.

    Raises:
        RecipeError: the directory of a member holds another run or something else. In this case nothing is run.

    >>> run_all([SeriesRun(2, 0, plan)], lambda plan: {"held out": plan.description})
    [{'held out': 'fold 2'}]
    """
    if rank() == 0:  # the other processes would find what the first has written
        for member in members:
            check_directory(member.plan)
    finished = {plan.out for plan in (member.plan for member in members) if _is_finished(plan)}
    return [_read_report(member.plan) if member.plan.out in finished else run(member.plan) for member in members]


def _is_finished(plan: Plan) -> bool:
    return plan.options.resume and (plan.out / REPORT).is_file()


def _read_report(plan: Plan) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((plan.out / REPORT).read_text(encoding="utf-8"))
    return report


def summarise(members: Sequence[SeriesRun], reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Compute the mean and sample standard deviation of the figures of several runs.

    Each run also says how many of its held-out clips could not be scored.

    If the runs hold out different folds, the summary also has pooled figures: for each seed, those of the clips of all
    folds taken together.

    >>> result = {"clips": 2, "accuracy": 0.5, "mean_ap": 0.75, "mean_auc": None, "d_prime": None}
    >>> summarise([SeriesRun(2, 0, plan)], [{"result": result}])["mean"]
    {'accuracy': 0.5, 'mean_ap': 0.75}
    """
    runs = [
        {
            "fold": member.fold,
            "seed": member.seed,
            "out": member.plan.out.name,
            **_figures(report["result"]),
            "failed": len((report["result"] or {}).get("failed", ())),
        }
        for member, report in zip(members, reports, strict=True)
    ]
    out: dict[str, Any] = {"runs": runs, **measure_spread(runs)}
    if len({member.fold for member in members}) > 1 and all(run.get("clips") for run in runs):
        pooled = [_pooled(m for m in members if m.seed == seed) for seed in dict.fromkeys(m.seed for m in members)]
        out["pooled"] = {"runs": pooled, **measure_spread(pooled)}
    return out


def measure_spread(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Compute ``mean`` and, for two or more rows, ``std`` (n - 1) of each figure that all rows have.

    >>> measure_spread([{"accuracy": 0.5}, {"accuracy": 0.75}])
    {'mean': {'accuracy': 0.625}, 'std': {'accuracy': 0.1767...}}
    """
    names = [name for name in FIGURES if all(row.get(name) is not None for row in rows)]
    columns = {name: [float(row[name]) for row in rows] for name in names}
    out = {"mean": {name: fmean(values) for name, values in columns.items()}}
    if len(rows) > 1:
        out["std"] = {name: stdev(values) for name, values in columns.items()}
    return out


def write_summary(out: Path, figures: Mapping[str, Any]) -> None:
    """Write ``out/summary.json``.

    Raises:
        SaveError: the file could not be written.

    >>> write_summary(Path("."), {"mean": {"accuracy": 0.5}})
    >>> json.loads(Path("summary.json").read_text())["mean"]
    {'accuracy': 0.5}
    """
    write_text(out / SUMMARY, json.dumps(figures, indent=1))


def _figures(result: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: result[name] for name in ("clips", *FIGURES)} if result else {}


def _pooled(members: Iterable[SeriesRun]) -> dict[str, Any]:
    tables = [read_scores(member.plan.out / "scores.npz") for member in members]
    figures = compute_metrics(
        np.concatenate([table.targets for table in tables]), np.concatenate([table.scores for table in tables])
    )
    return _figures(figures.to_dict())
