"""Find the folders, audio files and tables of a data set on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from spectag.audio.find import has_audio_extension, walk
from spectag.errors import DataError
from spectag.labels import LabelSet

SPEECH_EXTRAS = frozenset({"_silence_", "_unknown_"})  # the classes of Speech Commands that are not words

_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluate", "evaluation"),
}
_STANDARD = {alias: name for name, aliases in _SPLITS.items() for alias in aliases}


def standard_split(name: str) -> str | None:
    """``train``, ``validation`` or ``test`` for any of the usual names of these splits; None for other words.

    >>> standard_split("Dev"), standard_split("dog")
    ('validation', None)
    """
    return _STANDARD.get(name.strip().lower())


def list_folders(root: Path) -> list[Path]:
    """The folders directly below ``root``, sorted; none if ``root`` is a file.

    Hidden folders, and those whose name begins with an underscore (``_background_noise_``), are left out.

    Raises:
        DataError: ``root`` cannot be listed.

    >>> Path("set", "dog").mkdir(parents=True)
    >>> [folder.name for folder in list_folders(Path("set"))]
    ['dog']
    """
    if not root.is_dir():
        return []
    names = (entry.name for entry in _list(root) if entry.is_dir())
    return [root / name for name in sorted(names) if name[0] not in "._" or name in SPEECH_EXTRAS]


def list_class_folders(root: Path) -> list[Path]:
    """Those of :func:`list_folders` that hold audio files directly.

    >>> Path("set", "dog").mkdir(parents=True)
    >>> Path("set", "dog", "1.wav").touch()
    >>> [folder.name for folder in list_class_folders(Path("set"))]
    ['dog']
    """
    return [folder for folder in list_folders(root) if any(_is_audio(entry) for entry in _list(folder))]


def list_filled_folders(root: Path) -> list[Path]:
    """Those of :func:`list_folders` that hold audio files, directly or in folders below.

    >>> Path("set", "dog", "2026").mkdir(parents=True)
    >>> Path("set", "dog", "2026", "1.wav").touch()
    >>> [folder.name for folder in list_filled_folders(Path("set"))]
    ['dog']
    """
    return [folder for folder in list_folders(root) if next(walk_audio(folder), None) is not None]


def list_audio(folder: Path) -> list[Path]:
    """The audio files directly in a folder, sorted.

    Raises:
        DataError: the folder cannot be listed.

    >>> Path("1.wav").touch()
    >>> [path.name for path in list_audio(Path("."))]
    ['1.wav']
    """
    return [folder / name for name in sorted(entry.name for entry in _list(folder) if _is_audio(entry))]


def find_audio(folder: Path) -> list[Path]:
    """The audio files in a folder and below it, sorted.

    Raises:
        DataError: a folder cannot be listed.

    >>> Path("dog").mkdir()
    >>> Path("dog", "1.wav").touch()
    >>> [path.as_posix() for path in find_audio(Path("."))]
    ['dog/1.wav']
    """
    return sorted(map(Path, walk_audio(folder)))


def walk_audio(folder: Path) -> Iterator[str]:
    """The paths of the audio files in a folder and below it, in no particular order, as they are found.

    Raises:
        DataError: a folder cannot be listed.

    >>> Path("1.wav").touch()
    >>> [os.path.basename(path) for path in walk_audio(Path("."))]
    ['1.wav']
    """

    def fail(error: OSError) -> None:
        raise _cannot_list(error.filename, error)

    return walk(folder, fail)


def read_text(path: Path) -> str:
    """The content of a table.

    Raises:
        DataError: it cannot be read, or is not UTF-8.

    >>> _ = Path("clips.csv").write_text("path,label")
    >>> read_text(Path("clips.csv"))
    'path,label'
    """
    return "".join(read_lines(path, newline=None))


def read_lines(path: Path, newline: str | None = "") -> Iterator[str]:
    """The lines of a table, read one by one.

    Args:
        path: of the table.
        newline: as for :func:`open`: "" to keep the ends of lines as they are, None to convert them.

    Raises:
        DataError: it cannot be read, or is not UTF-8.

    >>> _ = Path("clips.csv").write_text("path,label\\n1.wav,owl")
    >>> len(list(read_lines(Path("clips.csv"))))
    2
    """
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a table in UTF-8; {error}") from error


def read_label_table(folder: Path) -> LabelSet | None:
    """Read ``class_labels_indices.csv`` in a folder, or else the only ``*class_labels_indices*.csv``.

    Returns:
        the labels; None if there is no such table.

    Raises:
        DataError: several tables and none of exactly this name, or one that holds no labels.

    >>> read_label_table(Path(".")) is None
    True
    """
    tables = sorted(folder.glob("*class_labels_indices*.csv"))
    exact = [table for table in tables if table.name == "class_labels_indices.csv"]
    if len(exact or tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise DataError(f"{folder}: expected one table class_labels_indices.csv, found {names}: keep the right one")
    return LabelSet.read((exact or tables)[0]) if tables else None


def _is_audio(entry: os.DirEntry[str]) -> bool:
    try:
        return has_audio_extension(entry.name) and entry.is_file()
    except OSError:  # a link to itself
        return False


def _list(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise _cannot_list(folder, error) from error


def _cannot_list(folder: str | Path, error: OSError) -> DataError:
    return DataError(f"{folder}: cannot be listed ({error.strerror})")
