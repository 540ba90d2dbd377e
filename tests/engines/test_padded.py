"""Windows get the same scores whatever is beside them, and whatever their number is."""

import numpy as np
import pytest
import torch

from spectag.audio.front_end import FrontEnd
from spectag.engines.factory import make_engine
from spectag.engines.padded import PaddedEngine
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.config import ASTConfig
from spectag.model.network import AST


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """As wide as the published models: at this width, batches of other sizes do have other scores."""
    torch.manual_seed(0)
    config = ASTConfig(depth=1, frames=64, labels=527, frame_head=True)
    labels = LabelSet(tuple(f"label {n}" for n in range(527)))
    return Bundle(Card(config, FrontEnd(frames=64), labels, "sigmoid"), AST(config))


def test_scores_do_not_depend_on_the_batch(bundle: Bundle) -> None:
    engine = PaddedEngine(make_engine(bundle), 8)
    inputs = torch.randn(20, 64, 128)
    scores, features, frames = engine.scores(inputs), engine.embed(inputs), engine.score_frames(inputs)[1]
    for size in (1, 3, 8, 9):
        parts = inputs.split(size)
        np.testing.assert_array_equal(np.concatenate([engine.scores(part) for part in parts]), scores)
        np.testing.assert_array_equal(np.concatenate([engine.embed(part) for part in parts]), features)
        np.testing.assert_array_equal(np.concatenate([engine.score_frames(part)[1] for part in parts]), frames)
    order = torch.randperm(20)
    np.testing.assert_array_equal(engine.scores(inputs[order]), scores[order.numpy()])
    np.testing.assert_array_equal(engine.score_frames(inputs[order])[1], frames[order.numpy()])
    np.testing.assert_allclose(scores, make_engine(bundle).scores(inputs), atol=1e-6)


def test_it_has_the_methods_of_its_engine(bundle: Bundle) -> None:
    engine = make_engine(bundle)
    padded = PaddedEngine(engine, 4)
    assert hasattr(padded, "score_frames")
    assert hasattr(padded, "score_features") == hasattr(engine, "score_features")
    scores, features, frames = padded.score_features(torch.zeros(5, 64, 128), frames=True)
    assert [len(rows) for rows in (scores, features, frames)] == [5, 5, 5]

    class Plain:
        def scores(self, inputs: torch.Tensor) -> np.ndarray:
            return np.zeros((len(inputs), 2), np.float32)

        def embed(self, inputs: torch.Tensor) -> np.ndarray:
            return np.zeros((len(inputs), 3), np.float32)

    plain = PaddedEngine(Plain(), 4)
    assert not hasattr(plain, "score_frames")
    assert not hasattr(plain, "anything")
    assert plain.scores(torch.zeros(5, 64, 128)).shape == (5, 2)
