"""Rows of any table, and how they become clips."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, InputError
from spectag.labels import LabelSet

SEPARATORS = "|;,"  # the likeliest first: names of classes hardly hold the first two


@dataclass(frozen=True)
class Row:
    """What one row says.

    Args:
        where: file and line, for messages.
        id: the file's path relative to the data set; absolute where the table says so and it lies elsewhere.
        file: where it should lie.
        labels: a cell that may name several labels, or their names.
        split, fold, group, start, end: as in a :class:`Clip`.
    """

    where: str
    id: str
    file: str
    labels: str | tuple[str, ...]
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
    separator = _separator({row.labels for row in rows if isinstance(row.labels, str)})
    names = [_names(row.labels, separator) for row in rows]
    labels = labels or LabelSet(tuple(sorted({name for some in names for name in some}, key=_natural)))
    takes: dict[tuple[str, float | None, float | None], Row] = {}
    heard: defaultdict[tuple[str, float | None, float | None], set[int]] = defaultdict(set)
    for row, some in zip(rows, names, strict=True):
        key = row.file, row.start, row.end
        _agree(takes.setdefault(key, row), row)
        for name in some:
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


def _names(cell: str | tuple[str, ...], separator: str | None) -> tuple[str, ...]:
    if isinstance(cell, str):
        cell = tuple(cell.split(separator)) if separator else (cell,)
    return tuple(name for name in map(str.strip, cell) if name)


def _separator(cells: set[str]) -> str | None:
    """What stands between several labels of a cell, if anything does.

    The evidence is a label of such a cell in another cell, too. Since a comma may belong to a name ("Inside, small
    room"; "Inside, public space"), there the label must stand alone elsewhere, or the names become no more by cutting.
    """
    for separator in SEPARATORS:
        cut = {cell: set(_names(cell, separator)) for cell in cells}
        counts = Counter(name for names in cut.values() for name in names)
        repeated = {name for names in cut.values() if len(names) > 1 for name in names if counts[name] > 1}
        alone = {name for names in cut.values() if len(names) == 1 for name in names}
        if repeated and (separator != "," or repeated & alone or len(counts) <= len(cells)):
            return separator
    return None


def _natural(name: str) -> tuple[bool, int, str]:
    """Numbers by value, before words."""
    number = name.isascii() and name.isdigit()
    return not number, int(name) if number else 0, name
