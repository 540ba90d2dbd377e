"""What the columns of a table of clips mean, by their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spectag.errors import DataError

# Field -> the names that its column may have, in any letter case. The first that a table has is used.
COLUMNS = {
    "path": (
        *("path", "file", "file_name", "filename", "filepath", "file_path", "wav", "audio"),
        *("fname", "slice_file_name", "segment_id", "itemid"),  # FSD50K, UrbanSound8K, AudioSet, freefield1010
    ),
    "label": (
        *("label", "labels", "category", "class", "tags", "target", "event_label", "event_labels", "species"),
        *("primary_label", "ebird_code_multilabel", "ebird_code"),  # BirdCLEF, BirdSet
    ),
    "more": ("secondary_labels", "ebird_code_secondary"),  # further labels beside the first
    "split": ("split", "subset", "part"),
    "fold": ("fold",),
    "group": ("group", "fsid"),
    "start": ("start", "start_seconds", "start_time", "start_time_seconds", "onset", "begin"),
    "end": ("end", "end_seconds", "end_time", "end_time_seconds", "offset"),
    "duration": ("duration",),
}
# Columns that describe a recording, though all of their cells may be 0 or 1.
_FACTS = frozenset(
    ("", "id", "index", "seconds", "length", "rate", "sample_rate", "samplerate", "channels", "samples", "mids")
    + ("verified", "manually_verified", "rating", "quality", "confidence", "score", "salience", "datasetid")
)
_FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


@dataclass(frozen=True)
class Columns:
    """The columns of a table, by the names that it gives them.

    Args:
        named: for each field of ``COLUMNS`` its column; None if there is none.
        flags: columns of 0 and 1 that are named after classes; only if there is no column for labels.
        idle: columns that could be or hold labels, too, and are not used.

    >>> Columns({"path": "file", "label": None}, flags=("dog", "rain")).flags
    ('dog', 'rain')
    """

    named: Mapping[str, str | None]
    flags: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()

    def cell(self, row: Mapping[str, Any], field: str) -> Any:
        """The cell of a field; None if the table has no such column."""
        return row.get(self.named[field] or "")


def name_columns(names: Iterable[str], where: str = "the table") -> Columns:
    """Find the columns of a table; columns of 0 and 1 are left to :func:`find_flags`.

    Raises:
        DataError: two columns differ only in letter case, and one is needed; the message begins with ``where``.

    >>> name_columns(["File", "category", "Onset", "offset"]).named["end"]
    'offset'
    """
    lower: dict[str, list[str]] = {}
    for name in names:
        lower.setdefault(name.lower(), []).append(name)
    found = {field: [name for name in known if name in lower] for field, known in COLUMNS.items()}
    for column in (known[0] for known in found.values() if known):
        if len(lower[column]) > 1:
            raise DataError(f"{where}: expected one column {column!r}, got {' and '.join(lower[column])}: rename one")
    named = {field: lower[known[0]][0] if known else None for field, known in found.items()}
    if (named["end"] or "").lower() == "offset" and "onset" not in lower:  # beside a duration, an offset is a start
        named["start"], named["end"] = named["start"] or named["end"], None
    if (named["path"] or "").lower() == "slice_file_name":  # UrbanSound8K: times in the recording it was cut from
        named |= {"start": None, "end": None, "duration": None}
    return Columns(named, idle=tuple(lower[name][0] for name in found["label"][1:]))


def find_flags(names: Iterable[str], rows: Sequence[Mapping[str, Any]], where: str = "the table") -> tuple[str, ...]:
    """The columns that say of one class each whether it is heard: all of their cells are 0 or 1.

    Args:
        names: of all columns.
        rows: of the table.
        where: begins the message of an error.

    Returns:
        two or more; or one that holds both values; otherwise none.

    Raises:
        DataError: other cells of a column are of this kind, and one is not.

    >>> find_flags(["file", "dog", "seconds"], [{"file": "1.wav", "dog": "1"}, {"file": "2.wav", "dog": "0"}])
    ('dog',)
    """
    known = {name for field in COLUMNS.values() for name in field} | _FACTS
    others = [name for name in names if name.lower() not in known and not name.lower().startswith("unnamed: ")]
    values = {name: [read_flag(row.get(name)) for row in rows] for name in others}
    full = [name for name in others if rows and None not in values[name]]
    if len(full) < 2 and not any(len(set(values[name])) == 2 for name in full):
        return ()
    for name in others:
        if None in values[name] and 2 * values[name].count(None) <= len(rows):
            odd = rows[values[name].index(None)].get(name)
            raise DataError(
                f"{where}: expected 0 or 1 in every cell of the column {name!r}, got {odd!r}: correct it, or remove "
                "the column if it is no class"
            )
    return tuple(full)


def read_flag(cell: object) -> bool | None:
    """Whether a cell says that a class is heard; None if it says something else.

    >>> read_flag("1"), read_flag(0.0), read_flag("0.5")
    (True, False, None)
    """
    return _FLAGS.get(str(cell).strip().lower())
