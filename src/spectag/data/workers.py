"""One function over many clips, in background threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Watch = Callable[[Iterator[Result]], Iterable[Result]]
"""What results pass through as they come, in order: a progress bar."""


def in_order(function: Callable[[Item], Result], items: Iterable[Item], jobs: int) -> Iterator[Result]:
    """``map(function, items)`` by ``jobs`` threads, at most ``4 * jobs`` items ahead of who takes the results.

    Threads, since decoders, resampler, hashes and the front end release the lock of the interpreter, and processes take
    longer to start than a small data set takes to decode.
    """
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="spectag-data")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 4 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
