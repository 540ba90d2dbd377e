"""Scores over time: what overlapping windows say about each moment, added up so that no window shows its edges.

Each window has scores for itself, or frame scores ``[n, C]`` where the model has a frame head. A moment gets the mean
of what the windows around it say, weighted by a triangle: a window says little about its edges, where sounds are cut
off, and most about its middle. The weights change smoothly, so there are no seams.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from typing import IO, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from spectag.audio.fbank import FLOOR
from spectag.audio.front_end import FRAMES_PER_SECOND
from spectag.audio.read import Recording
from spectag.errors import SaveError, reason
from spectag.model.card import Card
from spectag.tag.results import Timeline
from spectag.tag.windows import FLOOR_MARGIN, Window

Clip = TypeVar("Clip")
Finish = Callable[[Recording, "NDArray[np.float32]", Timeline], Clip]

_IN_MEMORY = 2**24  # bytes of a timeline that stay in memory; more go to a temporary file
_LEAST = 1e-3  # weight of a window's edge, so that the ends of a recording count


class OverlapAdd(Generic[Clip]):
    """Collects the windows of a recording into its scores and its timeline (:class:`spectag.tag.stream.Collector`).

    Args:
        card: of the model.
        step: frames from one row of the timeline to the next, at least 1.
        finish: makes the result of the recording, its scores ``[C]`` and its timeline.

    >>> collector = OverlapAdd(spectag.load("esc10").card, 128, lambda recording, scores, timeline: timeline)
    >>> spectag.Tagger("esc10").collect(np.zeros(160_000, np.float32), collector).scores.shape
    (8, 10)
    """

    def __init__(self, card: Card, step: int, finish: Finish[Clip]) -> None:
        self._labels = card.labels.names
        self._frames = card.front_end.frames
        self._start, self._stride = card.config.frame_start, card.config.stride[1]
        self._step, self._finish = step, finish
        self._rows = _Rows(len(self._labels))
        self._sum = np.zeros((0, len(self._labels)))  # of rows that may change yet
        self._weight, self._heard = np.zeros(0), np.zeros(0, bool)
        self._clip = np.zeros((2, len(self._labels)))  # sums of the windows' scores: weighted by their sound, and not
        self._sound, self._windows = 0.0, 0

    def add(self, window: Window, *rows: NDArray[np.float32]) -> None:
        """Add a window and its scores ``[C]``, and its frame scores ``[n, C]`` if there are any."""
        self._clip += np.outer([window.sound, 1], rows[0].astype(np.float64))
        self._sound, self._windows = self._sound + window.sound, self._windows + 1
        first = math.ceil(window.start / self._step - 0.5)  # rows whose middle lies in the window
        last = math.ceil((window.start + self._frames) / self._step - 0.5)
        self._settle(first)
        new = last - self._rows.count - len(self._sum)
        if new > 0:
            self._sum = np.concatenate([self._sum, np.zeros((new, self._sum.shape[1]))])
            self._weight = np.concatenate([self._weight, np.zeros(new)])
            self._heard = np.concatenate([self._heard, np.zeros(new, bool)])
        places = (
            np.arange(first, last, dtype=np.float64) + 0.5
        ) * self._step - window.start  # frames within the window
        here = slice(first - self._rows.count, last - self._rows.count)
        weights = (1 - np.abs(places / self._frames * 2 - 1)).clip(_LEAST) * window.sound
        self._sum[here] += weights[:, None] * self._at(rows[-1], places)
        self._weight[here] += weights
        above = (window.fbank.numpy() > math.log(FLOOR) + FLOOR_MARGIN).any(1)
        held = (window.start + np.flatnonzero(above)) // self._step - self._rows.count
        self._heard[held[(held >= 0) & (held < len(self._heard))]] = True

    def end(self, recording: Recording) -> Clip:
        # As spectag.tag.windows.weighted_mean, which needs the scores of all windows at once.
        mean = self._clip[0] / self._sound if self._sound else self._clip[1] / self._windows
        self._settle(self._rows.count + len(self._sum))
        timeline = Timeline(self._labels, self._step / FRAMES_PER_SECOND, self._rows.array(self._count(recording)))
        return self._finish(recording, mean.astype(np.float32), timeline)

    def take(self, recording: Recording | None = None) -> NDArray[np.float32]:
        """Take the rows that have become final, and forget them: for sound that does not end.

        Args:
            recording: complete; None while it goes on.
        """
        if recording is not None:
            self._settle(self._rows.count + len(self._sum))
        return self._rows.take(None if recording is None else self._count(recording))

    def _count(self, recording: Recording) -> int:
        return max(1, math.ceil(round(recording.seconds * FRAMES_PER_SECOND / self._step, 6)))

    def _at(self, rows: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float32]:
        """Scores ``[C]`` or ``[n, C]`` of a window at places in it, in frames, by linear interpolation."""
        if rows.ndim == 1:
            return rows[None]
        at = ((places - self._start) / self._stride - 0.5).clip(0, len(rows) - 1)  # 0 in the middle of the first
        low = np.minimum(at.astype(int), max(0, len(rows) - 2))
        high = np.minimum(low + 1, len(rows) - 1)
        share = (at - low).astype(np.float32)[:, None]
        between: NDArray[np.float32] = rows[low] * (1 - share) + rows[high] * share
        return between

    def _settle(self, row: int) -> None:
        """Rows in front of this one do not change any more. Digital silence has scores of 0."""
        count = min(max(0, row - self._rows.count), len(self._sum))
        if not count:
            return
        weight = self._weight[:count, None]
        rows = np.where(weight > 0, self._sum[:count] / np.where(weight > 0, weight, 1), 0.0)
        self._rows.append((rows * self._heard[:count, None]).astype(np.float32))
        self._sum, self._weight, self._heard = self._sum[count:], self._weight[count:], self._heard[count:]


class _Rows:
    """Rows that were settled: in memory, or in a temporary file where there are many."""

    def __init__(self, columns: int) -> None:
        self.count = 0
        self._columns = columns
        self._held: list[NDArray[np.float32]] = []
        self._last = np.zeros((1, columns), np.float32)
        self._size = 0
        self._file: IO[bytes] | None = None

    def append(self, rows: NDArray[np.float32]) -> None:
        self._held.append(rows)
        self._last = rows[-1:]
        self.count += len(rows)
        self._size += rows.nbytes
        if self._size > _IN_MEMORY:
            self._write()

    def take(self, count: int | None) -> NDArray[np.float32]:
        """The rows that were not taken yet, up to row ``count`` of all."""
        first = self.count - sum(map(len, self._held))
        rows = np.concatenate([np.zeros((0, self._columns), np.float32), *self._held])
        self._held, self._size = [], 0
        return rows if count is None else rows[: max(0, count - first)]

    def _write(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it outlives this call
            for rows in self._held:
                self._file.write(rows.data)
            self._file.flush()
        except OSError as error:
            raise SaveError(
                f"scores over time need a temporary file, which cannot be written: {reason(error)}: free some space, "
                "or name another folder in the environment variable TMPDIR"
            ) from error
        self._held, self._size = [], 0

    def array(self, count: int) -> NDArray[np.float32]:
        """All rows, cut to ``count``, or continued by the last one, which is about less than a row."""
        if count > self.count:
            self.append(np.repeat(self._last, count - self.count, axis=0))
        if self._file is None:
            return np.concatenate(self._held)[:count]
        self._write()
        return np.memmap(self._file, np.float32, "r", shape=(self.count, self._columns))[:count]
