"""A job: many files, one output, and a journal that lets it continue after it was killed.

::

    files -> plan: which results the journal has, which files must be read
          -> read and tag the latter -> journal
          -> results in the order of the files, from the journal or just computed -> output

Every result passes through the journal, so the output does not depend on when it was computed.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spectag import ahead
from spectag.errors import FileError, SaveError
from spectag.jobs.journal import Journal
from spectag.jobs.record import FileState, pack, state_of, unpack
from spectag.jobs.shards import Shard
from spectag.tag.results import Result

File: TypeAlias = "str | FileError"
TagAll: TypeAlias = "Callable[[Iterable[File]], Iterator[Result]]"

NEW = -1  # the place of a result that no journal has
LOOKING = 4  # files whose content is compared at once


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    Args:
        files: of this shard, in the order of the listing.
        places: where the journal has their results, ``[N]``; ``NEW`` for a file that must be read.
        positions: their places in the listing of all shards, ``[N]``.
        listed: how many files there are in all shards.
        listing: a digest of the paths in all shards.
        verify: whether contents are compared, and remembered.

    >>> Plan(["a.wav", "b.wav"], np.array([0, NEW]), np.arange(2), 2, "5f1c").new
    1
    """

    files: Sequence[File]
    places: NDArray[np.int64]
    positions: NDArray[np.int64]
    listed: int
    listing: str
    verify: bool = False

    @property
    def new(self) -> int:
        """How many files must be read."""
        return int((self.places == NEW).sum())


def make_plan(
    files: Sequence[File], journal: Journal, shard: Shard | None = None, *, verify: bool = False, retry: bool = False
) -> Plan:
    """Compare the files with the journal. A file that has changed must be read again.

    Args:
        files: of all shards.
        journal: what was done so far.
        shard: which of the files are those of this job; None for all.
        verify: compare contents, instead of the times of the last change.
        retry: read files that failed again, although they are the same.

    >>> from spectag.jobs.run import Run
    >>> journal = Journal.create(Path("tags.jsonl.journal"), Run("5f1c"))
    >>> make_plan(["a.wav", "b.wav"], journal).places
    array([-1, -1])
    """
    digest = hashlib.sha256()
    for file in files:
        digest.update(path_of(file).encode("utf-8", "surrogatepass") + b"\0")
    positions = np.array([n for n, file in enumerate(files) if shard is None or shard.has(path_of(file))], np.int64)
    mine = files if shard is None else [files[n] for n in positions]
    places = np.full(len(mine), NEW, np.int64)
    known = _known(mine, journal)
    judge = partial(_is_done, verify=verify, retry=retry)
    for n, place, done in ahead.in_order(judge, known, LOOKING) if verify else map(judge, known):
        places[n] = place if done else NEW
    return Plan(mine, places, positions, len(files), digest.hexdigest(), verify)


_Known: TypeAlias = "tuple[int, int, str, dict[str, Any]]"


def _known(files: Sequence[File], journal: Journal) -> Iterator[_Known]:
    """The files that the journal has: their numbers, places, paths and records."""
    for n, file in enumerate(files):
        if isinstance(file, str) and (place := journal.find(file)) is not None:
            yield n, place, file, journal.read(place)


def _is_done(known: _Known, *, verify: bool, retry: bool) -> tuple[int, int, bool]:
    n, place, path, record = known
    state = state_of(record)
    if record["path"] != path or state is None or (retry and "error" in record) or (verify and not state.sha256):
        return n, place, False
    return n, place, state.fits(FileState.of(path, content=verify))


def run(plan: Plan, journal: Journal, tag_all: TagAll) -> Iterator[tuple[Result, bool]]:
    """Tag what is new, and give the results of all files.

    Args:
        plan: what there is to do.
        journal: the plan was made with it. New results are added to it.
        tag_all: gives one result for each file, in order; it may read files ahead.

    Yields:
        the results in the order of the files, and whether each is new.

    Raises:
        SaveError: the journal cannot be written.

    >>> from spectag.jobs.run import Run
    >>> journal = Journal.create(Path("tags.jsonl.journal"), Run("5f1c"))
    >>> plan = make_plan(["a.wav", "b.wav"], journal)
    >>> [str(result) for result, new in run(plan, journal, spectag.Tagger("esc10").tag_many)]
    ['a.wav: expected a file, found none: check the path', 'b.wav: expected a file, found none: check the path']
    """
    states: deque[FileState | None] = deque()
    results = iter(tag_all(_drawn(plan, states)))
    for n, file in enumerate(plan.files):
        place = int(plan.places[n])
        new = place == NEW
        if new:
            result = next(results)  # only then it is certain that the file was looked at
            place, record = journal.append(pack(path_of(file), states.popleft(), result, journal.timelines.append))
            plan.places[n] = place
        else:
            record = journal.read(place)
        try:
            result = unpack(record, journal.timelines.read)
        except ValueError:
            raise SaveError(f"{journal.path}: is damaged at byte {place}: begin again with --overwrite") from None
        yield result, new
    journal.finish(_facts(plan, journal))


def _drawn(plan: Plan, states: deque[FileState | None]) -> Iterator[File]:
    """The files that must be read. Each is looked at before it is read, so a change while it is read shows later."""
    new = (plan.files[n] for n in np.flatnonzero(plan.places == NEW).tolist())
    look = partial(_look, content=plan.verify)
    for file, state in ahead.in_order(look, new, LOOKING) if plan.verify else map(look, new):
        states.append(state)
        yield file


def _look(file: File, *, content: bool) -> tuple[File, FileState | None]:
    return file, FileState.of(file, content=content) if isinstance(file, str) else None


def _facts(plan: Plan, journal: Journal) -> dict[str, Any]:
    """What is known at the end of a job; for a shard, also where its results belong among all."""
    facts: dict[str, Any] = {"files": plan.listed, "listing": plan.listing}
    if journal.run.shard is not None:
        facts |= {"positions": plan.positions.tolist(), "places": plan.places.tolist()}
    return facts


def path_of(file: File) -> str:
    """The path of a file as it was given.

    >>> path_of(FileError("site", "cannot be listed"))
    'site'
    """
    return file if isinstance(file, str) else file.path or ""
