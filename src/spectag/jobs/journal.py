"""The journal of a job: a file beside the output that holds every result as soon as it is there.

Lines of JSON. The first says what the job does (:class:`spectag.jobs.run.Run`), each other one is the record of a file
(:mod:`spectag.jobs.record`), and a last one says that the job is finished. Lines are only ever added. A process that is
killed leaves at most one line without its end, which is dropped. Scores over time are in a second file
(:mod:`spectag.jobs.timelines`).

In memory there are 16 bytes for each record, which say where it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from spectag.errors import SaveError, unwritable
from spectag.files import append, claim
from spectag.jobs.run import Run
from spectag.jobs.timelines import Timelines

FORMAT = 1
BEGINNING = b'{"journal":'
_LONGEST = 2**20  # bytes of the first line
SYNC = 10.0  # s between two synchronisations with the disk, which only a power failure needs


class Journal:
    """An open journal. No other process can open it.

    >>> journal = Journal.create(Path("tags.jsonl.journal"), Run("5f1c"))
    >>> _ = journal.append({"path": "dawn.wav", "error": "no samples"})
    >>> journal.close()
    >>> journal = Journal.resume(Path("tags.jsonl.journal"), Run("5f1c"))
    >>> journal.read(journal.find("dawn.wav"))
    {'path': 'dawn.wav', 'error': 'no samples'}
    """

    def __init__(self, path: Path, descriptor: IO[bytes], run: Run) -> None:
        self.path = path
        self.run = run
        self.records = 0
        self.finished: dict[str, Any] | None = None  # what the last line says, if it says that the job is finished
        self.timelines = Timelines(path)
        self._out = descriptor
        self._in = open(path, "rb")  # noqa: SIM115
        self._end = 0
        self._synced = time.monotonic()
        self._keys = np.empty(0, np.uint64)
        self._places = np.empty(0, np.uint64)

    @classmethod
    def create(cls, path: Path, run: Run) -> Journal:
        """Begin a journal, in place of one that is there.

        Raises:
            SaveError: it cannot be written, or another process has it open.
        """
        with _opened(path, os.O_CREAT) as out:
            return cls._begin(path, out, run)

    @classmethod
    def resume(cls, path: Path, run: Run) -> Journal:
        """Open a journal to continue it.

        Args:
            path: the journal.
            run: what the job does.

        Raises:
            SaveError: it does not exist, it is none, another process has it open, or it belongs to another run.
        """
        with _opened(path) as out:
            with open(path, "rb") as file:
                header = file.readline(_LONGEST)
            torn = header[: len(BEGINNING)] == BEGINNING[: len(header)] and not header.endswith(b"\n")
            if torn:  # killed before the first line was complete
                return cls._begin(path, out, run)
            was = read_run(path, parse_line(header))
            was.require_same(run, str(path), "use what it was made with, or begin again with --overwrite")
            journal = cls(path, out, was)
            journal._index()
            return journal

    @classmethod
    def _begin(cls, path: Path, out: IO[bytes], run: Run) -> Journal:
        out.truncate(0)
        journal = cls(path, out, run)
        journal.timelines.clear()
        journal._write({"journal": FORMAT, **run.to_dict()})
        return journal

    def find(self, path: str) -> int | None:
        """Where the last record of a file is, among those that were there when the journal was opened."""
        key = _key(path)
        at = int(np.searchsorted(self._keys, np.uint64(key), side="right")) - 1
        return int(self._places[at]) if at >= 0 and int(self._keys[at]) == key else None

    def read(self, place: int) -> dict[str, Any]:
        """The record at a place.

        Raises:
            SaveError: there is none.
        """
        self._in.seek(place)
        record = parse_line(self._in.readline())
        if record is None or "path" not in record:
            raise SaveError(f"{self.path}: is damaged at byte {place}: begin again with --overwrite")
        return record

    def append(self, record: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Add a record. A process that is killed after this does not lose it.

        Returns:
            its place, and the record as it will be read.

        Raises:
            SaveError: the disk is full, for example. What was written before is intact.
        """
        place = self._end
        try:
            line = self._write(record)
        except OSError as error:
            raise unwritable(self.path, error) from error
        self.records += 1
        self.finished = None
        return place, json.loads(line)

    def finish(self, facts: dict[str, Any]) -> None:
        """Add the line that says that the job is finished, unless it is there; raises as :meth:`append`."""
        if self.finished == facts:
            return
        try:
            self._write({"finished": facts})
            self._sync()
        except OSError as error:
            raise unwritable(self.path, error) from error
        self.finished = facts

    def close(self) -> None:
        """Close the file, which lets other processes open it."""
        self.timelines.close()
        self._in.close()
        self._out.close()

    def _write(self, record: dict[str, Any]) -> bytes:
        line = json.dumps(record, separators=(",", ":"), allow_nan=False, default=np.generic.item).encode() + b"\n"
        self._end = append(self._out, self._end, [line])
        if time.monotonic() > self._synced + SYNC:
            self._sync()
        return line

    def _sync(self) -> None:
        self.timelines.sync()
        os.fsync(self._out.fileno())
        self._synced = time.monotonic()

    def _index(self) -> None:
        keys, places = array("Q"), array("Q")
        place = 0
        lost: set[str] = set()
        while (line := self._in.readline()).endswith(b"\n"):
            record = parse_line(line) or {}
            if isinstance(record.get("path"), str):
                (lost.discard if self._is_whole(record) else lost.add)(record["path"])
                keys.append(_key(record["path"]))
                places.append(place)
                self.finished = None
            elif isinstance(record.get("finished"), dict):
                self.finished = record["finished"]
            place += len(line)
        self._out.truncate(place)
        self._end, self.records = place, len(keys)
        for path in sorted(lost):  # for ever, since other scores will be at their place
            place, _ = self.append({"path": path, "error": "its scores over time were lost"})
            keys.append(_key(path))
            places.append(place)
        order = np.argsort(np.asarray(keys), kind="stable")  # the last record of a file comes last
        self._keys, self._places = np.asarray(keys)[order], np.asarray(places)[order]

    def _is_whole(self, record: dict[str, Any]) -> bool:
        result = record.get("result")
        about = result.get("timeline") if isinstance(result, dict) else None
        return about is None or self.timelines.has(about)


