"""The arithmetic mean of weights (paper, section 3.1: weight averaging)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from spectag.errors import InputError, KeyMismatch, ShapeMismatch


class WeightMean:
    """The mean of the states added so far: summed in float64, so that neither order nor number costs digits."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, state: Mapping[str, Tensor]) -> None:
        """Take one more state into the mean.

        Raises:
            KeyMismatch, ShapeMismatch: it is of another network than the first; this mean stays as it was.
        """
        if self.count and state.keys() != self.sums.keys():
            odd = ", ".join(sorted(state.keys() ^ self.sums.keys())[:3])
            raise KeyMismatch(f"mean of weights: state {self.count + 1} has other tensors than the first: {odd}")
        for key, value in state.items():
            if self.count and value.shape != self.sums[key].shape:
                raise ShapeMismatch(
                    f"mean of weights: {key} of state {self.count + 1}: expected {list(self.sums[key].shape)}, "
                    f"got {list(value.shape)}"
                )
        for key, value in state.items():
            term = value.detach().to("cpu", torch.float64, copy=True)
            self.sums[key] = self.sums[key].add_(term) if self.count else term
        self.count += 1

    def mean(self) -> dict[str, Tensor]:
        """The mean, float32.

        Raises:
            InputError: nothing was added.
        """
        if not self.count:
            raise InputError("mean of weights: expected at least one state, got none")
        return {key: (value / self.count).float() for key, value in self.sums.items()}
