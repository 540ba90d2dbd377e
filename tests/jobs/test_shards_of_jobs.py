"""Which shard a file belongs to."""

import pytest

from spectag.errors import InputError
from spectag.jobs.shards import Shard

PATHS = [f"/site/2026-05-{day:02}/{minute:04}.wav" for day in range(1, 31) for minute in range(100)]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
def test_every_file_is_in_one_shard(count: int) -> None:
    shards = [Shard(number, count) for number in range(1, count + 1)]
    sizes = [sum(shard.has(path) for path in PATHS) for shard in shards]
    assert sum(sizes) == len(PATHS)
    assert all(sum(shard.has(path) for shard in shards) == 1 for path in PATHS[:50])
    mean = len(PATHS) / count
    assert all(abs(size - mean) < 5 * mean**0.5 + 1 for size in sizes)


def test_the_same_on_every_machine() -> None:
    """It neither depends on Python's hash, which is another one in every process, nor on the other files."""
    assert [Shard(1, 2).has(path) for path in ("a.wav", "b.wav", "c.wav", "d.wav", "caf\udce9.wav")] == [
        *(True, True, True, False, False),
    ]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "a/b", "1/4/2", "-1/4", "1.0/4", " 1/4", "1/99999999999"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(InputError, match="expected i/n with i from 1 to n, such as 1/4; got"):
        Shard.parse(text)