@contextmanager
def _opened(path: Path, flags: int = 0) -> Iterator[IO[bytes]]:
    """Open a journal for this process alone. It is closed if the block raises.

    Raises:
        SaveError: it cannot be opened, or an ``OSError`` within the block.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | flags | getattr(os, "O_BINARY", 0), 0o666)
        out = open(descriptor, "r+b", buffering=0)  # noqa: SIM115
    except FileNotFoundError as error:
        if flags & os.O_CREAT:
            raise SaveError(f"{path}: the folder {path.parent} does not exist: create it first") from error
        raise SaveError(f"{path}: expected the journal of an earlier run, found none: check the path") from error
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        if not claim(out):
            raise SaveError(f"{path}: another run is writing to it: wait for its end, or choose another output")
        yield out
    except OSError as error:
        out.close()
        raise unwritable(path, error) from error
    except BaseException:
        out.close()
        raise


def read_run(path: Path, header: dict[str, Any] | None) -> Run:
    """What a journal says in its first line.

    Raises:
        SaveError: it is no journal, one of a newer version, or damaged.

    >>> read_run(Path("a.journal"), {"journal": 1, "model": "5f1c", "options": {}, "shard": None, "version": "0.1.0"})
    Run(model='5f1c', options={}, shard=None, version='0.1.0')
    """
    try:
        if header is None or header["journal"] != FORMAT:
            newer = header is not None and isinstance(header.get("journal"), int) and header["journal"] > FORMAT
            found = (
                "one of a newer spectag: update spectag" if newer else "something else: begin again with --overwrite"
            )
            raise SaveError(f"{path}: expected the journal of an earlier run, found {found}")
        return Run.from_dict(header)
    except (KeyError, TypeError, AttributeError):
        raise SaveError(f"{path}: its first line is damaged: begin again with --overwrite") from None


def parse_line(line: bytes) -> dict[str, Any] | None:
    """A line of a journal; None if it is damaged. That record counts as not there.

    >>> parse_line(b'{"path": "dawn.wav"}\\n'), parse_line(b'{"path": "da')
    ({'path': 'dawn.wav'}, None)
    """
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _key(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
