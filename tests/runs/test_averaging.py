"""The mean of weights."""

import torch

from spectag.runs.averaging import WeightMean


def test_the_mean_is_exact():
    """Float32 sums would lose the small one beside the large ones; and what is added is not kept by reference."""
    mean = WeightMean()
    weight = torch.tensor([1e8, 1.0])
    for values in ([1e8, 1.0], [1.0, 2.0], [-1e8, 6.0]):
        weight.copy_(torch.tensor(values))
        mean.add({"w": weight})
    torch.testing.assert_close(mean.compute()["w"], torch.tensor([1 / 3, 3.0]), rtol=1e-7, atol=0)
    assert mean.compute()["w"].dtype == torch.float32


def test_it_continues_from_its_state():
    whole, first, second = WeightMean(), WeightMean(), WeightMean()
    states = [{"w": torch.rand(5)} for _ in range(4)]
    for state in states:
        whole.add(state)
    for state in states[:2]:
        first.add(state)
    second.load_state_dict(first.state_dict())
    for state in states[2:]:
        second.add(state)
    assert torch.equal(whole.compute()["w"], second.compute()["w"])
    assert second.count == 4
