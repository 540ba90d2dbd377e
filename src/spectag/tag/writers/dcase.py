"""The tables of the DCASE challenges, as `sed_eval` and `sed_scores_eval` read them. Cells are separated by tabs.

Strong labels, a row per event of all recordings: ``filename onset offset event_label``. ``filename`` is the path below
the folder that holds all recordings, so just a name if they are in one folder.

Score tables, one per recording: ``onset offset`` and a column per label; the name of the file is that of the recording.
"""

from __future__ import annotations

from typing import IO

from spectag.errors import FileError
from spectag.tag.results import Result
from spectag.tag.writers.names import Names
from spectag.tag.writers.writer import DECIMALS, events_of, one_line, row_end, seconds, timeline_of


class DCASE:
    """Strong labels of all recordings.

    Args:
        file: the text file to write to.
        names: of the recordings.

    >>> import sys
    >>> from spectag.tag.results import ClipTags, Event
    >>> DCASE(sys.stdout, Names()).write(ClipTags("in/a.wav", 5.0, (), events=(Event("Dog bark", 0.5, 2.0, 0.8),)))
    filename	onset	offset	event_label
    a.wav	0.500000	2.000000	Dog bark
    """

    def __init__(self, file: IO[str], names: Names) -> None:
        self.file = file
        self.names = names
        self.file.write("filename\tonset\toffset\tevent_label\n")

    def write(self, result: Result) -> None:
        if isinstance(result, FileError):
            return
        name = one_line(self.names.short(result.path))
        for event in events_of(result, "dcase"):
            self.file.write(f"{name}\t{seconds(event.onset)}\t{seconds(event.offset)}\t{one_line(event.label)}\n")
        self.file.flush()

    def close(self) -> None:
        pass


class DCASEScores:
    """The scores of one recording over time.

    >>> import sys
    >>> from spectag.tag.results import ClipTags, Timeline
    >>> timeline = Timeline(("owl", "fox"), 0.5, np.array([[0.5, 0.25], [0.0, 1.0]], np.float32))
    >>> DCASEScores(sys.stdout).write(ClipTags("dawn.wav", 0.9, (), timeline=timeline))
    onset	offset	owl	fox
    0.0	0.5	0.5	0.25
    0.5	0.9	0.0	1.0
    """

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.begun = False

    def write(self, result: Result) -> None:
        if isinstance(result, FileError):
            return
        timeline = timeline_of(result, "dcase-scores")
        self._row(["onset", "offset", *map(one_line, timeline.labels)])
        self.begun = True
        for row, scores in enumerate(row for block in timeline.blocks() for row in block.tolist()):
            times = row * timeline.step, row_end(timeline, row, result.duration)
            self._row([str(round(value, DECIMALS)) for value in (*times, *scores)])
        self.file.flush()

    def close(self) -> None:
        if not self.begun:
            self._row(["onset", "offset"])

    def _row(self, cells: list[str]) -> None:
        self.file.write("\t".join(cells) + "\n")
