"""Unpacking an archive that nobody vouches for: :func:`unpack` writes plain files below one folder, or raises.

Nothing is left to what zipfile and tarfile refuse by themselves, since that differs between versions of Python.
"""

from __future__ import annotations

import errno
import gzip
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from spectag.errors import DataError, SaveError

_CHUNK = 1 << 18  # bytes
_HEADER = 1 << 20  # bytes; tarfile takes the extended headers of a member into memory whole
_SLACK = 16 << 20  # bytes; small tables compress well
_PATH, _NAME = 512, 255  # bytes


@dataclass(frozen=True)
class Limits:
    """What an archive may become; counted while it is written, whatever its headers say.

    Args:
        size: bytes of all files together.
        entries: files and folders.
        ratio: unpacked bytes per byte of the archive, from 16 MiB on.
    """

    size: int
    entries: int
    ratio: float = 20.0


def unpack(archive: Path, folder: Path, limits: Limits, progress: Callable[[int], None] = lambda _: None) -> None:
    """Write the files of a zip or tar.gz into an empty folder, with the permissions and times of new files.

    Args:
        progress: is told how many bytes have been written.

    Raises:
        DataError: damaged; beyond a limit; or an entry that is neither a file nor a folder, lies elsewhere, or stands
            there twice (on a file system that ignores case, too). What was written before stays: discard the folder.
        SaveError: the disk is full.
    """
    try:
        with archive.open("rb") as file:
            writer = _Writer(archive, folder, limits, progress)
            magic = file.read(4)
            file.seek(0)
            if magic[:2] == b"\x1f\x8b":
                _unpack_tar(file, writer)
            elif magic[:2] == b"PK":
                _unpack_zip(file, writer)
            else:
                raise DataError(f"{archive}: expected a zip or tar.gz archive; it begins with {magic!r}")
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise _damaged(archive, error) from error
    except (RuntimeError, ValueError, OverflowError, struct.error) as error:  # what both libraries raise for nonsense
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
            raise SaveError(f"{folder}: the disk is full: free some space and try again") from error
        if error.errno == errno.EINVAL:  # an offset before the file
            raise _damaged(archive, error) from error
        raise


def _damaged(archive: Path, error: Exception) -> DataError:
    return DataError(f"{archive}: damaged ({' '.join(str(error).split()) or type(error).__name__}): fetch it again")


class _Writer:
    """Takes entries one by one and refuses those that a data set has no use for."""

    def __init__(self, archive: Path, folder: Path, limits: Limits, progress: Callable[[int], None]) -> None:
        self.archive, self.limits = archive, limits
        self._folder, self._progress = folder, progress
        self._packed = archive.stat().st_size
        self._entries = self._written = 0
        self._files: set[tuple[str, ...]] = set()
        self._folders: set[tuple[str, ...]] = set()

    def refuse(self, name: str, reason: str) -> DataError:
        shown = repr(name if len(name) <= 80 else f"{name[:77]}...")
        return DataError(f"{self.archive}: holds {shown}, {reason}; data sets do not, so it is not used")

    def place(self, name: str, *, is_folder: bool) -> Path | None:
        """Where an entry is to be written; None for the top itself."""
        self._entries += 1
        if self._entries > self.limits.entries:
            raise DataError(f"{self.archive}: holds more than {self.limits.entries} files and folders: not used")
        parts = self._parts(name)
        if not parts:
            if is_folder:
                return None
            raise self.refuse(name, "a file without a name")
        key = tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)
        above = {key[:depth] for depth in range(1, len(key))}
        if key in self._files or not self._files.isdisjoint(above) or (not is_folder and key in self._folders):
            raise self.refuse(name, "a name that is taken by an earlier entry")
        self._folders |= above
        (self._folders if is_folder else self._files).add(key)
        return self._folder.joinpath(*parts)

    def _parts(self, name: str) -> tuple[str, ...]:
        parts = tuple(part for part in name.removesuffix("/").split("/") if part != ".")
        if "" in parts or ".." in parts:
            raise self.refuse(name, "a path that is absolute, or leads out of the archive")
        try:
            too_long = len(name.encode()) > _PATH or any(len(part.encode()) > _NAME for part in parts)
        except UnicodeEncodeError:
            raise self.refuse(name, "a name that is not UTF-8") from None
        if too_long:
            raise self.refuse(name, f"a path of more than {_PATH} bytes, or {_NAME} in one name")
        if any(_UNPORTABLE.search(part) for part in parts):  # a drive or a device on Windows, say
            raise self.refuse(name, "a name that means something else on other systems")
        return parts

    def write(self, source: IO[bytes], target: Path, size: int) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        before = self._written
        with target.open("xb") as file:
            while chunk := source.read(_CHUNK):
                self._written += len(chunk)
                if self._written > self.limits.size:
                    raise DataError(f"{self.archive}: unpacks to more than {self.limits.size} bytes: not used")
                if self._written > max(_SLACK, self.limits.ratio * self._packed):
                    raise DataError(
                        f"{self.archive}: unpacks to more than {self.limits.ratio:g} times its size: not used"
                    )
                file.write(chunk)
                self._progress(self._written)
        if self._written - before != size:
            raise DataError(
                f"{self.archive}: damaged: expected {size} bytes of {target.name}, "
                f"got {self._written - before}: fetch it again"
            )


