"""Label sets: the names of a checkpoint's outputs, in order."""

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
_PUBLISHED = {527: "audioset", 50: "esc50", 35: "speech-commands"}  # number of classes -> table


@dataclass(frozen=True)
class LabelSet:
    """Names of the outputs, and ids where the data set has them, in the order of the outputs.

    Args:
        names: names for people, one per output, all different.
        ids: ids for programs (AudioSet's mids, for example), one per output, all different; None for no ids.

    Raises:
        InputError: there are no names, a name or id is listed twice or is not text, or the ids are not as many as the
            names.

    >>> labels = LabelSet(("owl", "fox"))
    >>> labels.index("fox")
    1
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
                    raise InputError(f"labels: the {what} {value!r} is listed twice")
                seen.add(value)
        if self.ids is not None and len(self.ids) != len(self.names):
            raise InputError(f"labels: expected as many ids as names ({len(self.names)}), got {len(self.ids)}")
        by_id = {value: n for n, value in enumerate(self.ids or ())}
        object.__setattr__(self, "_index", by_id | {value: n for n, value in enumerate(self.names)})

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name_or_id: str) -> int:
        """Return the output that a name or an id belongs to, 0 .. len - 1. A name wins where both exist.

        Raises:
            InputError: there is no such label; the message lists the nearest.

        >>> LabelSet.audioset().index("/m/04rlf"), LabelSet.audioset().index("Music")
        (137, 137)
        """
        try:
            return self._index[name_or_id]
        except (KeyError, TypeError):
            raise InputError(f"no label {name_or_id!r}{nearest(str(name_or_id), self._index)}") from None

    @property
    def is_published(self) -> bool:
        """Whether these are the classes of AudioSet, ESC-50 or Speech Commands, in the published order.

        >>> LabelSet(("owl", "fox")).is_published
        False
        """
        return self.for_outputs(len(self)).names == self.names and len(self) in _PUBLISHED

    @classmethod
    def audioset(cls) -> LabelSet:
        """The 527 classes of AudioSet with their mids, in the order of ``class_labels_indices.csv``.

        >>> LabelSet.audioset().names[0]
        'Speech'
        """
        return _packaged("audioset")

    @classmethod
    def esc50(cls) -> LabelSet:
        """The 50 classes of ESC-50 by target number.

        >>> LabelSet.esc50().names[0]
        'dog'
        """
        return _packaged("esc50")

    @classmethod
    def speech_commands(cls) -> LabelSet:
        """The 35 words of Speech Commands V2 in the order of the published checkpoint.

        >>> LabelSet.speech_commands().names[0]
        'backward'
        """
        return _packaged("speech-commands")

    @classmethod
    def numbered(cls, n: int) -> LabelSet:
        """Names for n outputs whose meaning is unknown, those that ``transformers`` gives.

        >>> LabelSet.numbered(2).names
        ('LABEL_0', 'LABEL_1')
        """
        return cls(tuple(f"LABEL_{i}" for i in range(n)))

    @classmethod
    def for_outputs(cls, n: int) -> LabelSet:
        """The published label set with n classes: AudioSet 527, ESC-50 50, Speech Commands 35; else numbered ones.

        This is a guess. Functions that use it for a model give a warning.

        >>> LabelSet.for_outputs(35).names[0], LabelSet.for_outputs(3).names[0]
        ('backward', 'LABEL_0')
        """
        return _packaged(_PUBLISHED[n]) if n in _PUBLISHED else cls.numbered(n)

    @classmethod
    def named(cls, names: Iterable[str]) -> LabelSet:
        """A set of these names, with ids where they are those of a packaged table, in its order.

        Raises as the class.

        >>> LabelSet.named(LabelSet.audioset().names).ids[0]
        '/m/09x0r'
        """
        names = tuple(names)
        known = cls.for_outputs(len(names)) if names else None
        return known if known is not None and known.names == names else cls(names)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> LabelSet:
        """Read a table with the columns ``index,mid,display_name``, in any order of rows.

        Args:
            path: a CSV file. The column ``mid`` may be empty or missing.

        Raises:
            DataError: there is no such file, it is not such a table, its indices are not 0 .. n-1, or a label is listed
                twice; the message names the file.

        >>> _ = Path("labels.csv").write_text("index,display_name\\n1,fox\\n0,owl\\n")
        >>> LabelSet.read("labels.csv").names
        ('owl', 'fox')
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
    """Name the most similar names at the end of an error message; case is ignored.

    Args:
        name: what was not found.
        known: the names that exist.
        count: the largest number of suggestions.

    Returns:
        ``; nearest: a, b``, or nothing if no name is similar.

    >>> nearest("musik", ["Music", "Speech"])
    '; nearest: Music'
    """
    folded = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), folded, count, cutoff=0.5)
    return f"; nearest: {', '.join(folded[key] for key in near)}" if near else ""


def align(wanted: LabelSet, known: LabelSet) -> list[int]:
    """Find each class of a data set among a model's, by name. Letter case, and ``_`` in place of a space, are ignored.

    Returns:
        The place among ``known`` of each label of ``wanted``.

    Raises:
        LabelMismatch: the model does not know some of the classes.

    >>> align(LabelSet(("clock_tick", "Dog")), LabelSet(("dog", "rain", "Clock tick")))
    [2, 0]
    """
    places = {_plain(name): place for place, name in enumerate(known.names)}
    missing = [name for name in wanted.names if _plain(name) not in places]
    if missing:
        raise LabelMismatch(
            f"the model does not know {len(missing)} of the data set's {len(wanted)} classes: {', '.join(missing[:5])}"
            f"{', ...' if len(missing) > 5 else ''}; it knows {', '.join(known.names[:5])}, ... ({len(known)} in all)"
        )
    return [places[_plain(name)] for name in wanted.names]


@cache
def _packaged(name: str) -> LabelSet:
    with resources.as_file(resources.files("spectag") / "tables" / f"{name}.csv") as path:
        return LabelSet.read(path)


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").strip()
