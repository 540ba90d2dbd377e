"""In which hours which labels are heard, over many recordings.

The time of a recording is that in its file name, ``YYYYMMDD_HHMMSS`` as recorders write it; all days count together, so
there are the 24 hours of a day. If a name has no time, the recordings follow each other from 0:00 on, in their order.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime

from spectag.tag.results import ClipTags

DAY = 24 * 60  # minutes
BINS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)  # minutes: of a column, where recordings follow each other
COLUMNS = 24
_TIME = re.compile(r"(?<!\d)(\d{8})[_T-](\d{6})(?!\d)")


def time_in(path: str) -> datetime | None:
    """The time in the name of a file; None if there is none.

    >>> time_in("in/SMA01_20260514_053000.wav")
    datetime.datetime(2026, 5, 14, 5, 30)
    """
    for match in _TIME.finditer(os.path.basename(path)):
        try:
            return datetime.strptime("".join(match.groups()), "%Y%m%d%H%M%S")
        except ValueError:
            continue
    return None


class Hours:
    """Adds up, minute by minute, how long there were recordings and how long each label was heard.

    Memory does not grow with the number of recordings, if their names have times.

    Args:
        paths: of all recordings. They decide whether times are taken from names.

    Attributes:
        clock: whether they are.
        recordings: number so far.
        days: that they are of.
        events: number of events by label.

    >>> from spectag.tag.results import Event
    >>> hours = Hours(["20260514_235900.wav"])
    >>> hours.add(ClipTags("20260514_235900.wav", 120.0, (), events=(Event("owl", 30.0, 90.0, 0.8),)))
    >>> hours.bins(), hours.recorded(0), hours.heard("owl", 0), hours.heard("owl", 23)
    (24, 60.0, 30.0, 30.0)
    """

    def __init__(self, paths: Iterable[str]) -> None:
        times = [time_in(path) for path in paths]
        self.clock = bool(times) and None not in times
        self.recordings = 0
        self.days: set[str] = set()
        self.events: Counter[str] = Counter()
        self._end = 0.0  # s, of the recordings so far, one after the other
        self._recorded: defaultdict[int, float] = defaultdict(float)  # minute -> s
        self._heard: defaultdict[str, defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))

    def add(self, clip: ClipTags) -> None:
        """Add a recording with its events."""
        self.recordings += 1
        time = time_in(clip.path or "") if self.clock else None
        begin = self._end
        if time is not None:
            self.days.add(f"{time:%Y-%m-%d}")
            begin = time.hour * 3600.0 + time.minute * 60 + time.second
        self._end += clip.duration
        self._spread(self._recorded, begin, begin + clip.duration)
        until: defaultdict[str, float] = defaultdict(float)  # what overlaps counts once
        for event in sorted(clip.events or (), key=lambda event: event.onset):
            self.events[event.label] += 1
            onset, offset = max(event.onset, until[event.label]), min(event.offset, clip.duration)
            self._spread(self._heard[event.label], begin + onset, begin + offset)
            until[event.label] = max(until[event.label], offset)

    @property
    def minutes(self) -> int:
        """Minutes of a column."""
        total = max(1, math.ceil(self._end / 60))
        if self.clock:
            return DAY // COLUMNS
        return next((size for size in BINS if total <= size * COLUMNS), math.ceil(total / COLUMNS / DAY) * DAY)

    def bins(self) -> int:
        """The number of columns."""
        return COLUMNS if self.clock else max(1, math.ceil(self._end / 60 / self.minutes))

    def labels(self) -> list[str]:
        """The labels, those that are heard for longest first."""
        return sorted(self._heard, key=lambda label: -sum(self._heard[label].values()))

    def recorded(self, column: int) -> float:
        """Seconds of recordings in a column."""
        return self._sum(self._recorded, column)

    def heard(self, label: str, column: int | None = None) -> float:
        """Seconds in which a label is heard, in a column or in all."""
        minutes = self._heard[label]
        return sum(minutes.values()) if column is None else self._sum(minutes, column)

    def _sum(self, minutes: dict[int, float], column: int) -> float:
        return sum(minutes.get(minute, 0.0) for minute in range(column * self.minutes, (column + 1) * self.minutes))

    def _spread(self, minutes: dict[int, float], begin: float, end: float) -> None:
        while end - begin > 1e-9:
            minute = int(begin // 60)
            until = min(end, 60.0 * (minute + 1))
            minutes[minute % DAY if self.clock else minute] += until - begin
            begin = until
