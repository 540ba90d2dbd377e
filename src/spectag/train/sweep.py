"""One recipe over values of its keys: the settings, and their figures as a table and a plot."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from spectag.errors import RecipeError
from spectag.files import write_text
from spectag.score.metrics import FIGURES
from spectag.score.plots import plot_sweep
from spectag.score.report import write_sweep


@dataclass(frozen=True)
class Setting:
    """One row of a sweep: what it is called, and the overrides that make it."""

    name: str
    overrides: tuple[str, ...]

    @property
    def directory(self) -> str:
        """A file name for it."""
        return re.sub(r"[^\w.=-]+", "_", self.name).strip("_")


def over(axes: Sequence[str]) -> list[Setting]:
    """All combinations of ``key=value,value,...``: ``model.stride=10,12`` and ``seed=0,1`` make four settings.

    Commas within brackets belong to a value: ``model.patch=[16,16],[128,2]``.

    Raises:
        RecipeError: an axis without a key or values, or a key twice.
    """
    columns: list[list[str]] = []
    keys: list[str] = []
    for axis in axes:
        key, equals, values = axis.partition("=")
        parts = re.split(r",(?![^\[]*\])", values)
        if not equals or not key or "" in parts:
            raise RecipeError(f"--over {axis}: expected key=value,value, for instance --over model.stride=10,12")
        if key in keys:
            raise RecipeError(f"--over {axis}: {key} stands there twice")
        keys.append(key)
        columns.append([f"{key}={value}" for value in parts])
    return [Setting(" ".join(combination), combination) for combination in itertools.product(*columns)]


def presets() -> dict[str, dict[str, Any]]:
    """The paper's ablations and one of ours: name -> ``about``, ``paper``, ``settings``, ``recipe`` (whose pieces)."""
    text = (resources.files("spectag.train") / "recipes" / "ablations.yml").read_text(encoding="utf-8")
    known: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return known


def preset(name: str, weights: str, recipe: str) -> list[Setting]:
    """The settings of an ablation.

    Args:
        name: of :func:`presets`.
        weights: folder of the files of initial weights that some of them name.
        recipe: name of the recipe they are for.

    Raises:
        RecipeError: no such preset, the message lists them; or it is of another recipe's pieces.
    """
    known = presets()
    if name not in known:
        raise RecipeError(f"--preset {name}: expected one of {', '.join(known)}")
    if (own := known[name].get("recipe", recipe)) != recipe:
        raise RecipeError(f"--preset {name}: it takes apart the recipe {own}, got {recipe}")
    return [
        Setting(row, tuple(override.replace("WEIGHTS", weights) for override in overrides))
        for row, overrides in known[name]["settings"].items()
    ]


def table(settings: Iterable[Setting], summaries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per setting: its name, the number of runs, mean and deviation of each figure.

    Of a cross-validation the figures of all folds' clips pooled are taken.
    """
    rows = []
    for setting, summary in zip(settings, summaries, strict=True):
        figures = summary.get("pooled", summary)
        row: dict[str, Any] = {"setting": setting.name, "runs": len(summary["runs"])}
        for name in FIGURES:
            row[name] = figures["mean"].get(name)
            row[f"{name} std"] = figures.get("std", {}).get(name)
        rows.append(row)
    return rows


def write(out: Path, title: str, metric: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """``sweep.csv``, ``sweep.json``, ``sweep.svg`` and, with table and plot, ``sweep.html`` in a directory.

    Raises:
        SaveError: a file could not be written.
    """
    columns = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / "sweep.csv", text.getvalue())
    write_text(out / "sweep.json", json.dumps(list(rows), indent=1))
    labels, means, stds = ([row[key] for row in rows] for key in ("setting", metric, f"{metric} std"))
    plot = plot_sweep(labels, means, stds, FIGURES[metric])
    write_text(out / "sweep.svg", plot.svg)
    write_sweep(out / "sweep.html", title, rows, plot)
