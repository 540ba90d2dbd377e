"""What the commands print: one-line messages on stderr, results in a file, a progress bar."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from spectag.errors import SaveError
from spectag.files import require_new

WEIGHT_FILES = frozenset(
    {
        ".onnx",
        ".pth",
        ".pt",
        ".pt2",
        ".ckpt",
        ".bin",
        ".safetensors",
        ".tflite",
        ".mlmodel",
        ".h5",
        ".pb",
        ".npz",
        ".pkl",
    }
)  # endings that say what kind of file somebody expects; no bundle is one
T = TypeVar("T")


def say(kind: str, text: str = "") -> None:
    """Print one line on stderr, such as ``spectag: error: dawn.wav: ...``."""
    line = " ".join(f"spectag: {kind}: {text}".split()) if text else f"spectag: {kind}"
    print(line, file=sys.stderr, flush=True)


def watched(items: Iterable[T], total: int, *, quiet: bool) -> Iterator[T]:
    """Pass items on and show a progress bar on stderr.

    There is no bar if stderr is no terminal, or if ``quiet``: the results themselves are printed to the terminal.
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
    """Raise SaveError if ``output`` cannot be a new file, or is one of the inputs."""
    if not output.parent.is_dir():
        raise SaveError(f"{output}: the folder {output.parent} does not exist: create it first")
    if output.is_dir():
        raise SaveError(f"{output}: is a folder: give the name of a file")
    if output.exists() and any(os.path.exists(path) and output.samefile(path) for path in inputs):
        raise SaveError(f"{output}: is one of the inputs: choose another name")


def require_new_directory(path: Path) -> None:
    """Raise SaveError if a model's directory cannot be created here, or if the name is that of a file of weights."""
    if path.suffix.lower() in WEIGHT_FILES:
        raise SaveError(
            f"{path}: a model is written as a directory, and {path.suffix} is the ending of a file: "
            f"leave it out, for example {path.with_suffix('')}"
        )
    require_new(path)


@contextmanager
def opened(output: Path | None) -> Iterator[IO[str]]:
    """Open a file for results; None for stdout."""
    if output is None:
        yield sys.stdout
        return
    try:
        file = output.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise SaveError(f"{output}: cannot be written: {error.strerror}") from error
    with file:
        yield file
