"""The CSV of Wildlife Acoustics' Kaleidoscope, with the columns that BirdNET-Analyzer writes for it.

A file is named by three columns: ``INDIR/FOLDER/IN FILE``. ``confidence`` is the score; Kaleidoscope's own
``TOP1DIST`` means the reverse, a distance. Source: birdnet-team/BirdNET-Analyzer, ``analyze/core.py``.
"""

from __future__ import annotations

import csv
import os
from typing import IO

from spectag.errors import FileError
from spectag.tag.results import Result
from spectag.tag.writers.tables import cell
from spectag.tag.writers.writer import DECIMALS, events_of

COLUMNS = ("INDIR", "FOLDER", "IN FILE", "OFFSET", "DURATION", "TOP1MATCH", "confidence")


class Kaleidoscope:
    """A table with one row per event.

    >>> import sys
    >>> from spectag.tag.results import ClipTags, Event
    >>> Kaleidoscope(sys.stdout).write(ClipTags("/bats/dusk/a.wav", 5.0, (), events=(Event("bat", 0.5, 2.0, 0.8),)))
    INDIR,FOLDER,IN FILE,OFFSET,DURATION,TOP1MATCH,confidence
    /bats,dusk,a.wav,0.5,1.5,bat,0.8
    """

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.rows = csv.writer(file, lineterminator="\n")
        self.rows.writerow(COLUMNS)

    def write(self, result: Result) -> None:
        if isinstance(result, FileError):
            return
        path = os.path.abspath(result.path) if result.path not in (None, "", "-") else ""
        parent, name = os.path.split(path)
        place = [cell(part) for part in (*os.path.split(parent), name)]
        for event in events_of(result, "kaleidoscope"):
            times = (round(event.onset, DECIMALS), round(event.offset - event.onset, DECIMALS))
            self.rows.writerow([*place, *times, cell(event.label), round(event.score, DECIMALS)])
        self.file.flush()

    def close(self) -> None:
        pass
