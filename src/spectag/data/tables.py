"""Tables of clips: CSV, TSV and JSON Lines, alone, one per split, or as the metadata of a Hugging Face audiofolder."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spectag.data.cells import PLURAL, has_commas, is_blank, read_labels
from spectag.data.columns import COLUMNS, Columns, find_flags, name_columns, read_flag
from spectag.data.folders import list_class_folders, list_folders, read_label_table, standard_split
from spectag.data.manifest import Manifest
from spectag.data.places import Places
from spectag.data.rows import TableRow, unite_rows
from spectag.data.sheets import EXTENSIONS, read_header, read_rows
from spectag.errors import DataError
from spectag.labels import LabelSet, compose

EVENTS = "events.tsv"  # table of a folder of soundscapes


def names_files(table: Path, *, labelled: bool = True, flags: bool = True) -> bool:
    """Whether a table has a column for the file and, if ``labelled``, one for its labels.

    A column of 0 and 1 per class will do, unless ``flags`` is off. Results of ``spectag tag`` do not count, though
    they have such columns.

    >>> _ = Path("clips.csv").write_text("file,category")
    >>> names_files(Path("clips.csv"))
    True
    """
    header = read_header(table)
    lower = {name.lower() for name in header}
    if {"rank", "score"} <= lower:  # what spectag tag writes
        return False
    if not lower & set(COLUMNS["path"]):
        return False
    return not labelled or bool(lower & set(COLUMNS["label"])) or (flags and _has_flags(table, header))


def _has_flags(table: Path, header: Sequence[str]) -> bool:
    try:
        return bool(find_flags(header, [row for _, row in read_rows(table)]))
    except DataError:
        return True  # reading it tells


def find_tables(root: Path) -> list[tuple[Path, str | None]]:
    """The tables of clips in a folder, or the file itself.

    A table without labels only counts if there are no folders of audio, which could be the classes; one with columns
    of 0 and 1, if there are not several. Where there is none, the ``events.tsv`` in folders named after splits count.

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
    found = [p for p in files if names_files(p, flags=not has_class_folders(root))]
    if not found and not list_class_folders(root):
        found = [p for p in files if names_files(p, labelled=False)]
    if not found:  # soundscapes of several splits
        inside = ((folder / EVENTS, standard_split(folder.name)) for folder in list_folders(root))
        return [(p, split) for p, split in inside if split and p.is_file() and names_files(p)]
    if len(found) < 2:
        return [(p, None) for p in found]
    splits = [(p, split_of(p)) for p in found]
    if None in (split for _, split in splits):
        names = ", ".join(p.name for p in found)
        raise DataError(f"{root}: expected one table, or train.csv, validation.csv, test.csv; found {names}: name one")
    return splits


def read_tables(root: Path, separator: str | None = None) -> Manifest:
    """Read the tables that :func:`find_tables` finds: a row per file, or per segment of one with start and end.

    Args:
        root: the folder, or a table.
        separator: of several labels in a cell, see :func:`spectag.data.cells.read_labels`.

    Raises:
        DataError: a column is missing, or a cell cannot be used; names the file, line and column.

    >>> Path("1.wav").touch()
    >>> _ = Path("clips.jsonl").write_text('{"path": "1.wav", "label": "owl|fox"}')
    >>> read_tables(Path("clips.jsonl")).labels.names
    ('fox', 'owl')
    """
    base = root.parent if root.is_file() else root
    return unite_tables(
        base, [open_table(table, split) for table, split in find_tables(root)], "a table of clips", separator
    )


def has_class_folders(root: Path) -> bool:
    """Whether there are several folders of audio that are not named after splits.

    >>> has_class_folders(Path("."))
    False
    """
    return sum(standard_split(folder.name) is None for folder in list_class_folders(root)) > 1


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


def read_metadata(root: Path, separator: str | None = None) -> Manifest:
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
    tables = [open_table(table, split, by_folder=True) for table, split in find_metadata(root)]
    return unite_tables(root, tables, "audiofolder", separator)


