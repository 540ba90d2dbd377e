"""Data sets whose classes are folders, among them Speech Commands."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from spectag.data.folders import (
    SPEECH_EXTRAS,
    describe_rest,
    find_audio,
    list_audio,
    list_class_folders,
    list_filled_folders,
    list_folders,
    read_text,
    standard_split,
)
from spectag.data.manifest import Clip, Manifest
from spectag.data.sheets import EXTENSIONS
from spectag.data.tables import names_files
from spectag.labels import LabelSet, compose

CLASS_FOLDERS = "a folder per class"
SPLIT_FOLDERS = "folders of classes in folders of splits"

_SPEECH_LISTS = {"validation_list.txt": "validation", "testing_list.txt": "test"}
_SPEECH_12 = SPEECH_EXTRAS | {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"}
_NO_CLASSES = frozenset({"audio", "wav", "wavs", "clips", "recordings", "sounds", "data"})


def is_class_folders(root: Path) -> bool:
    """Whether there are classes with recordings directly in them or in folders below (by site or date, for example).

    A single class is one only if no table could say otherwise.

    >>> for name in ("fox", "owl"):
    ...     Path(name).mkdir()
    ...     Path(name, "1.wav").touch()
    >>> is_class_folders(Path("."))
    True
    """
    direct, found = list_class_folders(root), list_filled_folders(root)
    if not direct or all(standard_split(folder.name) for folder in direct):
        return False
    return len(found) > 1 or not (
        found[0].name.lower() in _NO_CLASSES or any(p.suffix.lower() in EXTENSIONS for p in root.iterdir())
    )


def read_class_folders(root: Path) -> Manifest:
    """Read a folder per class; names of folders in composed and decomposed Unicode are the same class.

    >>> for name in ("fox", "owl"):
    ...     Path(name).mkdir()
    ...     Path(name, "1.wav").touch()
    >>> read_class_folders(Path(".")).labels.names
    ('fox', 'owl')
    """
    return _read(root, [(None, folder) for folder in list_filled_folders(root)], CLASS_FOLDERS)


def is_split_folders(root: Path) -> bool:
    """Whether there are two folders of a split with classes in them, or one and no other with audio.

    Since a class may be called ``train``.

    >>> is_split_folders(Path("."))
    False
    """
    found = {folder for _, folder in _splits(root)}
    others = set(list_class_folders(root)) - found
    alone = bool(found) and not list_audio(min(found)) and all(standard_split(folder.name) for folder in others)
    return len(found) > 1 or alone


def read_split_folders(root: Path) -> Manifest:
    """Read folders of classes in folders named after splits.

    >>> Path("train", "owl").mkdir(parents=True)
    >>> Path("train", "owl", "1.wav").touch()
    >>> read_split_folders(Path(".")).clips[0].split
    'train'
    """
    found = [(split, folder) for split, where in _splits(root) for folder in list_filled_folders(where)]
    return _read(root, found, SPLIT_FOLDERS)


def is_speech_commands(root: Path) -> bool:
    """Whether there are the lists of Speech Commands and folders of audio.

    >>> is_speech_commands(Path("."))
    False
    """
    return any((root / name).is_file() for name in _SPEECH_LISTS) and bool(list_class_folders(root))


def read_speech_commands(root: Path) -> Manifest:
    """Read all words. The folder ``_background_noise_`` holds minutes of noise to mix with, which are no clips.

    >>> Path("up").mkdir()
    >>> Path("up", "a_nohash_0.wav").touch()
    >>> _ = Path("testing_list.txt").write_text("up/a_nohash_0.wav")
    >>> [(clip.split, clip.group) for clip in read_speech_commands(Path(".")).clips]
    [('test', 'a')]
    """
    splits: dict[str, str] = {}
    for name, split in _SPEECH_LISTS.items():
        if (root / name).is_file():
            listed = (compose(line.strip()) for line in read_text(root / name).splitlines())
            splits |= {posixpath.normpath(line): split for line in listed if line}
    manifest = read_class_folders(root)
    notes = manifest.notes
    if unknown := splits.keys() - {compose(clip.id) for clip in manifest.clips}:
        notes += (f"{len(unknown)} clips of the validation and testing lists do not exist, e.g. {min(unknown)}",)
    clips = (
        replace(clip, split=splits.get(compose(clip.id), "train"), group=_speaker(clip)) for clip in manifest.clips
    )
    return replace(manifest, clips=tuple(clips), layout="Speech Commands", notes=notes)


def is_speech_test(root: Path) -> bool:
    """Whether the folders are those of the 12-way test of Speech Commands.

    >>> is_speech_test(Path("."))
    False
    """
    names = {folder.name for folder in list_class_folders(root)}
    return names >= SPEECH_EXTRAS and names <= _SPEECH_12


def read_speech_test(root: Path) -> Manifest:
    """Read the 12-way test of Speech Commands; all of its clips are in the split ``test``.

    >>> Path("_unknown_").mkdir()
    >>> Path("_unknown_", "a_nohash_0.wav").touch()
    >>> read_speech_test(Path(".")).clips[0].split
    'test'
    """
    manifest = read_class_folders(root)
    clips = (replace(clip, split="test", group=_speaker(clip)) for clip in manifest.clips)
    return replace(manifest, clips=tuple(clips), layout="Speech Commands, 12-way test")


def _splits(root: Path) -> list[tuple[str, Path]]:
    """Folders named after splits that hold folders of audio."""
    named = ((standard_split(folder.name), folder) for folder in list_folders(root))
    return [(name, folder) for name, folder in named if name and list_class_folders(folder)]


def _read(root: Path, found: Iterable[tuple[str | None, Path]], layout: str) -> Manifest:
    """The recordings of folders, each with its split, that are named after their classes."""
    found = list(found)
    names = tuple(dict.fromkeys(sorted(compose(folder.name) for _, folder in found)))
    index = {name: n for n, name in enumerate(names)}
    clips = tuple(
        Clip(path.relative_to(root).as_posix(), path, (index[compose(folder.name)],), split=split)
        for split, folder in found
        for path in find_audio(folder)
    )
    tables = [path.name for path in sorted(root.iterdir()) if path.suffix.lower() in EXTENSIONS and names_files(path)]
    notes = [f"{table} is not used, since folders are the classes: name it to use its columns" for table in tables]
    return Manifest(
        clips, LabelSet(names), layout, notes=(*describe_rest(root, [folder for _, folder in found]), *notes)
    )


def _speaker(clip: Clip) -> str:
    return clip.path.name.split("_nohash_")[0]
