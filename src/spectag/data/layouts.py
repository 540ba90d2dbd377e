"""The layouts of data sets on disk, and :func:`read_manifest`, which recognises and reads them.

Each layout is a row of ``LAYOUTS``: a test that recognises it, and a reader.
"""

from __future__ import annotations

import csv
import posixpath
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from spectag.data.ast_json import find_ast_json, read_ast_json
from spectag.data.audioset import find_segment_tables, read_audioset
from spectag.data.folders import (
    SPEECH_EXTRAS,
    find_audio,
    list_audio,
    list_class_folders,
    list_filled_folders,
    list_folders,
    read_text,
    standard_split,
)
from spectag.data.manifest import Clip, Manifest
from spectag.data.shards import is_packed, read_packed
from spectag.data.tables import find_metadata, find_tables, read_metadata, read_tables
from spectag.errors import DataError, SpectagWarning
from spectag.labels import LabelSet


def read_manifest(data: str | Path) -> Manifest:
    """Read a data set in any known layout. Nothing is decoded.

    Args:
        data: its directory, or the file that lists its clips.

    Returns:
        its clips, ordered by id. Files that a table lists and that do not exist are in ``missing``.

    Raises:
        DataError: the path does not exist, the layout is not known (the message lists those that are), a table cannot
            be used, or none of the files exists.

    >>> for name in ("set/fox/1.wav", "set/owl/2.wav"):
    ...     Path(name).parent.mkdir(parents=True)
    ...     Path(name).touch()
    >>> [(clip.id, clip.labels) for clip in read_manifest("set").clips]
    [('fox/1.wav', (0,)), ('owl/2.wav', (1,))]
    """
    root = Path(data)
    if not root.exists():
        raise DataError(f"--data {data}: expected a directory or a table of clips, found nothing")
    for layout in LAYOUTS:
        if layout.matches(root):
            manifest = layout.read(root)
            break
    else:
        found = "" if root.is_dir() else "expected a directory or a table (.csv, .tsv, .jsonl, .json), found a file "
        known = "; ".join(f"{layout.name} ({layout.looks})" for layout in LAYOUTS)
        raise DataError(f"--data {data}: {found}in no known layout; known are: {known}")
    if not manifest.clips:
        what = f"looks like {layout.name}, but holds no audio files"
        if manifest.missing:
            what += f": none of the {len(manifest.missing)} files that it lists exists, e.g. {manifest.missing[0]}"
        raise DataError(f"--data {data}: {what}")
    return replace(manifest, clips=tuple(sorted(manifest.clips, key=lambda clip: clip.id)))


SPLIT_FOLDERS = "folders of classes in folders of splits"

_ESC10_FOLDER = re.compile(r"\d{3} - (.+)")
_ESC_FILE = re.compile(r"(\d)-(\d+)-([A-Z])(-\d+)?\.\w+")  # fold, Freesound id of the recording, take, target


def _is_esc10(root: Path) -> bool:
    found = list_class_folders(root)
    names = ((folder.name, list_audio(folder)[0].name) for folder in found)
    return bool(found) and all(_ESC10_FOLDER.fullmatch(one) and _ESC_FILE.fullmatch(other) for one, other in names)


def _read_esc10(root: Path) -> Manifest:
    found = list_class_folders(root)
    names = tuple(p.name.split(" - ", 1)[1] for p in found)
    clips = []
    for label, folder in enumerate(found):
        for path in list_audio(folder):
            match = _ESC_FILE.fullmatch(path.name)
            if match is None:
                raise DataError(f"{path}: expected an ESC file name such as 1-100032-A.ogg (fold, recording, take)")
            clips.append(Clip(_id(root, path), path, (label,), fold=int(match[1]), group=match[2]))
    return Manifest(tuple(clips), LabelSet(names), "ESC-10")


def _is_esc50(root: Path) -> bool:
    return (root / "meta" / "esc50.csv").is_file() and (root / "audio").is_dir()


def _read_esc50(root: Path) -> Manifest:
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
        clips.append(Clip(_id(root, path), path, (target,), fold=fold, group=row.get("src_file")))
    if not clips:
        raise DataError(f"{table}: expected a row per clip, found none")
    if sorted(names) != list(range(len(names))):
        raise DataError(f"{table}: expected targets 0 to {len(names) - 1} without gaps, got {sorted(names)}")
    found = tuple(clip for clip in clips if clip.path.name in there)
    missing = tuple(sorted(clip.id for clip in clips if clip.path.name not in there))
    return Manifest(found, LabelSet(tuple(names[i] for i in range(len(names)))), "ESC-50", missing)


