"""The layouts in which data sets lie on disk, and :func:`read_manifest`, which recognises them.

Each is a row of ``LAYOUTS``: a test that recognises it and a reader.
"""

from __future__ import annotations

import csv
import posixpath
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from spectag.data.audioset import json_tables, read_json, read_segments, segment_tables
from spectag.data.files import (
    SPEECH_EXTRAS,
    audio,
    audio_below,
    class_folders,
    filled_folders,
    folders,
    part,
    text,
)
from spectag.data.manifest import Clip, Manifest
from spectag.data.shards import is_packed, read_packed
from spectag.data.tables import metadata, read_metadata, read_tables, tables
from spectag.errors import DataError, SpectagWarning
from spectag.labels import LabelSet


def read_manifest(data: str | Path) -> Manifest:
    """Read a data set in any known layout; nothing is decoded.

    Args:
        data: its directory, or the file that is its table.

    Returns:
        its clips by id; files that a table names and the disk does not have are listed in ``missing``.

    Raises:
        DataError: nothing there, or in no known layout (the message says which are known), a table that makes no
            sense, or none of the files.
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
            what += f": none of the {len(manifest.missing)} that it names is there, {manifest.missing[0]} for one"
        raise DataError(f"--data {data}: {what}")
    return replace(manifest, clips=tuple(sorted(manifest.clips, key=lambda clip: clip.id)))


_ESC10_FOLDER = re.compile(r"\d{3} - (.+)")
_ESC_FILE = re.compile(r"(\d)-(\d+)-([A-Z])(-\d+)?\.\w+")  # fold, Freesound id of the recording, take, target


def _is_esc10(root: Path) -> bool:
    found = class_folders(root)
    names = ((folder.name, audio(folder)[0].name) for folder in found)
    return bool(found) and all(_ESC10_FOLDER.fullmatch(one) and _ESC_FILE.fullmatch(other) for one, other in names)


def _read_esc10(root: Path) -> Manifest:
    found = class_folders(root)
    names = tuple(p.name.split(" - ", 1)[1] for p in found)
    clips = []
    for label, folder in enumerate(found):
        for path in audio(folder):
            match = _ESC_FILE.fullmatch(path.name)
            if match is None:
                raise DataError(f"{path}: expected an ESC file name such as 1-100032-A.ogg (fold, recording, take)")
            clips.append(Clip(_id(root, path), path, (label,), fold=int(match[1]), group=match[2]))
    return Manifest(tuple(clips), LabelSet(names), "ESC-10")


def _is_esc50(root: Path) -> bool:
    return (root / "meta" / "esc50.csv").is_file() and (root / "audio").is_dir()


def _read_esc50(root: Path) -> Manifest:
    table = root / "meta" / "esc50.csv"
    there = {path.name for path in audio(root / "audio")}
    clips: list[Clip] = []
    names: dict[int, str] = {}
    for line, row in enumerate(csv.DictReader(text(table).splitlines()), start=2):
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
    return any((root / name).is_file() for name in _SPEECH_LISTS) and bool(class_folders(root))


def _read_speech_commands(root: Path) -> Manifest:
    """All words; ``_background_noise_`` holds minutes of noise to mix with, which are no clips."""
    parts: dict[str, str] = {}
    for name, split in _SPEECH_LISTS.items():
        if (root / name).is_file():
            listed = (line.strip() for line in text(root / name).splitlines())
            parts |= {posixpath.normpath(line): split for line in listed if line}
    manifest = _read_folders(root)
    if unknown := parts.keys() - {clip.id for clip in manifest.clips}:
        message = f"{root}: {len(unknown)} clips of the validation and testing lists are not there, {min(unknown)} say"
        warnings.warn(message, SpectagWarning, stacklevel=2)
    clips = (replace(clip, split=parts.get(clip.id, "train"), group=_speaker(clip)) for clip in manifest.clips)
    return replace(manifest, clips=tuple(clips), layout="Speech Commands")


def _speaker(clip: Clip) -> str:
    return clip.path.name.split("_nohash_")[0]


def _is_speech_test(root: Path) -> bool:
    names = {folder.name for folder in class_folders(root)}
    return names >= SPEECH_EXTRAS and names <= _SPEECH_12


def _read_speech_test(root: Path) -> Manifest:
    manifest = _read_folders(root)
    clips = (replace(clip, split="test", group=_speaker(clip)) for clip in manifest.clips)
    return replace(manifest, clips=tuple(clips), layout="Speech Commands, 12-way test")


def _split_folders(root: Path) -> list[tuple[str, Path]]:
    """Folders named as parts that hold folders of audio."""
    named = ((part(folder.name), folder) for folder in folders(root))
    return [(name, folder) for name, folder in named if name and class_folders(folder)]


def _is_split_folders(root: Path) -> bool:
    """Two such folders, or one beside which no other holds audio: a class may well be called ``train``."""
    found = {folder for _, folder in _split_folders(root)}
    others = set(class_folders(root)) - found
    alone = bool(found) and not audio(min(found)) and all(part(folder.name) for folder in others)
    return len(found) > 1 or alone


def _read_split_folders(root: Path) -> Manifest:
    parts = _split_folders(root)
    used = {folder for _, folder in parts}
    if left := [folder.name for folder in class_folders(root) if folder not in used or audio(folder)]:
        message = f"{root}: recordings in {', '.join(left)}, but in no class of a part, are left out"
        warnings.warn(message, SpectagWarning, stacklevel=2)
    found = [(split, folder) for split, where in parts for folder in filled_folders(where)]
    names = tuple(sorted({folder.name for _, folder in found}))
    index = {name: n for n, name in enumerate(names)}
    clips = (Clip(_id(root, p), p, (index[f.name],), split=split) for split, f in found for p in audio_below(f))
    return Manifest(tuple(clips), LabelSet(names), "folders of classes in folders of parts")


def _is_folders(root: Path) -> bool:
    """Classes with recordings in them, or in folders below (by site or date, say)."""
    direct, found = class_folders(root), filled_folders(root)
    return bool(direct) and len(found) > 1 and not all(part(folder.name) for folder in direct)


def _read_folders(root: Path) -> Manifest:
    found = filled_folders(root)
    clips = (Clip(_id(root, p), p, (label,)) for label, folder in enumerate(found) for p in audio_below(folder))
    return Manifest(tuple(clips), LabelSet(tuple(p.name for p in found)), "a folder per class")


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
    Layout("packed", "index.json and shard-000000.tar, written by spectag data pack", is_packed, read_packed),
    Layout("ESC-50", "meta/esc50.csv and audio/", _is_esc50, _read_esc50),
    Layout("ESC-10", "folders such as '001 - Dog bark' of files such as 1-100032-A.ogg", _is_esc10, _read_esc10),
    Layout(
        "AudioSet",
        "balanced_train_segments.csv, eval_segments.csv and so on, with files such as YTID.wav or YTID_START.wav below",
        lambda root: bool(segment_tables(root)),
        read_segments,
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
        lambda root: bool(json_tables(root)),
        read_json,
    ),
    Layout(
        "audiofolder",
        "metadata.csv, .tsv or .jsonl with file_name and label, in the directory or in train/, validation/, test/",
        lambda root: bool(metadata(root)),
        read_metadata,
    ),
    Layout(
        "a table of clips",
        "a .csv, .tsv or .jsonl with columns path and label, possibly split, fold, group, start, end; "
        "or train.csv, validation.csv, test.csv",
        lambda root: bool(tables(root)),
        read_tables,
    ),
    Layout(
        "folders of classes in folders of parts",
        "train/dog/x.wav, validation/dog/y.wav, test/dog/z.wav",
        _is_split_folders,
        _read_split_folders,
    ),
    Layout("a folder per class", "two or more folders with audio, named as the classes", _is_folders, _read_folders),
)
