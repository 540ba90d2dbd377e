"""Packed data sets: clips that were decoded once and stored as 16 kHz mono FLAC in large tar files (shards).

::

    OUT/shard-000000.tar  000000017.flac 000000017.json 000000004.flac ..  a WebDataset: per key a sound and its labels
    OUT/index.json        a column per field of the clips, ordered by id   all that a manifest needs: no tar is scanned

A shard holds clips of one split only, in random order: to read a split, read its shards from beginning to end.

A packed sample differs from the original by at most half a step of 16 bits (by a whole step at full scale). Decoders of
MP3 and AAC can return peaks above full scale, which FLAC cannot store. A clip with such a peak is stored exactly, as
float WAV, which takes three to four times the space. Packing therefore never changes the level of a clip or clips its
peaks.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import lt
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, InputError
from spectag.files import write_text
from spectag.labels import LabelSet

INDEX = "index.json"
OLD_INDEX = "index.jsonl"  # of version 1: a header, then a line per clip
COLUMNS = ("id", "shard", "offset", "size", "samples", "labels", "split", "fold", "group")
_VERSION = 2
_PACKED = re.compile(r"packed \(was (.*)\)", re.DOTALL)


def shard_name(number: int) -> str:
    """The file name of a shard. Shards are numbered from 0.

    >>> shard_name(17)
    'shard-000017.tar'
    """
    return f"shard-{number:06d}.tar"


def is_packed(root: Path) -> bool:
    """Whether a folder looks like a packed data set: it has an index, and a shard or a header that lists shards.

    >>> is_packed(Path("."))
    False
    """
    index = _find_index(root)
    if not index.is_file():
        return False
    with index.open("rb") as file:
        return b'"packed' in file.read(4096) or any(root.glob("shard-*.tar"))


def read_packed(root: Path) -> Manifest:
    """The manifest of a packed data set: the clips are the same as before packing, but are stored in the shards.

    Raises:
        DataError: the index is damaged or points outside a shard, or a shard is missing or has another size.

    >>> read_packed(Path("."))
    Traceback (most recent call last):
    spectag.errors.DataError: index.jsonl: cannot be read: No such file or directory
    """
    table = _find_index(root)
    with _no_collection():
        index = _load(table)
        labels = _header(table, index)
        paths = [root / shard_name(number) for number in range(len(index["shards"]))]
        for path, size in zip(paths, index["shards"], strict=True):
            found = path.stat().st_size if path.is_file() else "no file"
            if found != size:
                raise DataError(f"{path}: expected {size} bytes, found {found}: copy it again")
        clips = _clips(table, index, paths, len(labels))
    return Manifest(clips, labels, f"packed (was {index['layout']})", tuple(index["missing"]))


def reading_order(clips: Sequence[Clip], rng: np.random.Generator, buffer_shards: int = 4) -> list[int]:
    """Make a random order for an epoch that reads only a few shards at a time.

    The shards are shuffled and divided into groups of a few. The clips of each group are then shuffled.

    Args:
        clips: of a packed set, or some of them.
        rng: decides the order.
        buffer_shards: number of shards in a group. They should fit into the file cache of the system.

    Returns:
        every index into ``clips`` once.

    Raises:
        InputError: ``buffer_shards`` is below 1.

    >>> from spectag.data.manifest import Clip
    >>> clips = [Clip(f"{n}", Path(shard_name(n // 2)), (0,)) for n in range(4)]
    >>> order = reading_order(clips, np.random.default_rng(0), buffer_shards=1)
    >>> len({clips[index].path for index in order[:2]})
    1
    """
    if buffer_shards < 1:
        raise InputError(f"buffer_shards: expected 1 or more, got {buffer_shards}")
    members: dict[Path, list[int]] = {}
    for index, clip in enumerate(clips):
        members.setdefault(clip.path, []).append(index)
    shards = list(members.values())
    shuffled = rng.permutation(len(shards))
    order: list[int] = []
    for start in range(0, len(shuffled), buffer_shards):
        together = [index for shard in shuffled[start : start + buffer_shards] for index in shards[shard]]
        order += rng.permutation(together).tolist()
    return order


# index


def write_index(
    folder: Path, manifest: Manifest, sizes: Sequence[int], rows: Iterable[tuple[Clip, Sequence[int]]]
) -> None:
    """Write the index of a packed data set.

    Args:
        folder: of the shards.
        manifest: its layout, labels and missing clips are recorded.
        sizes: bytes of the shards, by number.
        rows: clips by ascending id, each with its shard, offset, size in bytes, and samples; at least one.

    Raises:
        SaveError: it cannot be written.

    >>> Path(shard_name(0)).touch()
    >>> clip = Clip("1.wav", Path("1.wav"), (0,))
    >>> write_index(Path("."), Manifest((clip,), LabelSet(("owl",)), "a test"), [0], [(clip, (0, 512, 98, 16_000))])
    >>> is_packed(Path("."))
    True
    """
    columns = zip(*((c.id, *where, c.labels, c.split, c.fold, c.group) for c, where in rows), strict=True)
    index = {
        "packed": _VERSION,
        "layout": _PACKED.sub(r"\1", manifest.layout),
        "labels": manifest.labels.names,
        "label_ids": manifest.labels.ids,
        "missing": manifest.missing,
        "shards": sizes,
        "clips": dict(zip(COLUMNS, columns, strict=True)),
    }
    write_text(folder / INDEX, json.dumps(index, separators=(",", ":")))


def _find_index(root: Path) -> Path:
    return root / INDEX if (root / INDEX).is_file() else root / OLD_INDEX


def _load(table: Path) -> dict[str, Any]:
    """The index as one JSON object; one of version 1 is brought into this form."""
    try:
        text = table.read_text("ascii")
        if table.name == INDEX:
            return dict(json.loads(text))
        header, *rows = map(json.loads, text.splitlines())
        if header["clips"] != len(rows):
            raise DataError(f"{table}: expected {header['clips']} clips, found {len(rows)}: copy it again")
        return {**header, "clips": dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))}
    except OSError as error:
        raise DataError(f"{table}: cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{table}: expected the index of a packed data set, got other JSON: copy it again") from error


def _header(table: Path, index: dict[str, Any]) -> LabelSet:
    """The labels. The other facts about the whole data set are checked, too."""
    facts: list[Any] = [index.get(name) for name in ("packed", "shards", "labels", "missing")]
    version, sizes, names, missing = facts
    ids = index.get("label_ids") or []
    lists = all(type(value) is list for value in (sizes, names, ids, missing))
    if not lists or set(map(type, (index.get("layout"), *names, *ids, *missing))) != {str} or type(version) is not int:
        raise DataError(f"{table}: expected the header of a packed data set: copy it again")
    if version > _VERSION:
        raise DataError(f"{table}: expected version {_VERSION}, got {version}: update spectag, or pack it again")
    try:
        return LabelSet(tuple(names), tuple(ids) or None)
    except InputError as error:
        raise DataError(f"{table}: {error}") from error


def _clips(table: Path, index: dict[str, Any], paths: Sequence[Path], classes: int) -> tuple[Clip, ...]:
    """The clips. Every value is checked, since a packed data set may come from anywhere."""
    try:
        columns = [index["clips"][name] for name in COLUMNS]
        ids, *numbers, labels, splits, folds, groups = columns
        _require(len(set(map(len, columns))) == 1, "columns of one length")
        _require(_types(ids) <= {str} and all(map(lt, ["", *ids], ids)), "ids in ascending order, each once")
        _require(_types(*numbers) <= {int}, "whole numbers as shard, offset, size and samples")
        shard, offset, size, samples = np.array(numbers, np.int64)
        sizes = np.array(index["shards"], np.int64)
        _require(((shard >= 0) & (shard < len(sizes))).all(), "shards that exist")
        _require(((offset >= 0) & (size > 0) & (offset <= sizes[shard] - size)).all(), "clips within their shards")
        _require((samples > 0).all(), "clips of at least one sample")
        _require(_types(labels) <= {list} and _types(*labels) <= {int}, "lists of whole numbers as labels")
        label = np.fromiter(chain.from_iterable(labels), np.int64)
        clip = np.repeat(np.arange(len(ids)), np.fromiter(map(len, labels), np.int64))
        _require(((label >= 0) & (label < classes)).all(), f"labels from 0 to {classes - 1}")
        _require((np.diff(clip * classes + label) > 0).all(), "labels of a clip in ascending order, each once")
        _require(_types(splits, groups) <= {str, NoneType}, "text or null as split and group")
        _require(_types(folds) <= {int, NoneType}, "whole numbers or null as fold")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{table}: damaged (expected {error}): copy it again") from error
    same: dict[Any, Any] = {}  # equal values of many clips are one object
    return tuple(
        Clip(
            id,
            paths[shard],
            same.setdefault(key := tuple(labels), key),
            fold,
            same.setdefault(split, split),
            same.setdefault(group, group),
            place=(offset, size),
        )
        for id, shard, offset, size, _, labels, split, fold, group in zip(*columns, strict=True)
    )


def _require(fine: object, what: str) -> None:
    if not fine:
        raise ValueError(what)


def _types(*columns: Iterable[Any]) -> set[type]:
    return set(map(type, chain.from_iterable(columns)))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Turn off garbage collection, which would repeatedly look through millions of clips and find nothing to free."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
