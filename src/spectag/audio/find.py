"""Recordings in folders: the one walk through a folder, for tagging and for data sets."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator

from spectag.errors import FileError

# Lower case, with the dot, as in Path.suffix.lower().
AUDIO_EXTENSIONS = frozenset(
    f".{extension}"
    for extension in (
        *("aac", "ac3", "aif", "aifc", "aiff", "amr", "ape", "au", "caf", "flac", "m4a", "m4b", "mka", "mp2", "mp3"),
        *("oga", "ogg", "opus", "rf64", "snd", "spx", "tta", "w64", "wav", "wave", "weba", "wma", "wv"),
        *("3gp", "avi", "flv", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "ts", "webm", "wmv"),
    )
)


def has_audio_extension(name: str) -> bool:
    """Whether a file's name ends like that of a recording, in any letter case; hidden files do not count.

    >>> has_audio_extension("dawn.WAV"), has_audio_extension(".dawn.wav"), has_audio_extension("notes.txt")
    (True, False, False)
    """
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_EXTENSIONS


def walk(folder: str | os.PathLike[str], on_error: Callable[[OSError], None]) -> Iterator[str]:
    """Find every recording in a folder and below it, by its extension.

    Hidden files and folders are left out. Links are followed, and each folder is visited once.

    Args:
        folder: where to begin.
        on_error: called for each folder that cannot be listed or is not a folder. It may raise an error.

    Yields:
        paths, in no particular order, as they are found.

    >>> Path("site").mkdir()
    >>> Path("site", "dawn.wav").touch()
    >>> [Path(path).name for path in walk("site", print)]
    ['dawn.wav']
    """
    todo, visited = [os.fspath(folder)], set()
    while todo:
        here = todo.pop()
        try:
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(here) as entries:
                found = list(entries)
        except OSError as error:
            on_error(error)
            continue
        for entry in found:
            if _is_folder(entry):
                if not entry.name.startswith("."):
                    todo.append(entry.path)
            elif has_audio_extension(entry.name):
                yield entry.path


def find_recordings(paths: Iterable[str | os.PathLike[str]]) -> Iterator[str | FileError]:
    """The files to tag: every path as it was given, and in place of each folder all recordings in it and below it.

    The recordings of a folder are sorted. A pattern such as ``*.wav`` that names no file is expanded, since Windows
    shells leave that to the program.

    Args:
        paths: files, folders and patterns.

    Yields:
        paths; or a :class:`spectag.FileError` for a folder that cannot be listed or holds no recording. Whether a file
        exists is only checked when it is read.

    >>> Path("site").mkdir()
    >>> Path("site", "dawn.wav").touch()
    >>> list(find_recordings(["site", "dusk.flac"]))
    ['site/dawn.wav', 'dusk.flac']
    """
    for path in map(os.fsdecode, paths):
        if os.path.isdir(path):
            yield from _recordings(path)
        elif glob.has_magic(path) and not os.path.lexists(path) and (matches := sorted(glob.glob(path))):
            yield from find_recordings(matches)
        else:
            yield path


def _recordings(folder: str) -> list[str | FileError]:
    failed: list[OSError] = []
    files = sorted(walk(folder, failed.append), key=lambda path: path.split(os.sep))
    errors = [
        FileError(os.fsdecode(e.filename), f"cannot be listed: {e.strerror}: check its permissions") for e in failed
    ]
    if not files and not errors:
        known = " ".join(sorted(AUDIO_EXTENSIONS))
        return [FileError(folder, f"expected a folder with recordings, found none: looked for the extensions {known}")]
    return [*errors, *files]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