def _metadata_in(folder: Path) -> Path | None:
    files = (folder / f"metadata{extension}" for extension in EXTENSIONS)
    return next((p for p in files if p.is_file() and names_files(p, flags=not has_class_folders(folder))), None)


def split_of(table: Path) -> str | None:
    """The split in the name of a table; None if there is none.

    >>> split_of(Path("my_train_2.csv"))
    'train'
    """
    words = re.split(r"[^a-z]+", table.stem.lower())
    return next((split for word in words if (split := standard_split(word)) is not None), None)


@dataclass(frozen=True)
class ClipTable:
    """A table of clips, before its cells are read.

    Args:
        path: its file.
        split: of all its rows, unless a row names one.
        columns: what its columns mean.
        rows: number and cells of its lines.
        by_folder: a row may have the split that the first folder of its file is named after.

    >>> ClipTable(Path("clips.csv"), "train", name_columns(["path", "label"]), []).split
    'train'
    """

    path: Path
    split: str | None
    columns: Columns
    rows: list[tuple[int, dict[str, Any]]]
    by_folder: bool = False


def open_table(path: Path, split: str | None, *, by_folder: bool = False) -> ClipTable:
    """Read the lines of a table and find its columns.

    Raises:
        DataError: a line does not fit, or there is no column for the file or its labels.

    >>> _ = Path("clips.csv").write_text("file,category\\n1.wav,owl")
    >>> open_table(Path("clips.csv"), None).columns.named["label"]
    'category'
    """
    rows = list(read_rows(path))
    names = tuple(dict.fromkeys(name for _, row in rows for name in row))
    rows = [(line, row) for line, row in rows if any(value not in ("", None) for value in row.values())]
    columns = name_columns(names, str(path))
    if columns.named["path"] is not None and columns.named["label"] is None:
        flags = find_flags(names, [row for _, row in rows], str(path))
        used = {*flags, *filter(None, columns.named.values())}
        columns = Columns(columns.named, flags, tuple(name for name in names if flags and name not in used))
    for field, what in (("path", "the file"), ("label", "its labels")):
        if columns.named[field] is None and not (field == "label" and columns.flags):
            more = ", or a column of 0 and 1 per class" if field == "label" else ""
            raise DataError(
                f"{path}: expected a column for {what} ({', '.join(COLUMNS[field])}){more}; "
                f"found: {', '.join(names) or 'nothing'}"
            )
    return ClipTable(path, split, columns, rows, by_folder)


def unite_tables(
    root: Path, tables: Sequence[ClipTable], layout: str, separator: str | None, labels: LabelSet | None = None
) -> Manifest:
    """Make a manifest of tables; with the labels of AudioSet if theirs are its ids.

    Args:
        root: of the data set.
        tables: all of its tables.
        layout: name of the layout for the manifest.
        separator: of several labels in a cell, see :func:`spectag.data.cells.read_labels`.
        labels: the classes; None for those in the tables.

    Raises:
        DataError: a cell cannot be used, or two rows or tables contradict each other.

    >>> _ = Path("clips.csv").write_text("file,category\\n1.wav,owl")
    >>> unite_tables(Path("."), [open_table(Path("clips.csv"), None)], "a table of clips", None).missing
    ('1.wav',)
    """
    if separator is None:
        _require_one_rule(tables)
    places = Places(root)
    rows = [row for table in tables for row in _clips(table, places, separator)]
    mids = {name for row in rows for name in row.labels if name.startswith("/")}
    if labels is None and mids and all(mids.issuperset(row.labels) for row in rows):
        labels = _mids(root, mids)
    manifest = unite_rows(root, rows, layout, labels)
    return replace(manifest, notes=(*manifest.notes, *(note for table in tables for note in _idle(table))))


def _idle(table: ClipTable) -> Iterator[str]:
    """The note about columns that are not used, unless they say the same as the column for labels in other words."""
    label = table.columns.named["label"]
    cells = [(str(table.columns.cell(row, "label")), row) for _, row in table.rows]
    idle = [name for name in table.columns.idle if not label or not _recodes([(x, str(y.get(name))) for x, y in cells])]
    if idle:
        used = f"the column {label}" if label else "the columns of 0 and 1"
        yield f"{table.path.name}: labels are taken from {used}; not used: {', '.join(idle)}"


