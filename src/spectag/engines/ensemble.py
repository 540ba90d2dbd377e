"""The engine that runs several other engines and averages their scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from spectag.engines.base import Engine, FrameEngine
from spectag.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class EnsembleEngine:
    """Runs several engines, one after the other, on the same inputs.

    Args:
        engines: one or more, of any kind, with the same outputs in the same order.

    Raises:
        InputError: no engines.

    >>> engine = EnsembleEngine([spectag.make_engine(spectag.load("esc10"))] * 2)
    >>> engine.embed(torch.zeros(1, 512, 128)).shape  # 128 features of each
    (1, 256)
    """

    def __init__(self, engines: Iterable[Engine]) -> None:
        self.engines = tuple(engines)
        if not self.engines:
            raise InputError("ensemble: expected at least one engine, got none")

    def scores(self, inputs: Tensor) -> NDArray[np.float32]:
        """Inputs ``[B, T, F]`` -> the mean of the engines' scores, ``[B, C]``."""
        return _mean([engine.scores(inputs) for engine in self.engines])

    def score_frames(self, inputs: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Inputs ``[B, T, F]`` -> the means of the engines' scores, of clips ``[B, C]`` and of frames ``[B, n, C]``.

        Raises:
            InputError: not all engines have frame scores, or their frames are not the same.
        """
        if not all(hasattr(engine, "score_frames") for engine in self.engines):
            raise InputError("ensemble: not all of its engines have frame scores: use those that do")
        clips, frames = zip(*(cast("FrameEngine", engine).score_frames(inputs) for engine in self.engines), strict=True)
        if len(counts := {array.shape[1] for array in frames}) > 1:
            raise InputError(f"ensemble: expected as many frames of every engine, got {sorted(counts)}")
        return _mean(clips), _mean(frames)

    def embed(self, inputs: Tensor) -> NDArray[np.float32]:
        """Inputs ``[B, T, F]`` -> the features of all engines, concatenated, ``[B, D_0 + D_1 + ...]``.

        They are not averaged, since the same direction has a different meaning in each network.
        """
        return np.concatenate([engine.embed(inputs) for engine in self.engines], axis=1)


def _mean(scores: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = np.mean(scores, axis=0)
    return mean
