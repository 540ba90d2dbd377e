"""The optimiser: what orthogonal means, and that it fits what it should."""

import pytest
import torch

from spectag.train.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(2, 8, 8), (3, 8, 32), (2, 32, 8)])
@pytest.mark.parametrize(("precision", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_matrices_together_are_what_each_is_alone(shape, precision, error):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    together = orthogonalise(x, precision)
    assert together.dtype == torch.float32
    for one, of_all in zip(x, together, strict=True):
        torch.testing.assert_close(of_all, orthogonalise(one), rtol=0, atol=error)


@pytest.mark.parametrize("shape", [(8, 8), (8, 32), (32, 8)])
def test_singular_values_come_near_one_and_vectors_stay(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    y = orthogonalise(x)
    assert y.shape == x.shape
    values = torch.linalg.svdvals(y)
    assert values.min() > 0.5
    assert values.max() < 1.3
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    middle = u.T @ y @ v.T
    torch.testing.assert_close(middle, torch.diag(middle.diagonal()), rtol=0, atol=1e-4)


def test_a_step_moves_every_matrix_by_its_own_gradient():
    """Of one shape and of several; queries, keys and values apart; weight decay; momentum of the first step."""
    torch.manual_seed(0)
    matrices = [torch.nn.Parameter(torch.randn(shape)) for shape in ((18, 6), (18, 6), (6, 24), (24, 6), (6, 24))]
    before = [matrix.detach().clone() for matrix in matrices]
    for matrix in matrices:
        matrix.grad = torch.randn_like(matrix)
    aheads = [(1 - 0.95) * 0.95 * matrix.grad + (1 - 0.95) * matrix.grad for matrix in matrices]
    Muon([{"params": matrices, "muon": True}], lr=0.05, weight_decay=0.1).step()
    for matrix, old, ahead in zip(matrices, before, aheads, strict=True):
        parts = 3 if matrix.shape == (18, 6) else 1
        for new, was, part in zip(matrix.chunk(parts), old.chunk(parts), ahead.chunk(parts), strict=True):
            expected = was * (1 - 0.05 * 0.1) - 0.05 * 0.2 * max(part.shape) ** 0.5 * orthogonalise(part)
            torch.testing.assert_close(new.detach(), expected, rtol=0, atol=1e-5)


def test_matrices_by_muon_the_rest_by_adamw():
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 18)  # as queries, keys and values
    x, target = torch.randn(64, 6), torch.randn(64, 18)
    twin = torch.nn.Parameter(layer.bias.detach().clone())
    groups = [{"params": [layer.weight], "muon": True}, {"params": [layer.bias], "weight_decay": 0.0}]
    optimizer = Muon(groups, lr=0.05, weight_decay=0.1)
    reference = torch.optim.AdamW([twin], lr=0.05, weight_decay=0.0)
    losses = []
    for _ in range(20):
        loss = (layer(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        twin.grad = layer.bias.grad.clone()
        before = layer.weight.detach().clone()
        optimizer.step()
        reference.step()
        losses.append(float(loss.detach()))
        change = (layer.weight.detach() - before * (1 - 0.05 * 0.1)).split(6)
        for part in change:
            assert part.square().mean().sqrt() == pytest.approx(0.05 * 0.2, rel=0.35)
    assert losses[-1] < losses[0]
    torch.testing.assert_close(layer.bias, twin)
    state = optimizer.state_dict()
    again = Muon([{"params": [layer.weight], "muon": True}, {"params": [layer.bias]}], lr=1.0)
    again.load_state_dict(state)
    assert again.param_groups[0]["muon"]
    assert "average" in again.state[layer.weight]
