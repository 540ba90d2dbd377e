"""The output of the commands: one-line messages on stderr, results in a file, and a progress bar."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from spectag.errors import SaveError, reason, unwritable
from spectag.files import claim, require_new

if TYPE_CHECKING:
    from rich.progress import Progress

# Endings, besides those of recordings, that say what kind of file somebody expects. No folder is written under them.
WEIGHTS = "onnx pth pt pt2 ckpt bin safetensors gguf tflite mlmodel mlpackage h5 pb npz npy pkl"
OTHERS = "csv tsv json jsonl ndjson parquet xls xlsx txt yaml yml html zip gz tar tgz 7z"
FILE_EXTENSIONS = frozenset(f".{extension}" for extension in f"{WEIGHTS} {OTHERS}".split())

T = TypeVar("T")


def say(kind: str, text: str = "") -> None:
    """Print one line on stderr. It is no error if nobody reads it.

    >>> with contextlib.redirect_stderr(sys.stdout):
    ...     say("error", "dawn.wav: expected a file, found none")
    spectag: error: dawn.wav: expected a file, found none
    """
    line = " ".join(f"spectag: {kind}: {text}".split()) if text else f"spectag: {kind}"
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):  # its reader went away, or it was closed
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


class Bar:
    """A progress bar on stderr: how many files are done, and how much of the current one.

    There is none if stderr is not a terminal.

    Args:
        total: number of files.
        shared: whether results are printed to the same terminal. Then the bar only appears within a file that takes
            longer than a second, and disappears before a result is printed.

    >>> list(Bar(2).over(["a.wav", "b.wav"]))
    ['a.wav', 'b.wav']
    """

    def __init__(self, total: int, *, shared: bool = False) -> None:
        self.done = 0
        self.shared = shared
        self._since = time.monotonic()  # when the last file was done
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TaskProgressColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            columns = (BarColumn(), MofNCompleteColumn(), TaskProgressColumn())
            times = (TextColumn("{task.fields[text]}"), TimeElapsedColumn(), TimeRemainingColumn())
            console = Console(stderr=True)
            self._bar = Progress(*columns, *times, console=console, transient=True, redirect_stdout=False)
            self._task = self._bar.add_task("", total=total, text="")

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Pass items on, one for each file, and show how many there were."""
        if self._bar is None:
            yield from items
            return
        try:
            if not self.shared:
                self._bar.start()
            for item in items:
                self.done += 1
                self._since = time.monotonic()
                self._bar.update(self._task, completed=self.done)
                if self.shared:
                    self._bar.stop()
                yield item
        finally:
            self._bar.stop()

    def show(self, text: str) -> None:
        """Show a text beside the bar."""
        if self._bar is not None:
            self._bar.update(self._task, text=text)

    def within(self, share: float) -> None:
        """Show how much of the current file is done, 0..1."""
        if self._bar is not None and (not self.shared or time.monotonic() > self._since + 1):
            self._bar.update(self._task, completed=self.done + share)
            self._bar.start()


def watched(items: Iterable[T], total: int, *, quiet: bool) -> Iterator[T]:
    """Pass items on and show a progress bar on stderr; not if ``quiet``.

    >>> list(watched([1, 2], 2, quiet=True))
    [1, 2]
    """
    return iter(items) if quiet else Bar(total).over(items)


def refuse_overwriting(output: Path, inputs: Iterable[str]) -> None:
    """Raise SaveError if ``output`` cannot be a new file, or is one of the inputs.

    >>> Path("dawn.wav").touch()
    >>> refuse_overwriting(Path("dawn.wav"), ["dawn.wav"])
    Traceback (most recent call last):
    spectag.errors.SaveError: dawn.wav: is one of the inputs: choose another name
    """
    if not output.parent.is_dir():
        raise SaveError(f"{output}: the folder {output.parent} does not exist: create it first")
    if output.is_dir():
        raise SaveError(f"{output}: is a folder: give the name of a file")
    if output.exists() and any(os.path.exists(path) and output.samefile(path) for path in inputs):
        raise SaveError(f"{output}: is one of the inputs: choose another name")


def require_folder_name(path: Path) -> None:
    """Check that the name of a folder to write is not that of a file of weights, a recording or a table.

    Raises:
        SaveError: the name has the ending of a file, and nothing exists there yet.

    >>> require_folder_name(Path("x.onnx"))
    Traceback (most recent call last):
    spectag.errors.SaveError: x.onnx: expected the name of a folder, and .onnx is the ending of a file: leave it out,
    for example x
    """
    from spectag.audio.find import AUDIO_EXTENSIONS

    if path.suffix.lower() in FILE_EXTENSIONS | AUDIO_EXTENSIONS and not path.exists():
        raise SaveError(
            f"{path}: expected the name of a folder, and {path.suffix} is the ending of a file: leave it out, for "
            f"example {path.with_suffix('')}"
        )


def require_new_folder(path: Path) -> None:
    """Check that a folder can be created, and that its name is not that of a file.

    Raises:
        SaveError: something exists there already, or the name has the ending of a file.

    >>> Path("dawn").touch()
    >>> require_new_folder(Path("dawn"))
    Traceback (most recent call last):
    spectag.errors.SaveError: dawn: already exists: choose a new or an empty folder
    """
    require_folder_name(path)
    require_new(path)


@contextlib.contextmanager
def opened(output: Path | None, *, mark: bool = False, resumable: bool = False) -> Iterator[IO[str]]:
    """Open a file for results, and keep other runs from writing to it.

    Args:
        output: the file; None for stdout.
        mark: begin it with a byte order mark, by which Excel recognises UTF-8.
        resumable: whether it is the output of a job, which can be continued after an error.

    Raises:
        SaveError: it cannot be written, also within the block, or another run is writing to it. The results of that run
            are intact.

    >>> with opened(None) as file:
    ...     _ = file.write("dawn.wav")
    dawn.wav
    """
    if output is None:
        yield sys.stdout
        return
    encoding = "utf-8-sig" if mark else "utf-8"
    try:
        with open(output, "w", encoding=encoding, errors="backslashreplace", newline="", opener=_keeping) as file:
            if output.is_file():  # not a device, which everybody shares
                if not claim(file):
                    raise SaveError(f"{output}: another run is writing to it: wait for its end, or choose another name")
                file.truncate(0)
            yield file
    except BrokenPipeError:  # the reader of a pipe went away
        raise
    except OSError as error:
        if resumable:
            raise unwritable(output, error) from error
        raise SaveError(f"{output}: cannot be written: {reason(error)}") from error


def _keeping(path: str, flags: int) -> int:
    """Open a file without emptying it."""
    return os.open(path, flags & ~os.O_TRUNC, 0o666)
