"""A data set decoded once: 16 kHz mono FLAC in large tars, which an epoch reads one after the other.

::

    OUT/shard-000000.tar  000000017.flac 000000017.json 000000004.flac ..  a WebDataset: a key, the sound, what is known
    OUT/index.jsonl       a header, then a line per clip, ordered by id    what a manifest needs: no tar is scanned

A shard holds clips of one part only, in random order: a part is read by reading its shards as they are.

A sample is off by half a step of 16 bits at most (by a whole one at full scale). Decoders of MP3 and AAC return peaks
above full scale, which FLAC cannot hold: a clip with such a peak is kept as float WAV instead, exactly, in three to
four times the space. So what is read from a packed set never differs in level or form from the recordings.
"""

from __future__ import annotations

import gc
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from spectag.data.manifest import Clip, Manifest
from spectag.errors import DataError, InputError
from spectag.labels import LabelSet

INDEX = "index.jsonl"
COLUMNS = ("id", "shard", "offset", "size", "samples", "labels", "split", "fold", "group")
_VERSION = 1
_PACKED = re.compile(r"packed \(was (.*)\)", re.DOTALL)
_ROWS = 1000  # lines that are parsed together: twice as fast as one by one


def shard_name(number: int) -> str:
    """The file of the shard with this number, 0 or more."""
    return f"shard-{number:06d}.tar"


def is_packed(root: Path) -> bool:
    """Whether a folder looks like a packed data set: its index, and a shard or the header that tells of shards."""
    index = root / INDEX
    if not index.is_file():
        return False
    with index.open("rb") as file:
        return b'"packed' in file.read(4096) or any(root.glob("shard-*.tar"))


def read_packed(root: Path) -> Manifest:
    """The manifest of a packed data set: the clips as they were, but for where they lie.

    Raises:
        DataError: the index is damaged or points outside a shard, or a shard is missing or not as long as it was.
    """
    table = root / INDEX
    try:
        # A byte that is not ASCII becomes an escape that JSON does not know: an error with its line.
        with table.open(encoding="ascii", errors="backslashreplace", newline="\n") as lines:
            labels, layout, count, missing, sizes = _header(table, next(lines, ""))
            paths = [root / shard_name(number) for number in range(len(sizes))]
            for path, size in zip(paths, sizes, strict=True):
                found = path.stat().st_size if path.is_file() else "no file"
                if found != size:
                    raise DataError(f"{path}: expected {size} bytes, found {found}: copy it again")
            with _no_collection():
                clips = list(_clips(table, lines, paths, sizes, len(labels)))
    except OSError as error:
        raise DataError(f"{table}: cannot be read: {error.strerror}") from error
    if len(clips) != count:
        raise DataError(f"{table}: expected {count} clips, found {len(clips)}: copy it again")
    return Manifest(tuple(clips), labels, f"packed (was {layout})", missing)


def reading_order(clips: Sequence[Clip], rng: np.random.Generator, buffer_shards: int = 4) -> list[int]:
    """An order for an epoch that keeps to a few shards at a time: they are shuffled, and the clips of every few.

    Args:
        clips: of a packed set, or some of them.
        rng: what the order depends on, besides the clips.
        buffer_shards: how many shards take turns; what the system's file cache should hold.

    Returns:
        every index into ``clips`` once.

    Raises:
        InputError: ``buffer_shards`` below 1.
    """
    if buffer_shards < 1:
        raise InputError(f"buffer_shards: expected 1 or more, got {buffer_shards}")
    shards: dict[Path, list[int]] = {}
    for index, clip in enumerate(clips):
        shards.setdefault(clip.path, []).append(index)
    members, order = list(shards.values()), rng.permutation(len(shards))
    windows = (order[start : start + buffer_shards] for start in range(0, len(order), buffer_shards))
    return [i for window in windows for i in rng.permutation([i for shard in window for i in members[shard]]).tolist()]


# index


