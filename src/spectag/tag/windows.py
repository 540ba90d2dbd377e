"""Cut a long fbank into windows, and average the scores of the windows. No network is needed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectag.audio.fbank import FLOOR
from spectag.errors import InputError

FLOOR_MARGIN = 0.05  # nepers: the dither of the last bit is not sound


@dataclass(frozen=True)
class Window:
    """A section of a recording's fbank that the network sees at once.

    Args:
        start: its first frame within the recording; a frame is 10 ms.
        fbank: ``[t, F]``, not normalised; shorter than a window only if the recording is.
        sound: how much of the window is sound, 0..1, see :func:`measure_sound`.

    >>> [window] = cut_windows([torch.zeros(50, 128)], frames=100)
    >>> window.start, window.sound
    (0, 0.5)
    """

    start: int
    fbank: Tensor
    sound: float


def default_hop(frames: int) -> int:
    """Distance of neighbouring windows in frames: half a window, so that each sound lies well inside one of them.

    >>> default_hop(1024)
    512
    """
    return max(1, frames // 2)


def cut_windows(pieces: Iterable[Tensor], frames: int, hop: int | None = None) -> Iterator[Window]:
    """Cut a stream of fbank pieces into windows, holding about one window and one piece in memory.

    Windows start at multiples of ``hop``, but the last one ends with the recording. So
    ``1 + ceil((total - frames) / hop)`` windows cover every frame, and none reaches beyond the end. A recording no
    longer than a window has one.

    Args:
        pieces: consecutive ``[t, F]``, of any lengths; the lengths do not change the result.
        frames: frames of a window, at least 1.
        hop: frames from one window to the next, 1 to ``frames``; None for :func:`default_hop`.

    Yields:
        windows in the order of time; nothing when there are no pieces. The single window of a short recording is not
        padded: see :func:`spectag.audio.fbank.pad_or_cut`.

    Raises:
        InputError: ``frames`` or ``hop`` is out of range.

    >>> [window.start for window in cut_windows([torch.zeros(250, 128)], frames=100)]
    [0, 50, 100, 150]
    """
    if frames < 1:
        raise InputError(f"windows: frames must be at least 1; got {frames}")
    hop = default_hop(frames) if hop is None else hop
    if not 1 <= hop <= frames:
        raise InputError(f"windows: hop must be 1 to {frames} frames (more would leave gaps); got {hop}")
    held: Tensor | None = None  # the fbank from the start of the newest window on
    start = 0  # of the newest window
    step = 0  # frames from there to the next window: 0 before the first
    for piece in pieces:
        held = piece if held is None else torch.cat([held, piece])
        while len(held) >= step + frames:
            held, start = held[step:], start + step
            yield _window(start, held[:frames], frames)
            step = hop
    if held is None:
        return
    if step == 0:
        yield _window(0, held, frames)
    elif len(held) > frames:
        yield _window(start + len(held) - frames, held[-frames:], frames)


def _window(start: int, fbank: Tensor, frames: int) -> Window:
    return Window(start, fbank, measure_sound(fbank, frames))


def measure_sound(fbank: Tensor, frames: int) -> float:
    """How much of a window is sound, 0..1: the fraction of its fbank ``[t, F]`` that is above the floor.

    Digital silence lies at the floor, and so do the bands that a codec or a low-pass filter removed. The padding of a
    short recording, up to ``frames``, counts as silence.

    >>> measure_sound(torch.zeros(50, 128), frames=100)
    0.5
    """
    above = (fbank > math.log(FLOOR) + FLOOR_MARGIN).sum()
    return float(above) / (frames * fbank.shape[1])


def weighted_mean(rows: NDArray[np.float32], sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the windows' scores (or features), each window weighted by how much of it is sound.

    Digital silence says nothing about the rest of a recording. If a recording is nothing but silence, all windows
    weigh the same.

    Args:
        rows: ``[W, C]``, one row per window.
        sound: ``[W]``, see :func:`measure_sound`.

    Returns:
        ``[C]`` float32, summed in float64.

    Raises:
        InputError: there are no windows.

    >>> weighted_mean(np.array([[0.0], [1.0]], np.float32), np.array([1.0, 3.0], np.float32))
    array([0.75], dtype=float32)
    """
    if not len(rows):
        raise InputError("weighted_mean: expected at least one window, got none")
    weights = sound.astype(np.float64) if sound.any() else np.ones(len(rows))
    mean: NDArray[np.float32] = (weights @ rows.astype(np.float64) / weights.sum()).astype(np.float32)
    return mean
