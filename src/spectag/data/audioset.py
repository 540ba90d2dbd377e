"""AudioSet as Google publishes it: tables of segments of videos.

A clip is a file that was cut out of a video already. Files may be named in any of the ways that common download
scripts use.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from spectag.data.cut_files import CutFiles
from spectag.data.folders import describe_unlisted, read_label_table, read_lines, walk_audio
from spectag.data.manifest import Clip, Manifest
from spectag.data.tables import names_files
from spectag.errors import DataError, InputError
from spectag.labels import LabelSet

SEGMENTS = "_segments.csv"


class _CutClip(NamedTuple):
    video: str
    start: float
    end: float
    labels: set[int]
    table: Path
    line: int


def find_segment_tables(root: Path) -> list[Path]:
    """The files ``*_segments.csv`` in a folder, or the file itself; tables with a column of paths do not count.

    >>> _ = Path("eval_segments.csv").write_text("# YTID, start_seconds, end_seconds, positive_labels")
    >>> [path.name for path in find_segment_tables(Path("."))]
    ['eval_segments.csv']
    """
    files = sorted(root.glob(f"?*{SEGMENTS}")) if root.is_dir() else [root]
    return [p for p in files if p.name.endswith(SEGMENTS) and p.is_file() and not names_files(p, labelled=False)]


def read_audioset(root: Path) -> Manifest:
    """Read tables of lines ``YTID, start_seconds, end_seconds, "mid,mid"``, and the audio files below their folder.

    The split of a clip is the name of its table without ``_segments``. A file in several tables is a clip of each.

    Args:
        root: a folder with such tables, or one table.

    Raises:
        DataError: a line of another form, an unknown mid, or a file that may belong to two segments.

    >>> _ = Path("eval_segments.csv").write_text('abcdefghijk, 30.000, 40.000, "/m/09x0r"')
    >>> Path("abcdefghijk_30.wav").touch()
    >>> [(clip.id, clip.split, clip.group) for clip in read_audioset(Path(".")).clips]
    [('abcdefghijk_30.wav', 'eval', 'abcdefghijk')]
    """
    folder = root.parent if root.is_file() else root
    own = read_label_table(folder)
    labels = own or LabelSet.audioset()
    there = set(walk_audio(folder))
    files = CutFiles(there)
    found: dict[str, dict[str, _CutClip]] = {}  # by path, then by split
    missing: set[str] = set()
    for table in find_segment_tables(root):
        split = table.name.removesuffix(SEGMENTS)
        for line, video, start, end, mids in _segments(table):
            try:
                indices = {labels.index(mid) for mid in mids}
            except InputError as error:
                hint = "" if own else f"; put a class_labels_indices.csv (index,mid,display_name) into {folder}"
                raise DataError(f"{table}, line {line}: {error}{hint}") from error
            path = files.find(video, start, end)
            if path is None:
                missing.add(f"{split}/{video}_{start:.10g}")
                continue
            by_split = found.setdefault(path, {})
            new = _CutClip(video, start, end, indices, table, line)
            for old in by_split.values():
                if old[:3] != new[:3]:
                    one, two = (f"{c.table.name}, line {c.line} ({c.video}, {c.start:g} s)" for c in (old, new))
                    raise DataError(
                        f"{path}: may belong to {one} and to {two}: add the start to the names of files (ID_START)"
                    )
            by_split.setdefault(split, new).labels.update(indices)
    prefix = len(os.path.join(folder, ""))
    clips = (
        Clip(
            _id(path[prefix:], split if len(by_split) > 1 else None),
            Path(path),
            tuple(sorted(clip.labels)),
            split=split,
            group=clip.video,
        )
        for path, by_split in found.items()
        for split, clip in by_split.items()
    )
    notes = describe_unlisted(path[prefix:] for path in there - found.keys())
    return Manifest(tuple(clips), labels, "AudioSet", tuple(sorted(missing)), notes)


def _id(relative: str, split: str | None) -> str:
    name = relative.replace(os.sep, "/")
    return name if split is None else f"{name}#{split}"


def _segments(table: Path) -> Iterator[tuple[int, str, float, float, list[str]]]:
    reader = csv.reader(read_lines(table), skipinitialspace=True)
    try:
        for cells in reader:
            if not cells or cells[0].startswith("#") or cells[0].strip().upper() == "YTID":
                continue
            try:
                video, start, end = cells[0].strip(), float(cells[1]), float(cells[2])
                mids = [mid for mid in map(str.strip, ",".join(cells[3:]).split(",")) if mid]
                if not (video and (mids or cells[3:]) and 0 <= start < end < math.inf):
                    raise ValueError
            except (IndexError, ValueError):
                raise DataError(
                    f'{table}, line {reader.line_num}: expected YTID, start_seconds, end_seconds, "mid,mid"; '
                    f"got {', '.join(cells)[:80]}"
                ) from None
            yield reader.line_num, video, start, end, mids
    except csv.Error as error:
        raise DataError(f"{table}, line {reader.line_num}: {error}") from error
