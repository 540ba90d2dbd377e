"""A folder of Parquet files, written one after the other: the results of a job on a cluster.

Each file is written completely or not at all, so what is there says what is done. ``_spectag.json`` says what the job
does (:class:`spectag.jobs.run.Run`); programs that read folders of Parquet leave names with an underscore out.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spectag.errors import InputError, MissingExtra, SaveError, SpectagError, reason
from spectag.files import replacing
from spectag.jobs.run import Run
from spectag.jobs.worker import is_url
from spectag.tag.writers.parquet import make_schema

ABOUT = "_spectag.json"
FORMAT = 1
_PART = re.compile(r"part-(\d{6,})\.parquet")


class Parts:
    """The folder.

    Args:
        folder: a path, or a URL that `fsspec` knows.

    Raises:
        MissingExtra: `pyarrow` is not installed.
        InputError: a protocol that is not known, or needs a package that is not installed.
        SaveError: the folder cannot be looked into.

    >>> parts = Parts("results")
    >>> parts.begin(Run("5f1c"))
    >>> row = {"path": "dawn.wav", "duration": 1.0, "tags": [{"label": "owl", "score": 0.5}], "warnings": [],
    ...        "error": None}
    >>> parts.write([row])
    >>> sorted(Parts("results").paths())
    ['dawn.wav']
    """

    def __init__(self, folder: str) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise MissingExtra("ray", "writing Parquet") from None
        self.folder = folder.rstrip("/") if is_url(folder) else str(Path(folder))
        self.arrow: Any = pyarrow
        self.system, self.root = find_system(self.folder)
        self.next = max((int(match[1]) + 1 for name in self._names() if (match := _PART.fullmatch(name))), default=0)

    def run(self) -> Run | None:
        """What the job does whose results are here; None if there are none.

        Raises:
            SaveError: there are files of something else.
        """
        names = self._names()
        if not any(map(_PART.fullmatch, names)):
            return None
        if ABOUT not in names:
            raise SaveError(f"{self.folder}: has Parquet files, but no {ABOUT}: choose another folder")
        try:
            about = json.loads(self.system.cat_file(f"{self.root}/{ABOUT}"))
            if about["format"] != FORMAT:
                raise SaveError(f"{self.folder}: was written by a newer spectag: update it")
            return Run.from_dict(about)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SaveError(f"{self.folder}/{ABOUT}: is damaged: choose another folder") from None

    def begin(self, run: Run) -> None:
        """Begin a folder; files of an earlier job are deleted. Raises SaveError."""
        with self._protected():
            for name in self._names():
                if _PART.fullmatch(name):
                    self.system.rm_file(f"{self.root}/{name}")
            self.next = 0
            self.system.makedirs(self.root, exist_ok=True)
            self._put(ABOUT, json.dumps({"format": FORMAT, **run.to_dict()}).encode())

    def paths(self) -> Iterator[str]:
        """The paths of all results.

        Raises:
            SaveError: a file cannot be read.
        """
        for name in self._names():
            if _PART.fullmatch(name):
                try:
                    with self.system.open(f"{self.root}/{name}", "rb") as file:
                        table = self.arrow.parquet.read_table(file, columns=["path"])
                except (OSError, self.arrow.ArrowException) as error:
                    text = str(error).splitlines()[0]
                    raise SaveError(f"{self.folder}/{name}: cannot be read ({text}): delete it") from error
                yield from table["path"].to_pylist()

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Write one more file.

        Raises:
            SaveError: it cannot be written, or is there already, since another job writes to the same folder.
        """
        name = f"part-{self.next:06}.parquet"
        content = io.BytesIO()
        self.arrow.parquet.write_table(self.arrow.Table.from_pylist(rows, schema=make_schema(self.arrow)), content)
        with self._protected(": mend that, and continue with --resume"):
            self.system.invalidate_cache(self.root)
            if self.system.exists(f"{self.root}/{name}"):
                raise SaveError(
                    f"{self.folder}: another run is writing to it: wait for its end, and continue with --resume"
                )
            self._put(name, content.getvalue())
        self.next += 1

    def _put(self, name: str, content: bytes) -> None:
        if is_url(self.folder):  # an object appears when it is complete
            self.system.pipe_file(f"{self.root}/{name}", content)
            return
        with replacing(Path(self.folder, name)) as partial:
            partial.write_bytes(content)

    def _names(self) -> list[str]:
        with self._protected():
            try:
                return sorted(str(path).rpartition("/")[2] for path in self.system.ls(self.root, detail=False))
            except FileNotFoundError:
                return []

    @contextmanager
    def _protected(self, advice: str = "") -> Iterator[None]:
        """Turn the errors of all protocols, each of which has its own, into SaveError."""
        try:
            yield
        except SpectagError:
            raise
        except Exception as error:
            raise SaveError(f"{self.folder}: cannot be used: {reason(error)}{advice}") from error


def find_system(url: str) -> tuple[Any, str]:
    """The file system of a path or URL, and the path in it.

    Raises:
        InputError: a protocol that is not known, or needs a package that is not installed.

    >>> find_system("nosuch://bucket/tags")
    Traceback (most recent call last):
    spectag.errors.InputError: nosuch://bucket/tags: Protocol not known: nosuch
    """
    from fsspec.core import url_to_fs

    try:
        system, root = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(f"{url}: {error}") from error
    return system, root
