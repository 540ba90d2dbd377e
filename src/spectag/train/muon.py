"""Muon: AdamW, but the encoder's weight matrices move by orthogonalised momentum.

Jordan et al. 2024, with the step size of Liu et al. 2025 (section 2.2), so that learning rates of AdamW carry over.
``torch.optim.Muon`` always iterates in bf16, which most CPUs emulate at a fraction of their speed, one matrix at a
time, and takes no other parameters beside the matrices; hence this one.
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
        precision: in which the matrices are orthogonalised.
        options: of AdamW.
    """

    def __init__(
        self, params: Any, momentum: float = 0.95, precision: torch.dtype = torch.float32, **options: Any
    ) -> None:
        super().__init__(params, **options)
        self.defaults["precision"] = precision  # where copies keep it
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
                self._move([matrix for matrix in group["params"] if matrix.grad is not None], group)
        super().step()
        return loss

    def _move(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        """One step of some matrices; those of one shape together, for speed."""
        alike: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
        for matrix in matrices:
            rows, columns = matrix.shape
            parts = 3 if rows == 3 * columns else 1
            for part, ahead in zip(matrix.chunk(parts), self._ahead(matrix, group).chunk(parts), strict=True):
                alike.setdefault(tuple(part.shape), []).append((part, ahead))
            matrix.grad = None  # AdamW leaves alone what has no gradient
        for shape, pairs in alike.items():
            updates = orthogonalise(torch.stack([ahead for _, ahead in pairs]), self.defaults["precision"])
            for (part, _), update in zip(pairs, updates, strict=True):
                part.mul_(1 - group["lr"] * group["weight_decay"])
                part.sub_(update, alpha=group["lr"] * RMS * max(shape) ** 0.5)

    def _ahead(self, matrix: Tensor, group: dict[str, Any]) -> Tensor:
        """The gradient's moving average, brought up to date and looking ahead."""
        assert matrix.grad is not None
        state = self.state[matrix]
        if not state:
            state["average"] = torch.zeros_like(matrix)
            state["step"] = torch.tensor(0.0)  # which AdamW looks for in every state it loads
        average: Tensor = state["average"].lerp_(matrix.grad, 1 - group["momentum"])
        return torch.lerp(matrix.grad, average, group["momentum"])


def orthogonalise(x: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
    """The matrices ``[..., m, n]`` with the singular vectors of x and singular values near 1 (Newton-Schulz iteration).

    Args:
        precision: of the iteration; in bf16 directions of tiny singular values become noise.
    """
    y: Tensor = (x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)).to(precision).reshape(-1, *x.shape[-2:])
    tall = y.shape[1] > y.shape[2]
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = y.mT @ y if tall else y @ y.mT  # of the shorter side
        odd = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        y = torch.baddbmm(y, y, odd, beta=a) if tall else torch.baddbmm(y, odd, y, beta=a)
    return y.to(x.dtype).reshape(x.shape)
