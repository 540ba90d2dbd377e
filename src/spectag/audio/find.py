"""Recordings in folders: the one walk through a folder, for tagging and for data sets."""

from __future__ import annotations

import glob
import os
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from spectag.errors import FileError, SpectagWarning

# Lower case, with the dot, as in Path.suffix.lower().
AUDIO_EXTENSIONS = frozenset(
    f".{extension}"
    for extension in (
        *("8svx", "aa3", "aac", "ac3", "adts", "aif", "aifc", "aiff", "amb", "amr", "ape", "au", "avr", "awb", "bwf"),
        *("caf", "dsf", "dts", "dtshd", "eac3", "ec3", "flac", "ircam", "m2a", "m4a", "m4b", "m4r", "mka", "mlp"),
        *("mp1", "mp2", "mp3", "mpa", "mpc", "nist", "oga", "ogg", "oma", "opus", "paf", "pvf", "qoa", "ra", "rf64"),
        *("shn", "snd", "sph", "spx", "svx", "tak", "thd", "tta", "voc", "w64", "wav", "wave", "weba", "wma", "wv"),
        *("wve", "3g2", "3gp", "asf", "avi", "f4v", "flv", "m2ts", "m4v", "mj2", "mkv", "mov", "mp4", "mpeg", "mpg"),
        *("mts", "mxf", "nut", "ogm", "ogv", "ogx", "qt", "rm", "ts", "vob", "webm", "wmv"),
    )
)
# What lies beside recordings and is none, so that nobody misses it.
_OTHER_EXTENSIONS = frozenset(
    f".{extension}"
    for extension in (
        *("bat", "bib", "bmp", "cfg", "conf", "csv", "db", "doc", "docx", "eaf", "gif", "gpx", "h5", "hdf5", "htm"),
        *("html", "ini", "ipynb", "journal", "jpeg", "jpg", "json", "jsonl", "kml", "lab", "log", "lrc", "m3u", "m3u8"),
        *("md", "md5", "ndjson", "npy", "npz", "ods", "odt", "parquet", "pdf", "pkl", "png", "pt", "pth", "py", "r"),
        *("rst", "rtf", "rttm", "safetensors", "scores", "sh", "sha256", "sqlite", "srt", "svg", "tex", "textgrid"),
        *("tif", "tiff", "toml", "tsv", "txt", "url", "vtt", "webp", "xls", "xlsx", "xml", "yaml", "yml"),
    )
)
_KINDS = 8  # extensions that a warning lists
_SPECIAL = "named pipes, sockets and devices are not read"


def has_audio_extension(name: str) -> bool:
    """Whether a file's name ends like that of a recording, in any letter case; hidden files do not count.

    >>> has_audio_extension("dawn.WAV"), has_audio_extension(".dawn.wav"), has_audio_extension("notes.txt")
    (True, False, False)
    """
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_EXTENSIONS


def walk(
    folder: str | os.PathLike[str],
    on_error: Callable[[OSError], None],
    on_skipped: Callable[[str], None] = lambda _: None,
) -> Iterator[str]:
    """Find every recording in a folder and below it, by its extension.

    Hidden files and folders are left out. Links are followed, and each folder is visited once. Named pipes, sockets and
    devices are never opened: one of them could block for ever.

    Args:
        folder: where to begin.
        on_error: called for each folder that cannot be listed or is not a folder. It may raise an error.
        on_skipped: called with each file that is left out, but hidden ones: another extension, or no regular file.

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
            if entry.name.startswith("."):
                continue
            if _holds(entry.is_dir):
                todo.append(entry.path)
            elif has_audio_extension(entry.name) and (_holds(entry.is_file) or not _is_special(entry.path)):
                yield entry.path
            else:
                on_skipped(entry.path)


def find_recordings(paths: Iterable[str | os.PathLike[str]]) -> Iterator[str | FileError]:
    """The files to tag: every path as it was given, and in place of each folder all recordings in it and below it.

    The recordings of a folder are sorted. A pattern such as ``*.wav`` that names no file is expanded, since Windows
    shells leave that to the program.

    Args:
        paths: files, folders and patterns.

    Yields:
        paths; or a :class:`spectag.FileError` for a folder that cannot be listed or holds no recording. Whether a file
        exists is only checked when it is read.

    Warns:
        SpectagWarning: how many files of a folder were not taken for recordings, by extension, but for those of texts,
            tables and pictures. Name such a file to have it read all the same.

    >>> Path("site").mkdir()
    >>> Path("site", "dawn.wav").touch()
    >>> list(find_recordings(["site", "dusk.flac"]))
    ['site/dawn.wav', 'dusk.flac']
    """
    for path in map(os.fsdecode, paths):
        if os.path.isdir(path):
            yield from _recordings(path)
        elif glob.has_magic(path) and not os.path.lexists(path) and (matches := sorted(glob.glob(path))):
            for match in matches:
                yield from [FileError(match, _SPECIAL)] if _is_special(match) else find_recordings([match])
        else:
            yield path


def _recordings(folder: str) -> list[str | FileError]:
    failed: list[OSError] = []
    skipped: list[str] = []
    files = sorted(walk(folder, failed.append, skipped.append), key=lambda path: path.split(os.sep))
    failed.sort(key=lambda error: os.fsdecode(error.filename))  # the same on every machine, as the files
    errors = [
        FileError(os.fsdecode(e.filename), f"cannot be listed: {e.strerror}: check its permissions") for e in failed
    ]
    notes = _describe_skipped(skipped)
    if not files and not errors:
        known = " ".join(sorted(AUDIO_EXTENSIONS))
        found = "; ".join(("found none", *notes))
        return [FileError(folder, f"expected a folder with recordings, {found}: looked for the extensions {known}")]
    for note in notes:
        warnings.warn(f"{folder}: {note}", SpectagWarning, stacklevel=2)
    return [*errors, *files]


def _describe_skipped(skipped: Sequence[str]) -> list[str]:
    special = sorted(filter(_is_special, skipped))
    kinds = Counter(os.path.splitext(path)[1].lower() or "no extension" for path in set(skipped).difference(special))
    kinds = Counter({kind: count for kind, count in kinds.items() if kind not in _OTHER_EXTENSIONS})
    notes = []
    if kinds:
        ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
        listed = [f"{kind} {count}" for kind, count in ordered[:_KINDS]]
        if rest := sum(count for _, count in ordered[_KINDS:]):
            listed.append(f"others {rest}")
        files = "1 file was" if kinds.total() == 1 else f"{kinds.total()} files were"
        notes.append(f"{files} not taken for recordings: {', '.join(listed)}")
    if special:
        notes.append(f"{_SPECIAL}: skipped {len(special)}, for example {special[0]}")
    return notes


def _is_special(path: str) -> bool:
    """Whether it is a named pipe, a socket or a device. Broken links are not: whoever reads them says what is wrong."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _holds(test: Callable[[], bool]) -> bool:
    try:
        return test()
    except OSError:  # a link to itself
        return False
