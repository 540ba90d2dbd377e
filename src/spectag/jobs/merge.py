"""Join the shards of one run: all of them, each once, in the order in which one job would have written their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from spectag.errors import InputError, SaveError, reason
from spectag.jobs.journal import parse_line, read_run
from spectag.jobs.record import unpack
from spectag.jobs.run import Run
from spectag.jobs.shards import Shard
from spectag.jobs.timelines import Timelines
from spectag.tag.results import Result


@dataclass(frozen=True)
class ShardResults:
    """The results of a finished shard, in its journal.

    Args:
        path: the journal.
        run: what the shard did.
        files: how many files there are in all shards.
        listing: a digest of their paths.
        positions: where the results of this shard belong among all, ``[N]``.
        places: where their records are in the journal, ``[N]``.
    """

    path: Path
    run: Run
    files: int
    listing: str
    positions: NDArray[np.int64]
    places: NDArray[np.int64]

    @cached_property
    def timelines(self) -> Timelines:
        """The scores over time."""
        return Timelines(self.path)

    @property
    def shard(self) -> Shard:
        """Which one it is."""
        return Shard.parse(self.run.shard or "1/1")

    @classmethod
    def read(cls, path: Path) -> ShardResults:
        """Read a journal. It is not changed.

        Raises:
            SaveError: there is none, or it is not that of a finished shard.

        >>> ShardResults.read(Path("none.journal"))
        Traceback (most recent call last):
        spectag.errors.SaveError: none.journal: cannot be read: No such file or directory: copy it to the place beside
        its results
        """
        try:
            with path.open("rb") as file:
                first = file.readline()
                last = first
                for line in file:
                    last = line
        except OSError as error:
            advice = "copy it to the place beside its results" if isinstance(error, FileNotFoundError) else "mend that"
            raise SaveError(f"{path}: cannot be read: {reason(error)}: {advice}") from error
        run = read_run(path, parse_line(first))
        facts = (parse_line(last) or {}).get("finished")
        if run.shard is None:
            raise SaveError(f"{path}: expected a part of a job, got a whole one: give outputs of `spectag tag --shard`")
        if facts is None:
            raise SaveError(f"{path}: shard {run.shard} is not finished: run it again with --resume")
        try:
            columns = [np.array(facts[name], np.int64).reshape(-1) for name in ("positions", "places")]
            if len(columns[0]) != len(columns[1]):
                raise ValueError
            return cls(path, run, int(facts["files"]), str(facts["listing"]), *columns)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise SaveError(f"{path}: its last line is damaged: run shard {run.shard} again with --overwrite") from None


def check_shards(shards: Sequence[ShardResults]) -> Run:
    """Check that shards are all parts of one run, each once.

    Returns:
        the run as one job would have done it.

    Raises:
        SaveError: another model or option, a shard that is missing or there twice, or shards of different files.
        InputError: no shards.

    >>> one = ShardResults(Path("a.journal"), Run("5f1c", shard="1/2"), 1, "e3b0", np.array([0]), np.array([99]))
    >>> check_shards([one])
    Traceback (most recent call last):
    spectag.errors.SaveError: expected 2 shards, got 1: add 2/2
    """
    if not shards:
        raise InputError("merge: expected at least one shard, got none")
    first = shards[0]
    whole = replace(first.run, shard=None)
    found: dict[int, ShardResults] = {}
    for shard in shards:
        advice = f"give shards of one run; {first.path} differs"
        replace(shard.run, shard=None).require_same(whole, str(shard.path), advice)
        if shard.shard.count != first.shard.count:
            raise SaveError(f"{shard.path}: is shard {shard.shard}, and {first.path} is {first.shard}: {advice}")
        if shard.shard.number in found:
            other = found[shard.shard.number]
            raise SaveError(f"{shard.path}: is shard {shard.shard}, and so is {other.path}: leave one out")
        if (shard.files, shard.listing) != (first.files, first.listing):
            raise SaveError(
                f"{shard.path}: was made when there were other files ({shard.files}) than for {first.path} "
                f"({first.files}): run all shards again with --resume"
            )
        found[shard.shard.number] = shard
    count = first.shard.count
    if missing := [f"{number}/{count}" for number in range(1, count + 1) if number not in found]:
        listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise SaveError(f"expected {count} shards, got {len(found)}: add {listed}")
    positions = np.sort(np.concatenate([shard.positions for shard in shards]))
    if not np.array_equal(positions, np.arange(first.files)):
        raise SaveError(
            f"{first.path}: expected {first.files} results in all shards, each once; got {len(positions)}: run all "
            "shards again with --resume"
        )
    return whole


def read_in_order(shards: Sequence[ShardResults]) -> Iterator[tuple[dict[str, Any], Result]]:
    """The records of all shards and the results in them, in the order of the files.

    Raises:
        SaveError: a record is damaged.

    >>> list(read_in_order([]))
    []
    """
    if not shards:
        return
    numbers = np.repeat(np.arange(len(shards)), [len(shard.positions) for shard in shards])
    places = np.concatenate([shard.places for shard in shards])
    order = np.argsort(np.concatenate([shard.positions for shard in shards]))
    files: dict[int, IO[bytes]] = {}
    try:
        for at in order.tolist():
            number = int(numbers[at])
            if number not in files:
                files[number] = shards[number].path.open("rb")
            files[number].seek(int(places[at]))
            record = parse_line(files[number].readline()) or {}
            try:
                result = unpack(record, shards[number].timelines.read)
            except ValueError:
                raise SaveError(
                    f"{shards[number].path}: is damaged at byte {places[at]}: run this shard again with --overwrite"
                ) from None
            yield record, result
    finally:
        for file in files.values():
            file.close()


def listing_of(shards: Sequence[ShardResults]) -> dict[str, Any]:
    """What the journal of the whole run says when it is finished.

    >>> none = np.zeros(0, np.int64)
    >>> listing_of([ShardResults(Path("a.journal"), Run("5f1c", shard="1/1"), 0, "e3b0", none, none)])
    {'files': 0, 'listing': 'e3b0'}
    """
    return {"files": shards[0].files, "listing": shards[0].listing}
