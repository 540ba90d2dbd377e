"""The results of tagging. No torch here.

The scores of a recording's windows (:class:`ClipScores`) come first. Everything else is computed from them: the tags of
the recording (:class:`ClipTags`), its events and its timeline. :mod:`spectag.tag.writers.formats` writes them.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spectag.audio.read import Recording
from spectag.errors import FileError, MissingExtra

if TYPE_CHECKING:
    import pandas

DECIMALS = 6
NO_LABEL = "(unknown)"  # in place of a label, where a sound is none of those that the model knows


@dataclass(frozen=True)
class ClipScores:
    """The scores of one recording, window by window.

    Args:
        recording: what is known about the recording, complete.
        starts: first frame of each window, ``[W]``; a frame is 10 ms. W >= 1.
        scores: ``[W, C]``, 0..1, for each label of the model.
        sound: how much of each window is sound, ``[W]``, 0..1.
        distances: of each window from what the model knows, ``[W]``; None if it does not tell unknown sounds.

    >>> clip = spectag.Tagger("esc10").score_windows(np.zeros(160_000, np.float32))
    >>> clip.scores.shape, clip.starts[:3].tolist()  # 7 windows of 2.56 s, half a window apart
    ((7, 10), [0, 128, 256])
    """

    recording: Recording
    starts: NDArray[np.int64]
    scores: NDArray[np.float32]
    sound: NDArray[np.float32]
    distances: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class ClipFeatures:
    """The features of one recording, window by window.

    Args:
        recording, starts, sound: as in :class:`ClipScores`.
        features: ``[W, D]``, the network's output before its head.

    >>> clip = spectag.Tagger("esc10").embed_windows(np.zeros(160_000, np.float32))
    >>> clip.features.shape
    (7, 128)
    """

    recording: Recording
    starts: NDArray[np.int64]
    features: NDArray[np.float32]
    sound: NDArray[np.float32]


@dataclass(frozen=True)
class Tag:
    """A label and its score.

    Args:
        label: a name from the model's label set.
        score: 0..1.

    >>> Tag("Rain", 0.8).label
    'Rain'
    """

    label: str
    score: float


@dataclass(frozen=True)
class Event:
    """A label, when it is heard, and how sure that is.

    Args:
        label: a name from the model's label set.
        onset, offset: seconds from the beginning of the recording, onset < offset.
        score: 0..1.

    >>> Event("Rain", 0.5, 2.0, 0.8).to_dict()
    {'label': 'Rain', 'onset': 0.5, 'offset': 2.0, 'score': 0.8}
    """

    label: str
    onset: float
    offset: float
    score: float

    def to_dict(self) -> dict[str, Any]:
        """The object of the JSON formats."""
        times = {"onset": round(self.onset, DECIMALS), "offset": round(self.offset, DECIMALS)}
        return {"label": self.label, **times, "score": round(self.score, DECIMALS)}


@dataclass(frozen=True, eq=False)
class Timeline:
    """The scores of one recording over time.

    Args:
        labels: names of the columns.
        step: seconds from one row to the next.
        scores: ``[N, C]``, 0..1. Row ``n`` is about the time from ``n * step`` to ``(n + 1) * step``; the last row ends
            with the recording. It may lie in a temporary file that is mapped into memory.

    >>> Timeline(("owl", "fox"), 0.5, np.zeros((4, 2), np.float32)).times
    array([0. , 0.5, 1. , 1.5])
    """

    labels: tuple[str, ...]
    step: float
    scores: NDArray[np.float32]

    @property
    def times(self) -> NDArray[np.float64]:
        """The beginning of each row in seconds, ``[N]``."""
        return np.arange(len(self.scores), dtype=np.float64) * self.step

    def blocks(self, rows: int = 2**10) -> Iterator[NDArray[np.float32]]:
        """The scores, some rows at a time. Of a file that is mapped into memory, no more are in memory.

        >>> [len(block) for block in Timeline(("owl",), 0.5, np.zeros((5, 1), np.float32)).blocks(rows=2)]
        [2, 2, 1]
        """
        mapped = getattr(self.scores, "_mmap", None) if hasattr(mmap, "MADV_DONTNEED") else None
        for first in range(0, len(self.scores), rows):
            yield np.array(self.scores[first : first + rows])
            if mapped is not None:
                mapped.madvise(mmap.MADV_DONTNEED)

    def to_dict(self) -> dict[str, Any]:
        """The object of the JSON formats."""
        scores = [[round(float(score), DECIMALS) for score in row] for row in self.scores]
        return {"step": round(self.step, DECIMALS), "labels": list(self.labels), "scores": scores}


@dataclass(frozen=True)
class ClipTags:
    """The tags of one recording, and its events and timeline where they are asked for.

    Args:
        path: the file as it was given; None for arrays, bytes and unnamed streams.
        duration: seconds of sound that were read.
        tags: in descending order of score.
        warnings: problems of the recording, one line each.
        events: in the order of their onsets; None if they were not asked for.
        timeline: None if it was not asked for.
        rate: sampling rate of the source in Hz; None if it is not known.
        channels: of the source; None if they are not known.
        unknown: whether it is none of the sounds that the model knows; None if the model does not tell.
        unknown_score: about the share of known sounds that are less unusual, 0..1; None if the model does not tell.

    >>> ClipTags("rain.wav", 5.0, (Tag("Rain", 0.8),)).to_dict()
    {'path': 'rain.wav', 'duration': 5.0, 'tags': [{'label': 'Rain', 'score': 0.8}]}
    """

    path: str | None
    duration: float
    tags: tuple[Tag, ...]
    warnings: tuple[str, ...] = ()
    events: tuple[Event, ...] | None = None
    timeline: Timeline | None = None
    rate: float | None = None
    channels: int | None = None
    unknown: bool | None = None
    unknown_score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The object of the JSON formats."""
        result: dict[str, Any] = {
            "path": self.path,
            "duration": round(self.duration, DECIMALS),
            "tags": [{"label": tag.label, "score": round(tag.score, DECIMALS)} for tag in self.tags],
        }
        if self.unknown is not None and self.unknown_score is not None:
            result |= {"unknown": self.unknown, "unknown_score": round(self.unknown_score, DECIMALS)}
        if self.events is not None:
            result["events"] = [event.to_dict() for event in self.events]
        if self.timeline is not None:
            result["timeline"] = self.timeline.to_dict()
        return result | ({"warnings": list(self.warnings)} if self.warnings else {})

    def to_list(self) -> list[dict[str, Any]]:
        """The events, or the tags if no events were asked for, as the pipelines of `transformers` return results.

        >>> ClipTags("rain.wav", 5.0, (Tag("Rain", 0.8),)).to_list()
        [{'label': 'Rain', 'score': 0.8}]
        >>> ClipTags("rain.wav", 5.0, (), events=(Event("Rain", 0.5, 2.0, 0.8),)).to_list()
        [{'label': 'Rain', 'score': 0.8, 'start': 0.5, 'end': 2.0}]
        """
        if self.events is None:
            return [{"label": tag.label, "score": tag.score} for tag in self.tags]
        return [
            {"label": event.label, "score": event.score, "start": event.onset, "end": event.offset}
            for event in self.events
        ]

    def to_pandas(self) -> pandas.DataFrame:
        """The events as a table, or the tags if no events were asked for; a row each.

        Returns:
            columns ``path``, ``onset`` and ``offset`` (only of events; seconds), ``label`` and ``score``. Join the
            tables of several recordings with ``pandas.concat``.

        Raises:
            MissingExtra: pandas is not installed.

        >>> ClipTags("rain.wav", 5.0, (Tag("Rain", 0.8),)).to_pandas()
               path label  score
        0  rain.wav  Rain    0.8
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtra("pandas", "a table for pandas") from None
        times = [] if self.events is None else ["onset", "offset"]
        rows = self.tags if self.events is None else self.events
        columns = {name: [getattr(row, name) for row in rows] for name in (*times, "label", "score")}
        kinds = {"path": "object", "label": "object", "onset": "float64", "offset": "float64", "score": "float64"}
        table = pandas.DataFrame({"path": [self.path] * len(rows)} | columns)
        return table.astype({name: kinds[name] for name in table.columns})


Result = ClipTags | FileError
