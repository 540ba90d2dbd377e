"""WebVTT: captions for videos and audio players. Source: W3C, "WebVTT: The Web Video Text Tracks Format".

A cue per event: two times, and a line with the label and its score. In a cue ``&``, ``<`` and ``>`` are written as
character references, so no label can end a cue or look like its times.
"""

from __future__ import annotations

import html
from typing import IO

from spectag.errors import FileError
from spectag.tag.results import Result
from spectag.tag.writers.writer import events_of, one_line


class WebVTT:
    """The captions of one recording.

    >>> import sys
    >>> from spectag.tag.results import ClipTags, Event
    >>> WebVTT(sys.stdout).write(ClipTags("rain.wav", 5.0, (), events=(Event("Rain", 0.5, 2.0, 0.8),)))
    WEBVTT
    <BLANKLINE>
    00:00:00.500 --> 00:00:02.000
    Rain 0.80
    <BLANKLINE>
    """

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.file.write("WEBVTT\n\n")

    def write(self, result: Result) -> None:
        if isinstance(result, FileError):
            return
        for event in events_of(result, "webvtt"):
            start = round(1000 * event.onset)
            end = max(start + 1, round(1000 * event.offset))  # a cue must last
            label = html.escape(one_line(event.label), quote=False)
            self.file.write(f"{_time(start)} --> {_time(end)}\n{label} {event.score:.2f}\n\n")
        self.file.flush()

    def close(self) -> None:
        pass


def _time(milliseconds: int) -> str:
    whole, part = divmod(milliseconds, 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}.{part:03}"
