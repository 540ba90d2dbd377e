"""JSON and JSON Lines: an object per recording."""

from __future__ import annotations

import json
from typing import IO

from spectag.tag.results import Result


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
        self.file.write(_json(result) + "\n")
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
        self.file.write(self.opening + _json(result))
        self.file.flush()
        self.opening = ",\n"

    def close(self) -> None:
        self.file.write("[]\n" if self.opening == "[\n" else "\n]\n")


def _json(result: Result) -> str:
    return json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False)
