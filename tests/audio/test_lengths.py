"""What headers say about a length, written by hand from the specifications of the formats."""

from __future__ import annotations

import struct

import pytest
from recordings import ID3V2

from spectag.audio.lengths import asf_seconds, is_complete, mp3_seconds, ogg_end
from spectag.audio.tags import ReadAt


def reading(data: bytes) -> ReadAt:
    return lambda at, size: data[at : at + size] if at >= 0 else b""  # as View.read_at


def frame(version: int, rate: int, name: bytes, fields: bytes, at: int = 36) -> bytes:
    """The first frame of an MP3, with a table of its length at an offset."""
    return (bytes([255, 0xE3 | version << 3, 0x90 | rate << 2, 0]).ljust(at, b"\0") + name + fields).ljust(400, b"\1")


@pytest.mark.parametrize("rate", [0, 1, 2])
@pytest.mark.parametrize(("version", "divisor", "samples"), [(3, 1, 1152), (2, 2, 576), (0, 4, 576)])
def test_an_mp3_counts_its_frames(version: int, divisor: int, samples: int, rate: int) -> None:
    """Xing and Info hold flags, then the frames; VBRI holds version, delay, quality, bytes, then the frames."""
    seconds = 0x02030405 * samples * divisor / (44_100, 48_000, 32_000)[rate]
    for name, fields in (
        (b"Xing", bytes([0, 0, 0, 1])),
        (b"Info", bytes([0, 0, 0, 15])),
        (b"VBRI", bytes([0, 1, 2, 2, 0, 9, 9, 9, 9, 9])),
    ):
        data = frame(version, rate, name, fields + bytes([2, 3, 4, 5]))
        for front in (b"", ID3V2, bytes(300)):
            assert mp3_seconds(reading(front + data), 0) == pytest.approx(seconds, rel=1e-12)
        assert mp3_seconds(reading(b"another one" + data), 11) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfb\x90",
        frame(3, 0, b"Info", bytes([0, 0, 0, 14, 0, 0, 1, 0])),  # no flag for the number of frames
        frame(3, 3, b"Info", bytes([0, 0, 0, 1, 0, 0, 1, 0])),  # no such rate
        frame(3, 0, b"None", bytes([0, 0, 0, 1, 0, 0, 1, 0])),
        frame(3, 0, b"Info", bytes([0, 0, 0, 1, 0, 0, 1, 0]), at=260),  # behind where a table may be
        b"\xff\xdb" + frame(3, 0, b"Info", bytes([0, 0, 0, 1, 0, 0, 1, 0]))[2:],  # no frame
        b"\xfe" + frame(3, 0, b"Info", bytes([0, 0, 0, 1, 0, 0, 1, 0]))[1:],
    ],
)
def test_an_mp3_that_does_not_say(data: bytes) -> None:
    assert mp3_seconds(reading(data), 0) == 0


PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def asf(ticks: int, preroll: int, size: int = 0, junk: bytes = b"ASF header: ") -> bytes:
    """The object with the properties of the file: its id and size, the file's id and size, ..., durations, preroll."""
    return junk + PROPERTIES + struct.pack("<Q16sQqqQqQ", 104, b"", size, ~0, ~0, ticks, ~0, preroll) + b"\xff" * 40


def test_asf_states_a_duration_that_includes_the_preroll() -> None:
    data = asf(ticks=0x0102030405, preroll=0x0708)
    for at, content in ((0, data), (9, b"in front " + data), (12, data)):
        assert asf_seconds(reading(content), at) == pytest.approx(0x0102030405 / 1e7 - 0x0708 / 1e3, rel=1e-12)
    assert asf_seconds(reading(asf(ticks=10, preroll=5000)), 0) == 0
    assert asf_seconds(reading(b"no header".ljust(200, b"\1")), 0) == 0


def test_asf_is_complete_where_the_size_fits() -> None:
    data = asf(1, 0, size=1000)
    assert is_complete(reading(data), 0, 1000)
    assert is_complete(reading(data), 0, 1001)
    assert not is_complete(reading(data), 0, 999)
    assert not is_complete(reading(b"12345" + data), 5, 1004)
    assert is_complete(reading(b"12345" + data), 5, 1005)


