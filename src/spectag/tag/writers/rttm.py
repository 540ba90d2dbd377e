"""RTTM, Rich Transcription Time Marked. Source: NIST, RT-09 evaluation plan, appendix A.

A line per event with ten fields between spaces: ``SPEAKER file 1 onset duration <NA> <NA> label score <NA>``. A field
cannot hold a space: spaces become ``_``. ``file`` is the name of the recording without its ending.
"""

from __future__ import annotations

import re
from typing import IO

from spectag.errors import FileError
from spectag.tag.results import Result
from spectag.tag.writers.names import Names
from spectag.tag.writers.writer import events_of, one_line, seconds


class RTTM:
    """The events of all recordings.

    Args:
        file: the text file to write to.
        names: of the recordings.

    >>> import sys
    >>> from spectag.tag.results import ClipTags, Event
    >>> RTTM(sys.stdout, Names()).write(ClipTags("a b.wav", 5.0, (), events=(Event("Dog bark", 0.5, 2.0, 0.8),)))
    SPEAKER a_b 1 0.500000 1.500000 <NA> <NA> Dog_bark 0.800000 <NA>
    """

    def __init__(self, file: IO[str], names: Names) -> None:
        self.file = file
        self.names = names
        self._files: dict[str, str] = {}  # field -> the recording that it stands for

    def write(self, result: Result) -> None:
        if isinstance(result, FileError):
            return
        file = self._file(self.names.stem(result.path))
        for event in events_of(result, "rttm"):
            times = f"{seconds(event.onset)} {seconds(event.offset - event.onset)}"
            self.file.write(f"SPEAKER {file} 1 {times} <NA> <NA> {_field(event.label)} {event.score:.6f} <NA>\n")
        self.file.flush()

    def close(self) -> None:
        pass

    def _file(self, name: str) -> str:
        field = _field(name)
        while self._files.setdefault(field, name) != name:  # "a b" and "a_b"
            field += "_"
        return field


def _field(text: str) -> str:
    return re.sub(r"\s+", "_", one_line(text)) or "<NA>"
