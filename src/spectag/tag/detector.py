"""The detector: recordings in, tags with times out. It stands on the tagger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spectag.audio.front_end import FRAMES_PER_SECOND
from spectag.audio.read import Recording
from spectag.audio.source import Source
from spectag.choices import TOP_K
from spectag.errors import FileError
from spectag.tag.events import EventRule, find_events
from spectag.tag.results import ClipTags, Timeline
from spectag.tag.stream import Watch
from spectag.tag.tagger import Tagger, check_choice, make_tags
from spectag.tag.timeline import OverlapAdd
from spectag.tag.windows import Window, weighted_mean

LONGEST_HOP = 1.0  # s between windows, where only they tell the time


class Detector:
    """Says what is heard in a recording, and when.

    Where the model has a frame head, its frame scores tell the time, every 80 to 160 ms. Otherwise the scores of
    windows do, which begin every ``hop`` seconds: an event then is as sharp as a window is short.

    Args:
        tagger: what scores the windows.
        rule: how events are found.
        hop: seconds from one window to the next; None for half a window where the model has a frame head, otherwise for
            1 s, or half a window if that is less.

    Raises:
        InputError: ``hop`` is longer than a window, or not more than 0.

    Attributes:
        hop: seconds from one window to the next; None for half a window.
        step: seconds from one row of a timeline to the next.
        thresholds: of the model for events that are found by this method, by label, where the rule has none; None if it
            has none either.

    >>> detector = Detector(spectag.Tagger("esc10"))
    >>> detector.detect(np.zeros(160_000, np.float32)).events
    ()
    """

    def __init__(self, tagger: Tagger, rule: EventRule | None = None, hop: float | None = None) -> None:
        self.tagger = tagger
        self.rule = rule or EventRule()
        config, window = tagger.card.config, tagger.card.front_end.seconds
        if hop is None and not config.frame_head:
            hop = min(LONGEST_HOP, window / 2)
        self.hop = hop
        self._step = config.stride[1] if config.frame_head else tagger.frames(hop)
        self.step = self._step / FRAMES_PER_SECOND
        limits = (tagger.card.event_thresholds or {}).get(self.rule.method)
        self.thresholds = None if limits is None else dict(zip(tagger.labels.names, limits, strict=True))

    def detect(
        self, source: Source, top_k: int | None = TOP_K, threshold: float | None = None, *, timeline: bool = False
    ) -> ClipTags:
        """Tag one recording, with the events in it.

        Args:
            source: see :class:`spectag.Tagger`.
            top_k, threshold: for the tags, as in :meth:`spectag.Tagger.tag`. Events have thresholds of their own.
            timeline: whether the result has the scores over time, too.

        Raises:
            AudioError, InputError: as :meth:`spectag.Tagger.tag`.

        >>> noise = np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32)
        >>> Detector(spectag.Tagger("esc10")).detect(noise, timeline=True).timeline.scores.shape
        (4, 10)
        """
        check_choice(top_k, threshold)
        collector = self.collector(top_k, threshold, timeline=timeline)
        return self.tagger.collect(source, collector, self.tagger.compute_frames, self.hop)

    def detect_many(
        self,
        sources: Iterable[Source | FileError],
        top_k: int | None = TOP_K,
        threshold: float | None = None,
        *,
        timeline: bool = False,
        watch: Watch = lambda _: None,
    ) -> Iterator[ClipTags | FileError]:
        """The same for many recordings; otherwise as :meth:`spectag.Tagger.tag_many`.

        >>> [error] = Detector(spectag.Tagger("esc10")).detect_many(["a-file-that-does-not-exist.wav"])
        >>> error.path
        'a-file-that-does-not-exist.wav'
        """
        check_choice(top_k, threshold)
        return self.tagger.collect_many(
            sources,
            lambda: self.collector(top_k, threshold, timeline=timeline),
            self.tagger.compute_frames,
            self.hop,
            watch=watch,
        )

    def collector(
        self, top_k: int | None = TOP_K, threshold: float | None = None, *, timeline: bool = False
    ) -> _Collector:
        """What makes the result of one recording, for :meth:`spectag.Tagger.collect`; arguments as :meth:`detect`."""

        def finish(recording: Recording, scores: NDArray[np.float32], over_time: Timeline) -> ClipTags:
            events = () if recording.silent else find_events(over_time, recording.seconds, self.rule, self.thresholds)
            tags = make_tags(recording, self.tagger.card, scores, top_k, threshold, made.distance)
            return replace(tags, events=events, timeline=over_time if timeline else None)

        made = _Collector(OverlapAdd(self.tagger.card, self._step, finish))
        return made


class _Collector:
    """Collects the windows of a recording into its timeline, and their mean distance from what the model knows."""

    def __init__(self, timeline: OverlapAdd[ClipTags]) -> None:
        self._timeline = timeline
        self._distances: list[float] = []
        self._sound: list[float] = []

    @property
    def distance(self) -> float | None:
        """None if the model does not tell unknown sounds."""
        if not self._distances:
            return None
        rows = np.array(self._distances, np.float32)[:, None]
        return float(weighted_mean(rows, np.array(self._sound, np.float32))[0])

    def add(self, window: Window, *rows: NDArray[np.float32]) -> None:
        """Add a window, its scores ``[C]``, what is known over time, and its distance if there is one."""
        self._timeline.add(window, *rows[:2])
        self._distances += [float(row) for row in rows[2:]]
        self._sound.append(window.sound)

    def end(self, recording: Recording) -> ClipTags:
        return self._timeline.end(recording)
