"""A worker for clusters: paths in, rows out. It is a plain callable, so any framework that maps batches can use it.

Ray Data, Daft, Spark and Dask give a worker a batch of rows and take rows back. Paths travel between machines, not
sound; each worker reads its files itself. A file that cannot be used is a row with an error, never an exception, since
one would end the whole job, or lose the rows of its neighbours.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from spectag.audio.limits import FileLimits
from spectag.audio.readers import COUNT, Readers
from spectag.choices import BATCH_SIZE, DEVICE, MODEL, TOP_K, ExportPrecision
from spectag.engines.padded import PaddedEngine
from spectag.errors import FileError, InputError
from spectag.model.bundle import Bundle
from spectag.model.ensemble import Ensemble
from spectag.tag.detector import Detector
from spectag.tag.events import EventRule
from spectag.tag.results import ClipTags, Result, Tag
from spectag.tag.tagger import Tagger
from spectag.tag.writers.parquet import valid

Batch: TypeAlias = "Mapping[str, Sequence[Any]]"  # columns of equal length
Rows: TypeAlias = "dict[str, list[Any]]"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
FETCHED_AT_ONCE = 16  # files of another machine that are copied here before they are tagged together


class TagFiles:
    """Tags the files of a batch.

    Args:
        model: a path, a name, a bundle or an ensemble; see :func:`spectag.load`.
        top_k, threshold, hop: as for :meth:`spectag.Tagger.tag`.
        events: how events are found; None to find none.
        column: the column of the batch that has the paths. All columns are passed on.
        jobs: processes that read files.
        limits: what one file may take.
        device, precision, batch_size: as for :class:`spectag.Tagger`.

    Paths with a protocol (``s3://bucket/dawn.wav``) are copied to a temporary file with `fsspec`, and deleted after
    they were tagged.

    >>> TagFiles("esc10", top_k=1)({"path": ["a-file-that-does-not-exist.wav"], "site": ["pond"]})["error"]
    ['expected a file, found none: check the path']
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Bundle | Ensemble = MODEL,
        *,
        top_k: int | None = TOP_K,
        threshold: float | None = None,
        hop: float | None = None,
        events: EventRule | None = None,
        column: str = "path",
        jobs: int = COUNT,
        limits: FileLimits | None = None,
        device: str = DEVICE,
        precision: ExportPrecision | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self.top_k, self.threshold, self.hop, self.column = top_k, threshold, hop, column
        readers = Readers(count=jobs, limits=limits)
        self.tagger = Tagger(model, device=device, precision=precision, batch_size=batch_size, readers=readers)
        self.tagger.engine = PaddedEngine(self.tagger.engine, batch_size)  # whatever the batches, the same scores
        self.detector = None if events is None else Detector(self.tagger, events, hop)
        self.tagger.frames(hop)  # raises an error here and not for each file

    def __call__(self, batch: Batch) -> Rows:
        """Tag a batch of files.

        Args:
            batch: columns, one of them of paths. Lists, arrays and series will do.

        Returns:
            the columns of the batch, and those of :data:`COLUMNS`, in the order of the batch.

        Raises:
            InputError: the batch has no column of paths, or one of the results' names.
        """
        if self.column not in batch:
            raise InputError(f"batch: expected a column {self.column!r} of paths, got {', '.join(batch) or 'none'}")
        if taken := [name for name in batch if name in COLUMNS and name != self.column]:
            raise InputError(f"batch: the column {taken[0]!r} would be overwritten: rename it")
        paths = [
            os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else path for path in batch[self.column]
        ]
        rows: Rows = {name: list(values) for name, values in batch.items()}
        rows[self.column] = [valid(path) if isinstance(path, str) else str(path) for path in paths]
        rows |= {name: [] for name in COLUMNS}
        for result in self._tag(paths):
            for name, value in to_row(result).items():
                rows[name].append(value)
        return rows

    def _tag(self, paths: Sequence[Any]) -> Iterator[Result]:
        """Local files in one go; those of other machines a few at a time, so that they need little space here."""
        at = 0
        while at < len(paths):
            end = at + 1
            if not is_url(paths[at]):
                while end < len(paths) and not is_url(paths[end]):
                    end += 1
                yield from self._tag_local([_checked(path) for path in paths[at:end]])
            else:
                while end < min(len(paths), at + FETCHED_AT_ONCE) and is_url(paths[end]):
                    end += 1
                with fetched(paths[at:end]) as copies:
                    for url, copy, result in zip(paths[at:end], copies, self._tag_local(copies), strict=True):
                        yield _named(result, url, str(copy))
            at = end

    def _tag_local(self, files: Iterable[str | FileError]) -> Iterator[Result]:
        if self.detector is not None:
            return self.detector.detect_many(files, self.top_k, self.threshold)
        return self.tagger.tag_many(files, self.top_k, self.threshold, self.hop)


COLUMNS = ("duration", "tags", "unknown", "unknown_score", "events", "warnings", "error")
"""What :class:`TagFiles` adds: seconds, tags (``{"label", "score"}``, the highest score first), whether the sound is
unknown and how unusual it is (None if the model does not tell), events (``{"label", "onset", "offset", "score"}``, None
if they were not asked for), warnings, an error.

``error`` is None for a file that was tagged, and ``duration`` for one that was not; its lists are empty."""


def to_row(result: Result) -> dict[str, Any]:
    """The values of :data:`COLUMNS` for one result.

    >>> to_row(FileError("dawn.wav", "no samples"))
    {'duration': None, 'tags': [], 'unknown': None, ..., 'warnings': [], 'error': 'no samples'}
    """
    row: dict[str, Any] = {"duration": None, "tags": [], "unknown": None, "unknown_score": None, "events": None}
    if isinstance(result, FileError):
        return row | {"warnings": [], "error": valid(result.error)}
    plain = result.to_dict()
    row |= {name: plain[name] for name in row if name in plain}
    return row | {"warnings": [valid(warning) for warning in result.warnings], "error": None}


def result_of(row: Mapping[str, Any]) -> Result:
    """The result in a row.

    >>> result_of({"path": "dawn.wav", "duration": 1.0, "tags": [{"label": "owl", "score": 0.5}], "error": None})
    ClipTags(path='dawn.wav', duration=1.0, tags=(Tag(label='owl', score=0.5),), ...)
    """
    if row["error"] is not None:
        return FileError(row["path"], row["error"])
    tags = tuple(Tag(tag["label"], tag["score"]) for tag in row["tags"])
    novel = {name: row.get(name) for name in ("unknown", "unknown_score")}
    return ClipTags(row["path"], row["duration"], tags, tuple(row.get("warnings") or ()), **novel)


def is_url(path: object) -> bool:
    """Whether a path has a protocol, so that `fsspec` must fetch it.

    >>> is_url("s3://bucket/dawn.wav"), is_url("C:/dawn.wav"), is_url("dawn.wav")
    (True, False, False)
    """
    return isinstance(path, str) and _URL.match(path) is not None


@contextmanager
def fetched(urls: Sequence[str]) -> Iterator[list[str | FileError]]:
    """Copy files to a temporary folder, which is deleted when the block ends.

    Yields:
        for each its copy, or a :class:`spectag.FileError`: not found, no access, no such protocol.

    >>> Path("dawn.wav").write_bytes(b"RIFF")
    4
    >>> with fetched([Path("dawn.wav").absolute().as_uri()]) as copies:
    ...     [Path(copy).read_bytes() for copy in copies]
    [b'RIFF']
    """
    from fsspec.core import url_to_fs

    folder = Path(tempfile.mkdtemp(prefix="spectag-"))
    try:
        copies: list[str | FileError] = []
        for number, url in enumerate(urls):
            target = folder / f"{number}{Path(url).suffix[:16]}"
            try:
                system, path = url_to_fs(url)
                with system.open(path, "rb") as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy, 2**20)
                copies.append(str(target))
            except Exception as error:  # each protocol has errors of its own
                with suppress(OSError):
                    target.unlink(missing_ok=True)
                text = (str(error).strip().splitlines() or [""])[0][:200]
                copies.append(FileError(url, f"cannot be fetched: {type(error).__name__}: {text}".rstrip(": ")))
        yield copies
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _checked(path: object) -> str | FileError:
    return path if isinstance(path, str) else FileError(str(path), f"expected a path, got {type(path).__name__}")


def _named(result: Result, url: str, copy: str) -> Result:
    """The result of a copy as that of the file."""
    if isinstance(result, FileError):
        return FileError(url, result.error.replace(copy, url))
    return replace(result, path=url, warnings=tuple(warning.replace(copy, url) for warning in result.warnings))