@pytest.mark.parametrize("width", range(1, 9))
@pytest.mark.parametrize("begin", [0, 7])
def test_matroska_is_complete_where_its_segment_fits(width: int, begin: int) -> None:
    """Matroska writes a size of w bytes with the bit 2 ** 7w set."""
    size = 100 if width == 1 else 1 << 7 * width - 6
    front = b"\x1aE\xdf\xa3" + bytes(20) + b"\x18\x53\x80\x67"
    data = bytes(begin) + front + (size | 1 << 7 * width).to_bytes(width, "big") + bytes(30)
    end = begin + len(front) + width + size
    assert is_complete(reading(data), begin, end)
    assert is_complete(reading(data), begin, end + 1)
    assert not is_complete(reading(data), begin, end - 1)


@pytest.mark.parametrize(
    "data",
    [
        b"\x1aE\xdf\xa3" + bytes(60),  # no segment
        b"\x1aE\xdf\xa3" + bytes(20) + b"\x18\x53\x80\x67" + bytes(60),  # no size
        b"\x1aE\xdf\xa3" + bytes(20) + b"\x18\x53\x80\x67\x81",  # too short
        b"EBML" + bytes(20) + b"\x18\x53\x80\x67\x81" + bytes(60),
    ],
)
def test_matroska_that_does_not_say(data: bytes) -> None:
    assert not is_complete(reading(data), 0, 10**6)


def flv(kind: int, size: int, after: int | None = None) -> bytes:
    """A header, then one tag: its kind, size and 7 bytes, content, and the size of all of it."""
    tag = bytes([kind]) + size.to_bytes(3, "big") + bytes(7) + bytes(size)
    return b"FLV\1\5\0\0\0\x09\0\0\0\0" + tag + (len(tag) if after is None else after).to_bytes(4, "big")


def test_flv_is_complete_where_the_last_tag_says_its_size() -> None:
    for kind in (8, 9, 18):
        for size in (0, 1, 300, 70_000):
            data = flv(kind, size)
            assert is_complete(reading(data), 0, len(data))
            assert is_complete(reading(b"in front" + data), 8, 8 + len(data))
            assert not is_complete(reading(data), 0, len(data) - 1)
    for data in (flv(10, 300), flv(8, 300, after=310), flv(8, 300, after=312), flv(8, 0, after=10), flv(8, 9, 10**6)):
        assert not is_complete(reading(data), 0, len(data))
    assert not is_complete(reading(b"flv" + flv(8, 300)[3:]), 0, len(flv(8, 300)))


def page(flags: int, position: int, sizes: list[int]) -> bytes:
    head = b"OggS\0" + bytes([flags]) + struct.pack("<qIII", position, 7, 1, 0) + bytes([len(sizes), *sizes])
    return head + b"\1" * sum(sizes)


def test_the_last_page_of_ogg() -> None:
    """It is complete where it has the flag of an end and all of its segments."""
    first, last = page(2, 0, [30]), page(4, 123_456, [255, 255, 20])
    data = first + last
    assert ogg_end(reading(data), 0, len(data)) == (True, 123_456)
    assert ogg_end(reading(b"tag" + data), 3, 3 + len(data)) == (True, 123_456)
    assert ogg_end(reading(data[:-1]), 0, len(data) - 1) == (False, 123_456)
    assert ogg_end(reading(first + page(5, 9, [1])), 0, 10**4) == (True, 9)
    assert ogg_end(reading(first + page(4, 9, [0])), 0, 10**4) == (True, 9)  # nothing is left to say but the end
    assert ogg_end(reading(first + page(4, 9, [])), 0, 10**4) == (True, 9)
    assert ogg_end(reading(first + page(4, 9, [])[:-1]), 0, 10**4) == (False, 9)
    assert ogg_end(reading(first + page(0, 9, [1])), 0, 10**4) == (False, 9)
    assert ogg_end(reading(first + page(4, -1, [1])), 0, 10**4) == (True, 0)  # -1: no packet ends there
    assert ogg_end(reading(first + last[:27]), 0, 10**4) == (False, 123_456)
    assert ogg_end(reading(data), len(first), len(data)) == (True, 123_456)
    long = data + bytes(65_000)
    assert ogg_end(reading(long), 0, len(long)) == (True, 123_456)  # a page may be as long as that
    long = first * 5000 + last
    assert ogg_end(reading(long), 0, len(long)) == (True, 123_456)
