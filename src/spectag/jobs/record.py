"""The result of one file as a line of a journal, and back, exactly.

A line is a JSON object: the path, what the file was when it was read, and its result::

    {"path": "dawn.wav", "size": 320044, "mtime_ns": 1753000000000000000, "result": {"duration": 10.0, "tags": [...]}}

Numbers are rounded as in the output, so the output is the same whether a result was just computed or read from here.
Scores over time are kept elsewhere (:mod:`spectag.jobs.timelines`), and the line says where.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from spectag.errors import FileError
from spectag.tag.results import ClipTags, Event, Result, Tag, Timeline

_CHUNK = 2**20  # bytes


@dataclass(frozen=True)
class FileState:
    """What tells whether a file is still the one that was read.

    Args:
        size: in bytes.
        mtime_ns: time of the last change, in ns.
        sha256: digest of the content; None if it was not asked for.

    >>> Path("dawn.wav").write_bytes(b"RIFF")
    4
    >>> FileState.of("dawn.wav").size
    4
    """

    size: int
    mtime_ns: int
    sha256: str | None = None

    @classmethod
    def of(cls, path: str, *, content: bool = False) -> FileState | None:
        """Look at a file; None if it cannot be looked at.

        Args:
            path: the file.
            content: whether to read it and compute a digest.
        """
        try:
            status = os.stat(path)
            if path == "-" or not stat.S_ISREG(status.st_mode):  # a pipe: the same name, but never the same sound
                return None
            digest = _digest(path) if content else None
        except (OSError, ValueError):
            return None
        return cls(status.st_size, status.st_mtime_ns, digest)

    def fits(self, now: FileState | None) -> bool:
        """Whether a file is still what it was. A digest counts more than the time of the last change.

        >>> FileState(4, 1).fits(FileState(4, 1)), FileState(4, 1).fits(FileState(4, 2))
        (True, False)
        >>> FileState(4, 1, "e3b0").fits(FileState(4, 2, "e3b0"))
        True
        """
        if now is None or self.size != now.size:
            return False
        if now.sha256 is not None:
            return self.sha256 == now.sha256
        return self.mtime_ns == now.mtime_ns


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def pack(
    path: str, state: FileState | None, result: Result, keep: Callable[[Timeline], dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The record of a file.

    Args:
        path: as it was given.
        state: what it was when it was read; None if it could not be looked at.
        result: of the file.
        keep: keeps its timeline, and says where. Not needed if there is none.

    >>> pack("dawn.wav", FileState(4, 1), ClipTags("dawn.wav", 1.0, (Tag("Rain", 0.8),)))
    {'path': 'dawn.wav', 'size': 4, 'mtime_ns': 1, 'result': {'duration': 1.0, 'tags': [['Rain', 0.8]]}}
    """
    record: dict[str, Any] = {"path": path}
    if state is not None:
        record |= {"size": state.size, "mtime_ns": state.mtime_ns}
        record |= {"sha256": state.sha256} if state.sha256 else {}
    if isinstance(result, FileError):
        return {**record, "error": result.error}
    plain = replace(result, timeline=None).to_dict()
    values = {item.name: getattr(result, item.name) for item in fields(result) if item.name not in ("path", "timeline")}
    values = {name: value for name, value in values.items() if value is not None and value != ()}
    values["duration"] = plain["duration"]
    values["tags"] = [[tag["label"], tag["score"]] for tag in plain["tags"]]
    if result.events is not None:
        values["events"] = [[e["label"], e["onset"], e["offset"], e["score"]] for e in plain["events"]]
    if result.timeline is not None and keep is not None:
        values["timeline"] = keep(result.timeline)
    return {**record, "result": values}


def state_of(record: dict[str, Any]) -> FileState | None:
    """What the file of a record was when it was read; None if that is not known.

    >>> state_of({"path": "dawn.wav", "size": 4, "mtime_ns": 1, "error": "no samples"})
    FileState(size=4, mtime_ns=1, sha256=None)
    """
    if not isinstance(record.get("size"), int) or not isinstance(record.get("mtime_ns"), int):
        return None
    return FileState(record["size"], record["mtime_ns"], record.get("sha256"))


def unpack(record: dict[str, Any], timeline: Callable[[Any], Timeline] | None = None) -> Result:
    """The result in a record.

    Args:
        record: of a file.
        timeline: gives the timeline that was kept. Without it, the result has none.

    Raises:
        ValueError: it is not one that :func:`pack` made.

    >>> unpack({"path": "dawn.wav", "result": {"duration": 1.0, "tags": [["Rain", 0.8]]}})
    ClipTags(path='dawn.wav', duration=1.0, tags=(Tag(label='Rain', score=0.8),), ...)
    """
    try:
        path = record["path"]
        if "error" in record:
            return FileError(path, str(record["error"]))
        return _tags(path, dict(record["result"]), timeline)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a record: {error}") from error


def _tags(path: str, values: dict[str, Any], timeline: Callable[[Any], Timeline] | None) -> ClipTags:
    values["tags"] = tuple(Tag(*tag) for tag in values["tags"])
    if "warnings" in values:
        values["warnings"] = tuple(values["warnings"])
    if "events" in values:
        values["events"] = tuple(Event(*event) for event in values["events"])
    if about := values.pop("timeline", None):
        values["timeline"] = None if timeline is None else timeline(about)
    return ClipTags(path, **values)