def write_index(
    folder: Path, manifest: Manifest, sizes: Sequence[int], count: int, rows: Iterable[tuple[Clip, Sequence[int]]]
) -> None:
    """Write the index of a packed data set.

    Args:
        manifest: whose layout, labels and missing clips it tells.
        sizes: of the shards in bytes, by number.
        count: of the rows.
        rows: clips by ascending id, each with its shard, offset, size in bytes, and samples.

    Raises:
        OSError: it cannot be written.
    """
    header = {
        "packed": _VERSION,
        "layout": _PACKED.sub(r"\1", manifest.layout),
        "labels": manifest.labels.names,
        "label_ids": manifest.labels.ids,
        "clips": count,
        "shards": sizes,
        "columns": COLUMNS,
        "missing": manifest.missing,
    }
    with (folder / INDEX).open("x", encoding="ascii", newline="\n") as lines:
        print(json.dumps(header), file=lines)
        for clip, where in rows:
            row = (clip.id, *where, clip.labels, clip.split, clip.fold, clip.group)
            print(json.dumps(row, separators=(",", ":")), file=lines)
        lines.flush()
        os.fsync(lines.fileno())


def _header(table: Path, line: str) -> tuple[LabelSet, str, int, tuple[str, ...], list[int]]:
    """(labels, layout, number of clips, missing ids, sizes of the shards)."""
    try:
        header = json.loads(line)
        version, layout, count, sizes = header["packed"], header["layout"], header["clips"], header["shards"]
        names, ids, missing = header["labels"], header["label_ids"], header["missing"]
        texts = [layout, *names, *(ids or ()), *missing]
        numbers = [version, count, *sizes]
        lists = all(type(value) is list for value in (names, ids or [], missing, sizes))
        if (
            not lists
            or not all(type(text) is str for text in texts)
            or not all(type(n) is int and n >= 0 for n in numbers)
        ):
            raise ValueError
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{table}, line 1: expected the header of a packed data set, got {line[:80]!r}: copy it again"
        ) from error
    if version != _VERSION:
        raise DataError(f"{table}: expected version {_VERSION}, got {version}: update spectag, or pack it again")
    try:
        return LabelSet(tuple(names), None if ids is None else tuple(ids)), layout, count, tuple(missing), sizes
    except InputError as error:
        raise DataError(f"{table}, line 1: {error}") from error


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the search for cycles of garbage, which goes through millions of clips again and again for nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _clips(
    table: Path, lines: Iterable[str], paths: Sequence[Path], sizes: Sequence[int], classes: int
) -> Iterator[Clip]:
    """The clips of an index that nobody vouches for."""
    last = ""
    label_sets: dict[tuple[int, ...], tuple[int, ...]] = {}  # those that are fine: many clips share one
    texts: dict[str | None, str | None] = {}  # likewise
    for number, row in _rows(table, lines):
        try:
            id, shard, offset, size, samples, labels, split, fold, group = row
            fine = (
                (type(id) is str and id > last)  # so that each is there once
                and (type(shard) is type(offset) is type(size) is type(samples) is int)
                and (0 <= shard < len(sizes) and 0 <= offset <= sizes[shard] - size and size > 0 and samples > 0)
                and (split is None or type(split) is str)
                and (fold is None or type(fold) is int)
                and (group is None or type(group) is str)
            )
            known = label_sets.get(key := tuple(labels))
            if known is None and _are_labels(key, classes):
                known = label_sets[key] = key
        except (TypeError, ValueError):
            fine, known = False, None
        if not fine or known is None:
            raise DataError(
                f"{table}, line {number}: expected [{', '.join(COLUMNS)}] within the shard, ids and labels ascending; "
                f"got {json.dumps(row)[:100]}: copy it again"
            )
        last = id
        split, group = texts.setdefault(split, split), texts.setdefault(group, group)
        yield Clip(id, paths[shard], known, fold, split, group, None, None, (offset, size))


def _are_labels(labels: tuple[Any, ...], classes: int) -> bool:
    fine = all(type(label) is int and 0 <= label < classes for label in labels)
    return fine and all(one < other for one, other in pairwise(labels))


def _rows(table: Path, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """(number of the line, what it says)."""
    lines, number = iter(lines), 2
    while chunk := list(islice(lines, _ROWS)):
        try:
            rows = json.loads(f"[{','.join(chunk)}]")
        except (ValueError, RecursionError):
            rows = []
        if len(rows) != len(chunk):
            rows = [_row(table, place, line) for place, line in enumerate(chunk, number)]
        yield from enumerate(rows, number)
        number += len(chunk)


def _row(table: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{table}, line {number}: expected JSON, got {line[:80]!r}: copy it again") from error
