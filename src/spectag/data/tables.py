"""Tables of clips: CSV, TSV and JSON Lines, alone, one per split, or as the metadata of a Hugging Face audiofolder."""

from __future__ import annotations

import csv
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from spectag.data.folders import list_class_folders, list_folders, read_lines, standard_split
from spectag.data.manifest import Manifest
from spectag.data.rows import TableRow, locate, unite_rows
from spectag.errors import DataError, SpectagWarning

EXTENSIONS = (".csv", ".tsv", ".jsonl")
# Field -> the names that its column may have, in any letter case. The first that a table has is used.
COLUMNS = {
    "path": ("path", "file", "file_name", "filename", "wav", "audio"),
    "label": ("label", "labels", "category", "class", "tags", "target", "event_label"),
    "split": ("split", "subset", "part"),
    "fold": ("fold",),
    "group": ("group",),
    "start": ("start", "start_seconds", "start_time", "onset", "begin"),
    "end": ("end", "end_seconds", "end_time", "offset"),
    "duration": ("duration",),
}


def names_files(table: Path, *, labelled: bool = True) -> bool:
    """Whether a table has a column for the file and, if ``labelled``, one for its labels.

    Results of ``spectag tag`` do not count, though they have such columns.

    >>> _ = Path("clips.csv").write_text("file,category")
    >>> names_files(Path("clips.csv"))
    True
    """
    columns = _columns(table)
    if {"rank", "score"} <= set(columns):  # what spectag tag writes
        return False
    fields = ("path", "label") if labelled else ("path",)
    return all(any(name in columns for name in COLUMNS[field]) for field in fields)


def find_tables(root: Path) -> list[tuple[Path, str | None]]:
    """The tables of clips in a folder, or the file itself.

    A table without labels only counts if there are no folders of audio, which could be the classes.

    Returns:
        the tables; each with its split if there are several, which must then be named after splits.

    Raises:
        DataError: there are several, and not all are named after splits.

    >>> for name in ("train.csv", "val.csv"):
    ...     _ = Path(name).write_text("path,label")
    >>> [(path.name, split) for path, split in find_tables(Path("."))]
    [('train.csv', 'train'), ('val.csv', 'validation')]
    """
    if root.is_file():
        return [(root, None)] if root.suffix.lower() in EXTENSIONS else []
    if not root.is_dir():
        return []
    files = [p for p in sorted(root.iterdir()) if p.suffix.lower() in EXTENSIONS and p.name[0] != "." and p.is_file()]
    found = [p for p in files if names_files(p)]
    if not found and not list_class_folders(root):
        found = [p for p in files if names_files(p, labelled=False)]
    if len(found) < 2:
        return [(p, None) for p in found]
    splits = [(p, _split_of(p)) for p in found]
    if None in (split for _, split in splits):
        names = ", ".join(p.name for p in found)
        raise DataError(f"{root}: expected one table, or train.csv, validation.csv, test.csv; found {names}: name one")
    return splits


def read_tables(root: Path) -> Manifest:
    """Read the tables that :func:`find_tables` finds.

    Raises:
        DataError: a column is missing, or a cell cannot be used; names the file, line and column.

    >>> Path("1.wav").touch()
    >>> _ = Path("clips.jsonl").write_text('{"path": "1.wav", "label": "owl|fox"}')
    >>> read_tables(Path("clips.jsonl")).labels.names
    ('fox', 'owl')
    """
    base = root.parent if root.is_file() else root
    rows = (row for table, split in find_tables(root) for row in _read(base, table, split))
    return unite_rows(base, rows, "a table of clips")


def find_metadata(root: Path) -> list[tuple[Path, str | None]]:
    """The ``metadata`` tables of an audiofolder: the one in ``root``, or else those in folders named after splits.

    >>> _ = Path("metadata.csv").write_text("file_name,label")
    >>> [(path.name, split) for path, split in find_metadata(Path("."))]
    [('metadata.csv', None)]
    """
    found = _metadata_in(root)
    if found is not None:
        return [(found, None)]
    tables = ((_metadata_in(folder), standard_split(folder.name)) for folder in list_folders(root))
    return [(table, split) for table, split in tables if table is not None and split is not None]


def read_metadata(root: Path) -> Manifest:
    """Read the tables that :func:`find_metadata` finds.

    A file in a folder named after a split belongs to this split, unless a column says otherwise.

    Raises:
        DataError: as :func:`read_tables`.

    >>> Path("test").mkdir()
    >>> Path("test", "1.wav").touch()
    >>> _ = Path("metadata.jsonl").write_text('{"file_name": "test/1.wav", "label": "owl"}')
    >>> [(clip.id, clip.split) for clip in read_metadata(Path(".")).clips]
    [('test/1.wav', 'test')]
    """
    rows = (row for table, split in find_metadata(root) for row in _read(root, table, split, by_folder=True))
    return unite_rows(root, rows, "audiofolder")


