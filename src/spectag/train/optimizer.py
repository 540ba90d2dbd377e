"""Which parameter learns how fast: the recipe's optimiser and its groups."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from spectag.model.network import AST
from spectag.train.muon import Muon
from spectag.train.recipe import Recipe


def optimizer(network: AST, recipe: Recipe, precision: torch.dtype = torch.float32) -> torch.optim.Optimizer:
    """The recipe's optimiser over all parameters of the network.

    Adam decays all weights, as the released code; AdamW and Muon spare biases, norms, tokens and positions, as ViT
    recipes do. A layer's learning rate is ``lr * layer_decay ** n``, n layers being above it (the head has none, the
    patches and positions have all); the head's is ``head_lr`` where that is given. Each group keeps it as
    ``highest_lr``, which the schedule scales.

    Args:
        precision: that the network is trained in; Muon computes in it, too.
    """
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        matrix = parameter.ndim == 2 and name.startswith("blocks.")
        spared = parameter.ndim < 2 or name in ("tokens", "pos_embed")
        decay = 0.0 if spared and recipe.optimizer != "adam" else recipe.weight_decay
        groups.setdefault((_rate(name, network, recipe), decay, matrix), []).append(parameter)
    rows: list[dict[str, Any]] = [
        {"params": parameters, "lr": rate, "highest_lr": rate, "weight_decay": decay, "muon": matrix}
        for (rate, decay, matrix), parameters in groups.items()
    ]
    kinds: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "muon": Muon}
    options = {"precision": precision} if recipe.optimizer == "muon" else {}
    made: torch.optim.Optimizer = kinds[recipe.optimizer](rows, lr=recipe.lr, betas=recipe.betas, **options)
    return made


def _rate(name: str, network: AST, recipe: Recipe) -> float:
    part, *rest = name.split(".")
    layers = len(network.blocks)
    if part == "head":
        return recipe.lr if recipe.head_lr is None else recipe.head_lr
    above = {"blocks": layers - int(rest[0]) if part == "blocks" else 0, "norm": 0}.get(part, layers + 1)
    return float(recipe.lr * recipe.layer_decay**above)
