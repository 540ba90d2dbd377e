"""What the engines that run a graph have in common, whatever library runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag.engines.names import EMBEDDING, FRAME_SCORES, SCORES
from spectag.errors import InputError
from spectag.model.card import Card

if TYPE_CHECKING:
    from torch import Tensor

Arrays: TypeAlias = "Mapping[str, NDArray[np.float32]]"  # by the names of the graph's outputs


class GraphEngine(ABC):
    """Runs the graph of a model (:mod:`spectag.engines.graph`). A subclass says how, in ``run``.

    One run of the graph gives scores, features and frame scores.

    Args:
        card: of the model.

    >>> class Undecided(GraphEngine):
    ...     def run(self, inputs):
    ...         return {"scores": np.full((len(inputs), 10), 0.1, np.float32)}
    >>> Undecided(spectag.load("esc10").card).scores(torch.zeros(2, 256, 128)).shape
    (2, 10)
    """

    def __init__(self, card: Card) -> None:
        self.card = card

    @abstractmethod
    def run(self, inputs: NDArray[np.float32]) -> Arrays:
        """Inputs ``[B, T, F]`` -> the outputs of the graph."""

    def scores(self, inputs: Tensor) -> NDArray[np.float32]:
        """Inputs ``[B, T, F]`` -> scores ``[B, C]``, see :class:`spectag.engines.base.Engine`."""
        return self._run(inputs)[SCORES]

    def embed(self, inputs: Tensor) -> NDArray[np.float32]:
        """Inputs ``[B, T, F]`` -> features ``[B, D]``, see :class:`spectag.engines.base.Engine`."""
        return self._run(inputs)[EMBEDDING]

    def score_frames(self, inputs: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Inputs ``[B, T, F]`` -> scores ``[B, C]``, ``[B, n, C]``, see :class:`spectag.engines.base.FrameEngine`."""
        self._require_frames()
        arrays = self._run(inputs)
        return arrays[SCORES], arrays[FRAME_SCORES]

    def score_features(self, inputs: Tensor, frames: bool = False) -> tuple[NDArray[np.float32], ...]:
        """Inputs -> scores, features, and frame scores, see :class:`spectag.engines.base.FeatureEngine`."""
        if frames:
            self._require_frames()
        arrays = self._run(inputs)
        return arrays[SCORES], arrays[EMBEDDING], *([arrays[FRAME_SCORES]] if frames else [])

    def _run(self, inputs: Tensor) -> Arrays:
        bins = self.card.config.mel_bins
        if inputs.ndim != 3 or inputs.shape[2] != bins or not len(inputs):
            raise InputError(f"expected inputs [B, T, {bins}] with B of at least 1, got {list(inputs.shape)}")
        self.card.config.grid_for(inputs.shape[1])  # raises where T is shorter than a patch
        return self.run(inputs.detach().float().cpu().contiguous().numpy())

    def _require_frames(self) -> None:
        if not self.card.config.frame_head:
            raise InputError("the network has no frame head: train it with model.frames=true")
