"""Which parameter learns how fast."""

import pytest
import torch

from spectag.model.config import ASTConfig
from spectag.model.network import AST
from spectag.train.muon import orthogonalise
from spectag.train.optimizer import build_optimizer
from spectag.train.recipe import Recipe

NETWORK = AST(ASTConfig(width=16, depth=3, heads=2, frames=32, labels=3))
BASE = {"name": "x", "epochs": 1, "batch_size": 1, "lr": 1e-3, "weight_decay": 0.1}


def of(name: str, made: torch.optim.Optimizer) -> dict:
    parameter = dict(NETWORK.named_parameters())[name]
    [group] = [g for g in made.param_groups if any(p is parameter for p in g["params"])]
    return group


@pytest.mark.parametrize("kind", ["adam", "adamw", "muon"])
def test_every_parameter_once(kind):
    made = build_optimizer(NETWORK, Recipe(**BASE, optimizer=kind, layer_decay=0.5, head_lr=0.1))
    held = [id(p) for group in made.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in NETWORK.parameters())


def test_layers_below_learn_more_slowly():
    made = build_optimizer(NETWORK, Recipe(**BASE, optimizer="adamw", layer_decay=0.5, head_lr=0.1))
    rates = {name: of(name, made)["lr"] for name, _ in NETWORK.named_parameters()}
    assert rates["head.linear.weight"] == rates["head.norm.bias"] == 0.1
    assert rates["norm.weight"] == 1e-3
    assert [rates[f"blocks.{i}.attn.qkv.weight"] for i in range(3)] == pytest.approx([1.25e-4, 2.5e-4, 5e-4])
    assert rates["pos_embed"] == rates["patch_embed.proj.weight"] == rates["tokens"] == pytest.approx(6.25e-5)


def test_decay_spares_norms_biases_tokens_and_positions_but_in_adam():
    made = build_optimizer(NETWORK, Recipe(**BASE, optimizer="adamw"))
    decays = {name: of(name, made)["weight_decay"] for name, _ in NETWORK.named_parameters()}
    assert {decays[n] for n in ("blocks.0.mlp.fc1.weight", "head.linear.weight", "patch_embed.proj.weight")} == {0.1}
    assert {decays[n] for n in ("blocks.0.mlp.fc1.bias", "norm.weight", "tokens", "pos_embed")} == {0.0}
    released = build_optimizer(NETWORK, Recipe(**BASE))
    assert {group["weight_decay"] for group in released.param_groups} == {0.1}
    assert type(released) is torch.optim.Adam


def test_muon_moves_only_the_encoders_matrices():
    made = build_optimizer(NETWORK, Recipe(**BASE, optimizer="muon"))
    moved = {name for name, _ in NETWORK.named_parameters() if of(name, made)["muon"]}
    assert moved == {
        f"blocks.{i}.{part}.weight" for i in range(3) for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }


def test_queries_keys_and_values_are_told_by_name_not_by_shape():
    """The first layer of an MLP of ratio 3 has the shape of queries, keys and values, and is one matrix."""
    torch.manual_seed(0)
    network = AST(ASTConfig(width=16, depth=2, heads=2, mlp_ratio=3, frames=32, labels=3))
    made = build_optimizer(network, Recipe(**BASE, optimizer="muon"), torch.float32)
    attention, mlp = network.blocks[1].attn.qkv.weight, network.blocks[1].mlp.fc1.weight
    assert attention.shape == mlp.shape == (48, 16)
    before = {weight: weight.detach().clone() for weight in (attention, mlp)}
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    gradients = {weight: weight.grad.clone() for weight in (attention, mlp)}
    made.step()
    for weight, number in ((attention, 3), (mlp, 1)):
        directions = [(0.05 * 0.95 + 0.05) * part for part in gradients[weight].chunk(number)]
        updates = [0.2 * max(part.shape) ** 0.5 * orthogonalise(part) for part in directions]
        expected = before[weight] * (1 - 1e-3 * 0.1) - 1e-3 * torch.cat(updates)
        torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=1e-6)


def test_betas_and_precision_reach_the_optimiser():
    made = build_optimizer(NETWORK, Recipe(**BASE, optimizer="muon", betas=(0.8, 0.9)), torch.bfloat16)
    assert made.defaults["precision"] == torch.bfloat16
    for kind in ("adam", "adamw", "muon"):
        made = build_optimizer(NETWORK, Recipe(**BASE, optimizer=kind, betas=(0.8, 0.9)))
        assert {group["betas"] for group in made.param_groups} == {(0.8, 0.9)}
        assert all(group["lr"] == group["highest_lr"] for group in made.param_groups)
