"""Many files: which ones, and reading ahead in the background."""

from __future__ import annotations

import glob
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Full, Queue
from typing import TypeVar

from spectag.audio.read import AUDIO_EXTENSIONS
from spectag.errors import FileError

T = TypeVar("T")


def expand(paths: Iterable[str | os.PathLike[str]]) -> Iterator[str | FileError]:
    """Files to tag: what is no folder as it was given, of a folder all recordings in and below it, sorted.

    In a folder, names are chosen by their extension (``AUDIO_EXTENSIONS``, in any case); hidden files and folders are
    left out; links are followed, each folder being visited once. A pattern such as ``*.wav`` that names no file is
    expanded, since Windows shells leave that to the program.

    Yields:
        paths; a :class:`FileError` for a folder that cannot be listed or holds no recording. Whether a file exists is
        left to who reads it.
    """
    for path in map(os.fsdecode, paths):
        if os.path.isdir(path):
            yield from _recordings(path)
        elif glob.has_magic(path) and not os.path.lexists(path) and (matches := sorted(glob.glob(path))):
            yield from expand(matches)
        else:
            yield path


def _recordings(folder: str) -> list[str | FileError]:
    failed: list[OSError] = []
    files: list[str] = []
    visited: set[tuple[int, int]] = set()
    for here, folders, names in os.walk(folder, followlinks=True, onerror=failed.append):
        status = os.stat(here)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += (
            os.path.join(here, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_EXTENSIONS
        )
    errors = [
        FileError(os.fsdecode(e.filename), f"cannot be listed: {e.strerror}: check its permissions") for e in failed
    ]
    if not files and not errors:
        known = " ".join(sorted(AUDIO_EXTENSIONS))
        return [FileError(folder, f"expected a folder with recordings, found none: looked for the extensions {known}")]
    return [*errors, *sorted(files, key=lambda path: path.split(os.sep))]


def read_ahead(tasks: Iterable[Callable[[], Iterable[T]]], *, workers: int, items: int) -> Iterator[T]:
    """Chain the items of tasks that run in background threads, ahead of who takes them; the order is that of the tasks.

    Memory is bounded: at most ``2 * workers`` tasks are under way or wait to be taken, each holding
    ``items`` untaken items. The first of them always has a thread, so that nothing can wait for ever.

    Args:
        tasks: drawn one by one in the caller's thread, called and iterated over in another.
        workers: threads.
        items: how many untaken items a task may have.

    Yields:
        the items of the first task, then those of the next, and so on; what a task raises is raised here. Closing the
        generator stops the threads at their next item.
    """
    stop = threading.Event()

    def put(out: Queue[T | _End], item: T | _End) -> None:
        while not stop.is_set():
            with suppress(Full):
                out.put(item, timeout=0.1)
                return

    def run(task: Callable[[], Iterable[T]], out: Queue[T | _End]) -> None:
        end = _End(None)
        try:
            for item in task():
                put(out, item)
                if stop.is_set():
                    return
        except BaseException as error:  # raised again where the items are taken
            end = _End(error)
        put(out, end)

    waiting: deque[Queue[T | _End]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="spectag-read") as pool:
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
    """After the last item of a task: what it raised, if anything."""

    error: BaseException | None


def _taken(queue: Queue[T | _End]) -> Iterator[T]:
    while not isinstance(item := queue.get(), _End):
        yield item
    if item.error is not None:
        raise item.error
