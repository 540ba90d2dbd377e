"""An engine that gives a window the same scores whatever is beside it in its batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag.engines.base import Engine

if TYPE_CHECKING:
    from torch import Tensor

Rows: TypeAlias = "tuple[NDArray[np.float32], ...]"  # [B, ...] each

_OPTIONAL = ("score_frames", "score_features")


class PaddedEngine:
    """Fills up batches with zeros to one size.

    Matrix products of another size may use another kernel, and scores then differ by about 1e-7, which rounding to 6
    decimals shows now and then. In batches of one size, on one machine and with one number of threads, they do not. A
    job that was killed has other batches when it is resumed, but the same scores.

    Args:
        engine: what runs the network.
        size: of all batches, in windows.
        frames: of a whole window. Shorter ones, of recordings of which there are few of one length, are computed one by
            one. None to fill up their batches, too.

    >>> engine = PaddedEngine(spectag.make_engine(spectag.load("esc10")), size=4)
    >>> inputs = torch.rand(6, 256, 128)
    >>> np.array_equal(engine.scores(inputs[:1]), engine.scores(inputs)[:1])
    True
    """

    def __init__(self, engine: Engine, size: int, frames: int | None = None) -> None:
        self.engine = engine
        self.size = size
        self.frames = frames

    def scores(self, inputs: Tensor) -> NDArray[np.float32]:
        """Inputs ``[B, T, F]`` -> scores ``[B, C]``, in batches of one size."""
        return np.concatenate([self.engine.scores(batch)[:rows] for batch, rows in self._batches(inputs)])

    def embed(self, inputs: Tensor) -> NDArray[np.float32]:
        """Inputs ``[B, T, F]`` -> features ``[B, D]``, in batches of one size."""
        return np.concatenate([self.engine.embed(batch)[:rows] for batch, rows in self._batches(inputs)])

    def __getattr__(self, name: str) -> Any:
        """The optional methods of engines, if the engine has them."""
        if name not in _OPTIONAL:
            raise AttributeError(name)
        return partial(self._run, getattr(self.engine, name))

    def _run(self, method: Callable[..., Rows], inputs: Tensor, **options: bool) -> Rows:
        parts = [[array[:rows] for array in method(batch, **options)] for batch, rows in self._batches(inputs)]
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))

    def _batches(self, inputs: Tensor) -> list[tuple[Tensor, int]]:
        """Batches of one size, and how many rows of each are asked for."""
        size = self.size if self.frames in (None, inputs.shape[1]) else 1
        parts = [inputs[start : start + size] for start in range(0, len(inputs), size)]
        return [(_filled(part, size), len(part)) for part in parts]


def _filled(inputs: Tensor, size: int) -> Tensor:
    if len(inputs) == size:
        return inputs
    batch = inputs.new_zeros(size, *inputs.shape[1:])
    batch[: len(inputs)] = inputs
    return batch
