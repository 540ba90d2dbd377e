"""Rows of tables, and how they become clips."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, InputError
from spectag.labels import LabelSet


@dataclass(frozen=True)
class TableRow:
    """One row of a table, about a recording or a segment of one.

    Args:
        where: file and line, for messages.
        id: path of the recording relative to the data set; absolute if the table gives an absolute path elsewhere.
        file: where the recording should be.
        labels: their names.
        split, fold, group, start, end: as in a :class:`Clip`.

    >>> TableRow("clips.csv, line 2", "1.wav", "set/1.wav", ("owl",), fold=3).fold
    3
    """

    where: str
    id: str
    file: str
    labels: tuple[str, ...]
    split: str | None = None
    fold: int | None = None
    group: str | None = None
    start: float | None = None
    end: float | None = None


def locate(root: Path, folder: Path, given: str) -> tuple[str, str]:
    """The id and the path of a file.

    Args:
        root: of the data set.
        folder: of the table that names the file.
        given: the path in the table.

    Returns:
        the path relative to ``root`` with forward slashes, and the path to open. Both contain ``..`` only if the file
        is outside ``root``.

    >>> locate(Path("set"), Path("set/meta"), "../audio/1.wav")
    ('audio/1.wav', 'set/audio/1.wav')
    """
    file = os.path.normpath(folder / given)
    try:
        return Path(file).relative_to(root).as_posix(), file
    except ValueError:
        return Path(file if os.path.isabs(given) else os.path.relpath(file, root)).as_posix(), file


def unite_rows(root: Path, rows: Iterable[TableRow], layout: str, labels: LabelSet | None = None) -> Manifest:
    """Make a manifest of rows: one clip per file, start and end, with the labels of all rows about it.

    A segment belongs to the group of its file unless its row names another one.

    Args:
        root: the data set, for messages.
        rows: of all its tables.
        layout: name of the layout for the manifest.
        labels: the classes; None for all names in the rows, sorted.

    Raises:
        DataError: there are no rows, a label is not among ``labels``, or two rows contradict each other.

    >>> Path("1.wav").touch()
    >>> rows = [TableRow(f"clips.csv, line {n}", "1.wav", "1.wav", (name,)) for n, name in ((2, "owl"), (3, "fox"))]
    >>> [clip.labels for clip in unite_rows(Path("."), rows, "a table of clips").clips]
    [(0, 1)]
    """
    rows = list(rows)
    if not rows:
        raise DataError(f"{root}: the tables of this data set ({layout}) have no rows")
    labels = labels or LabelSet(tuple(sorted({name for row in rows for name in row.labels}, key=_by_number)))
    first_rows: dict[tuple[str, float | None, float | None], TableRow] = {}
    indices: defaultdict[tuple[str, float | None, float | None], set[int]] = defaultdict(set)
    for row in rows:
        key = row.file, row.start, row.end
        _require_agreement(first_rows.setdefault(key, row), row)
        try:
            indices[key].update(labels.index(name) for name in row.labels)
        except InputError as error:
            raise DataError(f"{row.where}: {error}") from error
    exists = {file: os.path.isfile(file) for file in {row.file for row in rows}}
    cut = {row.file for row in rows if row.start is not None or row.end is not None}
    groups = {row.file: row.group for row in rows if row.group is not None}
    clips, missing = [], []
    for key, row in first_rows.items():
        group = row.group or groups.get(row.file) or (row.id if row.file in cut else None)
        clip = _clip(replace(row, group=group), tuple(sorted(indices[key])))
        if exists[row.file]:
            clips.append(clip)
        else:
            missing.append(clip.id)
    return Manifest(tuple(clips), labels, layout, tuple(sorted(missing)))


def _clip(row: TableRow, labels: tuple[int, ...]) -> Clip:
    id = row.id
    if row.start is not None or row.end is not None:
        id += f"#{row.start or 0:.10g}-{'' if row.end is None else format(row.end, '.10g')}"
    return Clip(id, Path(row.file), labels, row.fold, row.split, row.group, row.start, row.end)


def _require_agreement(one: TableRow, other: TableRow) -> None:
    for field in ("split", "fold", "group"):
        first, second = getattr(one, field), getattr(other, field)
        if first != second:
            raise DataError(
                f"{other.where}: {other.id} has {field} {second!r} here and {first!r} in {one.where}: expected one"
            )


def _by_number(name: str) -> tuple[bool, int, str]:
    """Sorts numbers by their value, and before words."""
    number = name.isascii() and name.isdigit()
    return not number, int(name) if number else 0, name
