"""Download published data sets: fetch, verify and unpack them. A directory has the complete data set or nothing."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
import shutil
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from spectag.data.fetch import fetch_file
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Manifest
from spectag.data.published import ESC10_NAMES, PublishedSet
from spectag.errors import DataError, SaveError, SpectagWarning
from spectag.files import new_folder, require_new

Progress = Callable[[str, int, int], None]
"""Is called often, with the activity (fetching, verifying or unpacking), bytes done, and bytes in total (about)."""

_TABLE = "meta/esc50.csv"
_TABLE_BYTES = 1 << 20  # at most
_CHUNK = 1 << 18  # bytes
_ADVICE = "delete it if it is still there, and try again"


def find_data_set(published: PublishedSet, directory: Path) -> Manifest | None:
    """Read the data set in a directory; None if there is nothing, or an empty directory.

    Raises:
        SaveError: the directory holds something other than the whole data set.

    >>> from spectag.data.published import PUBLISHED
    >>> find_data_set(PUBLISHED["esc50"], Path("a-directory-that-does-not-exist")) is None
    True
    """
    if not os.path.lexists(directory) or (directory.is_dir() and not any(directory.iterdir())):
        return None
    try:
        return _checked(published, directory)
    except DataError as error:
        raise SaveError(
            f"{directory}: is neither empty nor the whole of {published.name} ({error}): name another directory"
        ) from error


def download_data_set(
    published: PublishedSet,
    directory: Path,
    *,
    keep_archive: bool = False,
    progress: Progress = lambda *_: None,
) -> Manifest:
    """Fetch a data set, verify it and unpack it.

    If this is interrupted, the archive stays next to the directory as ``ARCHIVE.partial``, and the next call continues
    the download. If there is already an archive next to the directory, it is used and kept.

    Args:
        published: one of :data:`spectag.data.published.PUBLISHED`.
        directory: new or empty.
        keep_archive: keep the archive next to the directory.
        progress: see :data:`Progress`.

    Raises:
        DataError: the data set cannot be fetched, or is not what was published.
        SaveError: the directory is not empty, or the disk is too small.

    >>> from spectag.data.published import PUBLISHED
    >>> Path("notes.txt").touch()
    >>> download_data_set(PUBLISHED["esc50"], Path("."))
    Traceback (most recent call last):
    spectag.errors.SaveError: ...: already exists: choose a new or an empty folder
    """
    directory = Path(os.path.realpath(directory))
    require_new(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    archive = directory.parent / published.archive
    if archive.exists():
        _verify(published, archive, _sha256(archive, progress))
        _unpack(published, archive, directory, progress)
        return read_manifest(directory)
    partial = archive.with_name(f"{archive.name}.partial")
    digest = _fetch(published, partial, progress)
    try:
        _verify(published, partial, digest)
        _unpack(published, partial, directory, progress)
    except DataError:
        partial.unlink()
        raise
    if keep_archive:
        partial.replace(archive)
    else:
        partial.unlink()
    return read_manifest(directory)


def _fetch(published: PublishedSet, partial: Path, progress: Progress) -> str:
    """Fetch the archive, or the missing rest of it, and return its checksum."""

    def fetch() -> str:
        limit = published.size if published.table_sha256 is None else 2 * published.size
        fetch_file(published.url, partial, limit, lambda done: progress("fetching", done, published.size))
        return _sha256(partial, progress)

    have = partial.stat().st_size if partial.exists() else 0
    lacking = max(0, published.size - have) + published.unpacked
    if lacking > (free := shutil.disk_usage(partial.parent).free):
        space = f"needs {lacking / 1e9:.2f} GB, {free / 1e9:.2f} GB are free"
        raise SaveError(f"{partial.parent}: {space}: free some space or name a directory on another disk")
    whole = have == published.size and _sha256(partial, progress) == published.sha256
    digest = published.sha256 if whole else fetch()
    if have and digest != published.sha256:  # what was here was the beginning of something else
        partial.unlink()
        digest = fetch()
    return digest


def _sha256(path: Path, progress: Progress) -> str:
    digest, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            progress("verifying", file.tell(), size)
    return digest.hexdigest()


def _verify(published: PublishedSet, archive: Path, digest: str) -> None:
    if digest == published.sha256:
        return
    problem = f"{archive}: expected SHA-256 {published.sha256}, got {digest}"
    if published.table_sha256 is None:
        raise DataError(f"{problem}: damaged, or not what was published: {_ADVICE}")
    warnings.warn(f"{problem}: probably packed again, so its contents are checked", SpectagWarning, stacklevel=2)


def _checked(published: PublishedSet, directory: Path) -> Manifest:
    """The data set in a directory; raises DataError if it is not whole."""
    manifest = read_manifest(directory)
    clips = sum(clip.path.is_file() and clip.path.stat().st_size > 0 for clip in manifest.clips)
    if (clips, len(manifest.labels.names)) != (published.clips, published.classes):
        raise DataError(
            f"expected {published.clips} clips of {published.classes} classes, "
            f"found {clips} of {len(manifest.labels.names)}"
        )
    return manifest


# archive -> files

# What both libraries raise for damaged archives, and for nonsense in them.
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    struct.error,
    LookupError,
    RuntimeError,
    ValueError,
    OverflowError,
)


def _unpack(published: PublishedSet, archive: Path, directory: Path, progress: Progress) -> None:
    """Write the files of the archive into a new directory, all of them or none."""
    with new_folder(directory) as folder:
        writer = _Writer(folder, published.unpacked, progress)
        try:
            if published.table_sha256 is None:
                _unpack_tar(archive, writer)
            else:
                _unpack_zip(archive, published.table_sha256, published.column, writer)
            _checked(published, folder)
        except (DataError, *_DAMAGED, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # of the disk
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"{archive}: damaged, or not {published.name} ({reason}): {_ADVICE}") from error


class _Writer:
    """Writes files below a folder. It refuses names that lead elsewhere, and more than twice the expected size."""

    def __init__(self, folder: Path, expected: int, progress: Progress) -> None:
        self._folder, self._expected, self._progress = folder, expected, progress
        self._written = 0

    def write(self, name: str, content: IO[bytes]) -> None:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
            raise DataError(f"{name!r} would be written elsewhere")
        path = self._folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            while chunk := content.read(_CHUNK):
                self._written += len(chunk)
                if self._written > 2 * self._expected:
                    raise DataError(f"expected about {self._expected} bytes, it holds more than twice as many")
                file.write(chunk)
                self._progress("unpacking", self._written, self._expected)


def _unpack_tar(archive: Path, writer: _Writer) -> None:
    """Write the regular files. There are no links in the folder then, so no name can lead out of it.

    The ``data`` filter of ``tarfile`` would not do: it is missing before Python 3.10.12 and 3.11.4, and allows links.
    """
    with tarfile.open(archive, "r:gz") as file:
        for member in file:
            content = file.extractfile(member) if member.isreg() else None
            if content is not None:
                writer.write(member.name, content)


def _unpack_zip(archive: Path, table_sha256: str, column: str | None, writer: _Writer) -> None:
    """Verify the table of the data set, and write it, the clips that it names, and the licence."""
    with zipfile.ZipFile(archive) as file:
        path = next((name for name in file.namelist() if name.endswith(_TABLE)), None)
        if path is None:
            raise DataError(f"holds no {_TABLE}")
        table = _open_entry(file, path).read(_TABLE_BYTES)
        if (got := hashlib.sha256(table).hexdigest()) != table_sha256:
            raise DataError(f"{_TABLE}: expected SHA-256 {table_sha256}, got {got}")
        if column is not None:
            table = _rows_where(column, table)
        writer.write(_TABLE, io.BytesIO(table))
        clips = (f"audio/{row['filename']}" for row in csv.DictReader(io.StringIO(table.decode())))
        for name in ("LICENSE", *clips):
            with _open_entry(file, path.removesuffix(_TABLE) + name) as content:
                writer.write(name, content)


def _open_entry(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """A file in a zip; other methods of compression are refused, since zipfile unpacks them in unbounded memory."""
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{name!r} is compressed by method {info.compress_type}, expected deflate")
    return archive.open(info)


def _rows_where(column: str, table: bytes) -> bytes:
    """Only the rows where the column is ``True``, with targets from 0 in the order of the old ones.

    The classes are called as in ESC-10 (Piczak 2015), of which the subset is a later edition.
    """
    reader = csv.DictReader(io.StringIO(table.decode()))
    rows = [row for row in reader if row.get(column) == "True"]
    targets = sorted({int(row["target"]) for row in rows})
    kept = io.StringIO()
    writer = csv.DictWriter(kept, reader.fieldnames or (), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        category = ESC10_NAMES.get(row["category"], row["category"])
        writer.writerow({**row, "target": targets.index(int(row["target"])), "category": category})
    return kept.getvalue().encode()
