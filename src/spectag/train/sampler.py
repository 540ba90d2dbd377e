"""The order in which an epoch draws the clips, and the share of each process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from spectag.train.rng import Rng, make_rng


class Draw(NamedTuple):
    """The index of a training clip, and the seed of the random numbers of its example.

    >>> next(iter(EpochSampler(clips=1, seed=0))).clip
    0
    """

    clip: int
    seed: int


class EpochSampler(Sampler[Draw]):
    """The draws of one epoch. They depend only on the run's seed and the epoch.

    Every process makes the same list and takes every Nth draw of it, where N is the number of processes. Together they
    therefore draw the same clips in each step as a single process. If the number of clips is not a multiple of N, the
    last draws of the epoch are left out.

    Args:
        clips: number of clips.
        seed: of the run.
        weights: ``[clips]``, any scale; as many clips are drawn with replacement, by weight. None: each clip once.
        rank: number of this process, from 0.
        world: number of processes.
        order: makes an order of the clips from a generator, for data sets that are faster to read in a certain order.
            None: a random order.

    >>> sorted(draw.clip for draw in EpochSampler(clips=3, seed=0))
    [0, 1, 2]
    """

    def __init__(
        self,
        clips: int,
        seed: int,
        weights: NDArray[np.float64] | None = None,
        rank: int = 0,
        world: int = 1,
        order: Callable[[Rng], Sequence[int]] | None = None,
    ) -> None:
        self.clips = clips
        self.seed = seed
        self.shares = None if weights is None else weights / weights.sum()
        self.rank = rank
        self.world = world
        self.order = order
        self.epoch = 0
        self.skip = 0

    def start_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the epoch of the next iteration.

        Args:
            epoch: from 0.
            skip: number of draws that this process made before the run was resumed. They are left out.
        """
        self.epoch, self.skip = epoch, skip

    def __len__(self) -> int:
        return self.clips // self.world

    def __iter__(self) -> Iterator[Draw]:
        rng = make_rng(self.seed, self.epoch)
        if self.shares is not None:
            order = rng.choice(self.clips, self.clips, p=self.shares)
        elif self.order is not None:
            order = np.array(self.order(rng))
        else:
            order = rng.permutation(self.clips)
        seeds = rng.integers(2**62, size=self.clips)
        own = range(self.rank, len(self) * self.world, self.world)[self.skip :]
        return (Draw(int(order[i]), int(seeds[i])) for i in own)


def compute_clip_weights(targets: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the weight by which balanced sampling draws each clip (released code).

    A clip weighs the sum of ``1000 / (clips of the label + 0.01)`` over its labels. Clips without a label count as one
    more class; the released code would never draw them.

    Args:
        targets: ``[clips, C]``, 0 or 1.

    Returns:
        ``[clips]``.

    >>> compute_clip_weights(np.array([[1, 0], [1, 0], [0, 1]], np.float32)).round()
    array([498., 498., 990.])
    """
    weights: NDArray[np.float64] = targets @ (1000 / (targets.sum(0, dtype=np.float64) + 0.01))
    negative = ~targets.any(1)
    return np.where(negative, 1000 / (negative.sum() + 0.01), weights)
