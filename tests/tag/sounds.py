"""Samples for the tests of this folder, and where their windows should start."""

import numpy as np

FRAMES = 50  # of the network's window


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def starts(total: int, frames: int, hop: int | None = None) -> list[int]:
    """First frame of every window: multiples of hop (by default half a window), the last window ends with the clip."""
    last = max(0, total - frames)
    return [*range(0, last, hop or frames // 2), last]
