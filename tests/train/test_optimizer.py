"""Which parameter learns how fast."""

import pytest
import torch

from spectag.model.config import ASTConfig
from spectag.model.network import AST
from spectag.train.optimizer import optimizer
from spectag.train.recipe import Recipe

NETWORK = AST(ASTConfig(width=16, depth=3, heads=2, frames=32, labels=3))
BASE = {"name": "x", "epochs": 1, "batch_size": 1, "lr": 1e-3, "weight_decay": 0.1}


def of(name: str, made: torch.optim.Optimizer) -> dict:
    parameter = dict(NETWORK.named_parameters())[name]
    [group] = [g for g in made.param_groups if any(p is parameter for p in g["params"])]
    return group


@pytest.mark.parametrize("kind", ["adam", "adamw", "muon"])
def test_every_parameter_once(kind):
    made = optimizer(NETWORK, Recipe(**BASE, optimizer=kind, layer_decay=0.5, head_lr=0.1))
    held = [id(p) for group in made.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in NETWORK.parameters())


def test_layers_below_learn_more_slowly():
    made = optimizer(NETWORK, Recipe(**BASE, optimizer="adamw", layer_decay=0.5, head_lr=0.1))
    rates = {name: of(name, made)["lr"] for name, _ in NETWORK.named_parameters()}
    assert rates["head.linear.weight"] == rates["head.norm.bias"] == 0.1
    assert rates["norm.weight"] == 1e-3
    assert [rates[f"blocks.{i}.attn.qkv.weight"] for i in range(3)] == pytest.approx([1.25e-4, 2.5e-4, 5e-4])
    assert rates["pos_embed"] == rates["patch_embed.proj.weight"] == rates["tokens"] == pytest.approx(6.25e-5)


def test_decay_spares_norms_biases_tokens_and_positions_but_in_adam():
    made = optimizer(NETWORK, Recipe(**BASE, optimizer="adamw"))
    decays = {name: of(name, made)["weight_decay"] for name, _ in NETWORK.named_parameters()}
    assert {decays[n] for n in ("blocks.0.mlp.fc1.weight", "head.linear.weight", "patch_embed.proj.weight")} == {0.1}
    assert {decays[n] for n in ("blocks.0.mlp.fc1.bias", "norm.weight", "tokens", "pos_embed")} == {0.0}
    released = optimizer(NETWORK, Recipe(**BASE))
    assert {group["weight_decay"] for group in released.param_groups} == {0.1}
    assert type(released) is torch.optim.Adam


def test_muon_moves_only_the_encoders_matrices():
    made = optimizer(NETWORK, Recipe(**BASE, optimizer="muon"))
    moved = {name for name, _ in NETWORK.named_parameters() if of(name, made)["muon"]}
    assert moved == {
        f"blocks.{i}.{part}.weight" for i in range(3) for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }
