"""Sweeps: train a recipe with several values of its keys, and show the figures as a table and a plot."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectag.errors import RecipeError
from spectag.files import write_table, write_text
from spectag.model.source import is_file_name
from spectag.score.metrics import FIGURES
from spectag.train.recipe import Recipe
from spectag.train.recipe_files import packaged_presets


@dataclass(frozen=True)
class Setting:
    """One setting of a sweep: its name, and the overrides that are applied to the recipe."""

    name: str
    overrides: tuple[str, ...]

    @property
    def directory(self) -> str:
        """A name for its directory.

        >>> Setting("model.patch=[16,16] seed=0", ()).directory
        'model.patch=_16_16_seed=0'
        """
        return re.sub(r"[^\w.=-]+", "_", self.name).strip("_")


def combine_axes(axes: Sequence[str]) -> list[Setting]:
    """All combinations of the values of some keys.

    Args:
        axes: one ``key=value,value,...`` for each key. Commas within brackets belong to a value.

    Raises:
        RecipeError: an axis has no key or no values, or a key is given twice.

    >>> [setting.name for setting in combine_axes(["lr=1e-4,1e-5", "model.patch=[16,16]"])]
    ['lr=1e-4 model.patch=[16,16]', 'lr=1e-5 model.patch=[16,16]']
    """
    columns: list[list[str]] = []
    keys: list[str] = []
    for axis in axes:
        key, equals, values = axis.partition("=")
        chosen = re.split(r",(?![^\[]*\])", values)
        if not equals or not key or "" in chosen:
            raise RecipeError(f"--over {axis}: expected key=value,value, for example --over model.stride=10,12")
        if key in keys:
            raise RecipeError(f"--over {axis}: {key} is given twice: list all of its values once")
        keys.append(key)
        columns.append([f"{key}={value}" for value in chosen])
    return [Setting(" ".join(combination), combination) for combination in itertools.product(*columns)]


def read_preset(name: str, recipe: str) -> list[Setting]:
    """The settings of a preset, see :func:`spectag.train.recipe_files.packaged_presets`.

    Args:
        name: of the preset.
        recipe: name of the recipe to sweep.

    Raises:
        RecipeError: there is no such preset (the message lists them), or it is for another recipe.

    >>> [setting.overrides for setting in read_preset("pretraining", "audioset-balanced")][0]
    ('init=null',)
    """
    known = packaged_presets()
    if name not in known:
        raise RecipeError(f"--preset {name}: expected one of {', '.join(known)}")
    if (own := known[name].get("recipe", recipe)) != recipe:
        raise RecipeError(f"--preset {name}: expected the recipe {own}, which it changes; got {recipe}")
    return [Setting(row, tuple(overrides)) for row, overrides in known[name]["settings"].items()]


def take_weights_from(folder: Path, recipes: Sequence[Recipe]) -> list[Recipe]:
    """Let recipes whose initial weights are named by their file alone take them from a folder.

    Args:
        folder: with the files.
        recipes: of the sweep.

    Raises:
        RecipeError: there is no such folder, or no recipe names a file.

    >>> from spectag.train.recipe_files import read_recipe
    >>> take_weights_from(Path("."), [read_recipe("esc10", ["init=deit.pth"])])[0].init
    'deit.pth'
    """
    if not folder.is_dir():
        raise RecipeError(f"--weights {folder}: expected a folder that exists; for one file use --init")
    named = [recipe.init for recipe in recipes if recipe.init and is_file_name(recipe.init)]
    if not named:
        raise RecipeError(
            f"--weights {folder}: no setting of this sweep starts from a file of weights: leave the option out"
        )
    return [recipe.replace(init=str(folder / recipe.init)) if recipe.init in named else recipe for recipe in recipes]


def tabulate_sweep(settings: Iterable[Setting], summaries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Make a row per setting: its name, the number of runs, and mean and standard deviation of each figure.

    For a cross-validation, the figures are those of the clips of all folds taken together.

    Args:
        settings: of the sweep.
        summaries: of each setting's runs, as :func:`spectag.runs.series.summarise` makes them.

    >>> rows = tabulate_sweep([Setting("lr=1", ())], [{"runs": [{}], "mean": {"accuracy": 0.5}}])
    >>> rows[0]["setting"], rows[0]["runs"], rows[0]["accuracy"], rows[0]["mean_ap"]
    ('lr=1', 1, 0.5, None)
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


def write_sweep_files(out: Path, title: str, metric: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``sweep.csv``, ``sweep.json``, ``sweep.svg`` and ``sweep.html`` (table and plot) to a directory.

    Raises:
        SaveError: a file could not be written.

    >>> row = {"setting": "lr=1", "runs": 1, "accuracy": 0.5, "accuracy std": None}
    >>> write_sweep_files(Path("."), "lr", "accuracy", [row])
    >>> sorted(path.name for path in Path(".").iterdir())
    ['sweep.csv', 'sweep.html', 'sweep.json', 'sweep.svg']
    """
    from spectag.score.plots import plot_sweep  # only now, since they load Matplotlib and scikit-learn
    from spectag.score.report import write_sweep

    write_table(out / "sweep.csv", rows, [name for name in rows[0] if any(row[name] is not None for row in rows)])
    write_text(out / "sweep.json", json.dumps(list(rows), indent=1))
    labels, means, stds = ([row[key] for row in rows] for key in ("setting", metric, f"{metric} std"))
    plot = plot_sweep(labels, means, stds, FIGURES[metric])
    write_text(out / "sweep.svg", plot.svg)
    write_sweep(out / "sweep.html", title, rows, plot)
