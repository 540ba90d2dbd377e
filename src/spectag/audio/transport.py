"""MPEG transport streams: where the program changes. FFmpeg goes on with the tracks that it found first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spectag.audio.tags import ReadAt

_SYNC = 0x47
_PACKETS = 4096  # that are looked at together
_Program = tuple[tuple[int, int], ...]  # (number, id) or (type, id) of each entry


def packet_size(head: bytes) -> int:
    """The bytes from packet to packet, 0 if this is no transport stream. M2TS has 4 bytes in front of each.

    >>> packet_size((b"G" + bytes(187)) * 4)
    188
    """
    for size in (188, 192, 204):
        start = 4 if size == 192 else 0
        if len(head) >= 3 * size + 5 and all(head[start + size * number] == _SYNC for number in range(4)):
            return size
    return 0


def next_program(read_at: ReadAt, begin: int, end: int, size: int) -> int | None:
    """Where a program with other tracks begins; None if there is none.

    Args:
        read_at: (offset, size) -> that many bytes, fewer at the end.
        begin, end: offsets in bytes.
        size: see :func:`packet_size`.

    >>> next_program(lambda at, size: bytes(size), 0, 1000, 188)
    """
    tables: dict[int, _Program] = {0: ()}  # by the id of their packets; 0 is the table of programs
    last = begin  # where the last table of programs is
    known = False
    for at, packet in _tables(read_at, begin, end, size, tables):
        identity = (packet[1] & 31) << 8 | packet[2]
        entries = _entries(packet)
        if entries is None:
            continue
        if identity == 0:
            if known and entries != tables[0]:
                return at
            last, known = at, True
            tables |= {0: entries} | {place: tables.get(place, ()) for number, place in entries if number}
        elif tables[identity] and entries != tables[identity]:
            return last
        else:
            tables[identity] = entries
    return None


def _tables(
    read_at: ReadAt, begin: int, end: int, size: int, wanted: dict[int, _Program]
) -> Iterator[tuple[int, bytes]]:
    """(offset, the 188 bytes) of each packet in which a table of the ``wanted`` ids begins."""
    start = 4 if size == 192 else 0
    for block in range(begin, end, size * _PACKETS):
        data = read_at(block, min(size * _PACKETS, end - block))
        packets = np.frombuffer(data, np.uint8, len(data) // size * size).reshape(-1, size)[:, start : start + 188]
        starts = (packets[:, 0] == _SYNC) & (packets[:, 1] & 0x40 != 0)
        identities = (packets[:, 1].astype(np.uint16) & 31) << 8 | packets[:, 2]
        for row in np.flatnonzero(starts & (identities < 0x1FFF)):
            if int(identities[row]) in wanted:  # grows meanwhile
                yield block + int(row) * size, packets[row].tobytes()


def _entries(packet: bytes) -> _Program | None:
    """The entries of a table: (number, id) of each program, or (type, id) of each track; None if it is damaged."""
    at = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
    at += 1 + (packet[at] if at < 188 else 0)
    if at + 12 > 188 or packet[at] not in (0, 2):
        return None
    is_program = packet[at] == 2
    stop = min(188, at + 3 + ((packet[at + 1] & 15) << 8 | packet[at + 2]) - 4)
    at += 12 + ((packet[at + 10] & 15) << 8 | packet[at + 11]) if is_program else 8
    found = []
    while at + (5 if is_program else 4) <= stop:
        kind = packet[at] if is_program else packet[at] << 8 | packet[at + 1]
        place = at + (1 if is_program else 2)
        found.append((kind, (packet[place] & 31) << 8 | packet[place + 1]))
        at += 5 + ((packet[at + 3] & 15) << 8 | packet[at + 4]) if is_program else 4
    return tuple(found)
