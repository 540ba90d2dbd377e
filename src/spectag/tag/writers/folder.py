"""A folder with a document for each recording."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from spectag.choices import Format
from spectag.errors import FileError, SaveError, reason
from spectag.files import replacing
from spectag.tag.results import Result
from spectag.tag.writers.formats import DOCUMENTS
from spectag.tag.writers.names import Names


class Folder:
    """Writes a document for each recording. Each is written completely or not at all.

    A document has the name of its recording with the ending of the format. It lies in the same folders below ``folder``
    as the recording below the folder that holds all recordings. A recording that failed has none.

    Args:
        folder: where to write; it is made if it does not exist.
        format: a key of :data:`spectag.tag.writers.formats.DOCUMENTS`.
        paths: of all recordings, as they were given.

    Raises:
        MissingExtra: a package that the format needs is not installed.

    >>> from spectag.tag.results import ClipTags, Event
    >>> writer = Folder(Path("labels"), "audacity", ["dawn/a.wav", "dusk/a.wav"])
    >>> writer.write(ClipTags("dusk/a.wav", 5.0, (), events=(Event("Rain", 0.5, 2.0, 0.8),)))
    >>> Path("labels/dusk/a.txt").read_text()
    '0.500000\\t2.000000\\tRain\\n'
    """

    def __init__(self, folder: Path, format: Format, paths: Iterable[str] = ()) -> None:
        self.folder = folder
        self.document = DOCUMENTS[format]
        self.names = Names(paths)
        self.document.make(io.BytesIO() if self.document.binary else io.StringIO(), self.names)  # is all installed?

    def place(self, path: str | None) -> Path:
        """The document of a recording."""
        return self.folder / self.names.document(path, self.document.extensions[0])

    def write(self, result: Result) -> None:
        """Write the document of a recording.

        Raises:
            SaveError: it cannot be written, or would take the place of the recording.
        """
        if isinstance(result, FileError):
            return
        target = self.place(result.path)
        if result.path is not None and os.path.realpath(target) == os.path.realpath(result.path):
            raise SaveError(f"{target}: is one of the inputs: choose another folder")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SaveError(f"{target.parent}: cannot be created: {reason(error)}") from error
        with replacing(target) as partial, self._open(partial) as file:
            writer = self.document.make(file, self.names)
            writer.write(result)
            writer.close()

    def close(self) -> None:
        pass

    def _open(self, path: Path) -> IO[Any]:
        if self.document.binary:
            return path.open("wb")
        encoding = "utf-8-sig" if self.document.mark else "utf-8"
        return path.open("w", encoding=encoding, errors="backslashreplace", newline="")
