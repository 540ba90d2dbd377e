"""Selection tables of Raven Pro and Raven Lite.

Cells are separated by tabs. The first seven columns are Raven's own, in its order. Raven opens several files as one
sequence, in which ``Begin Time (s)`` and ``End Time (s)`` count from the beginning of the first file; ``Begin Path``
and ``File Offset (s)`` say where that is in a file. So a table of several recordings opens beside all of them, in the
order of the table, and that of one recording beside this one. A recording that could not be read is not part of the
sequence.
Source: the threads maRce10/Rraven#3, birdnet-team/birdnet-live-app#229 and birdnet-team/BirdNET-Analyzer#188.
"""

from __future__ import annotations

import os
from typing import IO

from spectag.errors import FileError
from spectag.tag.results import Result
from spectag.tag.writers.writer import events_of, one_line, seconds

COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Begin Path",
    "File Offset (s)",
    "Begin File",
    "Annotation",
    "Score",
)
HIGH = 8000  # Hz: the network hears what is below, and does not say at which frequency a sound is


class Raven:
    """A selection table of one recording, or of several that follow each other.

    >>> import sys
    >>> from spectag.tag.results import ClipTags, Event
    >>> Raven(sys.stdout).write(ClipTags("/owl.wav", 5.0, (), events=(Event("owl", 0.5, 2.0, 0.8),)))
    Selection	View	Channel	Begin Time (s)	End Time (s)	Low Freq (Hz)	High Freq (Hz)	Begin Path	...
    1	Spectrogram 1	1	0.500000	2.000000	0.0	8000.0	/owl.wav	0.500000	owl.wav	owl	0.8000
    """

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.selections = 0
        self.before = 0.0  # s: length of the recordings so far
        self._row(COLUMNS)

    def write(self, result: Result) -> None:
        if isinstance(result, FileError):
            return
        path = os.path.abspath(result.path) if result.path not in (None, "", "-") else ""
        top = min(HIGH, result.rate / 2) if result.rate else HIGH
        for event in events_of(result, "raven"):
            self.selections += 1
            self._row(
                (
                    str(self.selections),
                    "Spectrogram 1",
                    "1",
                    seconds(self.before + event.onset),
                    seconds(self.before + event.offset),
                    "0.0",
                    f"{top:.1f}",
                    one_line(path),
                    seconds(event.onset),
                    one_line(os.path.basename(path)),
                    one_line(event.label),
                    f"{event.score:.4f}",
                )
            )
        self.before += result.duration
        self.file.flush()

    def close(self) -> None:
        pass

    def _row(self, cells: tuple[str, ...]) -> None:
        self.file.write("\t".join(cells) + "\n")
