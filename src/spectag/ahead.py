"""Run tasks in the background, ahead of the code that uses their results, in order and in bounded memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Full, Queue
from typing import TypeVar

Item = TypeVar("Item")
T = TypeVar("T")

Watch = Callable[[Iterator[T]], Iterable[T]]
"""A function that all results pass through, in order, as they are computed; for example a progress bar."""


def in_order(
    function: Callable[[Item], T], items: Iterable[Item], workers: int, executor: Executor | None = None
) -> Iterator[T]:
    """``map(function, items)`` in the background, at most ``4 * workers`` items ahead of the results taken.

    Args:
        function: called once per item.
        items: drawn one by one in the caller's thread.
        workers: how many items are worked on at once.
        executor: where they are worked on; None for threads, which suit decoding, resampling and the front end, since
            these release Python's global lock.

    Yields:
        the results, in the order of the items. An exception of ``function`` is raised here. Closing the generator
        cancels what has not begun.

    >>> list(in_order(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]
    """
    pool = executor or ThreadPoolExecutor(workers, thread_name_prefix="spectag")
    waiting: deque[Future[T]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def chain(
    tasks: Iterable[Callable[[], Iterable[T]]], *, workers: int, items: int, stop: threading.Event | None = None
) -> Iterator[T]:
    """Concatenate the items of several tasks, which run in background threads.

    At most ``2 * workers`` tasks run or wait to be taken, and each holds at most ``items`` untaken items, so memory is
    bounded. The first of them always has a thread, so nothing can wait forever.

    Args:
        tasks: drawn one by one in the caller's thread; each is called, and iterated over, in another.
        workers: number of threads.
        items: number of untaken items that a task may hold.
        stop: set when the generator ends or is closed, for tasks that wait for something else.

    Yields:
        the items of the first task, then those of the second, and so on. An exception of a task is raised here.
        Closing the generator stops the threads at their next item.

    >>> list(chain([lambda: "ab", lambda: "c"], workers=2, items=8))
    ['a', 'b', 'c']
    """
    stop = stop or threading.Event()

    def put(out: Queue[T | _End], item: T | _End) -> None:
        while not stop.is_set():
            with suppress(Full):
                out.put(item, timeout=0.1)
                return

    def run(task: Callable[[], Iterable[T]], out: Queue[T | _End]) -> None:
        end = _End(None)
        if stop.is_set():
            return
        try:
            for item in task():
                put(out, item)
                if stop.is_set():
                    return
        except BaseException as error:  # raised again where the items are taken
            end = _End(error)
        put(out, end)

    waiting: deque[Queue[T | _End]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="spectag") as pool:
        try:
            for task in tasks:
                waiting.append(Queue(items))
                pool.submit(run, task, waiting[-1])
                if len(waiting) == 2 * workers:
                    yield from _taken(waiting.popleft())
            while waiting:
                yield from _taken(waiting.popleft())
        finally:
            stop.set()


@dataclass(frozen=True)
class _End:
    """Follows the last item of a task, with the exception that ended it, if any."""

    error: BaseException | None


def _taken(queue: Queue[T | _End]) -> Iterator[T]:
    while not isinstance(item := queue.get(), _End):
        yield item
    if item.error is not None:
        raise item.error
