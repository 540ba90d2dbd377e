"""Label sets: what a checkpoint's outputs are called, in the order of the outputs."""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

from spectag.errors import DataError, InputError, LabelMismatch

HEADER = ("index", "mid", "display_name")


@dataclass(frozen=True)
class LabelSet:
    """Names, and ids where the data set has them, in the order of the outputs.

    Args:
        names: what people read, one per output, no two alike.
        ids: what machines exchange (AudioSet's mids, say), one per output, no two alike; None where there are none.

    Raises:
        InputError: no names, a name or id twice or not text, or as many ids as names are not there.
    """

    names: tuple[str, ...]
    ids: tuple[str, ...] | None = None
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "ids", None if self.ids is None else tuple(self.ids))
        if not self.names:
            raise InputError("labels: expected at least one name, got none")
        for what, values in (("name", self.names), ("id", self.ids or ())):
            seen: set[str] = set()
            for value in values:
                if not isinstance(value, str):
                    raise InputError(f"labels: expected every {what} to be text, got {value!r}")
                if value in seen:
                    raise InputError(f"labels: the {what} {value!r} stands there twice")
                seen.add(value)
        if self.ids is not None and len(self.ids) != len(self.names):
            raise InputError(f"labels: expected as many ids as names ({len(self.names)}), got {len(self.ids)}")
        by_id = {value: n for n, value in enumerate(self.ids or ())}
        object.__setattr__(self, "_index", by_id | {value: n for n, value in enumerate(self.names)})

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name_or_id: str) -> int:
        """The output that a name or an id belongs to, 0 .. len - 1; a name wins where both exist.

        Raises:
            InputError: unknown; the message lists the nearest.
        """
        try:
            return self._index[name_or_id]
        except (KeyError, TypeError):
            raise InputError(f"no label {name_or_id!r}{nearest(str(name_or_id), self._index)}") from None

    @classmethod
    def audioset(cls) -> LabelSet:
        """The 527 classes of AudioSet with their mids, in the order of ``class_labels_indices.csv``."""
        return _packaged("audioset")

    @classmethod
    def esc50(cls) -> LabelSet:
        """The 50 classes of ESC-50 by target number."""
        return _packaged("esc50")

    @classmethod
    def speech_commands(cls) -> LabelSet:
        """The 35 words of Speech Commands V2 in the order of the published checkpoint."""
        return _packaged("speech-commands")

    @classmethod
    def numbered(cls, n: int) -> LabelSet:
        """``LABEL_0`` .. ``LABEL_{n-1}``, for outputs whose meaning is unknown (the names ``transformers`` gives)."""
        return cls(tuple(f"LABEL_{i}" for i in range(n)))

    @classmethod
    def for_outputs(cls, n: int) -> LabelSet:
        """The published label set of so many outputs: AudioSet 527, ESC-50 50, Speech Commands 35; else numbered."""
        known = {527: cls.audioset, 50: cls.esc50, 35: cls.speech_commands}
        return known[n]() if n in known else cls.numbered(n)

    @classmethod
    def named(cls, names: Iterable[str]) -> LabelSet:
        """A set of these names; with ids where they are those of a packaged table, in its order."""
        names = tuple(names)
        known = cls.for_outputs(len(names)) if names else None
        return known if known is not None and known.names == names else cls(names)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> LabelSet:
        """A table with the columns ``index,mid,display_name`` (``mid`` may be empty or absent), in any order of rows.

        Raises:
            DataError: no such file, not such a table, indices not 0 .. n-1, or a label twice; names the file.
        """
        try:
            with Path(path).open(newline="", encoding="utf-8-sig") as lines:
                rows = list(csv.DictReader(lines))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path}: cannot read the label table: {error}") from error
        try:
            rows.sort(key=lambda row: int(row["index"]))
            indices = [int(row["index"]) for row in rows]
            names = tuple(row["display_name"] for row in rows)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: expected a table with the columns {','.join(HEADER)}") from error
        if not rows or indices != list(range(len(rows))):
            raise DataError(f"{path}: expected indices 0 to {max(len(rows) - 1, 0)}, each once; got {indices[:5]} ...")
        mids = tuple(row.get("mid") or "" for row in rows)
        try:
            return cls(names, mids if any(mids) else None)
        except InputError as error:
            raise DataError(f"{path}: {error}") from error


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """For the end of an error message: ``; nearest: a, b``, or nothing where nothing is near; case is ignored."""
    folded = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), folded, count, cutoff=0.5)
    return f"; nearest: {', '.join(folded[key] for key in near)}" if near else ""


@cache
def _packaged(name: str) -> LabelSet:
    with resources.as_file(resources.files("spectag") / "tables" / f"{name}.csv") as path:
        return LabelSet.read(path)


def align(wanted: LabelSet, known: LabelSet) -> list[int]:
    """For each class of a data set its place among a model's, by name, letter case and ``_`` for a space aside.

    Raises:
        LabelMismatch: classes the model does not know.
    """
    places = {_plain(name): place for place, name in enumerate(known.names)}
    missing = [name for name in wanted.names if _plain(name) not in places]
    if missing:
        raise LabelMismatch(
            f"the model does not know {len(missing)} of the data set's {len(wanted)} classes: {', '.join(missing[:5])}"
            f"{', ...' if len(missing) > 5 else ''}; it knows {', '.join(known.names[:5])}, ... ({len(known)} in all)"
        )
    return [places[_plain(name)] for name in wanted.names]


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").strip()
