"""Samples for the tests of this folder."""

import numpy as np

FRAMES = 50  # of the network's window


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)
