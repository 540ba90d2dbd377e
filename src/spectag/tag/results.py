"""The results of tagging. No torch here.

The scores of a recording's windows (:class:`ClipScores`) come first. Everything else is computed from them: the tags of
the recording (:class:`ClipTags`), and how they are written as text, JSON, JSON lines or CSV:

=========  ==========================================================================================================
format     one recording
=========  ==========================================================================================================
``jsonl``  a line ``{"path", "duration", "tags": [{"label", "score"}]}``, plus ``"warnings": [...]`` if there are any;
           ``{"path", "error"}`` for a recording that failed
``json``   the same objects in one array
``csv``    a row per tag, ``path,duration,rank,label,score,error,warnings``; one row without rank if there is no tag;
           one row with only path and error for a recording that failed. Warnings are in a recording's first row
``text``   a line for people; failures and warnings are only reported on stderr
=========  ==========================================================================================================

``duration`` is in seconds, ``score`` in 0..1, both rounded to 6 decimals; ``rank`` counts from 1. The order is that of
the inputs. A recording has no tags if no score reached the threshold, or if it is digital silence throughout, which
``warnings`` says. If the model tells unknown sounds, the objects have ``unknown``, true or false, and
``unknown_score``, about the share of known sounds that are less unusual. An unknown recording has no tags unless a
threshold is given; its row in a ``csv`` file has the label ``(unknown)``, that score, and no rank. Text is UTF-8, and a
``csv`` file begins with a byte order mark, without which Excel spoils umlauts. Bytes of a file name that are not valid
UTF-8 are written as ``\\udcXX``; in JSON this is the escape that Python's ``os.fsencode`` reverses. Each result is
flushed; every format but ``json`` is then complete.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spectag.audio.read import Recording
from spectag.choices import Format
from spectag.errors import FileError

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


Result = ClipTags | FileError


class Writer(Protocol):
    """Writes results one by one. ``close`` ends the document but leaves the file open."""

    def write(self, result: Result) -> None: ...

    def close(self) -> None: ...


class JSONLines:
    """One JSON object per line.

    >>> import sys
    >>> JSONLines(sys.stdout).write(FileError("dawn.wav", "no such file"))
    {"path": "dawn.wav", "error": "no such file"}
    """

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def write(self, result: Result) -> None:
        self.file.write(_json(result) + "\n")
        self.file.flush()

    def close(self) -> None:
        pass


class JSONArray:
    """One JSON array of the objects.

    >>> import sys
    >>> writer = JSONArray(sys.stdout)
    >>> writer.close()
    []
    """

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.opening = "[\n"

    def write(self, result: Result) -> None:
        self.file.write(self.opening + _json(result))
        self.file.flush()
        self.opening = ",\n"

    def close(self) -> None:
        self.file.write("[]\n" if self.opening == "[\n" else "\n]\n")


class CSV:
    """A table with one row per tag.

    >>> import sys
    >>> CSV(sys.stdout).write(ClipTags("rain.wav", 5.0, (Tag("Rain", 0.8),)))
    path,duration,rank,label,score,error,warnings
    rain.wav,5.0,1,Rain,0.8,,
    """

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.rows = csv.writer(file, lineterminator="\n")
        self.rows.writerow(["path", "duration", "rank", "label", "score", "error", "warnings"])

    def write(self, result: Result) -> None:
        path = _cell(result.path or "")
        if isinstance(result, FileError):
            self.rows.writerow([path, "", "", "", "", _cell(result.error), ""])
        else:
            duration, warnings = round(result.duration, DECIMALS), _cell("; ".join(result.warnings))
            for rank, tag in enumerate(result.tags, 1):
                self.rows.writerow([path, duration, rank, _cell(tag.label), round(tag.score, DECIMALS), "", warnings])
                warnings = ""
            if not result.tags:
                unknown = [NO_LABEL, round(result.unknown_score or 0, DECIMALS)] if result.unknown else ["", ""]
                self.rows.writerow([path, duration, "", *unknown, "", warnings])
        self.file.flush()

    def close(self) -> None:
        pass


class Text:
    """A line per recording: its path, then its tags with their scores. On a terminal Rich colours and wraps it.

    Args:
        file: the text file to write to.
        clip_width: length of the longest path that will be written.

    >>> import sys
    >>> Text(sys.stdout, clip_width=8).write(ClipTags("rain.wav", 5.0, (Tag("Rain", 0.8),)))
    clip      tags
    rain.wav  Rain 0.80
    """

    def __init__(self, file: IO[str], clip_width: int = 4) -> None:
        self.file = file
        self.clip_width = max(4, clip_width)
        self._line: Callable[[str, list[tuple[str, str]]], None] = self._plain
        if file.isatty():
            from rich.console import Console

            self.console = Console(file=file, highlight=False, markup=False, emoji=False)
            self.clip_width = min(self.clip_width, max(12, self.console.width // 2))
            self._line = self._rich
        self._line("clip", [("tags", "")])

    def write(self, result: Result) -> None:
        if isinstance(result, ClipTags):
            tags = [(tag.label, f"{tag.score:.2f}") for tag in result.tags]
            self._line(result.path or "-", tags or [(NO_LABEL if result.unknown else "(no tags)", "")])
            self.file.flush()

    def close(self) -> None:
        pass

    def _plain(self, clip: str, tags: list[tuple[str, str]]) -> None:
        shown = "  ".join(f"{label} {score}".rstrip() for label, score in tags)
        self.file.write(f"{_printable(clip):<{self.clip_width}}  {shown}\n")

    def _rich(self, clip: str, tags: list[tuple[str, str]]) -> None:
        from rich.table import Table
        from rich.text import Text as Styled

        shown = Styled("  ").join(
            Styled.assemble(
                (label.replace(" ", "\u00a0"), "bold" if i == 0 else ""),
                *([("\u00a0" + score, "cyan")] if score else []),
            )
            for i, (label, score) in enumerate(tags)
        )
        row = Table.grid(padding=(0, 2))
        row.add_column(width=self.clip_width, overflow="fold")
        row.add_column(overflow="fold")
        row.add_row(_printable(clip), shown)
        self.console.print(row)


def make_writer(format: Format, file: IO[str], clip_width: int = 4) -> Writer:
    """The writer of a format.

    Args:
        format: ``text``, ``json``, ``jsonl`` or ``csv``.
        file: the text file to write to.
        clip_width: as for :class:`Text`.

    >>> import sys
    >>> make_writer("jsonl", sys.stdout).write(ClipTags("rain.wav", 5.0, (Tag("Rain", 0.8),)))
    {"path": "rain.wav", "duration": 5.0, "tags": [{"label": "Rain", "score": 0.8}]}
    """
    if format == "text":
        return Text(file, clip_width)
    formats: dict[str, Callable[[IO[str]], Writer]] = {"json": JSONArray, "jsonl": JSONLines, "csv": CSV}
    return formats[format](file)


def _json(result: Result) -> str:
    return json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False)


def _cell(text: str) -> str:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front (OWASP, CSV injection)."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _printable(text: str) -> str:
    """A file name without line breaks and terminal escapes."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
