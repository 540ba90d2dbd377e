"""The layouts in which data sets lie on disk, and :func:`read_manifest`, which recognises them.

Each is a row of ``LAYOUTS``: a test that recognises it and a reader.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from spectag.audio.read import AUDIO_EXTENSIONS
from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError
from spectag.labels import LabelSet


def read_manifest(directory: str | Path) -> Manifest:
    """Read a data set in any known layout.

    Raises:
        DataError: not a directory, or in no known layout; the message says which are known.
    """
    root = Path(directory)
    if not root.is_dir():
        raise DataError(f"--data {directory}: expected a directory, found {'a file' if root.exists() else 'nothing'}")
    for layout in LAYOUTS:
        if layout.matches(root):
            manifest = layout.read(root)
            if not manifest.clips:
                raise DataError(f"--data {directory}: looks like {layout.name}, but holds no audio files")
            return replace(manifest, clips=tuple(sorted(manifest.clips, key=lambda clip: clip.id)))
    known = "; ".join(f"{layout.name} ({layout.looks})" for layout in LAYOUTS)
    raise DataError(f"--data {directory}: in no known layout; known are: {known}")


_ESC10_FOLDER = re.compile(r"\d{3} - (.+)")
_ESC_FILE = re.compile(r"(\d)-(\d+)-([A-Z])(-\d+)?\.\w+")  # fold, Freesound id of the recording, take, target


def _class_folders(root: Path) -> list[Path]:
    """Folders directly below that hold audio, sorted; neither hidden ones nor ``_background_noise_``."""
    folders = (p for p in sorted(root.iterdir()) if p.is_dir() and p.name[0] not in "._")
    return [p for p in folders if any(_audio(p))]


def _audio(folder: Path) -> Iterable[Path]:
    files = (p for p in sorted(folder.iterdir()) if p.suffix.lower() in AUDIO_EXTENSIONS and p.name[0] != ".")
    return (p for p in files if p.is_file())


def _is_esc10(root: Path) -> bool:
    folders = _class_folders(root)
    return bool(folders) and all(_ESC10_FOLDER.fullmatch(p.name) for p in folders)


def _read_esc10(root: Path) -> Manifest:
    folders = _class_folders(root)
    names = tuple(p.name.split(" - ", 1)[1] for p in folders)
    clips = []
    for label, folder in enumerate(folders):
        for path in _audio(folder):
            match = _ESC_FILE.fullmatch(path.name)
            if match is None:
                raise DataError(f"{path}: expected an ESC file name such as 1-100032-A.ogg (fold, recording, take)")
            clips.append(Clip(_id(root, path), path, (label,), fold=int(match[1]), group=match[2]))
    return Manifest(tuple(clips), LabelSet(names), "ESC-10")


def _is_esc50(root: Path) -> bool:
    return (root / "meta" / "esc50.csv").is_file() and (root / "audio").is_dir()


def _read_esc50(root: Path) -> Manifest:
    table = root / "meta" / "esc50.csv"
    clips: list[Clip] = []
    names: dict[int, str] = {}
    for line, row in enumerate(csv.DictReader(_text(table).splitlines()), start=2):
        try:
            name, fold, target, category = row["filename"], int(row["fold"]), int(row["target"]), row["category"]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{table}, line {line}: expected the columns filename, fold, target, category; got {row}"
            ) from error
        if names.setdefault(target, category) != category:
            raise DataError(f"{table}, line {line}: target {target} is {names[target]!r} above, here {category!r}")
        path = root / "audio" / Path(name).name
        clips.append(Clip(_id(root, path), path, (target,), fold=fold, group=row.get("src_file")))
    if sorted(names) != list(range(len(names))):
        raise DataError(f"{table}: expected targets 0 to {len(names) - 1} without gaps, got {sorted(names)}")
    return Manifest(tuple(clips), LabelSet(tuple(names[i] for i in range(len(names)))), "ESC-50")


_SPEECH_LISTS = {"validation_list.txt": "validation", "testing_list.txt": "test"}


def _is_speech_commands(root: Path) -> bool:
    return any((root / name).is_file() for name in _SPEECH_LISTS) and bool(_class_folders(root))


def _read_speech_commands(root: Path) -> Manifest:
    parts: dict[str, str] = {}
    for name, part in _SPEECH_LISTS.items():
        if (root / name).is_file():
            parts |= dict.fromkeys(_text(root / name).split(), part)
    manifest = _read_folders(root)
    clips = (  # the speaker is what stands before _nohash_
        replace(clip, split=parts.get(clip.id, "train"), group=clip.path.name.split("_nohash_")[0])
        for clip in manifest.clips
    )
    return replace(manifest, clips=tuple(clips), layout="Speech Commands")


def _is_folders(root: Path) -> bool:
    return len(_class_folders(root)) > 1


def _read_folders(root: Path) -> Manifest:
    folders = _class_folders(root)
    clips = (Clip(_id(root, p), p, (label,)) for label, folder in enumerate(folders) for p in _audio(folder))
    return Manifest(tuple(clips), LabelSet(tuple(p.name for p in folders)), "a folder per class")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a table in UTF-8; {error}") from error


def _id(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


@dataclass(frozen=True)
class Layout:
    """How a data set lies on disk: its name, what it looks like, how to recognise and how to read it."""

    name: str
    looks: str
    matches: Callable[[Path], bool]
    read: Callable[[Path], Manifest]


# The first that matches wins: the most particular stand first.
LAYOUTS = (
    Layout("ESC-50", "meta/esc50.csv and audio/", _is_esc50, _read_esc50),
    Layout("ESC-10", "folders such as '001 - Dog bark' of files such as 1-100032-A.ogg", _is_esc10, _read_esc10),
    Layout(
        "Speech Commands",
        "a folder per word, with validation_list.txt or testing_list.txt",
        _is_speech_commands,
        _read_speech_commands,
    ),
    Layout("a folder per class", "two or more folders with audio, named as the classes", _is_folders, _read_folders),
)
