"""Tags that players put in front of recordings and behind them: ID3, APE, Lyrics3. They are not sound."""

from __future__ import annotations

import struct
from collections.abc import Callable

ReadAt = Callable[[int, int], bytes]  # (offset, size) -> that many bytes, fewer at the end

_MOST = 100  # tags


def behind_tags(read_at: ReadAt, at: int) -> int:
    """Where the ID3v2 and APE tags that begin at an offset end; the offset itself if there are none.

    >>> data = b"ID3" + bytes([3, 0, 0, 0, 0, 1, 2]) + bytes(130) + b"RIFF"
    >>> behind_tags(lambda at, size: data[at : at + size], 0)
    140
    """
    for _ in range(_MOST):
        head = read_at(at, 32)
        if head[:3] == b"ID3" and len(head) >= 10:
            at += 10 + _size(head[6:10]) + (10 if head[5] & 16 else 0)
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            at += 32 + int.from_bytes(head[12:16], "little")
        else:
            break
    return at


def before_tags(read_at: ReadAt, begin: int, end: int) -> int:
    """The end of what lies between two offsets without the tags there: ID3v1, APE, Lyrics3, ID3v2 with a footer.

    >>> data = b"sound" + b"TAG".ljust(128)
    >>> before_tags(lambda at, size: data[at : at + size], 0, len(data))
    5
    """
    for _ in range(_MOST):
        tail = read_at(max(begin, end - 355), min(355, end - begin))
        size = 0
        if tail[-128:-125] == b"TAG":
            size = 355 if tail[-355:-351] == b"TAG+" else 128
        elif tail[-32:-24] == b"APETAGEX":
            size = struct.unpack("<I", tail[-20:-16])[0] + (32 if tail[-9] & 128 else 0)
        elif tail[-9:] == b"LYRICS200" and tail[-15:-9].isdigit():
            size = int(tail[-15:-9]) + 15
        elif tail[-10:-7] == b"3DI":
            size = _size(tail[-4:]) + 20
        if not 0 < size <= end - begin:
            break
        end -= size
    return end


def _size(digits: bytes) -> int:
    """A number of 7 bits per byte."""
    return sum(digit << 7 * place for place, digit in enumerate(reversed(digits)))
