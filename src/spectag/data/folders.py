"""Find the folders, audio files and tables of a data set on disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from spectag.audio.find import has_audio_extension, walk
from spectag.errors import DataError
from spectag.labels import LabelSet

SPEECH_EXTRAS = frozenset({"_silence_", "_unknown_"})  # the classes of Speech Commands that are not words
NOISE = "_background_noise_"  # its folder of minutes of noise to mix with, which are no clips

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

    Hidden folders and ``_background_noise_`` are left out.

    Raises:
        DataError: ``root`` cannot be listed.

    >>> Path("set", "dog").mkdir(parents=True)
    >>> [folder.name for folder in list_folders(Path("set"))]
    ['dog']
    """
    if not root.is_dir():
        return []
    names = (entry.name for entry in _list(root) if entry.is_dir())
    return [root / name for name in sorted(names) if name[0] != "." and name != NOISE]


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


def describe_rest(root: Path, used: Collection[Path]) -> tuple[str, ...]:
    """What is in a data set of folders besides its classes, one line each.

    Args:
        root: of the data set.
        used: the folders that are its classes.

    >>> Path("dog").mkdir()
    >>> for name in ("loose.wav", "dog/1.wav", "dog/notes.txt"):
    ...     Path(name).touch()
    >>> describe_rest(Path("."), [Path("dog")])
    ('1 recording is in no class: loose.wav', '1 file is not taken for a recording: .txt 1')
    """
    loose = [path for folder in {root, *(folder.parent for folder in used)} for path in list_audio(folder)]
    loose += [path for folder in _unused(root, used) for path in find_audio(folder)]
    other = Counter(
        os.path.splitext(name)[1].lower() or "no extension"
        for folder in used
        for _, _, names in os.walk(folder)
        for name in names
        if name[0] != "." and not has_audio_extension(name)
    )
    lines = []
    if loose:
        what = "1 recording is" if len(loose) == 1 else f"{len(loose)} recordings are"
        lines.append(f"{what} in no class: {_some(path.relative_to(root).as_posix() for path in loose)}")
    if empty := [folder.name for folder in list_folders(root) if next(walk_audio(folder), None) is None]:
        lines.append(f"no recordings are in {_some(empty)}")
    if other:
        what = (
            "1 file is not taken for a recording"
            if other.total() == 1
            else (f"{other.total()} files are not taken for recordings")
        )
        lines.append(f"{what}: {', '.join(f'{name} {count}' for name, count in other.most_common(5))}")
    return tuple(lines)


def describe_unlisted(paths: Iterable[str]) -> tuple[str, ...]:
    """The note about recordings that lie among those of a data set and that its tables do not list; none for none.

    >>> describe_unlisted(["2.wav"])
    ('1 recording beside the others is in no table: 2.wav',)
    """
    paths = list(paths)
    what = "1 recording beside the others is" if len(paths) == 1 else f"{len(paths)} recordings beside the others are"
    return (f"{what} in no table: {_some(paths)}",) if paths else ()


def _unused(root: Path, used: Collection[Path]) -> Iterator[Path]:
    """Folders in the data set, hidden ones among them, that are none of its classes and hold none."""
    holders = {parent for folder in used for parent in folder.parents}
    for folder in {root, *(folder.parent for folder in used)}:
        for entry in _list(folder):
            path = folder / entry.name
            if entry.is_dir() and path not in used and path not in holders:
                yield path


def _some(names: Iterable[str]) -> str:
    first = sorted(names)
    return ", ".join(first[:3]) + (", ..." if len(first) > 3 else "")


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
