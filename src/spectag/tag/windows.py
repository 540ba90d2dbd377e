"""Slices of a long fbank, and how their scores become one: pure arithmetic, no network, no seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectag.audio.fbank import FLOOR
from spectag.errors import InputError

FLOOR_MARGIN = 0.05  # nepers: dither of the last bit is not sound


def default_hop(frames: int) -> int:
    """Distance of neighbouring windows in frames: half a window, so that each sound lies well inside one."""
    return max(1, frames // 2)


def windows(pieces: Iterable[Tensor], frames: int, hop: int | None = None) -> Iterator[Tensor]:
    """Cut a stream of fbank pieces into windows, holding about one window and one piece.

    They start at multiples of hop, but the last one ends with the clip: ``1 + ceil((total - frames) / hop)`` windows
    cover every frame and none reaches past the end. A clip no longer than a window has one.

    Args:
        pieces: consecutive ``[t, F]``, of any lengths; their lengths do not change the result.
        frames: frames of a window, at least 1.
        hop: frames from window to window, 1 to frames; None is :func:`default_hop`.

    Yields:
        ``[frames, F]``; of a clip shorter than a window its one ``[t, F]``, which
        :func:`spectag.audio.fbank.fit` pads. Nothing when there are no pieces.

    Raises:
        InputError: frames or hop out of range.
    """
    if frames < 1:
        raise InputError(f"windows: frames must be at least 1; got {frames}")
    hop = default_hop(frames) if hop is None else hop
    if not 1 <= hop <= frames:
        raise InputError(f"windows: hop must be 1 to {frames} frames (more would leave gaps); got {hop}")
    held: Tensor | None = None  # the fbank from the start of the newest window on
    step = 0  # frames from there to the next window: 0 before the first
    for piece in pieces:
        held = piece if held is None else torch.cat([held, piece])
        while len(held) >= step + frames:
            held = held[step:]
            yield held[:frames]
            step = hop
    if held is None:
        return
    if step == 0:
        yield held
    elif len(held) > frames:
        yield held[-frames:]


def sound(window: Tensor, frames: int) -> float:
    """How much of a window of so many frames is sound, 0..1: the share of its fbank ``[t, F]`` above the floor.

    Digital silence lies at the floor, and so does what a codec or a low-pass took away; padding counts as silence.
    """
    above = (window > math.log(FLOOR) + FLOOR_MARGIN).sum()
    return float(above) / (frames * window.shape[1])


def merge(scores: Iterable[NDArray[np.float32]], weights: Iterable[float]) -> NDArray[np.float32]:
    """The mean of the scores (or features) ``[C]`` of all windows of a clip, each weighing as much as it holds sound.

    Digital silence says nothing of what is heard in the clip; where there is nothing else, all windows weigh the same.

    Args:
        scores: one row per window.
        weights: one :func:`sound` per window.

    Raises:
        InputError: there are no windows.
    """
    weighted: NDArray[np.float64] | None = None
    plain: NDArray[np.float64] | None = None
    weight_sum, count = 0.0, 0
    for row, weight in zip(scores, weights, strict=True):
        exact = row.astype(np.float64)
        weighted = exact * weight if weighted is None else weighted + exact * weight
        plain = exact if plain is None else plain + exact
        weight_sum, count = weight_sum + weight, count + 1
    if weighted is None or plain is None:
        raise InputError("merge: expected the scores of at least one window, got none")
    return (weighted / weight_sum if weight_sum > 0 else plain / count).astype(np.float32)