_SPEECH_LISTS = {"validation_list.txt": "validation", "testing_list.txt": "test"}
_SPEECH_12 = SPEECH_EXTRAS | {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"}


def _is_speech_commands(root: Path) -> bool:
    return any((root / name).is_file() for name in _SPEECH_LISTS) and bool(list_class_folders(root))


def _read_speech_commands(root: Path) -> Manifest:
    """Read all words. The folder ``_background_noise_`` holds minutes of noise to mix with, which are no clips."""
    splits: dict[str, str] = {}
    for name, split in _SPEECH_LISTS.items():
        if (root / name).is_file():
            listed = (line.strip() for line in read_text(root / name).splitlines())
            splits |= {posixpath.normpath(line): split for line in listed if line}
    manifest = _read_folders(root)
    if unknown := splits.keys() - {clip.id for clip in manifest.clips}:
        message = f"{root}: {len(unknown)} clips of the validation and testing lists do not exist, e.g. {min(unknown)}"
        warnings.warn(message, SpectagWarning, stacklevel=2)
    clips = (replace(clip, split=splits.get(clip.id, "train"), group=_speaker(clip)) for clip in manifest.clips)
    return replace(manifest, clips=tuple(clips), layout="Speech Commands")


def _speaker(clip: Clip) -> str:
    return clip.path.name.split("_nohash_")[0]


def _is_speech_test(root: Path) -> bool:
    names = {folder.name for folder in list_class_folders(root)}
    return names >= SPEECH_EXTRAS and names <= _SPEECH_12


def _read_speech_test(root: Path) -> Manifest:
    manifest = _read_folders(root)
    clips = (replace(clip, split="test", group=_speaker(clip)) for clip in manifest.clips)
    return replace(manifest, clips=tuple(clips), layout="Speech Commands, 12-way test")


def _split_folders(root: Path) -> list[tuple[str, Path]]:
    """Folders named after splits that hold folders of audio."""
    named = ((standard_split(folder.name), folder) for folder in list_folders(root))
    return [(name, folder) for name, folder in named if name and list_class_folders(folder)]


def _is_split_folders(root: Path) -> bool:
    """Whether there are two such folders, or one and no other with audio, since a class may be called ``train``."""
    found = {folder for _, folder in _split_folders(root)}
    others = set(list_class_folders(root)) - found
    alone = bool(found) and not list_audio(min(found)) and all(standard_split(folder.name) for folder in others)
    return len(found) > 1 or alone


def _read_split_folders(root: Path) -> Manifest:
    splits = _split_folders(root)
    used = {folder for _, folder in splits}
    if left := [folder.name for folder in list_class_folders(root) if folder not in used or list_audio(folder)]:
        message = f"{root}: recordings in {', '.join(left)} are left out, since they are not in a class of a split"
        warnings.warn(message, SpectagWarning, stacklevel=2)
    found = [(split, folder) for split, where in splits for folder in list_filled_folders(where)]
    names = tuple(sorted({folder.name for _, folder in found}))
    index = {name: n for n, name in enumerate(names)}
    clips = (Clip(_id(root, p), p, (index[f.name],), split=split) for split, f in found for p in find_audio(f))
    return Manifest(tuple(clips), LabelSet(names), SPLIT_FOLDERS)


def _is_folders(root: Path) -> bool:
    """Whether there are classes with recordings directly in them or in folders below (by site or date, for example)."""
    direct, found = list_class_folders(root), list_filled_folders(root)
    return bool(direct) and len(found) > 1 and not all(standard_split(folder.name) for folder in direct)


def _read_folders(root: Path) -> Manifest:
    found = list_filled_folders(root)
    clips = (Clip(_id(root, p), p, (label,)) for label, folder in enumerate(found) for p in find_audio(folder))
    return Manifest(tuple(clips), LabelSet(tuple(p.name for p in found)), "a folder per class")


def _id(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


@dataclass(frozen=True)
class Layout:
    """A way in which data sets are stored.

    Args:
        name: for messages.
        looks: how users recognise it.
        matches: whether a data set has this layout.
        read: reads such a data set.

    >>> [layout.name for layout in LAYOUTS][:3]
    ['packed', 'ESC-50', 'ESC-10']
    """

    name: str
    looks: str
    matches: Callable[[Path], bool]
    read: Callable[[Path], Manifest]


# The first that matches is used, so the most specific ones come first.
LAYOUTS = (
    Layout("packed", "index.json and shard-000000.tar, written by spectag data pack", is_packed, read_packed),
    Layout("ESC-50", "meta/esc50.csv and audio/", _is_esc50, _read_esc50),
    Layout("ESC-10", "folders such as '001 - Dog bark' of files such as 1-100032-A.ogg", _is_esc10, _read_esc10),
    Layout(
        "AudioSet",
        "balanced_train_segments.csv, eval_segments.csv and so on, with files such as YTID.wav or YTID_START.wav below",
        lambda root: bool(find_segment_tables(root)),
        read_audioset,
    ),
    Layout(
        "Speech Commands",
        "a folder per word, with validation_list.txt or testing_list.txt",
        _is_speech_commands,
        _read_speech_commands,
    ),
    Layout(
        "Speech Commands, 12-way test",
        "folders _silence_, _unknown_, yes, no, up and so on",
        _is_speech_test,
        _read_speech_test,
    ),
    Layout(
        "AST JSON",
        'a file {"data": [{"wav": path, "labels": "mid,mid"}]}, or several with train, val, test in their names',
        lambda root: bool(find_ast_json(root)),
        read_ast_json,
    ),
    Layout(
        "audiofolder",
        "metadata.csv, .tsv or .jsonl with file_name and label, in the directory or in train/, validation/, test/",
        lambda root: bool(find_metadata(root)),
        read_metadata,
    ),
    Layout(
        "a table of clips",
        "a .csv, .tsv or .jsonl with columns path and label, possibly split, fold, group, start, end; "
        "or train.csv, validation.csv, test.csv",
        lambda root: bool(find_tables(root)),
        read_tables,
    ),
    Layout(
        SPLIT_FOLDERS,
        "train/dog/x.wav, validation/dog/y.wav, test/dog/z.wav",
        _is_split_folders,
        _read_split_folders,
    ),
    Layout("a folder per class", "two or more folders with audio, named as the classes", _is_folders, _read_folders),
)
