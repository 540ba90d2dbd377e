"""The protocol that every engine follows, whatever library runs the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


class Engine(Protocol):
    """Runs a network on inputs ``[B, T, F]`` (normalised, float32) and returns arrays on the CPU.

    Anything with these two methods is an engine:

    >>> class Undecided:
    ...     def scores(self, inputs):
    ...         return np.full((len(inputs), 2), 0.5, np.float32)
    ...
    ...     def embed(self, inputs):
    ...         return np.zeros((len(inputs), 8), np.float32)
    >>> engine: Engine = Undecided()
    >>> engine.scores(torch.zeros(3, 1024, 128)).shape
    (3, 2)
    """

    def scores(self, inputs: Tensor) -> NDArray[np.float32]:
        """Inputs ``[B, T, F]`` -> scores ``[B, C]``, 0..1, after the model's own activation."""
        ...

    def embed(self, inputs: Tensor) -> NDArray[np.float32]:
        """Inputs ``[B, T, F]`` -> features ``[B, D]``."""
        ...
