"""Rows of any table, and how they become clips."""

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
class Row:
    """What one row says.

    Args:
        where: file and line, for messages.
        id: the file's path relative to the data set; absolute where the table says so and it lies elsewhere.
        file: where it should lie.
        labels: names of its labels.
        split, fold, group, start, end: as in a :class:`Clip`.
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
    """The id and the place of a file that a table in ``folder`` names; both without ``..`` where that is possible."""
    file = os.path.normpath(folder / given)
    try:
        return Path(file).relative_to(root).as_posix(), file
    except ValueError:
        return Path(file if os.path.isabs(given) else os.path.relpath(file, root)).as_posix(), file


def gather(root: Path, rows: Iterable[Row], layout: str, labels: LabelSet | None = None) -> Manifest:
    """One clip per file, start and end: rows about the same stretch of sound unite their labels.

    A clip that is a segment belongs to the group of its file, unless its row says otherwise.

    Args:
        root: the data set, for messages.
        rows: of all its tables.
        layout: what to call the result's layout.
        labels: the classes; None for all names in the rows, sorted.

    Raises:
        DataError: a label that is not among ``labels``, or rows that contradict each other; names both.
    """
    rows = list(rows)
    if not rows:
        raise DataError(f"{root}: the tables of this data set ({layout}) have no rows")
    labels = labels or LabelSet(tuple(sorted({name for row in rows for name in row.labels}, key=_natural)))
    takes: dict[tuple[str, float | None, float | None], Row] = {}
    heard: defaultdict[tuple[str, float | None, float | None], set[int]] = defaultdict(set)
    for row in rows:
        key = row.file, row.start, row.end
        _agree(takes.setdefault(key, row), row)
        for name in row.labels:
            try:
                heard[key].add(labels.index(name))
            except InputError as error:
                raise DataError(f"{row.where}: {error}") from error
    there = {file: os.path.isfile(file) for file in {row.file for row in rows}}
    pieces = {row.file for row in rows if row.start is not None or row.end is not None}
    groups = {row.file: row.group for row in rows if row.group is not None}
    takes = {key: replace(row, group=row.group or groups.get(row.file)) for key, row in takes.items()}
    clips = {key: _clip(row, tuple(sorted(heard[key])), row.file in pieces) for key, row in takes.items()}
    missing = sorted(clip.id for key, clip in clips.items() if not there[key[0]])
    return Manifest(tuple(c for key, c in clips.items() if there[key[0]]), labels, layout, tuple(missing))


def _clip(row: Row, labels: tuple[int, ...], piece: bool) -> Clip:
    clip = Clip(row.id, Path(row.file), labels, row.fold, row.split, row.group, row.start, row.end)
    if row.start is not None or row.end is not None:
        clip = replace(clip, id=f"{row.id}#{row.start or 0:.10g}-{'' if row.end is None else format(row.end, '.10g')}")
    return replace(clip, group=row.id) if piece and row.group is None else clip


def _agree(one: Row, other: Row) -> None:
    for field in ("split", "fold", "group"):
        first, second = getattr(one, field), getattr(other, field)
        if first != second:
            raise DataError(
                f"{other.where}: {other.id} has {field} {second!r} here and {first!r} in {one.where}: expected one"
            )


def _natural(name: str) -> tuple[bool, int, str]:
    """Numbers by value, before words."""
    number = name.isascii() and name.isdigit()
    return not number, int(name) if number else 0, name
