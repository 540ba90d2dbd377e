"""Recordings read in processes of their own, so that a decoder that crashes costs its recording and not the job.

C libraries decode, and some damaged file may kill the process that they run in, hang it, or make it allocate all the
memory there is. A job of many files therefore has a few processes that only read. Each reads one recording at a time.
One that dies, delivers nothing for too long or becomes too large is replaced, and its recording is an error.

A process gets its requests through its standard input, pickled, and ends with it. So none is left behind, however this
process ends. It answers with lines of JSON: the facts of the recording so far, and how many samples follow the line.
Nothing that it sends is unpickled.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import IO, Any, TypeAlias

import numpy as np

from spectag import errors
from spectag.audio.limits import FileLimits, Guard
from spectag.audio.read import Recording, Waveform
from spectag.audio.source import Member, Segment
from spectag.cores import count_cores
from spectag.errors import AudioError, InputError
from spectag.files import is_own_stream

Process: TypeAlias = "subprocess.Popen[bytes]"

COUNT = min(4, count_cores())  # recordings that are read at once

_READY = b"ready\n"
_OWN = ("source", "path", "name")  # what a recording is before it is read
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # no threads that wait


class Readers:
    """Processes that read recordings; they are started when they are needed, and kept for the next recording.

    Args:
        started: how many to start at once, while this process has other things to do.
        count: how many recordings a job should read at once.
        limits: what one recording may take.

    >>> import soundfile
    >>> soundfile.write("dawn.wav", np.zeros(16_000), 16_000)
    >>> recording = Recording("dawn.wav", "dawn.wav", "dawn.wav")
    >>> [len(block) for block in Readers().blocks(recording)], recording.seconds
    ([16000], 1.0)
    """

    def __init__(self, started: int = 0, *, count: int = COUNT, limits: FileLimits | None = None) -> None:
        self.count = count
        self._guard = Guard(limits or FileLimits())
        self._idle: list[_Reader] = []
        self._process_id = os.getpid()
        self._usable = bool(sys.executable) and not getattr(sys, "frozen", False)  # frozen: it is another program
        weakref.finalize(self, _end_all, self._idle)
        self._idle += (reader for _ in range(started) if (reader := self._start()) is not None)

    def blocks(self, recording: Recording, stop: threading.Event | None = None) -> Iterator[Waveform]:
        """The blocks of :meth:`spectag.audio.read.Recording.blocks`, read in another process, and its facts.

        Only files named by a path are read there. Streams, samples and bytes are read here, and so is everything where
        no process can be started.

        Args:
            recording: its facts are filled in.
            stop: once it is set, nobody wants the rest: a process that is waited for is ended.

        Raises:
            AudioError: also if the process died, of this recording or for lack of memory, or if the recording exceeded
                a limit.
            InputError: as there.
        """
        source = _portable(recording.source)
        given = 0  # blocks
        while True:
            reader = None if source is None else self._take()
            if reader is None:
                yield from recording.blocks()
                return
            fresh = reader.recordings == 0
            try:
                for block in reader.blocks(source, recording, given, stop):
                    yield block
                    given += 1
                return
            except _Hung as hung:
                raise AudioError(recording.name, hung.args[0]) from None
            except _Died as died:
                if fresh:  # another one may have died of what an earlier recording did to its memory
                    raise AudioError(recording.name, died.args[0]) from None
            finally:
                if reader.idle:
                    self._idle.append(reader)
                else:
                    reader.end()

    def _take(self) -> _Reader | None:
        if self._process_id != os.getpid():  # after a fork the processes belong to the parent
            self._process_id = os.getpid()
            self._guard = Guard(self._guard.limits)
            self._idle.clear()
        while True:
            try:
                reader = self._idle.pop()
            except IndexError:
                if (new := self._start()) is None:
                    return None
                reader = new
            if reader.is_ready():
                return reader
            reader.end()
            self._usable = self._usable and reader.recordings > 0  # one that never began would not begin again

    def _start(self) -> _Reader | None:
        with suppress(OSError):  # no memory, or too many processes
            return _Reader(self._guard) if self._usable else None
        return None


class _Died(Exception):
    """The process ended within a recording."""


class _Hung(_Died):
    """It was ended, since it delivered nothing, or since nobody wants the rest."""


class _Reader:
    """One process. ``idle``: it waits for a request, and nothing that it sent is unread."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        path = list(map(str, sys.path))
        code = f"import sys; sys.path[:] = {path!r}; from spectag.audio import readers; readers._serve()"
        self._process: Process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests: IO[bytes] = self._process.stdin
        self._answers: Any = self._process.stdout
        with suppress(ImportError, AttributeError, OSError):  # Linux: a short clip fits in, which saves waiting
            import fcntl

            fcntl.fcntl(self._answers, fcntl.F_SETPIPE_SZ, 2**20)
        self._began = False
        self.idle = False
        self.recordings = 0

    def is_ready(self) -> bool:
        if not self._began:
            self._began = self.idle = self._answers.readline() == _READY
        return self._began and self._process.poll() is None

    def blocks(
        self, source: object, recording: Recording, skip: int, stop: threading.Event | None
    ) -> Iterator[Waveform]:
        """All blocks of a recording but the first ``skip``, and its facts. The process must be ready."""
        self.idle = False
        self.recordings += 1
        with suppress(OSError):  # it just died, which the answer shows
            self._requests.write(pickle.dumps((source, recording.path, recording.name)))
            self._requests.flush()
        while True:
            answer: dict[str, Any] = {}
            content = bytearray()
            with self._guard.watching(self._process, stop) as watched:  # not while the network has it wait
                line = self._answers.readline()
                if whole := line.endswith(b"\n"):
                    answer = json.loads(line)
                    content = bytearray(4 * answer["samples"])
                    whole = self._answers.readinto(content) == len(content)
            if not whole:
                if watched.exceeded:
                    self.end()
                    raise (_Hung if watched.hung else _Died)(watched.exceeded)
                raise _Died(self._cause())
            for name, value in answer["facts"].items():
                setattr(recording, name, value)
            if not content:
                self.idle = True
                if answer["error"]:
                    kind, *arguments = answer["error"]
                    raise getattr(errors, kind)(*arguments)
                return
            if skip:
                skip -= 1
            else:
                yield np.frombuffer(content, np.float32)

    def _cause(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self.end()
        if code == -getattr(signal, "SIGKILL", 9):
            return "the process that read it was killed, perhaps for lack of memory: free some and try again"
        with suppress(ValueError):
            return _CRASHED.format(signal.Signals(-code).name)
        return _CRASHED.format(f"exit code {code}")

    def end(self) -> int:
        """End the process, and return its exit code."""
        self.idle = False
        with suppress(OSError):
            self._requests.close()
        self._process.kill()
        self._answers.close()
        return self._process.wait()


_CRASHED = "the decoder crashed ({}): convert the file with another program, and please report it"


def _end_all(readers: list[_Reader]) -> None:
    while readers:
        readers.pop().end()


def _portable(source: object) -> object:
    """The same source for a process with another working directory; None if it is not a file named by a path.

    Pipes and files of this process (``/dev/stdin``, ``<(ffmpeg ...)``) are others there, or none.
    """
    try:
        if isinstance(source, Segment):
            file: Any = _portable(source.file)
            return None if file is None else replace(source, file=file)
        if isinstance(source, Member):
            return replace(source, path=os.path.abspath(source.path))
        if not isinstance(source, (str, os.PathLike)):
            return None
        path = os.path.abspath(os.fsdecode(source))
        return None if is_own_stream(path) or not stat.S_ISREG(os.stat(path).st_mode) else path
    except (OSError, ValueError):  # no such file, or no working directory any more
        return None


# in the process


def _serve() -> None:
    """Read what is asked for, until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the one that asks decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # decoders may print
    requests: SimpleQueue[tuple[Any, str | None, str]] = SimpleQueue()
    threading.Thread(target=_receive, args=(requests,), daemon=True).start()
    answers.write(_READY)
    answers.flush()
    while True:
        _answer(Recording(*requests.get()), answers)


def _receive(requests: SimpleQueue[Any]) -> None:
    """Pass on the requests, and end the process with them, even while it decodes."""
    with suppress(EOFError):
        while True:
            requests.put(pickle.load(sys.stdin.buffer))
    os._exit(0)


def _answer(recording: Recording, answers: IO[bytes]) -> None:
    def send(block: Waveform, error: tuple[object, ...] | None = None) -> None:
        facts = {name: value for name, value in vars(recording).items() if name not in _OWN}
        answer = {"samples": len(block), "error": error, "facts": facts}
        answers.write(json.dumps(answer, default=float).encode() + b"\n")
        answers.write(np.ascontiguousarray(block).data)
        answers.flush()

    error: tuple[object, ...] | None = None
    try:
        for block in recording.blocks():
            send(block)
    except (AudioError, InputError) as failure:
        error = type(failure).__name__, *failure.args
    except Exception as failure:
        error = "AudioError", recording.name, f"cannot be read: {type(failure).__name__}: {failure}"
    send(np.empty(0, np.float32), error)
