"""ESC-50 and ESC-10: environmental sounds in five folds, several takes of some recordings."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from spectag.data.folders import describe_rest, describe_unlisted, list_audio, list_class_folders, read_text
from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError
from spectag.labels import LabelSet

_ESC10_FOLDER = re.compile(r"\d{3} - (.+)")
_ESC_FILE = re.compile(r"(\d)-(\d+)-([A-Z])(-\d+)?\.\w+")  # fold, Freesound id of the recording, take, target


def is_esc10(root: Path) -> bool:
    """Whether all folders and the first file of each are named as in ESC-10.

    >>> Path("001 - Dog bark").mkdir()
    >>> Path("001 - Dog bark", "1-100032-A.ogg").touch()
    >>> is_esc10(Path("."))
    True
    """
    found = list_class_folders(root)
    names = ((folder.name, list_audio(folder)[0].name) for folder in found)
    return bool(found) and all(_ESC10_FOLDER.fullmatch(one) and _ESC_FILE.fullmatch(other) for one, other in names)


def read_esc10(root: Path) -> Manifest:
    """Read ESC-10; the takes of one Freesound recording are a group.

    Raises:
        DataError: a file is not named as in ESC-10.

    >>> Path("001 - Dog bark").mkdir()
    >>> Path("001 - Dog bark", "1-100032-A.ogg").touch()
    >>> [(clip.fold, clip.group) for clip in read_esc10(Path(".")).clips]
    [(1, '100032')]
    """
    found = list_class_folders(root)
    names = tuple(p.name.split(" - ", 1)[1] for p in found)
    clips = []
    for label, folder in enumerate(found):
        for path in list_audio(folder):
            match = _ESC_FILE.fullmatch(path.name)
            if match is None:
                raise DataError(f"{path}: expected an ESC file name such as 1-100032-A.ogg (fold, recording, take)")
            clips.append(Clip(path.relative_to(root).as_posix(), path, (label,), fold=int(match[1]), group=match[2]))
    return Manifest(tuple(clips), LabelSet(names), "ESC-10", notes=describe_rest(root, found))


def is_esc50(root: Path) -> bool:
    """Whether there are ``meta/esc50.csv`` and ``audio/``.

    >>> is_esc50(Path("."))
    False
    """
    return (root / "meta" / "esc50.csv").is_file() and (root / "audio").is_dir()


def read_esc50(root: Path) -> Manifest:
    """Read ESC-50; classes are ordered by target, and the takes of one Freesound recording are a group.

    Raises:
        DataError: the table is none of ESC-50.

    >>> Path("audio").mkdir()
    >>> Path("audio", "1-1-A-0.wav").touch()
    >>> Path("meta").mkdir()
    >>> _ = Path("meta", "esc50.csv").write_text("filename,fold,target,category\\n1-1-A-0.wav,1,0,dog\\n")
    >>> read_esc50(Path(".")).labels.names
    ('dog',)
    """
    table = root / "meta" / "esc50.csv"
    there = {path.name for path in list_audio(root / "audio")}
    clips: list[Clip] = []
    names: dict[int, str] = {}
    for line, row in enumerate(csv.DictReader(read_text(table).splitlines()), start=2):
        try:
            name, fold, target, category = row["filename"], int(row["fold"]), int(row["target"]), row["category"]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{table}, line {line}: expected the columns filename, fold, target, category; got {row}"
            ) from error
        if names.setdefault(target, category) != category:
            raise DataError(f"{table}, line {line}: target {target} is {names[target]!r} above, here {category!r}")
        path = root / "audio" / Path(name).name
        clips.append(Clip(f"audio/{path.name}", path, (target,), fold=fold, group=row.get("src_file")))
    if not clips:
        raise DataError(f"{table}: expected a row per clip, found none")
    if sorted(names) != list(range(len(names))):
        raise DataError(f"{table}: expected targets 0 to {len(names) - 1} without gaps, got {sorted(names)}")
    notes = describe_unlisted(there - {clip.path.name for clip in clips})
    found = tuple(clip for clip in clips if clip.path.name in there)
    missing = tuple(sorted(clip.id for clip in clips if clip.path.name not in there))
    return Manifest(found, LabelSet(tuple(names[i] for i in range(len(names)))), "ESC-50", missing, notes)
