"""The output of the commands: one-line messages on stderr, results in a file, and a progress bar."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TypeVar

from spectag.errors import SaveError
from spectag.files import require_new

# Endings that say what kind of file somebody expects. No bundle is one.
WEIGHT_FILE = re.compile(r"\.(onnx|pth|pt2?|ckpt|bin|safetensors|gguf|tflite|mlmodel|mlpackage|h5|pb|npz|pkl)", re.I)

T = TypeVar("T")


def say(kind: str, text: str = "") -> None:
    """Print one line on stderr.

    >>> with contextlib.redirect_stderr(sys.stdout):
    ...     say("error", "dawn.wav: expected a file, found none")
    spectag: error: dawn.wav: expected a file, found none
    """
    line = " ".join(f"spectag: {kind}: {text}".split()) if text else f"spectag: {kind}"
    print(line, file=sys.stderr, flush=True)


def watched(items: Iterable[T], total: int, *, quiet: bool) -> Iterator[T]:
    """Pass items on and show a progress bar on stderr.

    There is no bar if stderr is not a terminal, or if ``quiet`` is set because the results are printed to the terminal.

    >>> list(watched([1, 2], 2, quiet=True))
    [1, 2]
    """
    if quiet or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        yield from progress.track(items, total=total)


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


def require_new_directory(path: Path) -> None:
    """Check that a model's directory can be created, and that its name is not that of a file of weights.

    Raises:
        SaveError: something exists there already, or the name has the ending of a file.

    >>> require_new_directory(Path("x.onnx"))
    Traceback (most recent call last):
    spectag.errors.SaveError: x.onnx: a model is written as a directory, and .onnx is the ending of a file: leave it
    out, for example x
    """
    if WEIGHT_FILE.fullmatch(path.suffix):
        raise SaveError(
            f"{path}: a model is written as a directory, and {path.suffix} is the ending of a file: "
            f"leave it out, for example {path.with_suffix('')}"
        )
    require_new(path)


@contextlib.contextmanager
def opened(output: Path | None) -> Iterator[IO[str]]:
    """Open a file for results; None for stdout.

    >>> with opened(None) as file:
    ...     _ = file.write("dawn.wav")
    dawn.wav
    """
    if output is None:
        yield sys.stdout
        return
    try:
        file = output.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise SaveError(f"{output}: cannot be written: {error.strerror}") from error
    with file:
        yield file
