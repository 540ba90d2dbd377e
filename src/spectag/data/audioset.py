"""AudioSet as Google publishes it: tables of segments of videos.

A clip is a file that was cut out of a video already. Files may be named in any of the ways that common download
scripts use.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from spectag.data.folders import read_label_table, read_lines, walk_audio
from spectag.data.manifest import Clip, Manifest
from spectag.data.tables import names_files
from spectag.errors import DataError, InputError
from spectag.labels import LabelSet

SEGMENTS = "_segments.csv"
NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


class CutFiles:
    """Audio files by YouTube id and times.

    A file is named ``ID`` or ``YID``, optionally followed by ``_START`` or ``_START_END``, in seconds or milliseconds.

    Args:
        paths: of the files. If two have the same name, the first path in alphabetical order is used.

    >>> files = CutFiles(["audio/Yabcdefghijk_30.000.wav"])
    >>> files.find("abcdefghijk", 30.0, 40.0)
    'audio/Yabcdefghijk_30.000.wav'
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
            for _ in range(2):  # an id may end with _123 itself, so a file is listed under every id that it could have
                head, _, number = head.rpartition("_")
                if not head or not NUMBER.fullmatch(number):
                    break
                times = float(number), *times
                self._cut.setdefault(head, []).append((times, path))

    def find(self, video: str, start: float, end: float) -> str | None:
        """The file of a segment.

        A file whose name has times must have those of the segment, and is preferred to one without times.

        Args:
            video: YouTube id.
            start, end: seconds.

        Returns:
            its path; None if there is no such file.
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
    files = CutFiles(walk_audio(folder))
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
    return Manifest(tuple(clips), labels, "AudioSet", tuple(sorted(missing)))


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
