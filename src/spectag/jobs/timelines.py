"""The timelines of a journal, in a file beside it: a line with the labels, then the scores as float32, row by row.

As JSON in the journal itself they would need three times the space, and all of it in memory. So a record only says
where its timeline is here. A timeline is written before its record, so a record that is there has one. Scores are
rounded as in the output, which hides that the last bit of some depends on the batch that they were computed in.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

import numpy as np

from spectag.errors import SaveError, unwritable
from spectag.files import append
from spectag.tag.results import DECIMALS, Timeline

_LONGEST = 2**24  # bytes of the labels
_SCORE = np.dtype("<f4")


class Timelines:
    """The file. No timeline is in memory as a whole: they are written in pieces, and mapped into memory to be read.

    Args:
        path: of the journal. The file is made when there is a timeline.

    >>> timelines = Timelines(Path("scores.csv.journal"))
    >>> about = timelines.append(Timeline(("owl",), 0.5, np.array([[0.25], [0.75]], np.float32)))
    >>> timelines.read(about).scores.tolist()
    [[0.25], [0.75]]
    """

    def __init__(self, journal: Path) -> None:
        self.path = journal.with_name(journal.name + ".scores")
        self._file: IO[bytes] | None = None
        self._labels: tuple[str, ...] = ()
        self._end = 0
        try:
            with self.path.open("rb") as file:
                labels = json.loads(file.readline(_LONGEST))
                self._end = file.seek(0, os.SEEK_END)
            self._labels = tuple(map(str, labels)) if isinstance(labels, list) else ()
        except (OSError, ValueError):  # there is none, or it is damaged
            pass

    def append(self, timeline: Timeline) -> dict[str, Any]:
        """Add a timeline.

        Returns:
            what its record says about it.

        Raises:
            SaveError: it cannot be written.
        """
        try:
            if self._file is None:
                self._file = self._open()
            if self._labels != timeline.labels:  # of a file that is new or damaged
                self._file.truncate(0)
                labels = json.dumps(timeline.labels).encode()
                self._end = append(self._file, 0, [labels, b" " * (-(len(labels) + 1) % _SCORE.itemsize), b"\n"])
                self._labels = timeline.labels
            begin = self._end
            rounded = (np.round(block.astype(np.float64), DECIMALS) for block in timeline.blocks())
            self._end = append(self._file, begin, (block.astype(_SCORE).data for block in rounded))
        except OSError as error:
            raise unwritable(self.path, error) from error
        return {"step": timeline.step, "rows": len(timeline.scores), "at": begin}

    def has(self, about: Any) -> bool:
        """Whether the timeline of a record is here; a power failure may have lost it.

        >>> Timelines(Path("none.journal")).has({"step": 0.5, "rows": 1, "at": 0})
        False
        """
        try:
            at, rows = about["at"], about["rows"]
            return bool(self._labels) and 0 < at <= at + rows * len(self._labels) * _SCORE.itemsize <= self._end
        except (KeyError, TypeError):
            return False

    def read(self, about: Any) -> Timeline:
        """The timeline of a record.

        Raises:
            ValueError: it is not here.
        """
        if not self.has(about):
            raise ValueError(f"{self.path}: expected a timeline, found none")
        try:
            shape = (about["rows"], len(self._labels))
            scores = np.memmap(self.path, _SCORE, "r", about["at"], shape) if about["rows"] else np.zeros(shape)
            return Timeline(self._labels, float(about["step"]), scores.astype(np.float32, copy=False))
        except OSError as error:
            raise SaveError(f"{self.path}: cannot be read: {error.strerror}") from error

    def sync(self) -> None:
        """Let the disk have it."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def clear(self) -> None:
        """Delete the file."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self.path, error) from error
        self._labels, self._end = (), 0

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> IO[bytes]:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        return open(descriptor, "r+b", buffering=0)
