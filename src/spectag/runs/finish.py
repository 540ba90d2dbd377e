"""The model of a run that was interrupted, as far as it was trained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectag.audio.front_end import FrontEnd
from spectag.errors import RunFailed, SpectagError
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.loading import load_bundle
from spectag.model.network import build_network
from spectag.runs.averaging import WeightMean
from spectag.runs.checkpoints import State, read_state
from spectag.runs.decide import activation_of
from spectag.runs.plan import BUNDLE, PLAN, RECIPE, REPORT
from spectag.runs.prepare import BEST, LAST
from spectag.train.recipe import Recipe
from spectag.train.recipe_files import read_recipe
from spectag.version import __version__


@dataclass(frozen=True)
class Finished:
    """What a run gave so far.

    Args:
        bundle: where the model is.
        weights: which weights it has, in words.
        row: figures of the last epoch whose held-out clips were scored, if any; see
            :class:`spectag.runs.history.History`.
    """

    bundle: Path
    weights: str
    row: dict[str, float] | None


def finish(out: Path) -> Finished:
    """Write the bundle of a run that did not come to its end, from its last checkpoint.

    The weights are those that the recipe selects, as far as they exist: the best epoch so far, the mean of the epochs
    so far, or the present ones. The run itself stays as it is, and can be continued.

    Args:
        out: the run's directory; ``bundle/`` is written into it.

    Raises:
        RunFailed: there is no run, it has no checkpoint yet, or it came to its end.
        SaveError: the bundle could not be written.

    >>> finish(Path("my-sounds"))
    Traceback (most recent call last):
    spectag.errors.RunFailed: --finish my-sounds: expected the folder of a run, found no plan.json in it: check the path
    """
    last = out / LAST
    if not (out / PLAN).is_file():
        raise RunFailed(f"--finish {out}: expected the folder of a run, found no {PLAN} in it: check the path")
    if (out / REPORT).is_file():
        raise RunFailed(f"--finish {out}: the run came to its end: its model is {out / BUNDLE}")
    if not last.is_file():
        raise RunFailed(f"--finish {out}: no checkpoint was written yet: continue with --resume")
    recipe, labels = read_recipe(str(out / RECIPE)), _read_labels(out)
    state = read_state(last, [])
    bundle, weights = _choose(out, recipe, labels, state)
    bundle.save(out / BUNDLE)
    scored = [row for row in state["history"]["rows"] if "mean_ap" in row]
    return Finished(out / BUNDLE, weights, scored[-1] if scored else None)


def _read_labels(out: Path) -> LabelSet:
    try:
        labels = json.loads((out / PLAN).read_text(encoding="utf-8"))["labels"]
        return LabelSet(tuple(labels["names"]), labels["ids"] and tuple(labels["ids"]))
    except (OSError, ValueError, KeyError, TypeError, SpectagError) as error:
        raise RunFailed(
            f"--finish {out}: {PLAN} does not name the labels; an older spectag began this run: continue with --resume"
        ) from error


def _choose(out: Path, recipe: Recipe, labels: LabelSet, state: State) -> tuple[Bundle, str]:
    """The bundle of the weights that the recipe selects, and what they are."""
    if recipe.select == "best" and (out / BEST).is_dir():
        return load_bundle(out / BEST), f"weights of epoch {state['history']['best_epoch']}, the best so far"
    config = recipe.network_config(len(labels))
    mean = WeightMean()
    mean.load_state_dict(state.get("mean") or mean.state_dict())
    if recipe.select == "averaged" and mean.count:
        weights, what = mean.compute(), f"mean of the weights after {mean.count} epochs"
    else:
        averaged = {key.removeprefix("module."): value for key, value in state.get("ema", {}).items()}
        weights = {key: value for key, value in (averaged or state["network"]).items() if key != "n_averaged"}
        what = "weights of the last checkpoint"
    epochs = len(state["history"]["rows"])
    front_end = FrontEnd(**recipe.front_end.model_dump())
    about: dict[str, Any] = {
        "source": "trained by spectag, not to the end",
        "epochs": epochs,
        "recipe": recipe.model_dump(mode="json"),
        "spectag": __version__,
    }
    card = Card(config, front_end, labels, activation_of(recipe), about)
    return Bundle(card, build_network(config, weights)), f"{what}, after {epochs} of {recipe.epochs} epochs"
