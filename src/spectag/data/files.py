"""What lies on the disk, as data sets need it: folders, audio files, tables, and the names of parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from spectag.audio import find
from spectag.errors import DataError
from spectag.labels import LabelSet

SPEECH_EXTRAS = frozenset({"_silence_", "_unknown_"})  # the classes of Speech Commands that are not words

_PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluate", "evaluation"),
}
_PART = {alias: name for name, aliases in _PARTS.items() for alias in aliases}


def part(name: str) -> str | None:
    """``train``, ``validation`` or ``test`` by any name they go by; None for other words."""
    return _PART.get(name.strip().lower())


def folders(root: Path) -> list[Path]:
    """Folders directly below, sorted; neither hidden ones nor private ones (``_background_noise_``); none of a file."""
    if not root.is_dir():
        return []
    names = (e.name for e in _entries(root) if e.is_dir())
    return [root / name for name in sorted(names) if name[0] not in "._" or name in SPEECH_EXTRAS]


def class_folders(root: Path) -> list[Path]:
    """Those of :func:`folders` that hold audio themselves."""
    return [folder for folder in folders(root) if any(map(_is_audio, _entries(folder)))]


def filled_folders(root: Path) -> list[Path]:
    """Those of :func:`folders` with audio anywhere below."""
    return [folder for folder in folders(root) if next(walk(folder), None) is not None]


def audio_below(folder: Path) -> list[Path]:
    """Audio files in a folder and below it, sorted."""
    return sorted(map(Path, walk(folder)))


def audio(folder: Path) -> list[Path]:
    """Audio files directly in a folder, sorted."""
    return [folder / name for name in sorted(entry.name for entry in _entries(folder) if _is_audio(entry))]


def walk(root: Path) -> Iterator[str]:
    """The path of every recording in a folder and below it, in no particular order.

    Raises:
        DataError: a folder cannot be listed.
    """
    return find.walk(root, _refuse)


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be listed ({error.strerror})") from error


def text(path: Path) -> str:
    """The content of a table.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a table in UTF-8; {error}") from error


def lines(path: Path) -> Iterator[str]:
    """The lines of a table, with their ends, read as they are asked for.

    Raises:
        DataError: as :func:`text`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a table in UTF-8; {error}") from error


def label_table(folder: Path) -> LabelSet | None:
    """What ``class_labels_indices.csv`` in a folder says, or the only ``*class_labels_indices*.csv``; None without one.

    Raises:
        DataError: several and none of that very name, or not such a table.
    """
    tables = sorted(folder.glob("*class_labels_indices*.csv"))
    exact = [table for table in tables if table.name == "class_labels_indices.csv"]
    if len(exact or tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise DataError(f"{folder}: expected one table class_labels_indices.csv, found {names}: keep the right one")
    return LabelSet.read((exact or tables)[0]) if tables else None


def _is_audio(entry: os.DirEntry[str]) -> bool:
    return find.has_audio_extension(entry.name) and not entry.is_dir()


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        _refuse(error)
        raise
