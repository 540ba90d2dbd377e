"""Muon: AdamW, except that the encoder's weight matrices are updated by orthogonalised momentum.

Jordan et al. 2024, with the step size of Liu et al. 2025 (section 2.2), so that learning rates of AdamW carry over.
``torch.optim.Muon`` takes no parameters other than matrices, orthogonalises one matrix at a time, and always in bf16,
which most CPUs emulate slowly. This one handles all parameters of a network and all matrices of one shape together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

ITERATIONS = 5  # of Newton-Schulz: singular values end between about 0.7 and 1.2
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of its quintic, tuned by Jordan et al. for a steep start
RMS = 0.2  # root mean square of an update's entries, as is usual for AdamW


class Muon(torch.optim.AdamW):
    """AdamW, with parameter groups that Muon updates instead.

    A group with ``"muon": True`` holds matrices ``[rows, columns]``. Its ``"stacked"`` is a list parallel to its
    ``"params"``: the number of matrices that are stacked along the rows of each parameter, such as 3 for queries, keys
    and values. Each of them is orthogonalised on its own. Without the list, all numbers are 1.

    Args:
        params: parameter groups.
        momentum: decay of the gradient's moving average, 0..1, applied with Nesterov's look-ahead.
        precision: in which the matrices are orthogonalised.
        options: of AdamW.

    >>> weight = torch.nn.Parameter(torch.zeros(2, 2))
    >>> weight.grad = torch.eye(2)
    >>> Muon([{"params": [weight], "muon": True}], lr=0.1).step()
    >>> bool(-0.035 < weight[0, 0] < -0.02)  # -0.1 * 0.2 * sqrt(2), times a singular value near 1
    True
    """

    def __init__(
        self, params: Any, momentum: float = 0.95, precision: torch.dtype = torch.float32, **options: Any
    ) -> None:
        super().__init__(params, **options)
        self.defaults["precision"] = precision  # torch copies the defaults when it copies or pickles an optimiser
        for group in self.param_groups:
            group.setdefault("muon", False)
            group.setdefault("momentum", momentum)
            group.setdefault("stacked", [1] * len(group["params"]))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state. ``"stacked"`` keeps its present value, since older states do not contain it."""
        stacked = [group["stacked"] for group in self.param_groups]
        super().load_state_dict(state_dict)
        for group, numbers in zip(self.param_groups, stacked, strict=True):
            group["stacked"] = numbers

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Update all parameters that have a gradient. The closure, if any, computes the gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["muon"]:
                self._move(group)
        super().step()
        return loss

    def _move(self, group: dict[str, Any]) -> None:
        """Update the matrices of a group. Matrices of one shape are updated together, which is faster."""
        by_shape: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}  # matrices and their directions
        for stack, number in zip(group["params"], group["stacked"], strict=True):
            if stack.grad is None:
                continue
            directions = self._direction(stack, group).chunk(number)
            for matrix, direction in zip(stack.chunk(number), directions, strict=True):
                by_shape.setdefault(tuple(matrix.shape), []).append((matrix, direction))
            stack.grad = None  # AdamW leaves parameters without a gradient alone
        for shape, pairs in by_shape.items():
            updates = orthogonalise(torch.stack([direction for _, direction in pairs]), self.defaults["precision"])
            for (matrix, _), update in zip(pairs, updates, strict=True):
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.sub_(update, alpha=group["lr"] * RMS * max(shape) ** 0.5)

    def _direction(self, stack: Tensor, group: dict[str, Any]) -> Tensor:
        """Update the moving average of the gradient, and return the look-ahead direction."""
        assert stack.grad is not None
        state = self.state[stack]
        if not state:
            state["average"] = torch.zeros_like(stack)
            state["step"] = torch.tensor(0.0)  # AdamW expects it in every state that it loads
        average: Tensor = state["average"].lerp_(stack.grad, 1 - group["momentum"])
        return torch.lerp(stack.grad, average, group["momentum"])


def orthogonalise(x: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
    """Make all singular values of matrices about 1, by Newton-Schulz iteration. The singular vectors stay.

    Every iteration replaces each singular value s by ``a s + b s^3 + c s^5``, see :data:`COEFFICIENTS`; the first one
    begins with the matrix divided by its Frobenius norm.

    Args:
        x: ``[..., m, n]``.
        precision: of the iteration; in bf16 the directions of tiny singular values become noise.

    Returns:
        ``[..., m, n]``, in the precision of ``x``.

    >>> orthogonalise(torch.diag(torch.tensor([3.0, -2.0]))).sign()
    tensor([[ 1.,  0.],
            [ 0., -1.]])
    """
    y: Tensor = (x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)).to(precision).reshape(-1, *x.shape[-2:])
    tall = y.shape[1] > y.shape[2]
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = y.mT @ y if tall else y @ y.mT  # the smaller of the two products
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)  # b gram + c gram^2
        y = torch.baddbmm(y, y, polynomial, beta=a) if tall else torch.baddbmm(y, polynomial, y, beta=a)
    return y.to(x.dtype).reshape(x.shape)
