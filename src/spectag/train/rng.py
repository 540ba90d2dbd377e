"""Random generators: one per (seed, epoch) or (seed, step), so that a run can be resumed anywhere."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Rng: TypeAlias = np.random.Generator
BatchRng: TypeAlias = "np.random.Generator | Rows"


def make_rng(*seeds: int) -> Rng:
    """Make a generator that depends only on some numbers, for example on a run's seed and an epoch.

    Args:
        seeds: numbers of at least 0. Every sequence gives its own stream, but zeros at the end make no difference.

    >>> bool(make_rng(1, 2).uniform() == make_rng(1, 2).uniform())
    True
    """
    return np.random.default_rng(seeds)


class Rows:
    """A generator for one of several processes that share a batch.

    Every process draws for the whole batch and keeps its own rows, so that together they compute what a single process
    would. The first axis of every ``size`` is the batch of this process.

    Args:
        rng: must be in the same state in all processes.
        rank: number of this process, from 0.
        world: number of processes.

    >>> whole = make_rng(0).uniform(0, 1, 6)
    >>> bool((Rows(make_rng(0), rank=1, world=3).uniform(0, 1, 2) == whole[1::3]).all())
    True
    """

    def __init__(self, rng: Rng, rank: int, world: int) -> None:
        self._rng = rng
        self._own = slice(rank, None, world)
        self._world = world

    def uniform(self, low: float, high: float, size: int | tuple[int, ...]) -> NDArray[np.float64]:
        """Draw as :meth:`numpy.random.Generator.uniform`."""
        return self._rng.uniform(low, high, self._whole(size))[self._own]

    def random(self, size: int | tuple[int, ...], dtype: Any = np.float64) -> NDArray[Any]:
        """Draw as :meth:`numpy.random.Generator.random`."""
        return np.asarray(self._rng.random(self._whole(size), dtype))[self._own]

    def integers(self, low: int, high: int, size: int | tuple[int, ...]) -> NDArray[np.int64]:
        """Draw as :meth:`numpy.random.Generator.integers`."""
        return self._rng.integers(low, high, self._whole(size))[self._own]

    def _whole(self, size: int | tuple[int, ...]) -> tuple[int, ...]:
        rows, *rest = (size,) if isinstance(size, int) else size
        return (rows * self._world, *rest)