def _recodes(pairs: Sequence[tuple[str, str]]) -> bool:
    return len(set(pairs)) == len({one for one, _ in pairs}) == len({other for _, other in pairs})


def _require_one_rule(tables: Sequence[ClipTable]) -> None:
    """Raise DataError where a comma would separate labels in one table, and belong to their names in another."""
    rules: dict[bool, str] = {}
    for table in tables:
        column = table.columns.named["label"]
        if column and any(has_commas(row.get(column)) for _, row in table.rows):
            rules.setdefault(column.lower() in PLURAL, f"{table.path.name} ({column})")
    if len(rules) > 1:
        raise DataError(
            f"{tables[0].path.parent}: commas separate labels in {rules[True]}, but not in {rules[False]}: "
            "give both columns one name, or set labels.separator"
        )


def _mids(root: Path, mids: set[str]) -> LabelSet | None:
    """The labels of AudioSet that have these ids; of a table beside the data if there is one."""
    own = read_label_table(root)
    if own is not None:
        return own
    if (names := root / "mid_to_display_name.tsv").is_file():
        lines = (line.rstrip("\n").split("\t") for line in names.read_text("utf-8").splitlines())
        named = {cells[0]: cells[1] for cells in lines if len(cells) == 2 and cells[0] in mids}
        if named.keys() == mids and len(set(named.values())) == len(mids):
            ids = sorted(mids, key=lambda mid: named[mid])
            return LabelSet(tuple(named[mid] for mid in ids), tuple(ids))
    audioset = LabelSet.audioset()
    return audioset if mids <= set(audioset.ids or ()) else None


def _clips(table: ClipTable, places: Places, separator: str | None) -> Iterator[TableRow]:
    labels = [_labels(table, line, row, separator) for line, row in table.rows]
    if (
        table.rows
        and not table.columns.flags
        and all(is_blank(table.columns.cell(row, "label")) for _, row in table.rows)
    ):
        line, row = table.rows[0]
        column, value = table.columns.named["label"], table.columns.cell(row, "label")
        raise DataError(
            f"{table.path}, line {line}, {column}: expected one or more labels, got {value!r}; "
            "an empty cell is a clip without labels only where other rows have some"
        )
    for (line, row), names in zip(table.rows, labels, strict=True):
        yield _clip(table, line, row, names, places)


def _labels(table: ClipTable, line: int, row: Mapping[str, Any], separator: str | None) -> tuple[str, ...]:
    if table.columns.flags:
        return tuple(compose(name) for name in table.columns.flags if read_flag(row.get(name)))
    names: list[str] = []
    for field in ("label", "more"):
        column, cell = table.columns.named[field], table.columns.cell(row, field)
        try:
            names += read_labels(cell, (column or "").lower(), separator)
        except ValueError as error:
            raise DataError(f"{table.path}, line {line}, {column}: expected {error}, got {cell!r}") from error
    return tuple(dict.fromkeys(names))


def _clip(table: ClipTable, line: int, row: Mapping[str, Any], labels: tuple[str, ...], places: Places) -> TableRow:
    where, column = f"{table.path}, line {line}", table.columns.named

    def cell(field: str) -> str:
        value = table.columns.cell(row, field)
        if isinstance(value, (list, dict)):
            raise DataError(f"{where}, {column[field]}: expected text or a number, got {value!r}")
        return "" if value is None else str(value).strip()

    path = cell("path")
    if re.search(r"\n.*[,;\t]", path + str(table.columns.cell(row, "label") or ""), re.DOTALL):
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
    try:
        segment = (column["path"] or "").lower() == "segment_id"
        name, file = places.find(path, table.path, segment=segment)
    except DataError as error:
        raise DataError(f"{where}, {column['path']}: {error}") from error
    split = table.split
    if table.by_folder and split is None:
        split = standard_split(name.split("/")[0])
    own = compose(cell("split"))
    split = standard_split(own) or own or split
    group = compose(cell("group")) or None
    return TableRow(where, name, file, labels, split, int(float(fold)) if fold else None, group, start, end)


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
