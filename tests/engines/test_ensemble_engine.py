"""The engine of several engines, whatever they are."""

import numpy as np
import pytest
import torch

from spectag.engines.ensemble import EnsembleEngine
from spectag.errors import InputError


class Constant:
    """An engine that always answers the same."""

    def __init__(self, scores: list[float], features: list[float]) -> None:
        self.answers = [np.array([values], np.float32) for values in (scores, features)]

    def scores(self, inputs: torch.Tensor) -> np.ndarray:
        return self.answers[0].repeat(len(inputs), 0)

    def embed(self, inputs: torch.Tensor) -> np.ndarray:
        return self.answers[1].repeat(len(inputs), 0)


def test_scores_are_averaged_and_features_set_side_by_side() -> None:
    engine = EnsembleEngine([Constant([0.25, 0.5], [1]), Constant([0.5, 0.0], [2, 3]), Constant([0.0, 1.0], [4])])
    inputs = torch.zeros(2, 100, 128)
    assert engine.scores(inputs).dtype == np.float32
    np.testing.assert_array_equal(engine.scores(inputs), [[0.25, 0.5]] * 2)
    np.testing.assert_array_equal(engine.embed(inputs), [[1, 2, 3, 4]] * 2)


def test_no_engines() -> None:
    with pytest.raises(InputError, match="at least one engine"):
        EnsembleEngine([])
