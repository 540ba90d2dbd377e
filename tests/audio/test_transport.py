"""Tables of transport streams, written by hand from ISO/IEC 13818-1."""

from __future__ import annotations

import struct

import pytest

from spectag.audio.tags import ReadAt
from spectag.audio.transport import next_program, packet_size

FRONT, BEHIND = {188: 0, 192: 4, 204: 0}, {188: 0, 192: 0, 204: 16}
SIZES = sorted(FRONT)


def reading(data: bytes) -> ReadAt:
    return lambda at, size: data[at : at + size]


def packet(pid: int, payload: bytes, *, starts: bool = True, adaptation: int | None = None, pointer: int = 0) -> bytes:
    """The 188 bytes with a table, behind an adaptation field and the rest of another table."""
    head = bytes([0x47, 0x40 * starts | 0xA0 | pid >> 8, pid & 255, 0x1F if adaptation is None else 0x3F])
    head += b"" if adaptation is None else bytes([adaptation]) + b"\xff" * adaptation
    return (head + bytes([pointer]) + b"\x55" * pointer + payload).ljust(188, b"\xff")[:188]


def section(table: int, content: bytes, version: int = 0) -> bytes:
    length = 5 + len(content) + 4
    head = struct.pack(">BHHBBB", table, 0xB000 | length, 1, 0xC1 | version << 1, 0, 0)
    return head + content + b"\x12\x34\x56\x78"


def programs(*entries: tuple[int, int], version: int = 0) -> bytes:
    return section(0, b"".join(struct.pack(">HH", number, 0xE000 | pid) for number, pid in entries), version)


def tracks(*entries: tuple[int, int], about: int = 0, each: int = 0, version: int = 0) -> bytes:
    """(type, id) of each track; bytes of descriptors of the program and of each track."""
    content = struct.pack(">HH", 0xE000 | 0x1FFF, 0xF000 | about) + b"\x99" * about
    for kind, pid in entries:
        content += struct.pack(">BHH", kind, 0xE000 | pid, 0xF000 | each) + b"\x88" * each
    return section(2, content, version)


def stream(size: int, *packets: bytes) -> bytes:
    return b"".join(bytes(FRONT[size]) + part + bytes(BEHIND[size]) for part in packets)


PAT = packet(0, programs((1, 0x1FFE)))
TRACKS = tracks((15, 0x101), (27, 0x102))
PMT = packet(0x1FFE, TRACKS)
SOUND = packet(0x101, b"sound", starts=True)
NULL = packet(0x1FFF, tracks((9, 9)))


@pytest.mark.parametrize("size", SIZES)
def test_packets_are_told_by_four_of_them(size: int) -> None:
    data = stream(size, PAT, PMT, SOUND, SOUND)
    assert packet_size(data) == size
    assert packet_size(data[: 3 * size + 5]) == size
    assert packet_size(data[: 3 * size + FRONT[size]]) == 0
    for number in range(4):
        place = FRONT[size] + number * size
        assert packet_size(data[:place] + b"x" + data[place + 1 :]) == 0
    assert packet_size(b"") == 0


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("begin", [0, 1000])
def test_where_the_program_changes(size: int, begin: int) -> None:
    """At the last table of programs in front of other tracks, or at another table of programs."""
    same = (PAT, SOUND, PMT, NULL)
    other_tracks = (packet(0x1FFE, tracks((15, 0x101), (3, 0x102))), packet(0x1FFE, tracks((15, 0x103), (27, 0x102))))
    for changed in (*other_tracks, packet(0x1FFE, tracks((15, 0x101))), packet(0x1FFE, tracks())):
        for between in (0, 3, 5000):
            data = bytes(begin) + stream(size, *same * 2, *[SOUND] * between, PAT, SOUND, changed, PAT, changed)
            assert next_program(reading(data), begin, len(data), size) == begin + (8 + between) * size
            assert next_program(reading(data), begin, begin + (10 + between) * size, size) is None
    for changed in (packet(0, programs((1, 0x1FFD))), packet(0, programs((2, 0x1FFE))), packet(0, programs())):
        data = bytes(begin) + stream(size, *same * 3, SOUND, changed)
        assert next_program(reading(data), begin, len(data), size) == begin + 13 * size


@pytest.mark.parametrize(
    "again",
    [
        (),
        (PAT, PMT) * 3,
        (packet(0, programs((1, 0x1FFE), version=1)), packet(0x1FFE, tracks((15, 0x101), (27, 0x102), version=5))),
        (packet(0, programs((1, 0x1FFE)), pointer=20), packet(0x1FFE, TRACKS, pointer=3)),
        (
            packet(0, programs((1, 0x1FFE)), adaptation=0),
            packet(0x1FFE, TRACKS, adaptation=7),
        ),
        (packet(0x1FFE, tracks((15, 0x101), (27, 0x102), about=11)),),
        (packet(0x1FFE, tracks((15, 0x101), (27, 0x102), each=17)),),
        (packet(0x1FFE, tracks((1, 1)), starts=False),),  # the middle of a table
        (packet(0x1FFE, tracks((1, 1)))[1:] + b"\x47",),  # no packet
        (packet(0x1FFE, section(1, bytes(20))),),  # other tables
        (packet(0, section(66, bytes(20))),),
        (packet(0x1FFE, b"", adaptation=183), packet(0x1FFE, b"", adaptation=255), packet(0x1FFE, b"", pointer=255)),
        tuple(packet(0x1FFE, tracks(), pointer=place) for place in range(172, 184)),  # its beginning is cut off
        (packet(0x1FFD, tracks((1, 1))), packet(0x1FFD, tracks((2, 2)))),  # the tables of nothing
    ],
)
def test_no_change(again: tuple[bytes, ...]) -> None:
    data = stream(188, PAT, PMT, *again, PAT, PMT)
    assert next_program(reading(data), 0, len(data), 188) is None


def test_a_table_that_fills_its_packet() -> None:
    """168 bytes of entries of 4 bytes, or 5; those that do not fit are left out. A program 0 names the network."""
    many = [(number, 0x20 + number) for number in range(1, 43)]
    for changed in ([*many[:-1], (42, 9)], many[:-1]):
        data = stream(188, packet(0, programs(*many)), PMT, packet(0, programs(*changed)))
        assert next_program(reading(data), 0, len(data), 188) == 2 * 188
    most = [(15, number) for number in range(32)]
    for changed in ([*most[:-1], (15, 99)], [*most, (15, 99)]):
        data = stream(188, PAT, packet(0x1FFE, tracks(*most)), PAT, packet(0x1FFE, tracks(*changed)))
        assert next_program(reading(data), 0, len(data), 188) == 2 * 188
    network = packet(0, programs((0, 0x10), (1, 0x1FFE)))
    data = stream(188, network, packet(0x10, tracks((1, 1))), packet(0x10, tracks((2, 2))))
    assert next_program(reading(data), 0, len(data), 188) is None


def test_before_the_first_table_of_programs() -> None:
    """A recording that was cut in two begins with packets of any kind."""
    data = stream(188, SOUND, PMT, NULL, PAT, PMT, packet(0, programs((1, 5))))
    assert next_program(reading(data), 0, len(data), 188) == 5 * 188
    assert next_program(reading(data[:-188]), 0, len(data) - 188, 188) is None
    assert next_program(reading(b""), 0, 0, 188) is None
