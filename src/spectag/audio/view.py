"""A part of a file, as the C code of a decoder sees it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from spectag.errors import AudioError, reason

_SEARCH = 2**20  # bytes that a search reads at a time
_OVERLAP = 31  # bytes: a mark is not longer


@dataclass(frozen=True)
class Mark:
    """What a recording begins with: a pattern, and the literal beginnings of all that it matches, for speed.

    >>> Mark((b"fL", b"Og"), re.compile(b"fLaC|OggS")).find(b"fL Og OggS fLaC", 0)
    6
    """

    literals: tuple[bytes, ...]
    pattern: re.Pattern[bytes]

    def find(self, data: bytes, start: int) -> int:
        """The first place at ``start`` or behind it, -1 if there is none."""
        places = []
        for literal in self.literals:
            place = data.find(literal, start)
            while place >= 0 and not self.pattern.match(data, place):
                place = data.find(literal, place + 1)
            places += [place] if place >= 0 else []
        return min(places, default=-1)


class View:
    """A part of a stream, with other bytes in places. It has no name to guess a format from, and raises nothing.

    Views of one stream move its one position: seek before the first read, and after another view was read.

    The decoders' callbacks would print an exception instead of raising it, so it is kept for :meth:`check`.

    Args:
        stream: binary and seekable.
        name: what error messages call the file.
        begin, end: offsets in the stream; ``end`` None for all of it.
        patches: (offset in the stream, bytes), what decoders see there.
        mark, mark_from: the view ends where a mark is read at this offset or behind it.

    Attributes:
        following: the offset of the mark that was read; None if there was none so far.

    >>> import io
    >>> view = View(io.BytesIO(b"0123456789"), "digits", 2, 8, [(4, b"xy")])
    >>> view.seek(1), view.read(100)
    (1, b'3xy67')
    """

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        begin: int = 0,
        end: int | None = None,
        patches: Sequence[tuple[int, bytes]] = (),
        mark: Mark | None = None,
        mark_from: int = 0,
    ) -> None:
        self._stream = stream
        self._name = name
        self._error: BaseException | None = None
        self.begin = self._at = begin
        self.following: int | None = None
        self._patches, self._patched = patches, max((at + len(data) for at, data in patches), default=0)
        self._mark, self._mark_from = mark, mark_from
        self._before = (-1, b"")  # what was read last, for marks in two pieces: where it ends, its last bytes
        self.end = self._limit = end if end is not None else self._size()

    def check(self) -> None:
        """Raise the exception that stopped a method, if there was one: a failing disk, Ctrl-C."""
        if isinstance(self._error, Exception):
            raise AudioError(self._name, f"cannot be read: {reason(self._error)}") from self._error
        if self._error is not None:
            raise self._error

    def read(self, size: int) -> bytes:
        at, size = self._at, max(0, min(size, self.end - self._at))
        data = self._take(size)
        if at < self._patched:
            data = self._replaced(data, at)
        if self._mark is not None and data:
            data = self._watched(self._mark, data, at)
        self._at = at + len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        offset += {os.SEEK_SET: self.begin, os.SEEK_CUR: self._at}.get(whence, self.end)
        with suppress(OSError, ValueError, OverflowError):  # damaged headers send decoders to impossible places
            self._stream.seek(offset)
            self._at = offset
            return offset - self.begin
        return -1

    def tell(self) -> int:
        return self._at - self.begin

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes at an offset in the stream, as they are there. The next read needs a seek."""
        try:
            self._stream.seek(offset)
        except (OSError, ValueError, OverflowError):
            return b""
        return self._take(max(0, min(size, self.end - offset)))

    def part(self, begin: int) -> View:
        """The rest of the view from an offset in the stream on."""
        return View(self._stream, self._name, begin, self.end, self._patches)

    def find_end(self) -> None:
        """Read ahead to the next mark, for decoders that look at the end first. The next read needs a seek."""
        mark, self._mark = self._mark, None
        if mark is None:  # it is found
            return
        self.end, self.following, at = self._limit, None, self._mark_from
        while at < self.end:
            block = self.read_at(at, _SEARCH)
            if (found := mark.find(block, 0)) >= 0:
                self.end = self.following = at + found
            at += max(1, len(block) - _OVERLAP) if len(block) == _SEARCH else _SEARCH

    def _take(self, size: int) -> bytes:
        data = b""
        try:  # raw streams may return less than asked for, which decoders would take for the end
            while len(data) < size and (more := self._stream.read(size - len(data))):
                data = data + more if data else more
        except BaseException as error:
            self._error = error
        return data

    def _replaced(self, data: bytes, at: int) -> bytes:
        changed = bytearray(data)
        for place, patch in self._patches:
            first, last = max(at, place), min(at + len(data), place + len(patch))
            if first < last:
                changed[first - at : last - at] = patch[first - place : last - place]
        return bytes(changed)

    def _watched(self, mark: Mark, data: bytes, at: int) -> bytes:
        """The data up to the next mark, where the view ends from now on."""
        end, before = self._before
        before = before if end == at else b""
        start = at - len(before)
        found = mark.find(before + data, max(0, self._mark_from - start))
        if found >= 0:
            self.following = self.end = start + found
            data = data[: max(0, self.end - at)]
        self._before = at + len(data), (before + data)[-_OVERLAP:]
        return data

    def _size(self) -> int:
        try:
            return self._stream.seek(0, os.SEEK_END) or self._stream.tell()
        except (OSError, ValueError) as error:
            self._error = error
            return 0
