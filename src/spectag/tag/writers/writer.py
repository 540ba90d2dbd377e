"""What all writers have in common."""

from __future__ import annotations

import re
from typing import Protocol

from spectag.errors import InputError
from spectag.tag.results import ClipTags, Event, Result, Timeline

DECIMALS = 6
# What ends a line or a cell in some program: control characters, and the line breaks of Unicode.
_BREAKS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]+")


class Writer(Protocol):
    """Writes results one by one. ``close`` ends the document but leaves the file open."""

    def write(self, result: Result) -> None: ...

    def close(self) -> None: ...


def events_of(result: ClipTags, format: str) -> tuple[Event, ...]:
    """The events of a recording. None of them begins or ends after the recording does.

    Raises:
        InputError: the results have no events.

    >>> events_of(ClipTags("owl.wav", 2.0, (), events=(Event("owl", 1.5, 2.01, 0.8),)), "rttm")
    (Event(label='owl', onset=1.5, offset=2.0, score=0.8),)
    """
    if result.events is None:
        raise InputError(f"the format {format} writes events, and these results have none: ask for events")
    inside = (event for event in result.events if event.onset < result.duration)
    return tuple(
        event if event.offset <= result.duration else Event(event.label, event.onset, result.duration, event.score)
        for event in inside
    )


def timeline_of(result: ClipTags, format: str) -> Timeline:
    """The timeline of a recording.

    Raises:
        InputError: the results have none.

    >>> timeline_of(ClipTags("owl.wav", 2.0, ()), "csv-timeline")
    Traceback (most recent call last):
    spectag.errors.InputError: the format csv-timeline writes scores over time, and these results have none: ask for a
    timeline
    """
    if result.timeline is None:
        raise InputError(
            f"the format {format} writes scores over time, and these results have none: ask for a timeline"
        )
    return result.timeline


def one_line(text: str) -> str:
    """A text without tabs, line breaks and control characters, for formats that have no way to write them.

    >>> one_line("owl\\tand\\nfox")
    'owl and fox'
    """
    return _BREAKS.sub(" ", text)


def seconds(value: float) -> str:
    """A time in seconds, exact to a microsecond.

    >>> seconds(1 / 3)
    '0.333333'
    """
    return f"{value:.{DECIMALS}f}"


def row_end(timeline: Timeline, row: int, duration: float) -> float:
    """The end of a row of a timeline in seconds; the last one ends with the recording.

    >>> row_end(Timeline(("owl",), 0.5, np.zeros((2, 1), np.float32)), 1, duration=0.9)
    0.9
    """
    return duration if row == len(timeline.scores) - 1 else (row + 1) * timeline.step
