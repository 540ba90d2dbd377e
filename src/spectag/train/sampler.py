"""Which clips an epoch draws, in which order, and which of several processes gets which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from spectag.train import augment


class Draw(NamedTuple):
    """Which clip comes next, and the seed of everything that is random about it."""

    clip: int
    seed: int


class EpochSampler(Sampler[Draw]):
    """The draws of one epoch, a function of seed and epoch alone; of several processes each takes every so-manieth.

    Lightning calls ``set_epoch``. Every process makes the same list and takes its own part of it, so that the union is
    what one process would draw, step by step. A remainder that does not go round is left out, another one each epoch.

    Args:
        clips: how many there are.
        seed: of the run.
        weights: of the clips ``[clips]``, any scale; as many are drawn, with replacement. None: each once per epoch.
        rank, world: which process of how many.
        order: from a generator to an order of the clips, for those that are better read near one another; default: any.
    """

    def __init__(
        self,
        clips: int,
        seed: int,
        weights: NDArray[np.float64] | None = None,
        rank: int = 0,
        world: int = 1,
        order: Callable[[augment.Rng], Sequence[int]] | None = None,
    ) -> None:
        self.clips, self.seed = clips, seed
        self.shares = None if weights is None else weights / weights.sum()
        self.rank, self.world = rank, world
        self.order = order
        self.epoch = 0
        self.begun = (-1, 0)  # an epoch, and how many of this process's draws an earlier sitting took of it

    def set_epoch(self, epoch: int) -> None:
        """Choose which epoch's order the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.clips // self.world

    def __iter__(self) -> Iterator[Draw]:
        rng = augment.rng(self.seed, self.epoch)
        if self.shares is not None:
            order = rng.choice(self.clips, self.clips, p=self.shares)
        else:
            order = rng.permutation(self.clips) if self.order is None else np.array(self.order(rng))
        seeds = rng.integers(2**62, size=self.clips)
        mine = slice(self.rank, len(self) * self.world, self.world)
        skip = self.begun[1] if self.begun[0] == self.epoch else 0
        draws = zip(order[mine][skip:], seeds[mine][skip:], strict=True)
        return (Draw(int(clip), int(seed)) for clip, seed in draws)


def balancing_weights(targets: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sampling weight of each clip ``[clips]``: the sum of ``1000 / (clips of the label + 0.01)`` over its labels.

    Args:
        targets: ``[clips, C]``, 0 or 1.
    """
    weights: NDArray[np.float64] = targets @ (1000 / (targets.sum(0, dtype=np.float64) + 0.01))
    return weights
