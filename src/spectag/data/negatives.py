"""Negatives: recordings in which nothing of interest is heard, from folders beside a data set."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from spectag.data.class_folders import CLASS_FOLDERS, SPLIT_FOLDERS
from spectag.data.folders import find_audio
from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError
from spectag.labels import LabelSet, compose


def add_negatives(manifest: Manifest, folders: Iterable[str | os.PathLike[str]]) -> Manifest:
    """Add every recording in some folders, and in folders below, as a clip without labels.

    If the data set has splits or folds, the recordings are dealt out to them in the same shares as its clips, by a hash
    of their names, so that it is the same every time.

    Args:
        manifest: the data set. A folder of negatives may be one of its class folders, which is then no class any more.
        folders: with recordings.

    Raises:
        DataError: a folder holds no recordings, a table of the data set gives a label to one, or no class is left.

    >>> for name in ("set/owl/1.wav", "quiet/2.wav"):
    ...     Path(name).parent.mkdir(parents=True)
    ...     Path(name).touch()
    >>> from spectag.data.layouts import read_manifest
    >>> [(clip.id, clip.labels) for clip in add_negatives(read_manifest("set"), ["quiet"]).clips]
    [('owl/1.wav', (0,)), ('quiet/2.wav', ())]
    """
    found: dict[str, tuple[Path, Path]] = {}  # real path -> path, folder
    for folder in map(Path, folders):
        paths = find_audio(folder) if folder.is_dir() else []
        if not paths:
            what = "holds no recordings" if folder.is_dir() else "expected a folder, found none"
            raise DataError(f"--negatives {folder}: {what}")
        for path in paths:
            found.setdefault(os.path.realpath(path), (path, folder))
    if not found:
        return manifest
    by_folder = manifest.layout in (CLASS_FOLDERS, SPLIT_FOLDERS)
    clips, named = [], set()
    for clip in manifest.clips:
        here = os.path.realpath(clip.path) if clip.place is None else ""
        if here in found:
            if clip.labels and not by_folder:
                raise DataError(
                    f"--negatives {found[here][1]}: {clip.id} has labels in the data set: name other folders"
                )
            clip = replace(clip, labels=())
            named.add(here)
        clips.append(clip)
    new = _clips({path: where for path, where in found.items() if path not in named}, {clip.id for clip in clips})
    return _without_idle_classes(manifest, [*clips, *_deal(new, manifest)])


def _clips(files: dict[str, tuple[Path, Path]], taken: set[str]) -> list[Clip]:
    """A clip per file; its id begins with the name of its folder, and with those above where it is taken."""
    clips = []
    for path, folder in files.values():
        above = folder.resolve().parts[1:]
        inner = path.relative_to(folder).as_posix()
        ids = (compose("/".join((*above[-depth:], inner))) for depth in range(1, len(above) + 1))
        id = next((id for id in ids if id not in taken), str(path))
        taken.add(id)
        clips.append(Clip(id, path, ()))
    return clips


def _deal(new: list[Clip], manifest: Manifest) -> list[Clip]:
    """The new clips in the splits and folds of the data set, in the same shares as its own clips."""
    sides = Counter((clip.split, clip.fold) for clip in manifest.clips)
    order = sorted(sides, key=lambda side: (str(side[0]), side[1] or 0))
    shuffled = sorted(new, key=lambda clip: hashlib.sha256(clip.id.encode(errors="surrogateescape")).digest())
    dealt, before = [], 0
    for split, fold in order:
        start, before = before, before + sides[split, fold]
        share = slice(*(round(len(new) * count / len(manifest)) for count in (start, before)))
        dealt += [replace(clip, split=split, fold=fold) for clip in shuffled[share]]
    return dealt


def _without_idle_classes(manifest: Manifest, clips: list[Clip]) -> Manifest:
    """The data set with these clips, without the classes that had clips before and have none now."""
    gone = {n for clip in manifest.clips for n in clip.labels} - {n for clip in clips for n in clip.labels}
    kept = [n for n in range(len(manifest.labels)) if n not in gone]
    if not kept:
        raise DataError(
            f"--negatives: every recording of the data set ({manifest.layout}) is a negative: no class is left"
        )
    ids = manifest.labels.ids
    labels = LabelSet(tuple(manifest.labels.names[n] for n in kept), ids and tuple(ids[n] for n in kept))
    place = {n: place for place, n in enumerate(kept)}
    moved = (replace(clip, labels=tuple(place[n] for n in clip.labels)) if gone else clip for clip in clips)
    return replace(manifest, clips=tuple(sorted(moved, key=lambda clip: clip.id)), labels=labels)