def _columns(table: Path) -> tuple[str, ...]:
    """The names of the columns in lower case (of JSON Lines, those of the first line); empty if it is no table."""
    try:
        _, row = next(_rows(table))
    except (StopIteration, DataError) as error:
        if isinstance(error.__cause__, UnicodeDecodeError):
            message = f"{table}: ignored, since it is not UTF-8: if it lists the clips, save it as UTF-8"
            warnings.warn(message, SpectagWarning, stacklevel=2)
        return ()
    if any(isinstance(cell, list) and any(isinstance(item, dict) for item in cell) for cell in row.values()):
        return ()  # what spectag tag writes
    return tuple(row)


def _metadata_in(folder: Path) -> Path | None:
    files = (folder / f"metadata{extension}" for extension in EXTENSIONS)
    return next((p for p in files if p.is_file() and names_files(p)), None)


def _split_of(table: Path) -> str | None:
    words = re.split(r"[^a-z]+", table.stem.lower())  # my_train_2.csv
    return next((split for word in words if (split := standard_split(word)) is not None), None)


def _read(root: Path, table: Path, split: str | None, *, by_folder: bool = False) -> Iterator[TableRow]:
    rows = list(_rows(table))
    found = tuple(dict.fromkeys(name for _, row in rows for name in row))
    column = {field: next((n for n in names if n in found), None) for field, names in COLUMNS.items()}
    if column["end"] == "offset" and "onset" not in found:  # beside a duration, an offset is a start
        column["start"], column["end"] = column["start"] or "offset", None
    for field, what in (("path", "the file"), ("label", "its labels")):
        if column[field] is None:
            expected = ", ".join(COLUMNS[field])
            raise DataError(
                f"{table}: expected a column for {what} ({expected}); found: {', '.join(found) or 'nothing'}"
            )
    for line, cells in rows:
        if any(value not in ("", None) for value in cells.values()):
            yield _row(root, table, f"{table}, line {line}", cells, column, split, by_folder)


def _row(
    root: Path,
    table: Path,
    where: str,
    cells: Mapping[str, Any],
    column: Mapping[str, str | None],
    split: str | None,
    by_folder: bool,
) -> TableRow:
    def cell(field: str) -> str:
        value = cells.get(column[field] or "")
        if isinstance(value, (list, dict)):
            raise DataError(f"{where}, {column[field]}: expected text or a number, got {value!r}")
        return "" if value is None else str(value).strip()

    path = cell("path")
    if re.search(r"\n.*[,;\t]", path + str(cells.get(column["label"] or "")), re.DOTALL):
        raise DataError(f"{where}: expected a path and labels of one line each: a double quote above is not closed")
    if not path or "\0" in path:
        raise DataError(f"{where}, {column['path']}: expected the path of an audio file, got {path!r}")
    start, end = (_seconds(f"{where}, {column[field]}", cell(field)) for field in ("start", "end"))
    length = _seconds(f"{where}, {column['duration']}", cell("duration")) if start is not None and end is None else None
    end = start + length if start is not None and length else end
    if end is not None and end <= (start or 0):
        raise DataError(f"{where}: expected an end after the start, got {start or 0:g} to {end:g} s")
    fold = cell("fold")
    if fold and not re.fullmatch(r"[+-]?\d+(\.0+)?", fold):  # "1.0" is what a column with gaps becomes in pandas
        raise DataError(f"{where}, {column['fold']}: expected a whole number, got {fold!r}")
    name, file = locate(root, table.parent, path)
    if by_folder and split is None:
        split = standard_split(name.split("/")[0])
    own = cell("split")
    split = standard_split(own) or own or split
    labels = _labels(where, column["label"] or "", cells.get(column["label"] or ""))
    return TableRow(
        where, name, file, labels, split, int(float(fold)) if fold else None, cell("group") or None, start, end
    )


def _labels(where: str, column: str, value: object) -> tuple[str, ...]:
    """The names in a cell. Names in a JSON list are taken as they are."""
    several = value if isinstance(value, list) else _separate(column, "" if value is None else str(value))
    names = tuple("" if isinstance(v, (list, dict)) or v is None else str(v).strip() for v in several)
    if not names or not all(names):
        raise DataError(f"{where}, {column}: expected one or more labels, got {value!r}")
    return names


def _separate(column: str, cell: str) -> list[str]:
    """``|`` and ``;`` always separate labels; a comma, which may belong to a name, only in columns for several."""
    names = re.split(r"[|;,]" if column in ("labels", "tags") else r"[|;]", cell)
    return [name for name in names if name.strip()]


def _seconds(where: str, value: str) -> float | None:
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise DataError(f"{where}: expected seconds, 0 or more, such as 2.5; got {value!r}")
    return seconds


def _rows(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbers and cells of the lines, with keys in lower case; a table without rows has one row of empty cells."""
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
        yield number, {key.strip().lower(): value for key, value in row.items()}


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
                names = [name.strip().lower() for name in cells]
                continue
            if len(cells) > len(names):
                raise DataError(
                    f"{table}, line {reader.line_num}: expected {len(names)} cells, got {len(cells)}: "
                    "put a cell that holds the separator in double quotes"
                )
            rows += 1
            yield reader.line_num, dict(zip(names, cells + [""] * (len(names) - len(cells)), strict=True))
    except csv.Error as error:
        raise DataError(f"{table}, line {reader.line_num}: {error}") from error
    if not rows and names:
        yield reader.line_num, dict.fromkeys(names, "")
