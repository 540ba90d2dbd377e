"""AudioSet as Google publishes it (tables of segments) and as AST's authors do (JSON).

Clips are files that were cut already, one per row, in the ways that the usual download scripts name them.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spectag.data.files import label_table, lines, part, text, walk
from spectag.data.manifest import Clip, Manifest
from spectag.data.rows import Row, gather, locate
from spectag.data.tables import names_files
from spectag.errors import DataError, InputError
from spectag.labels import LabelSet

SEGMENTS = "_segments.csv"
NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


class CutFiles:
    """Audio files below a folder, by YouTube id and times.

    A file is called ``ID`` or ``YID``, then possibly ``_START`` or ``_START_END``, in seconds or milliseconds. All are
    listed in one pass; of two files of one name, the first by path counts.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._whole: dict[str, str] = {}
        for path in paths:
            stem = os.path.splitext(os.path.basename(path))[0]
            self._whole[stem] = min(path, self._whole.get(stem, path))
        self._cut: dict[str, list[tuple[tuple[float, ...], str]]] = {}
        for stem, path in self._whole.items():
            head = stem
            times: tuple[float, ...] = ()
            for _ in range(2):  # ids may hold _123 themselves: a file is listed under every head it could have
                head, _, number = head.rpartition("_")
                if not head or not NUMBER.fullmatch(number):
                    break
                times = float(number), *times
                self._cut.setdefault(head, []).append((times, path))

    def find(self, video: str, start: float, end: float) -> str | None:
        """The file of a segment: rather one that says its times than one that does not; never one of other times.

        Args:
            video: YouTube id.
            start, end: seconds.
        """
        names = video, f"Y{video}"
        for name in names:
            fit = [(-len(times), path) for times, path in self._cut.get(name, ()) if _same(times, (start, end))]
            if fit:
                return min(fit)[1]
        return next((self._whole[name] for name in names if name in self._whole), None)


def _same(times: tuple[float, ...], wanted: tuple[float, float]) -> bool:
    pairs = list(zip(times, wanted, strict=False))
    return any(all(math.isclose(t, w * unit, abs_tol=1e-6) for t, w in pairs) for unit in (1, 1000))


class _Segment(NamedTuple):
    video: str
    start: float
    end: float
    labels: set[int]
    table: Path
    line: int


def segment_tables(root: Path) -> list[Path]:
    """The ``*_segments.csv`` in a folder, or the file itself; not tables whose header names a column of paths."""
    files = sorted(root.glob(f"?*{SEGMENTS}")) if root.is_dir() else [root]
    return [p for p in files if p.name.endswith(SEGMENTS) and p.is_file() and not names_files(p, labelled=False)]


def read_segments(root: Path) -> Manifest:
    """Tables of lines ``YTID, start_seconds, end_seconds, "mid,mid"``, with audio anywhere below their folder.

    The part of a clip is its table's name without ``_segments``; a file in several parts is a clip in each.

    Raises:
        DataError: a line that is none of these, a mid without a name, or a file that two segments could mean.
    """
    folder = root.parent if root.is_file() else root
    own = label_table(folder)
    labels = own or LabelSet.audioset()
    files = CutFiles(walk(folder))
    found: dict[str, dict[str, _Segment]] = {}
    missing: set[str] = set()
    for table in segment_tables(root):
        split = table.name.removesuffix(SEGMENTS)
        for line, video, start, end, mids in _segments(table):
            try:
                heard = {labels.index(mid) for mid in mids}
            except InputError as error:
                hint = "" if own else f"; put a class_labels_indices.csv (index,mid,display_name) into {folder}"
                raise DataError(f"{table}, line {line}: {error}{hint}") from error
            path = files.find(video, start, end)
            if path is None:
                missing.add(f"{split}/{video}_{start:.10g}")
                continue
            parts = found.setdefault(path, {})
            new = _Segment(video, start, end, heard, table, line)
            for old in parts.values():
                if old[:3] != new[:3]:
                    one, two = (f"{s.table.name}, line {s.line} ({s.video}, {s.start:g} s)" for s in (old, new))
                    raise DataError(f"{path}: {one} and {two} both mean it: name files ID_START, in seconds")
            parts.setdefault(split, new).labels.update(heard)
    prefix = len(os.path.join(folder, ""))
    clips = (
        Clip(
            _id(path[prefix:], split if len(parts) > 1 else None),
            Path(path),
            tuple(sorted(segment.labels)),
            split=split,
            group=segment.video,
        )
        for path, parts in found.items()
        for split, segment in parts.items()
    )
    return Manifest(tuple(clips), labels, "AudioSet", tuple(sorted(missing)))


