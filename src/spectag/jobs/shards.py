"""Shards: parts of the files, for job arrays. Which shard a file belongs to depends on its path alone.

So files that are added later change nothing for the others, and no list has to be kept. Shards are about equally large.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from spectag.errors import InputError


@dataclass(frozen=True)
class Shard:
    """One of ``count`` parts.

    Args:
        number: 1 to ``count``.
        count: how many parts there are.

    Raises:
        InputError: a number out of its range.

    >>> [path for path in ("a.wav", "b.wav", "c.wav", "d.wav") if Shard(1, 2).has(path)]
    ['a.wav', 'b.wav', 'c.wav']
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(f"shard: expected i/n with i from 1 to n, such as 1/4; got {self}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/n``.

        >>> Shard.parse("2/4")
        Shard(number=2, count=4)
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if match is None:
            raise InputError(f"shard: expected i/n with i from 1 to n, such as 1/4; got {text!r}")
        return cls(int(match[1]), int(match[2]))

    def has(self, path: str) -> bool:
        """Whether a file belongs to this part, by its path as it was given."""
        digest = hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=8, person=b"shard").digest()
        return int.from_bytes(digest, "little") % self.count == self.number - 1
