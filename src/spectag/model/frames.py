"""From the scores of frames to the score of a clip. Training and tagging share it; it needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1e-7  # sum of scores that is divided by at least, so that silence throughout gives 0

Array = TypeVar("Array", NDArray[np.float32], "Tensor")


def pool_frames(scores: Array, weights: Array | None = None) -> Array:
    """Pool the scores of frames into those of a clip by linear softmax: ``sum(w p^2) / sum(w p)`` over the frames.

    Every frame counts in proportion to its own score. A label that is heard for a moment therefore keeps a high score,
    and the gradient is positive for frames above half of the clip's score and negative for those below, which separates
    the two (Wang, Li and Metze 2019, "A comparison of five multiple instance learning pooling functions for sound event
    detection with weak labeling").

    Args:
        scores: ``[..., n, C]``, 0..1; an array or a tensor.
        weights: of the frames, ``[..., n]``, 0 for frames that do not count; None for 1 everywhere.

    Returns:
        ``[..., C]``, 0..1.

    >>> pool_frames(np.float32([[0.9], [0.1], [0.0]])).round(2)
    array([0.82], dtype=float32)
    """
    weighted: Any = scores if weights is None else scores * weights[..., None]
    pooled: Array = (weighted * scores).sum(-2) / weighted.sum(-2).clip(min=SMALLEST)
    return pooled
