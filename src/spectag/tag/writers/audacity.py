"""Label tracks of Audacity.

A line per event, ``onset<TAB>offset<TAB>label`` in seconds, without a header. Source: the Audacity manual, "Importing
and exporting labels", standard format. The format has no place for scores, and a label no way to hold a tab.
"""

from __future__ import annotations

from typing import IO

from spectag.errors import FileError
from spectag.tag.results import Result
from spectag.tag.writers.writer import events_of, one_line, seconds


class Audacity:
    """The label track of one recording.

    >>> import sys
    >>> from spectag.tag.results import ClipTags, Event
    >>> Audacity(sys.stdout).write(ClipTags("rain.wav", 5.0, (), events=(Event("Rain", 0.5, 2.0, 0.8),)))
    0.500000	2.000000	Rain
    """

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def write(self, result: Result) -> None:
        if not isinstance(result, FileError):
            for event in events_of(result, "audacity"):
                self.file.write(f"{seconds(event.onset)}\t{seconds(event.offset)}\t{one_line(event.label)}\n")
            self.file.flush()

    def close(self) -> None:
        pass
