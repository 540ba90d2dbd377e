"""JSON and JSON Lines: an object per recording."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import IO, Any

from spectag.errors import FileError
from spectag.tag.results import Result

_EMPTY = '"scores": []'  # of an object; within a text, a backslash would precede each quotation mark


class JSONLines:
    """One JSON object per line.

    >>> import sys
    >>> from spectag.errors import FileError
    >>> JSONLines(sys.stdout).write(FileError("dawn.wav", "no such file"))
    {"path": "dawn.wav", "error": "no such file"}
    """

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def write(self, result: Result) -> None:
        _write(self.file, result)
        self.file.write("\n")
        self.file.flush()

    def close(self) -> None:
        pass


class JSONArray:
    """One JSON array of the objects.

    >>> import sys
    >>> writer = JSONArray(sys.stdout)
    >>> writer.close()
    []
    """

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.opening = "[\n"

    def write(self, result: Result) -> None:
        self.file.write(self.opening)
        _write(self.file, result)
        self.file.flush()
        self.opening = ",\n"

    def close(self) -> None:
        self.file.write("[]\n" if self.opening == "[\n" else "\n]\n")


def _write(file: IO[str], result: Result) -> None:
    if isinstance(result, FileError) or result.timeline is None:
        file.write(_json(result.to_dict()))
        return
    timeline = result.timeline
    # A timeline may be larger than the memory, so its rows are written some at a time.
    none = replace(timeline, scores=timeline.scores[:0])
    before, after = _json(replace(result, timeline=none).to_dict()).split(_EMPTY)
    file.write(before + _EMPTY[:-1])
    comma = ""
    for scores in timeline.blocks():
        rows = _json(replace(timeline, scores=scores).to_dict()["scores"])
        file.write(comma + rows[1:-1])
        comma = ", "
    file.write("]" + after)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
