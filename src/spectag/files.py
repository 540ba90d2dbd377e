"""Files and folders that are written completely or not at all.

Everything is first written next to its target and renamed at the end. A full disk or a killed process therefore leaves
the previous version intact.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from spectag.errors import SaveError

_LOCKED_BYTE = 2**31 - 2  # where Windows locks: behind the content, since nobody else may read a locked byte


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file next to ``path``, then rename it to ``path``.

    Yields:
        the path to write to, in the same folder. It is synchronised to the disk and renamed to ``path`` when the block
        ends, and removed when the block raises.

    Raises:
        SaveError: an ``OSError`` within the block, or while renaming. The previous file is intact.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "notes.txt")) as partial:
    ...         _ = partial.write_text("whole")
    ...     Path(folder, "notes.txt").read_text()
    'whole'
    """
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise SaveError(
            f"{path}: could not be written ({error.strerror or error}); free some space and try again"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Fill a folder next to ``path``, then rename it to ``path``.

    Args:
        path: must not exist, or be an empty folder. Its parent folders are created.

    Yields:
        an empty folder to fill. It is renamed to ``path`` when the block ends, and removed when the block raises.

    Raises:
        SaveError: ``path`` is not empty, or an ``OSError`` within the block. No files are left behind.

    >>> with tempfile.TemporaryDirectory() as parent:
    ...     with new_folder(Path(parent, "set")) as folder:
    ...         (folder / "clip.wav").touch()
    ...     os.listdir(Path(parent, "set"))
    ['clip.wav']
    """
    path = Path(os.path.abspath(path))
    partial = path.with_name(path.name + ".partial")
    require_new(path)
    try:
        partial.mkdir(parents=True)
    except FileExistsError:
        raise SaveError(f"{partial}: already exists: delete it unless another command is writing to it") from None
    except OSError as error:
        raise SaveError(f"{path}: cannot be created: {error.strerror}") from error
    try:
        yield partial
        if path.exists():
            path.rmdir()
        partial.rename(path)
    except OSError as error:
        raise SaveError(
            f"{path}: could not be written ({error.strerror or error}), nothing was kept: free some space and try again"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def append(file: IO[bytes], end: int, pieces: Iterable[bytes | memoryview]) -> int:
    """Write pieces behind each other at the end of an open file, all of them or nothing.

    Args:
        file: without a buffer.
        end: where it ends.

    Returns:
        where it ends now.

    Raises:
        OSError: what a full disk took of the pieces is cut off again.

    >>> with tempfile.TemporaryFile(buffering=0) as file:
    ...     append(file, 0, [b"one", b"two"])
    6
    """
    file.seek(end)
    try:
        for piece in pieces:
            rest = memoryview(piece).cast("B")
            while rest:
                rest = rest[file.write(rest) :]
        return file.tell()
    except OSError:
        file.truncate(end)
        raise


def claim(file: IO[Any]) -> bool:
    """Reserve an open file for this process until it is closed, also if the process is killed.

    Returns:
        False if another process, or another opening of the same file, has reserved it. True where the file system
        knows no such locks.

    >>> with tempfile.TemporaryFile() as file:
    ...     claim(file)
    True
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            here = file.seek(0, os.SEEK_CUR)
            os.lseek(file.fileno(), _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(here)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass
    return True


def is_own_stream(path: str) -> bool:
    """Whether a path means an open file of this process, and another one, or none, in other processes.

    >>> is_own_stream("/dev/stdout"), is_own_stream("/dev/shm/tags.csv")
    (True, False)
    """
    return os.path.abspath(path).startswith(("/dev/std", "/dev/fd/", "/proc/"))


def require_new(path: Path) -> None:
    """Check that a folder can be created at ``path``.

    Raises:
        SaveError: something exists there already, other than an empty folder.

    >>> require_new(Path("a-folder-that-does-not-exist"))
    """
    try:
        taken = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    except OSError as error:
        raise SaveError(f"{path}: cannot be read: {error.strerror}") from error
    if taken:
        raise SaveError(f"{path}: already exists: choose a new or an empty folder")


def write_text(path: Path, text: str) -> None:
    """Replace a file with a text in UTF-8.

    Raises:
        SaveError: the file could not be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(Path(folder, "a.txt"), "text")
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Replace a CSV file.

    Args:
        path: the file.
        rows: one mapping per line.
        columns: the keys to write; None for all keys of all rows, in the order in which they first appear.

    Raises:
        SaveError: the file could not be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_table(Path(folder, "a.csv"), [{"epoch": 1, "loss": 0.5}])
    ...     Path(folder, "a.csv").read_text()
    'epoch,loss\\n1,0.5\\n'
    """
    names = list(dict.fromkeys(key for row in rows for key in row)) if columns is None else list(columns)
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
