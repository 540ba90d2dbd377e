"""What tagging gives, and how it is written: text, JSON, JSON lines, CSV. No torch here.

=========  ==========================================================================================================
format     one recording
=========  ==========================================================================================================
``jsonl``  a line ``{"path", "duration", "tags": [{"label", "score"}]}``, plus ``"warnings": [...]`` where there are
           any; a failed one is ``{"path", "error"}``
``json``   the same objects in one array
``csv``    a row per tag, ``path,duration,rank,label,score,error``; one row without rank where nothing passed the
           threshold, or with only path and error where it failed
``text``   a line for people; failures are left to stderr
=========  ==========================================================================================================

``duration`` is in seconds, ``score`` in 0..1, both rounded to 6 decimals; ``rank`` counts from 1. Order is that of the
inputs. Text is UTF-8; the bytes of a file name that are not come as ``\\udcXX``, which in JSON is the escape that
Python's ``os.fsencode`` takes back. Every format but ``json`` is complete after each recording, and each is flushed.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Protocol

from spectag.errors import FileError

DECIMALS = 6


@dataclass(frozen=True)
class Tag:
    """A label and how sure the network is of it.

    Args:
        label: as the bundle's label set names it.
        score: 0..1.
    """

    label: str
    score: float


@dataclass(frozen=True)
class ClipTags:
    """The tags of one recording.

    Args:
        path: the file as it was given; None for arrays, bytes and unnamed streams.
        duration: of what was read, in seconds.
        tags: in descending order of score.
        warnings: what was odd about the recording, one line each.
    """

    path: str | None
    duration: float
    tags: tuple[Tag, ...]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The object of the JSON formats."""
        result: dict[str, Any] = {
            "path": self.path,
            "duration": round(self.duration, DECIMALS),
            "tags": [{"label": tag.label, "score": round(tag.score, DECIMALS)} for tag in self.tags],
        }
        return result | ({"warnings": list(self.warnings)} if self.warnings else {})


Result = ClipTags | FileError


class Writer(Protocol):
    """Writes results one by one; ``close`` ends the document and leaves the file open."""

    def write(self, result: Result) -> None: ...

    def close(self) -> None: ...


class JSONLines:
    """One JSON object a line."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def write(self, result: Result) -> None:
        self.file.write(_json(result) + "\n")
        self.file.flush()

    def close(self) -> None:
        pass


class JSONArray:
    """One JSON array of the objects."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.opening = "[\n"

    def write(self, result: Result) -> None:
        self.file.write(self.opening + _json(result))
        self.file.flush()
        self.opening = ",\n"

    def close(self) -> None:
        self.file.write("[]\n" if self.opening == "[\n" else "\n]\n")


class CSV:
    """A table with one row per tag."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.rows = csv.writer(file, lineterminator="\n")
        self.rows.writerow(["path", "duration", "rank", "label", "score", "error"])

    def write(self, result: Result) -> None:
        path = _cell(result.path or "")
        if isinstance(result, FileError):
            self.rows.writerow([path, "", "", "", "", _cell(result.error)])
        else:
            duration = round(result.duration, DECIMALS)
            for rank, tag in enumerate(result.tags, 1):
                self.rows.writerow([path, duration, rank, _cell(tag.label), round(tag.score, DECIMALS), ""])
            if not result.tags:
                self.rows.writerow([path, duration, "", "", "", ""])
        self.file.flush()

    def close(self) -> None:
        pass


class Text:
    """A line per recording: the clip, then its tags with their scores; on a terminal coloured and wrapped by Rich.

    Args:
        file: where to.
        clip_width: characters of the longest path to come.
    """

    def __init__(self, file: IO[str], clip_width: int = 4) -> None:
        self.file = file
        self.clip_width = max(4, clip_width)
        self._line: Callable[[str, list[tuple[str, str]]], None] = self._plain
        if file.isatty():
            from rich.console import Console

            self.console = Console(file=file, highlight=False, markup=False, emoji=False)
            self.clip_width = min(self.clip_width, max(12, self.console.width // 2))
            self._line = self._rich
        self._line("clip", [("tags", "")])

    def write(self, result: Result) -> None:
        if isinstance(result, ClipTags):
            tags = [(tag.label, f"{tag.score:.2f}") for tag in result.tags]
            self._line(result.path or "-", tags or [("(nothing above the threshold)", "")])
            self.file.flush()

    def close(self) -> None:
        pass

    def _plain(self, clip: str, tags: list[tuple[str, str]]) -> None:
        shown = "  ".join(f"{label} {score}".rstrip() for label, score in tags)
        self.file.write(f"{_printable(clip):<{self.clip_width}}  {shown}\n")

    def _rich(self, clip: str, tags: list[tuple[str, str]]) -> None:
        from rich.table import Table
        from rich.text import Text as Styled

        shown = Styled("  ").join(
            Styled.assemble(
                (label.replace(" ", "\u00a0"), "bold" if i == 0 else ""),
                *([("\u00a0" + score, "cyan")] if score else []),
            )
            for i, (label, score) in enumerate(tags)
        )
        row = Table.grid(padding=(0, 2))
        row.add_column(width=self.clip_width, overflow="fold")
        row.add_column(overflow="fold")
        row.add_row(_printable(clip), shown)
        self.console.print(row)


def writer(format: str, file: IO[str], clip_width: int = 4) -> Writer:
    """The writer of a format: ``text``, ``json``, ``jsonl`` or ``csv``; clip_width as for :class:`Text`."""
    if format == "text":
        return Text(file, clip_width)
    formats: dict[str, Callable[[IO[str]], Writer]] = {"json": JSONArray, "jsonl": JSONLines, "csv": CSV}
    return formats[format](file)


def _json(result: Result) -> str:
    return json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False)


def _cell(text: str) -> str:
    """What a spreadsheet would run as a formula gets an apostrophe in front (OWASP, CSV injection)."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _printable(text: str) -> str:
    """A file name without line breaks and terminal escapes."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