_UNPORTABLE = re.compile(r"[\x00-\x1f\x7f\\:]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def _unpack_zip(file: IO[bytes], writer: _Writer) -> None:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise writer.refuse(info.filename, _KINDS.get(kind, "neither a file nor a folder"))
            if "\0" in info.orig_filename:
                raise writer.refuse(info.orig_filename, "a name with a zero byte")
            if info.flag_bits & 1:
                raise writer.refuse(info.filename, "encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise writer.refuse(info.filename, f"compressed by method {info.compress_type}, not by deflate")
            target = writer.place(info.filename, is_folder=info.is_dir())
            if target is None or info.is_dir():
                _make(target)
                continue
            with archive.open(info) as source:
                writer.write(source, target, info.file_size)


def _unpack_tar(file: IO[bytes], writer: _Writer) -> None:
    limits = writer.limits
    with gzip.GzipFile(fileobj=file) as stream:
        # 4 KiB of headers an entry is twice what the formats in use take.
        capped: Any = _Capped(stream, writer.archive, limits.size + 4096 * limits.entries + _HEADER)
        with tarfile.open(fileobj=capped, mode="r:") as archive:
            for member in _members(archive):
                if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
                    raise writer.refuse(member.name, _TYPES.get(member.type, "neither a file nor a folder"))
                if member.issparse():  # by its extended header
                    raise writer.refuse(member.name, "a file with holes")
                target = writer.place(member.name, is_folder=member.isdir())
                if target is None or member.isdir():
                    _make(target)
                elif source := archive.extractfile(member):
                    with source:
                        writer.write(source, target, member.size)
            while capped.read(_CHUNK):  # to the checksum that ends the stream
                pass


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # else they are all kept
        yield member


def _make(folder: Path | None) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)


_KINDS = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
_KINDS |= {stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
_TYPES = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.GNUTYPE_SPARSE: "a file with holes",
}


class _Capped:
    """What tarfile sees of the unpacked stream: forward only, in pieces that fit into memory, to an end."""

    def __init__(self, stream: gzip.GzipFile, archive: Path, most: int) -> None:
        self._stream, self._archive, self._most = stream, archive, most
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER:
            raise DataError(f"{self._archive}: a header of {size} bytes; expected at most {_HEADER}: not used")
        data = self._stream.read(size)
        self._position += len(data)
        if self._position > self._most:
            raise DataError(f"{self._archive}: unpacks to more than {self._most} bytes: not used")
        return data

    def seek(self, position: int) -> None:
        if position < self._position:
            raise tarfile.ReadError("entries that overlap")
        while self._position < position and self.read(min(_CHUNK, position - self._position)):
            pass

    def tell(self) -> int:
        return self._position
