"""What is computed for a window: its scores, the scores of its frames, and how far it is from what the model knows."""

from __future__ import annotations

from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spectag.engines.base import Engine, FeatureEngine, FrameEngine
from spectag.errors import InputError
from spectag.model.card import Card

Rows: TypeAlias = "NDArray[np.float32]"


def compute_scores(engine: Engine, card: Card, inputs: Tensor) -> tuple[Rows, ...]:
    """Inputs ``[B, T, F]`` -> scores ``[B, C]``, and distances ``[B]`` if the model tells unknown sounds.

    Raises:
        InputError: the engine's scores do not fit the card.

    >>> bundle = spectag.load("esc10")
    >>> [scores] = compute_scores(spectag.make_engine(bundle), bundle.card, torch.zeros(2, 256, 128))
    >>> scores.shape
    (2, 10)
    """
    if card.unknown is None:
        return (_checked(engine.scores(inputs), card, inputs),)
    scores, features = score_features(engine, inputs)
    return _checked(scores, card, inputs), card.unknown.measure(features)


def compute_frames(engine: Engine, card: Card, inputs: Tensor) -> tuple[Rows, ...]:
    """The same with frame scores in the second place, ``[B, n, C]``, or again the scores if there is no frame head.

    Raises:
        InputError: the model has a frame head, but its engine does not run it. Otherwise as :func:`compute_scores`.

    >>> bundle = spectag.load("esc10")
    >>> scores, moments = compute_frames(spectag.make_engine(bundle), bundle.card, torch.zeros(2, 256, 128))
    >>> moments is scores
    True
    """
    if not card.config.frame_head:
        scores, *distances = compute_scores(engine, card, inputs)
        return scores, scores, *distances
    if not hasattr(engine, "score_frames"):
        raise InputError("engine: the model has a frame head, but the engine has no method score_frames: add it")
    if card.unknown is None:
        return cast(FrameEngine, engine).score_frames(inputs)
    if hasattr(engine, "score_features"):
        scores, features, frames = cast(FeatureEngine, engine).score_features(inputs, frames=True)
    else:
        scores, frames = cast(FrameEngine, engine).score_frames(inputs)
        features = engine.embed(inputs)
    return scores, frames, card.unknown.measure(features)


def score_features(engine: Engine, inputs: Tensor) -> tuple[Rows, Rows]:
    """Inputs ``[B, T, F]`` -> scores ``[B, C]`` and features ``[B, D]``: in one pass where the engine can.

    >>> scores, features = score_features(spectag.make_engine(spectag.load("esc10")), torch.zeros(2, 256, 128))
    >>> features.shape
    (2, 128)
    """
    if not hasattr(engine, "score_features"):
        return engine.scores(inputs), engine.embed(inputs)
    scores, features = cast(FeatureEngine, engine).score_features(inputs)
    return scores, features


def _checked(scores: Rows, card: Card, inputs: Tensor) -> Rows:
    if scores.shape != (len(inputs), len(card.labels)):
        raise InputError(
            f"engine: expected scores [{len(inputs)}, {len(card.labels)}] (windows, labels), "
            f"got {list(scores.shape)}: give the model's own card or labels"
        )
    return scores
