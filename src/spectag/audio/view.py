"""A part of a file, as the C code of a decoder sees it."""

from __future__ import annotations

import os
import re
from collections.abc import MutableSequence, Sequence
from typing import BinaryIO, TypeAlias

from spectag.errors import AudioError, reason

_SEARCH = 2**20  # bytes that a search reads at a time
_AHEAD = 2**16  # bytes that are read at a time for decoders, which ask for few
_OVERLAP = 31  # bytes: a mark is not longer


# What a recording begins with: one of these patterns. A pattern that begins with letters is found fast.
Mark: TypeAlias = "tuple[re.Pattern[bytes], ...]"


class View:
    """A part of a stream, with other bytes in places. It has no name to guess a format from, and raises nothing.

    The decoders' callbacks would print an exception instead of raising it, so it is kept for :meth:`check`.

    Args:
        stream: binary and seekable. Several views may share it.
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
        self._patches, self._mark, self._mark_from = patches, mark, mark_from
        self._block, self._block_at = b"", begin  # what was read ahead, and its offset
        self.end = self._limit = end if end is not None else self._size()

    def check(self) -> None:
        """Raise the exception that stopped a method, if there was one: a failing disk, Ctrl-C."""
        if isinstance(self._error, Exception):
            raise AudioError(self._name, f"cannot be read: {reason(self._error)}") from self._error
        if self._error is not None:
            raise self._error

    def read(self, size: int) -> bytes:
        stop = min(self._at + size, self.end)
        if not self._block_at <= self._at <= stop <= self._block_at + len(self._block):
            self._read_ahead(self._at, stop)
        data = self._block[self._at - self._block_at : max(0, min(stop, self.end) - self._block_at)]
        self._at += len(data)
        return data

    def readinto(self, buffer: MutableSequence[int]) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        offset += {os.SEEK_SET: self.begin, os.SEEK_CUR: self._at}.get(whence, self.end)
        if not 0 <= offset < 2**63:  # damaged headers send decoders to impossible places
            return -1
        self._at = offset
        return offset - self.begin

    def tell(self) -> int:
        return self._at - self.begin

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes at an offset in the stream, as they are there."""
        data = b""
        size = max(0, min(size, self.end - offset))
        try:  # raw streams may return less than asked for, which decoders would take for the end
            self._stream.seek(offset)
            while len(data) < size and (more := self._stream.read(size - len(data))):
                data = data + more if data else more
        except (ValueError, OverflowError):  # an impossible place
            pass
        except BaseException as error:
            self._error = error
        return data

    def find_end(self) -> None:
        """Find the next mark, for decoders that look at the end first."""
        mark, self._mark = self._mark, None
        if mark is None:  # it is found
            return
        self.end, self.following, at = self._limit, None, self._mark_from
        while at < self.end:
            block = self.read_at(at, _SEARCH)
            if (found := _find(mark, block, 0)) >= 0:
                self.end = self.following = at + found
            at += max(1, len(block) - _OVERLAP) if len(block) == _SEARCH else _SEARCH

    def _read_ahead(self, at: int, stop: int) -> None:
        """Hold the bytes from ``at`` to ``stop``, and more. A mark among them is from now on the end of the view."""
        first = max(self.begin, at - _OVERLAP)  # a mark may have begun in front of them
        block = self.read_at(first, max(stop - first, _AHEAD))
        found = -1 if self._mark is None else _find(self._mark, block, max(0, self._mark_from - first))
        if found >= 0:
            self.following = self.end = first + found
        self._block, self._block_at = self._replaced(block, first), first

    def _replaced(self, data: bytes, at: int) -> bytes:
        changed = None
        for place, patch in self._patches:
            first, last = max(at, place), min(at + len(data), place + len(patch))
            if first < last:
                changed = changed or bytearray(data)
                changed[first - at : last - at] = patch[first - place : last - place]
        return bytes(changed) if changed else data

    def _size(self) -> int:
        try:
            return self._stream.seek(0, os.SEEK_END) or self._stream.tell()
        except (OSError, ValueError) as error:
            self._error = error
            return 0


def _find(mark: Mark, data: bytes, start: int) -> int:
    """The first place of a mark at ``start`` or behind it, -1 if there is none."""
    return min((found.start() for pattern in mark if (found := pattern.search(data, start))), default=-1)
