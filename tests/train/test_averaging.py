"""The mean of weights."""

import pytest
import torch

from spectag.errors import InputError, KeyMismatch, ShapeMismatch
from spectag.train.averaging import WeightMean


def test_the_mean_is_exact():
    """Float32 sums would lose the small one beside the large ones; and what is added is not kept by reference."""
    mean = WeightMean()
    weight = torch.tensor([1e8, 1.0])
    for values in ([1e8, 1.0], [1.0, 2.0], [-1e8, 6.0]):
        weight.copy_(torch.tensor(values))
        mean.add({"w": weight})
    torch.testing.assert_close(mean.mean()["w"], torch.tensor([1 / 3, 3.0]), rtol=1e-7, atol=0)
    assert mean.mean()["w"].dtype == torch.float32
    assert mean.sums["w"].dtype == torch.float64


def test_means_of_different_networks():
    mean = WeightMean()
    with pytest.raises(InputError, match="at least one"):
        mean.mean()
    mean.add({"a": torch.zeros(2), "b": torch.ones(1)})
    with pytest.raises(KeyMismatch, match=r"state 2 has other tensors than the first: b"):
        mean.add({"a": torch.zeros(2)})
    with pytest.raises(ShapeMismatch, match=r"b of state 2: expected \[1\], got \[3\]"):
        mean.add({"a": torch.ones(2), "b": torch.ones(3)})
    assert mean.count == 1
    assert mean.mean()["a"].tolist() == [0, 0], "a refused state leaves no trace"
