"""CSV: tags, events, and scores over time."""

from __future__ import annotations

import csv
from typing import IO

from spectag.errors import FileError
from spectag.tag.results import NO_LABEL, ClipTags, Result
from spectag.tag.writers.writer import DECIMALS, events_of, timeline_of


class CSV:
    """A table with one row per tag.

    >>> import sys
    >>> from spectag.tag.results import ClipTags, Tag
    >>> CSV(sys.stdout).write(ClipTags("rain.wav", 5.0, (Tag("Rain", 0.8),)))
    path,duration,rank,label,score,error,warnings
    rain.wav,5.0,1,Rain,0.8,,
    """

    columns: tuple[str, ...] = ("path", "duration", "rank", "label", "score", "error", "warnings")

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.rows = csv.writer(file, lineterminator="\n")
        self.rows.writerow(self.columns)

    def write(self, result: Result) -> None:
        path = cell(result.path or "")
        blank: list[object] = [""] * (len(self.columns) - 4)
        if isinstance(result, FileError):
            self.rows.writerow([path, "", *blank, cell(result.error), ""])
        else:
            duration, warnings = round(result.duration, DECIMALS), cell("; ".join(result.warnings))
            for row in self.cells(result) or [blank]:
                self.rows.writerow([path, duration, *row, "", warnings])
                warnings = ""
        self.file.flush()

    def cells(self, result: ClipTags) -> list[list[object]]:
        """What the rows of a recording have of their own."""
        if result.unknown and not result.tags:
            return [["", NO_LABEL, round(result.unknown_score or 0.0, DECIMALS)]]
        return [[rank, cell(tag.label), round(tag.score, DECIMALS)] for rank, tag in enumerate(result.tags, 1)]

    def close(self) -> None:
        pass


class CSVEvents(CSV):
    """A table with one row per event.

    >>> import sys
    >>> from spectag.tag.results import ClipTags, Event
    >>> CSVEvents(sys.stdout).write(ClipTags("rain.wav", 5.0, (), events=(Event("Rain", 0.5, 2.0, 0.8),)))
    path,duration,onset,offset,label,score,error,warnings
    rain.wav,5.0,0.5,2.0,Rain,0.8,,
    """

    columns = ("path", "duration", "onset", "offset", "label", "score", "error", "warnings")

    def cells(self, result: ClipTags) -> list[list[object]]:
        rows: list[list[object]] = []
        for event in events_of(result, "csv-events"):
            onset, offset, score = (round(float(value), DECIMALS) for value in (event.onset, event.offset, event.score))
            rows.append([onset, offset, cell(event.label), score])
        return rows


class CSVTimeline:
    """A table with one row per time and one column per label. Recordings that failed have no row.

    >>> import sys
    >>> from spectag.tag.results import ClipTags, Timeline
    >>> timeline = Timeline(("owl", "fox"), 0.5, np.array([[0.5, 0.25], [0.0, 1.0]], np.float32))
    >>> CSVTimeline(sys.stdout).write(ClipTags("dawn.wav", 1.0, (), timeline=timeline))
    path,time,owl,fox
    dawn.wav,0.0,0.5,0.25
    dawn.wav,0.5,0.0,1.0
    """

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.rows = csv.writer(file, lineterminator="\n")
        self.begun = False

    def write(self, result: Result) -> None:
        if isinstance(result, FileError):
            return
        timeline = timeline_of(result, "csv-timeline")
        if not self.begun:
            self._begin(timeline.labels)
        path = cell(result.path or "")
        for row, scores in enumerate(row for block in timeline.blocks() for row in block.tolist()):
            time = round(row * timeline.step, DECIMALS)
            self.rows.writerow([path, time, *(round(score, DECIMALS) for score in scores)])
        self.file.flush()

    def close(self) -> None:
        if not self.begun:
            self._begin(())

    def _begin(self, labels: tuple[str, ...]) -> None:
        self.rows.writerow(["path", "time", *map(cell, labels)])
        self.begun = True


def cell(text: str) -> str:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front (OWASP, CSV injection).

    >>> cell("=1+1"), cell("owl")
    ("'=1+1", 'owl')
    """
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
