"""CSV, TSV and JSON Lines as rows of cells."""

from __future__ import annotations

import csv
import json
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from spectag.data.folders import read_lines
from spectag.errors import DataError, SpectagWarning

EXTENSIONS = (".csv", ".tsv", ".jsonl")


def read_header(table: Path) -> tuple[str, ...]:
    """The names of the columns (of JSON Lines, those of the first line); none if it is no table of clips.

    Warns:
        SpectagWarning: it is not UTF-8.

    >>> _ = Path("clips.csv").write_text("File, category")
    >>> read_header(Path("clips.csv"))
    ('File', 'category')
    """
    try:
        _, row = next(read_rows(table))
    except (StopIteration, DataError) as error:
        if isinstance(error.__cause__, UnicodeDecodeError):
            message = f"{table}: ignored, since it is not UTF-8: if it lists the clips, save it as UTF-8"
            warnings.warn(message, SpectagWarning, stacklevel=2)
        return ()
    if any(isinstance(cell, list) and any(isinstance(item, dict) for item in cell) for cell in row.values()):
        return ()  # what spectag tag writes
    return tuple(row)


def read_rows(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbers and cells of the lines, by the names of the columns; a table without rows has one row of empty cells.

    Raises:
        DataError: it cannot be read, or a line does not fit; the message names file and line.

    >>> _ = Path("clips.csv").write_text("path;label\\n1.wav;owl")
    >>> list(read_rows(Path("clips.csv")))
    [(2, {'path': '1.wav', 'label': 'owl'})]
    """
    return _json_rows(table) if table.suffix.lower() == ".jsonl" else _csv_rows(table)


def _json_rows(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(read_lines(table), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{table}, line {number}: expected a JSON object; {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{table}, line {number}: expected a JSON object, got {line.strip()[:40]}")
        yield number, {key.strip(): value for key, value in row.items()}


def _csv_rows(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    content = read_lines(table)
    header = next(content, "")
    delimiter = "\t" if table.suffix.lower() == ".tsv" else max(",;\t", key=header.count)  # ";" is Excel's in Europe
    reader = csv.reader(chain([header], content), delimiter=delimiter)
    names: list[str] = []
    rows = 0
    try:
        for cells in reader:
            if not any(cells):
                continue
            if not names:
                names = [name.strip() for name in cells]
                continue
            if len(cells) > len(names):
                raise DataError(
                    f"{table}, line {reader.line_num}: expected {len(names)} cells, got {len(cells)}: "
                    "put a cell that holds the separator in double quotes"
                )
            if not rows and (twice := [name for name, count in Counter(names).items() if name and count > 1]):
                raise DataError(f"{table}: expected columns of different names, got {twice[0]!r} twice: rename one")
            rows += 1
            yield reader.line_num, dict(zip(names, cells + [""] * (len(names) - len(cells)), strict=True))
    except csv.Error as error:
        raise DataError(f"{table}, line {reader.line_num}: {error}") from error
    if not rows and names:
        yield reader.line_num, dict.fromkeys(names, "")
