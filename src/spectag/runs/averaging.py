"""The arithmetic mean of weights (paper, section 3.1: weight averaging)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class WeightMean:
    """The equal mean of network states, summed in float64.

    ``torch.optim.swa_utils.AveragedModel`` keeps a running mean in float32 and rounds it after every state, which
    changes the last digits of half of the weights. The sums do not depend on where a run was stopped and resumed.

    >>> mean = WeightMean()
    >>> for value in (1.0, 2.0):
    ...     mean.add({"w": torch.tensor(value)})
    >>> mean.compute()
    {'w': tensor(1.5000)}
    """

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, state: Mapping[str, Tensor]) -> None:
        """Add a state. All states must have the same tensors."""
        for key, value in state.items():
            term = value.detach().to("cpu", torch.float64, copy=True)
            self.sums[key] = self.sums[key].add_(term) if self.count else term
        self.count += 1

    def compute(self) -> dict[str, Tensor]:
        """Return the mean of the states added so far (at least one), in float32."""
        return {key: (total / self.count).float() for key, total in self.sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and tensors for a checkpoint."""
        return {"count": self.count, "sums": self.sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.count, self.sums = state["count"], state["sums"]
