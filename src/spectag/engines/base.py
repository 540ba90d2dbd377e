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


class FrameEngine(Engine, Protocol):
    """An engine that also tells when each label is heard.

    The method is optional: an engine without it is an :class:`Engine` all the same. Only a model with a frame head has
    frame scores; its ``card.frame_step`` is then not None.

    >>> class Undecided:
    ...     def scores(self, inputs):
    ...         return np.full((len(inputs), 2), 0.5, np.float32)
    ...
    ...     def embed(self, inputs):
    ...         return np.zeros((len(inputs), 8), np.float32)
    ...
    ...     def score_frames(self, inputs):
    ...         return self.scores(inputs), np.full((len(inputs), 102, 2), 0.5, np.float32)
    >>> engine: FrameEngine = Undecided()
    >>> clips, frames = engine.score_frames(torch.zeros(3, 1024, 128))
    """

    def score_frames(self, inputs: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Inputs ``[B, T, F]`` -> scores ``[B, C]`` as those of ``scores``, and scores of n frames ``[B, n, C]``, 0..1.

        Frame ``k`` is about the inputs from ``k * stride`` to ``k * stride + patch`` along time (fields of
        ``card.config``). Its scores are sigmoids: several labels or none may be heard at a time.

        Raises:
            InputError: the model has no frame scores.
        """
        ...


class FeatureEngine(Engine, Protocol):
    """An engine that gives scores and features in one pass, which a model that says ``unknown`` needs.

    The method is optional, like that of :class:`FrameEngine`.

    >>> class Undecided:
    ...     def scores(self, inputs):
    ...         return np.full((len(inputs), 2), 0.5, np.float32)
    ...
    ...     def embed(self, inputs):
    ...         return np.zeros((len(inputs), 8), np.float32)
    ...
    ...     def score_features(self, inputs, frames=False):
    ...         return self.scores(inputs), self.embed(inputs)
    >>> engine: FeatureEngine = Undecided()
    >>> scores, features = engine.score_features(torch.zeros(3, 1024, 128))
    """

    def score_features(self, inputs: Tensor, frames: bool = False) -> tuple[NDArray[np.float32], ...]:
        """Inputs ``[B, T, F]`` -> scores ``[B, C]`` and features ``[B, D]``, as ``scores`` and ``embed`` return them.

        Args:
            inputs: see the class.
            frames: add the scores of frames ``[B, n, C]``, as :meth:`FrameEngine.score_frames` returns them.

        Raises:
            InputError: frames are asked for, and the model has no frame scores.
        """
        ...
