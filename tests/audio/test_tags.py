"""Tags in front of a recording and behind it, written by hand from their specifications."""

from __future__ import annotations

import struct

import pytest
from recordings import ID3V1, ape

from spectag.audio.tags import ReadAt, before_tags, behind_tags

SOUND = b"sound " * 100


def reading(data: bytes) -> ReadAt:
    return lambda at, size: data[at : at + size] if at >= 0 else b""  # as View.read_at


def synchsafe(size: int) -> bytes:
    """7 bits per byte."""
    return bytes(size >> shift & 127 for shift in (21, 14, 7, 0))


def id3(size: int, flags: int = 0) -> bytes:
    footer = b"3DI\4\0" + bytes([flags]) + synchsafe(size) if flags & 16 else b""
    return b"ID3\4\0" + bytes([flags]) + synchsafe(size) + b"\1" * size + footer


def ape_tag(size: int, header: bool, is_header: bool = False) -> bytes:
    flags = (0x80000000 if header else 0) | (0x20000000 if is_header else 0)
    return b"APETAGEX" + struct.pack("<IIII", 2000, size + 32, 1, flags) + bytes(8)


def lyrics(size: int) -> bytes:
    return b"\1" * size + b"%06d" % size + b"LYRICS200"


FRONT = [id3(1), id3(127), id3(128), id3(20_000), id3(3_000_000), id3(300, flags=16), ape_tag(500, True) + b"\1" * 532]
BEHIND = [
    ID3V1,
    b"TAG+".ljust(227) + ID3V1,
    b"\1" * 500 + ape_tag(500, header=False),
    ape_tag(500, True, True) + b"\1" * 500 + ape_tag(500, header=True),
    ape(400),
    lyrics(7),
    lyrics(123_456),
    id3(300, flags=16),
    id3(20_000, flags=16),
]


@pytest.mark.parametrize("number", range(len(FRONT)))
def test_in_front(number: int) -> None:
    tag = FRONT[number]
    for tags in (tag, tag * 2, id3(9) + tag + id3(300)):
        assert behind_tags(reading(tags + SOUND), 0) == len(tags)
        assert behind_tags(reading(SOUND + tags + SOUND), len(SOUND)) == len(SOUND) + len(tags)


@pytest.mark.parametrize("number", range(len(BEHIND)))
def test_behind(number: int) -> None:
    tag = BEHIND[number]
    for tags in (tag, tag * 2, ape(400) + tag + ID3V1, lyrics(7) + tag + lyrics(12)):
        data = SOUND + tags
        assert before_tags(reading(data), 0, len(data)) == len(SOUND)
        assert before_tags(reading(data + SOUND), 7, len(data)) == len(SOUND)
        assert before_tags(reading(tags), 0, len(tags)) == 0
    data = b"1" * 300 + b"23" + ID3V1 + b"4" * 300  # a short part of a file
    assert before_tags(reading(data), 300, 302 + 128) == 302


def test_nothing_but_an_empty_tag() -> None:
    for tag in (id3(0), ape_tag(0, header=True) + bytes(32)):
        assert behind_tags(reading(tag), 0) == len(tag)
    for tag in (ID3V1, ape_tag(0, header=False), lyrics(0), id3(0, flags=16)):
        assert before_tags(reading(tag), 0, len(tag)) == 0


def test_what_is_no_tag() -> None:
    for data in (SOUND, b"", b"ID3\4", b"id3" + id3(50)[3:], ape_tag(5, True)[:31]):
        assert behind_tags(reading(data), 0) == 0
    for data in (
        SOUND,
        b"",
        ID3V1[1:] + b"\0",
        SOUND + b"12345xLYRICS200",
        SOUND + b"x12345LYRICS200",
        SOUND + b"999999LYRICS200",  # longer than the file
        SOUND + ape_tag(10**6, header=False),
        SOUND + ID3V1[:-1],
    ):
        assert before_tags(reading(data), 0, len(data)) == len(data)
    assert before_tags(reading(ID3V1), 1, 128) == 128  # begins before what is asked about
