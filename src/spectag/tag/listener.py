"""The listener: sound while it happens in, tags and events out. It stands on the tagger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectag.audio.fbank import fbank_blocks, normalise, pad_or_cut
from spectag.audio.front_end import FRAMES_PER_SECOND
from spectag.audio.read import SAMPLE_RATE, Recording, Waveform
from spectag.choices import TOP_K
from spectag.errors import ModelError
from spectag.tag.detector import Detector
from spectag.tag.events import EventRule, find_events
from spectag.tag.results import DECIMALS, Event, Tag, Timeline
from spectag.tag.stream import NOT_FINITE
from spectag.tag.tagger import Tagger, check_choice, make_tags
from spectag.tag.timeline import OverlapAdd
from spectag.tag.windows import cut_windows

MARGIN = 1.0  # s without an event, after which nothing before it changes any more
LONGEST = 600.0  # s that an event may last; a longer one is divided, so that memory stays bounded


@dataclass(frozen=True)
class Moment:
    """What is heard at a moment.

    Args:
        time: seconds from the beginning to the end of the newest window.
        tags: of that window, in descending order of score.
        events: those that have ended since the moment before.
        unknown: whether that window is none of the sounds that the model knows; None if the model does not tell.

    >>> Moment(2.5, (Tag("Rain", 0.8),), ()).to_dict()
    {'time': 2.5, 'tags': [{'label': 'Rain', 'score': 0.8}], 'events': []}
    """

    time: float
    tags: tuple[Tag, ...]
    events: tuple[Event, ...]
    unknown: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """The object of a JSON line."""
        return {
            "time": round(self.time, DECIMALS),
            "tags": [{"label": tag.label, "score": round(tag.score, DECIMALS)} for tag in self.tags],
            **({} if self.unknown is None else {"unknown": self.unknown}),
            "events": [event.to_dict() for event in self.events],
        }


class Listener:
    """Says what is heard while it is heard.

    Args:
        tagger: what scores the windows.
        rule: how events are found.
        hop: seconds from one moment to the next; None as for :class:`spectag.Detector`.

    >>> listener = Listener(spectag.Tagger("esc10"), hop=2.0)
    >>> noise = np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32)
    >>> sorted({round(moment.time, 1) for moment in listener.listen([noise])})
    [2.6, 4.6, 6.6, 8.6, 10.0]
    """

    def __init__(self, tagger: Tagger, rule: EventRule | None = None, hop: float | None = None) -> None:
        self._detector = Detector(tagger, rule, hop)

    def listen(
        self, blocks: Iterable[Waveform], top_k: int | None = TOP_K, threshold: float | None = None
    ) -> Iterator[Moment]:
        """Listen until the sound ends.

        Args:
            blocks: pieces of the waveform, ``[n]`` float32, mono, 16 kHz, of any lengths.
            top_k, threshold: as for :meth:`spectag.Tagger.tag`.

        Yields:
            a moment for each window. The first comes when the first window is full, or the sound ends.

        Raises:
            InputError: ``top_k`` or ``threshold`` is out of its range.
            ModelError: the network returned NaN or infinite values.
        """
        check_choice(top_k, threshold)
        tagger, detector = self._detector.tagger, self._detector
        front_end = tagger.card.front_end
        recording = Recording(b"", None, "<live>")
        heard = _Counted(blocks)
        timeline = OverlapAdd(tagger.card, round(detector.step * FRAMES_PER_SECOND), lambda *_: None)
        events = _Events(tagger.labels.names, detector.step, detector.rule, detector.thresholds)
        for window in cut_windows(fbank_blocks(heard, front_end), front_end.frames, tagger.frames(detector.hop)):
            inputs = normalise(pad_or_cut(window.fbank, front_end.frames), front_end.mean, front_end.std)
            rows = [row[0] for row in tagger.compute_frames(inputs[None])]
            if not all(np.isfinite(row).all() for row in rows):
                raise ModelError(NOT_FINITE)
            timeline.add(window, *rows[:2])
            recording.silent = window.sound == 0
            recording.seconds = (window.start + len(window.fbank)) / FRAMES_PER_SECOND
            distance = float(rows[2]) if len(rows) > 2 else None
            now = make_tags(recording, tagger.card, rows[0], top_k, threshold, distance)
            yield Moment(recording.seconds, now.tags, events.add(timeline.take()), now.unknown)
        if not recording.seconds:
            return
        recording.seconds = heard.samples / SAMPLE_RATE  # with the samples behind the last frame
        if ended := events.end(timeline.take(recording), recording.seconds):
            yield Moment(recording.seconds, (), ended)


class _Counted:
    """Passes blocks on and counts their samples."""

    def __init__(self, blocks: Iterable[Waveform]) -> None:
        self._blocks = blocks
        self.samples = 0

    def __iter__(self) -> Iterator[Waveform]:
        for block in self._blocks:
            self.samples += len(block)
            yield block


class _Events:
    """Finds events in rows that come one after the other. Only what may change yet is kept."""

    def __init__(
        self, labels: tuple[str, ...], step: float, rule: EventRule, thresholds: Mapping[str, float] | None
    ) -> None:
        self._labels, self._step, self._rule, self._thresholds = labels, step, rule, thresholds
        self._rows = np.zeros((0, len(labels)), np.float32)
        self._first = 0  # number of the first row that is kept

    def add(self, rows: NDArray[np.float32]) -> tuple[Event, ...]:
        """The events that have ended for certain."""
        if not len(rows):
            return ()
        self._rows = np.concatenate([self._rows, rows])
        margin = max(1, round(max(MARGIN, 2 * self._rule.smooth, self._rule.gap + self._rule.smooth) / self._step))
        found = self._find()
        settled = (len(self._rows) - margin) * self._step  # an event that ends before this time does not change
        until = min([event.onset for event in found if event.offset > settled], default=settled)
        if len(self._rows) * self._step > LONGEST:
            until = len(self._rows) * self._step
        return self._leave(found, round(until / self._step))

    def end(self, rows: NDArray[np.float32], seconds: float) -> tuple[Event, ...]:
        """The remaining events."""
        self._rows = np.concatenate([self._rows, rows])
        return self._leave(self._find(seconds), len(self._rows))

    def _find(self, seconds: float = np.inf) -> tuple[Event, ...]:
        timeline = Timeline(self._labels, self._step, self._rows)
        return find_events(timeline, seconds - self._first * self._step, self._rule, self._thresholds)

    def _leave(self, found: tuple[Event, ...], row: int) -> tuple[Event, ...]:
        """The events in front of a row. The rows there are forgotten."""
        start = self._first * self._step
        ended = tuple(
            replace(event, onset=start + event.onset, offset=start + event.offset)
            for event in found
            if event.offset <= row * self._step + 1e-9
        )
        self._rows, self._first = self._rows[max(0, row) :], self._first + max(0, row)
        return ended
