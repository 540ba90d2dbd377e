import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from spectag.ahead import chain, in_order


def numbers(n: int) -> Iterator[int]:
    time.sleep(0.002 * (n % 3))
    yield from range(n)


@pytest.mark.parametrize("workers", [1, 3])
def test_chain_keeps_order(workers: int) -> None:
    tasks = (lambda n=n: numbers(n) for n in range(20))
    assert list(chain(tasks, workers=workers, items=2)) == [i for n in range(20) for i in range(n)]


def test_chain_raises_where_items_are_taken() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    stream = chain([broken, lambda: numbers(2)], workers=1, items=4)
    assert next(stream) == 1
    with pytest.raises(KeyError, match="broken"):
        next(stream)


def test_chain_is_bounded_and_stops() -> None:
    made: list[int] = []
    started: list[int] = []

    def endless(n: int) -> Iterator[int]:
        started.append(n)
        for i in itertools.count():
            made.append(n)
            yield i

    before = threading.active_count()
    stream = chain((lambda n=n: endless(n) for n in itertools.count()), workers=2, items=3)
    assert list(itertools.islice(stream, 10)) == list(range(10))
    time.sleep(0.05)
    assert max(started) == 1  # two threads, both still busy
    assert len(made) <= 10 + 2 * (3 + 1)
    stream.close()
    assert threading.active_count() == before


def test_chain_tells_tasks_that_it_ends() -> None:
    """What a task waits for may take long, and nobody wants it any more."""
    stop = threading.Event()

    def waiting() -> Iterator[int]:
        yield 1
        assert stop.wait(60)
        yield 2

    stream = chain([waiting], workers=1, items=1, stop=stop)
    assert next(stream) == 1
    begun = time.monotonic()
    stream.close()
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order(workers: int) -> None:
    def slow(n: int) -> int:
        time.sleep(0.001 * (n % 3))
        return n * n

    assert list(in_order(slow, range(40), workers)) == [n * n for n in range(40)]


def test_no_more_than_four_items_per_worker_are_ahead() -> None:
    drawn: list[int] = []
    stream = in_order(abs, (drawn.append(n) or n for n in itertools.count()), 2)
    assert list(itertools.islice(stream, 5)) == [0, 1, 2, 3, 4]
    assert len(drawn) == 5 - 1 + 4 * 2
    stream.close()


def test_a_failure_is_raised_in_its_place() -> None:
    def fail(n: int) -> int:
        if n == 3:
            raise KeyError(n)
        return n

    stream = in_order(fail, range(9), 2)
    assert list(itertools.islice(stream, 3)) == [0, 1, 2]
    with pytest.raises(KeyError, match="3"):
        next(stream)
