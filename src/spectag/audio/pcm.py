"""Integer PCM as floats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def full_scale(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Convert integer PCM to float32 with full scale 1.0; floats only change their type.

    Signed PCM is divided by ``2 ** (bits - 1)``. Unsigned PCM is centred on half its range first.

    >>> full_scale(np.array([-128, 0, 64], np.int8))
    array([-1. ,  0. ,  0.5], dtype=float32)
    >>> full_scale(np.array([0, 128, 192], np.uint8))
    array([-1. ,  0. ,  0.5], dtype=float32)
    """
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # values too large for float32 become infinite, which is reported later
            return samples.astype(np.float32, copy=False)
    half = 2.0 ** (8 * samples.dtype.itemsize - 1)
    return ((samples - half if samples.dtype.kind == "u" else samples) / half).astype(np.float32)
