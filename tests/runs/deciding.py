"""A run's beginning without its clips."""

from pathlib import Path

import torch

from spectag.data.manifest import Manifest
from spectag.labels import LabelSet
from spectag.model.checkpoint import Checkpoint
from spectag.model.loading import read_checkpoint
from spectag.model.network import AST
from spectag.runs.decide import Decisions, decide
from spectag.runs.plan import Plan
from spectag.train.recipe import Recipe
from spectag.train.start import build_start

LABELS = LabelSet(("owl", "fox"))
SMALL = {"width": 16, "depth": 1, "heads": 2}
MEASURED = (-1.0, 2.0)


def make_recipe(**keys) -> Recipe:
    return Recipe.model_validate({"name": "x", "epochs": 1, "batch_size": 1, "lr": 1e-3} | keys)


def decide_for(recipe: Recipe, labels: LabelSet = LABELS, device: str = "cpu") -> Decisions:
    plan = Plan(recipe, Manifest((), labels, "nothing"), None, None, "nothing", Path("nowhere"))
    return decide(plan, _checkpoint(recipe), torch.device(device), lambda front_end: MEASURED)


def begin(recipe: Recipe, labels: LabelSet = LABELS) -> AST:
    return build_start(recipe, decide_for(recipe, labels).config, labels, _checkpoint(recipe))


def _checkpoint(recipe: Recipe) -> Checkpoint | None:
    return None if recipe.init is None else read_checkpoint(recipe.init)
