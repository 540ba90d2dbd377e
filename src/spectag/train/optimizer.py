"""The recipe's optimiser and its parameter groups, which set the learning rate of each parameter."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from spectag.model.network import AST
from spectag.train.muon import Muon
from spectag.train.recipe import Recipe


def build_optimizer(network: AST, recipe: Recipe, precision: torch.dtype = torch.float32) -> torch.optim.Optimizer:
    """Build the recipe's optimiser over all parameters of a network.

    Adam applies weight decay to all weights, as the released code does. AdamW and Muon do not apply it to biases,
    norms, tokens and positions, as in recipes for vision transformers. Muon updates the weight matrices of the encoder,
    and AdamW the other weights. The learning rate of a layer is ``lr * layer_decay ** n`` with n layers above it: 0 for
    the last norm, all for patches and positions. The rate of the heads is ``head_lr``, or ``lr`` if that is null. The
    schedule multiplies the ``highest_lr`` of each group.

    Args:
        network: the network to train.
        recipe: the settings.
        precision: precision of the training. Muon uses it as well.

    >>> network = spectag.model.network.AST(spectag.ASTConfig(width=8, depth=1, heads=2, frames=16, labels=2))
    >>> recipe = spectag.train.recipe.Recipe(name="x", epochs=1, batch_size=1, lr=1e-3, optimizer="adamw")
    >>> sorted({group["weight_decay"] for group in build_optimizer(network, recipe).param_groups})
    [0.0, 5e-07]
    """
    # The grouping decides the order of the parameters in a saved state: it must not change.
    groups: dict[tuple[float, float, bool], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in network.named_parameters():
        is_matrix = parameter.ndim == 2 and name.startswith("blocks.")
        spared = parameter.ndim < 2 or name in ("tokens", "pos_embed")
        decay = 0.0 if spared and recipe.optimizer != "adam" else recipe.weight_decay
        groups.setdefault((_highest_lr(name, network, recipe), decay, is_matrix), []).append((name, parameter))
    rows: list[dict[str, Any]] = [
        {
            "params": [parameter for _, parameter in members],
            "lr": rate,
            "highest_lr": rate,
            "weight_decay": decay,
            "muon": is_matrix,
            # Queries, keys and values are three matrices in one parameter.
            "stacked": [3 if name.endswith("attn.qkv.weight") else 1 for name, _ in members],
        }
        for (rate, decay, is_matrix), members in groups.items()
    ]
    if recipe.optimizer == "muon":
        return Muon(rows, betas=recipe.betas, precision=precision)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(rows, betas=recipe.betas)


def _highest_lr(name: str, network: AST, recipe: Recipe) -> float:
    """The learning rate of a parameter before the schedule scales it."""
    part, *rest = name.split(".")
    if part in ("head", "frame_head"):
        return recipe.lr if recipe.head_lr is None else recipe.head_lr
    if part == "norm":
        layers_above = 0
    elif part == "blocks":
        layers_above = len(network.blocks) - int(rest[0])
    else:
        layers_above = len(network.blocks) + 1
    return float(recipe.lr * recipe.layer_decay**layers_above)
