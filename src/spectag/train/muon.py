"""Muon: AdamW, but the encoder's weight matrices move by orthogonalised momentum.

Jordan et al. 2024, with the step size of Liu et al. 2025 (section 2.2), so that learning rates of AdamW carry over.
``torch.optim.Muon`` iterates in bf16, which most CPUs emulate at a fraction of their speed, and takes no other
parameters beside the matrices; hence this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

ITERATIONS = 5  # of Newton-Schulz: enough for singular values between about 0.7 and 1.2
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of its quintic, tuned by Jordan et al. for a steep start
RMS = 0.2  # of an update's entries: AdamW's usual


class Muon(torch.optim.AdamW):
    """Groups with ``"muon": True`` hold matrices ``[rows, columns]``; all others are AdamW's.

    A matrix of three times as many rows as columns is taken for stacked queries, keys and values, each orthogonalised
    on its own.

    Args:
        params: parameter groups.
        momentum: decay of the gradient's moving average, 0..1, applied with Nesterov's look ahead.
        options: of AdamW.
    """

    def __init__(self, params: Any, momentum: float = 0.95, **options: Any) -> None:
        super().__init__(params, **options)
        for group in self.param_groups:
            group.setdefault("muon", False)
            group.setdefault("momentum", momentum)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One step; the closure computes loss and gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["muon"]:
                for matrix in group["params"]:
                    if matrix.grad is not None:
                        self._move(matrix, matrix.grad, group)
                        matrix.grad = None  # AdamW leaves alone what has no gradient
        super().step()
        return loss

    def _move(self, matrix: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[matrix]
        if not state:
            state["average"] = torch.zeros_like(matrix)
            state["step"] = torch.tensor(0.0)  # which AdamW looks for in every state it loads
        average = state["average"].lerp_(gradient, 1 - group["momentum"])
        ahead = torch.lerp(gradient, average, group["momentum"])
        columns = matrix.shape[1]
        parts = torch.split(ahead, columns) if matrix.shape[0] == 3 * columns else (ahead,)
        update = torch.cat([orthogonalise(part) * RMS * max(part.shape) ** 0.5 for part in parts])
        matrix.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])


def orthogonalise(x: Tensor) -> Tensor:
    """The matrix ``[m, n]`` with the singular vectors of x and singular values near 1, by Newton-Schulz iteration."""
    wide = x if x.shape[0] <= x.shape[1] else x.T
    wide = wide / (wide.norm() + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide if x.shape[0] <= x.shape[1] else wide.T