def _id(relative: str, split: str | None) -> str:
    name = relative.replace(os.sep, "/")
    return name if split is None else f"{name}#{split}"


def _segments(table: Path) -> Iterator[tuple[int, str, float, float, list[str]]]:
    reader = csv.reader(lines(table), skipinitialspace=True)
    try:
        for cells in reader:
            if not cells or cells[0].startswith("#") or cells[0].strip().upper() == "YTID":
                continue
            try:
                video, start, end = cells[0].strip(), float(cells[1]), float(cells[2])
                mids = [mid for mid in map(str.strip, ",".join(cells[3:]).split(",")) if mid]
                if not (video and mids and 0 <= start < end < math.inf):
                    raise ValueError
            except (IndexError, ValueError):
                raise DataError(
                    f'{table}, line {reader.line_num}: expected YTID, start_seconds, end_seconds, "mid,mid"; '
                    f"got {', '.join(cells)[:80]}"
                ) from None
            yield reader.line_num, video, start, end, mids
    except csv.Error as error:
        raise DataError(f"{table}, line {reader.line_num}: {error}") from error


_JSON = re.compile(r'\ufeff?\s*(?:#[^\n]*\n)?\s*\{\s*"data"\s*:\s*\[')
_PART = re.compile("train|eval|test|val|dev")


def json_tables(root: Path) -> list[Path]:
    """The files in AST's format in a folder, or the file itself, whatever it holds, if it is called ``.json``."""
    if root.is_file():
        return [root] if root.suffix.lower() == ".json" else []
    return [p for p in sorted(root.glob("*.json")) if p.is_file() and _JSON.match(_head(p))]


def read_json(root: Path) -> Manifest:
    """Files ``{"data": [{"wav": path, "labels": "mid,mid"}]}``; of several, each is the part that its name tells.

    Labels are those of ``*class_labels_indices*.csv`` beside, else AudioSet's or Speech Commands' where all are known
    there, else the texts themselves, sorted.

    Raises:
        DataError: another structure, an unknown label, or a file that belongs to no part, or to two.
    """
    folder = root.parent if root.is_file() else root
    files = json_tables(root)
    rows = [row for file in files for row in _json_rows(folder, file, None if len(files) == 1 else _json_part(file))]
    used = {label for row in rows for label in row.labels}
    known = (table for table in (LabelSet.audioset(), LabelSet.speech_commands()) if used <= set(table.ids or ()))
    return gather(folder, rows, "AST JSON", label_table(folder) or next(known, None))


def _json_part(file: Path) -> str:
    match = _PART.search(file.name.lower())
    if match is None:
        raise DataError(
            f"{file}: expected train, val, test or eval in the name, as others lie beside it; move it, or give one file"
        )
    return part(match[0]) or match[0]


def _json_rows(folder: Path, file: Path, split: str | None) -> Iterator[Row]:
    content = text(file).lstrip()
    if content.startswith("#"):
        content = content.partition("\n")[2]
    try:
        table: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: expected JSON; {error}") from error
    entries = table.get("data") if isinstance(table, dict) else None
    if not isinstance(entries, list):
        raise DataError(f'{file}: expected {{"data": [{{"wav": path, "labels": "mid,mid"}}]}}, found no list "data"')
    for number, entry in enumerate(entries):
        where = f"{file}, data[{number}]"
        wav, labels = (entry.get("wav"), entry.get("labels")) if isinstance(entry, dict) else (None, None)
        names = tuple(filter(None, map(str.strip, labels.split(",")))) if isinstance(labels, str) else ()
        if not isinstance(wav, str) or not wav or "\0" in wav or not names:
            raise DataError(f'{where}: expected {{"wav": path, "labels": "mid,mid"}}, got {json.dumps(entry)[:80]}')
        yield Row(where, *locate(folder, folder, wav), names, split)


def _head(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            return lines.read(4096)
    except OSError:
        return ""
