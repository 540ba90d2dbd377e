"""What one recording may take: a process that reads it is watched, and ended if it hangs or becomes too large."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias

from spectag.errors import InputError

Process: TypeAlias = "subprocess.Popen[bytes]"

SECONDS = 120.0  # a tape library or a slow network may need a minute to begin
MEBIBYTES = 1024  # Python, NumPy and the decoders need 100 of them
EVERY = 0.05  # s between two looks: a process fills about 200 MB in this time
_STOPPED = 2.0  # s between two looks: no busy machine is that slow

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True)
class FileLimits:
    """The limits of one recording.

    Args:
        seconds: without a new piece of sound, of 30 s or less, until reading counts as hung. The length of a recording
            therefore does not matter. The time in which the process waits for the network does not count.
        mebibytes: memory of the process that reads it (resident size). It is checked on Linux.

    Raises:
        InputError: a limit that is not positive.

    >>> FileLimits(seconds=10).mebibytes
    1024
    """

    seconds: float = SECONDS
    mebibytes: float = MEBIBYTES

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise InputError(f"{name} must be more than 0; got {value!r}")


class Watched:
    """A process that somebody waits for, and the reason why it was ended, if it was.

    Args:
        process: it reads recordings.
        until: when it counts as hung, by ``time.monotonic()``.
        stop: when it is set, nobody waits any more.

    >>> process = subprocess.Popen(["true"])
    >>> Watched(process, until=time.monotonic() + 9).exceeded, process.wait()
    ('', 0)
    """

    def __init__(self, process: Process, until: float, stop: threading.Event | None = None) -> None:
        self.process = process
        self.until = until
        self.stop = stop
        self.exceeded = ""
        self.hung = False


class Guard:
    """A thread that looks at the processes that somebody waits for, and ends those that exceed a limit.

    It only runs while there is one to look at.

    Args:
        limits: of each recording.

    >>> import sys
    >>> process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.PIPE)
    >>> with Guard(FileLimits(seconds=0.1)).watching(process) as watched:
    ...     content = process.communicate()
    >>> watched.exceeded
    'its decoder delivered nothing for 0.1 s and was ended: give it more time with --file-timeout, or repair the file'
    """

    def __init__(self, limits: FileLimits) -> None:
        self.limits = limits
        self._watched: set[Watched] = set()
        self._lock = threading.Lock()
        self._running = False
        self._inspected = time.monotonic()

    @contextmanager
    def watching(self, process: Process, stop: threading.Event | None = None) -> Iterator[Watched]:
        """Watch a process while the block waits for it. The block gets an end of file if the process is ended.

        Args:
            process: what the block waits for.
            stop: end the process when it is set.
        """
        watched = Watched(process, time.monotonic() + self.limits.seconds, stop)
        with self._lock:
            self._watched.add(watched)
            if not self._running:
                self._start()
        try:
            yield watched
        finally:
            with self._lock:
                self._watched.discard(watched)

    def _look(self) -> None:
        idle = 0
        while idle * EVERY < 1.0:
            time.sleep(EVERY)
            idle = 0 if self._inspect(time.monotonic()) else idle + 1
        with self._lock:
            self._running = False
            if self._watched:  # one came at the last moment
                self._start()

    def _start(self) -> None:
        self._running, self._inspected = True, time.monotonic()
        threading.Thread(target=self._look, name="spectag-limits", daemon=True).start()

    def _inspect(self, now: float) -> int:
        """Look at all processes once, and count them."""
        with self._lock:
            # This process was stopped for a while, with Ctrl-Z for example, and the others with it.
            stopped = now - self._inspected if now - self._inspected > _STOPPED else 0.0
            self._inspected = now
            for watched in self._watched:
                watched.until += stopped
                self._judge(watched, now)
                if watched.exceeded:
                    with suppress(OSError):
                        watched.process.kill()
            return len(self._watched)

    def _judge(self, watched: Watched, now: float) -> None:
        if watched.stop is not None and watched.stop.is_set():
            watched.hung = True
            watched.exceeded = "reading was interrupted"
        elif now > watched.until:
            watched.hung = True
            watched.exceeded = (
                f"its decoder delivered nothing for {self.limits.seconds:g} s and was ended: give it more time with "
                "--file-timeout, or repair the file"
            )
        elif resident_mebibytes(watched.process.pid) > self.limits.mebibytes:
            watched.exceeded = (
                f"its decoder took more than {self.limits.mebibytes:g} MiB of memory and was ended: allow more with "
                "--file-memory, or repair the file"
            )


def resident_mebibytes(process: int) -> float:
    """The memory that a process occupies, in MiB; 0 if that is not known.

    Args:
        process: its number.

    >>> resident_mebibytes(-1)
    0.0
    """
    try:
        with open(f"/proc/{process}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE / 2**20
    except (OSError, ValueError, IndexError):
        return 0.0
