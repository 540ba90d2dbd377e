"""Muon: orthogonalising is a polynomial of the singular values, and a step is its formula, matrix by matrix."""

import copy

import numpy as np
import pytest
import torch

from spectag.train.muon import Muon, orthogonalise

SHAPES = [(8, 8), (8, 32), (32, 8)]


def expected_orthogonal(x, iterations=5):
    """The quintic of Jordan et al. 2024, five times, on the singular values alone; float64."""
    u, values, v = np.linalg.svd(x.numpy().astype(np.float64), full_matrices=False)
    values = values / (np.linalg.norm(values) + 1e-7)
    for _ in range(iterations):
        values = 3.4445 * values - 4.775 * values**3 + 2.0315 * values**5
    return u * values @ v


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 100.0])
def test_orthogonalising_is_a_polynomial_of_the_singular_values(shape, scale):
    x = scale * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    y = orthogonalise(x).numpy()
    assert y.shape == x.shape
    np.testing.assert_allclose(y, expected_orthogonal(x), rtol=0, atol=2e-5)
    assert np.abs(y - expected_orthogonal(x, 4)).max() > 0.01, "five iterations"
    values = np.linalg.svd(y, compute_uv=False)
    assert 0.5 < values.min() < values.max() < 1.3


def test_a_gradient_of_zeros_stays_zero():
    assert torch.equal(orthogonalise(torch.zeros(3, 4)), torch.zeros(3, 4))


@pytest.mark.parametrize("shape", [(2, 8, 8), (3, 8, 32), (2, 32, 8), (2, 3, 8, 4)])
@pytest.mark.parametrize(("precision", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_matrices_together_are_what_each_is_alone(shape, precision, error):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    together = orthogonalise(x, precision)
    assert together.dtype == torch.float32
    assert together.shape == x.shape
    for one, of_all in zip(x.flatten(0, -3), together.flatten(0, -3), strict=True):
        torch.testing.assert_close(of_all, orthogonalise(one), rtol=0, atol=error)


def test_the_iteration_runs_in_the_precision_asked_for():
    x = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(orthogonalise(x, torch.bfloat16), orthogonalise(x))
    half = orthogonalise(x, torch.bfloat16)
    assert torch.equal(half, half.bfloat16().float()), "its result has bf16's digits"


SIZES = [(18, 6), (18, 6), (6, 24), (24, 6), (6, 24), (18, 6)]
STACKED = [3, 3, 1, 1, 1, 1]  # the last is a matrix of three times as many rows as columns, and only one


def test_steps_are_the_formula_for_every_matrix_on_its_own():
    """Of one shape and of several; stacked ones apart; decay; momentum over three steps with Nesterov's look ahead."""
    torch.manual_seed(0)
    stacks = [torch.nn.Parameter(torch.randn(size)) for size in SIZES]
    weights = [stack.detach().double() for stack in stacks]
    averages = [torch.zeros(size, dtype=torch.float64) for size in SIZES]
    rows = [{"params": stacks, "muon": True, "stacked": STACKED}]
    optimizer = Muon(rows, lr=0.05, weight_decay=0.1, momentum=0.9)
    for _ in range(3):
        for i, stack in enumerate(stacks):
            stack.grad = torch.randn_like(stack)
            averages[i] = 0.9 * averages[i] + 0.1 * stack.grad
            direction = 0.9 * averages[i] + 0.1 * stack.grad
            updates = [
                0.2 * max(part.shape) ** 0.5 * torch.from_numpy(expected_orthogonal(part))
                for part in direction.chunk(STACKED[i])
            ]
            weights[i] = weights[i] * (1 - 0.05 * 0.1) - 0.05 * torch.cat(updates)
        optimizer.step()
        for stack, weight in zip(stacks, weights, strict=True):
            torch.testing.assert_close(stack.detach().double(), weight, rtol=0, atol=1e-5)


def test_nothing_is_stacked_unless_it_is_said():
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(18, 6))
    weight.grad = torch.randn_like(weight)
    whole = -0.1 * 0.2 * 18**0.5 * expected_orthogonal(weight.grad)
    Muon([{"params": [weight], "muon": True}], lr=0.1).step()
    np.testing.assert_allclose(weight.detach(), whole, rtol=0, atol=1e-6)


def test_a_matrix_without_a_gradient_stays():
    still, moved = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2, 2))
    moved.grad = torch.eye(2)
    Muon([{"params": [still, moved], "muon": True}], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(still, torch.ones(2, 2))
    assert not torch.equal(moved, torch.ones(2, 2))


def problem():
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 18)  # as queries, keys and values
    groups = [{"params": [layer.weight], "muon": True, "stacked": [3]}, {"params": [layer.bias], "weight_decay": 0.0}]
    return layer, groups, torch.randn(64, 6), torch.randn(64, 18)


def test_matrices_by_muon_the_rest_by_adamw():
    layer, groups, x, target = problem()
    twin = torch.nn.Parameter(layer.bias.detach().clone())
    optimizer = Muon(groups, lr=0.05, weight_decay=0.1)
    reference = torch.optim.AdamW([twin], lr=0.05, weight_decay=0.0)
    losses = []

    def closure():
        loss = (layer(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        twin.grad = layer.bias.grad.clone()
        losses.append(float(loss.detach()))
        return loss

    for _ in range(20):
        assert float(optimizer.step(closure).detach()) == losses[-1]
        reference.step()
    assert losses[-1] < losses[0]
    torch.testing.assert_close(layer.bias, twin)


@pytest.mark.parametrize("older", [False, True])
def test_a_state_is_loaded_but_what_is_stacked_is_the_networks(older):
    """States that were saved by older versions do not say what is stacked."""
    layer, groups, x, target = problem()
    optimizer = Muon(groups, lr=0.05)

    def step(network, by):
        by.zero_grad()
        (network(x) - target).square().mean().backward()
        by.step()

    step(layer, optimizer)
    state = copy.deepcopy(optimizer.state_dict())  # else both would share tensors
    if older:
        for group in state["param_groups"]:
            del group["stacked"]
    twin = copy.deepcopy(layer)
    again = Muon(
        [{"params": [twin.weight], "muon": True, "stacked": [3]}, {"params": [twin.bias]}], lr=1.0, momentum=0.1
    )
    again.load_state_dict(state)
    assert [group["stacked"] for group in again.param_groups] == [[3], [1]]
    for _ in range(2):
        step(layer, optimizer)
        step(twin, again)
    assert torch.equal(layer.weight, twin.weight)
    assert torch.equal(layer.bias, twin.bias)


def test_a_copy_keeps_the_precision():
    weight = torch.nn.Parameter(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))
    for optimizer in (o := Muon([{"params": [weight], "muon": True}], lr=0.1, precision=torch.bfloat16), copy.copy(o)):
        weight.data.zero_()
        weight.grad = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
        optimizer.step()
        update = weight / (-0.1 * 0.2 * 8**0.5)
        torch.testing.assert_close(update, update.bfloat16().float(), rtol=1e-6, atol=1e-6)
