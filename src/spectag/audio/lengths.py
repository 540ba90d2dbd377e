"""What MP3, Matroska, ASF, FLV and Ogg files say about their length, and whether they are that long."""

from __future__ import annotations

from spectag.audio.tags import ReadAt, behind_tags

_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def mp3_seconds(read_at: ReadAt, begin: int) -> float:
    """The duration that the first frame of an MP3 states, 0 if it does not say.

    >>> mp3_seconds(lambda at, size: bytes(size), 0)
    0.0
    """
    frame = read_at(behind_tags(read_at, begin), 2048).lstrip(b"\0")
    if len(frame) < 4 or frame[0] != 255 or frame[1] < 0xE0 or frame[2] >> 2 & 3 == 3:
        return 0.0
    version = frame[1] >> 3 & 3  # 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    rate = (44_100, 48_000, 32_000)[frame[2] >> 2 & 3] >> {3: 0, 2: 1, 0: 2}.get(version, 0)
    for name, offset in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        at = frame.find(name, 4, 200)
        if at > 0 and (name == b"VBRI" or frame[at + 7] & 1):
            return int.from_bytes(frame[at + offset : at + offset + 4], "big") * (1152 if version == 3 else 576) / rate
    return 0.0


def asf_seconds(read_at: ReadAt, begin: int) -> float:
    """The duration that the header of an ASF file states, 0 if it does not say. FFmpeg guesses, if the file is cut off.

    >>> asf_seconds(lambda at, size: bytes(size), 0)
    0.0
    """
    head = read_at(begin, 2**16)
    at = head.find(_ASF_PROPERTIES)
    if at < 0:
        return 0.0
    duration, preroll = (int.from_bytes(head[at + place : at + place + 8], "little") for place in (64, 80))
    return max(0.0, duration / 1e7 - preroll / 1e3)


def is_complete(read_at: ReadAt, begin: int, end: int) -> bool:
    """Whether a Matroska, ASF or FLV file is as long as it says. False also where it does not say.

    >>> is_complete(lambda at, size: bytes(size), 0, 1000)
    False
    """
    head = read_at(begin, 2**16)
    at = head.find(b"\x18\x53\x80\x67")  # Matroska: a segment, then its size, of as many bytes as its first one tells
    if head[:4] == b"\x1aE\xdf\xa3" and 0 < at < len(head) - 12 and head[at + 4]:
        width = 9 - head[at + 4].bit_length()
        size = int.from_bytes(head[at + 4 : at + 4 + width], "big") & ((1 << 7 * width) - 1)
        return begin + at + 4 + width + size <= end
    at = head.find(_ASF_PROPERTIES)
    if at > 0:
        return begin + int.from_bytes(head[at + 40 : at + 48], "little") <= end
    if head[:3] == b"FLV":  # the last tag, then its size
        size = int.from_bytes(read_at(end - 4, 4), "big")
        last = read_at(end - 4 - size, 4) if 11 <= size <= end - begin - 13 else b""
        return last[:1] in (b"\x08", b"\x09", b"\x12") and int.from_bytes(last[1:4], "big") == size - 11
    return False


def ogg_end(read_at: ReadAt, begin: int, end: int) -> tuple[bool, int]:
    """Whether the last page of an Ogg stream is complete and has the end-of-stream flag, and the position it states.

    >>> ogg_end(lambda at, size: bytes(size), 0, 1000)
    (False, 0)
    """
    tail = read_at(max(begin, end - 2**17), 2**17)  # a page takes 65307 bytes at most
    page = tail[tail.rfind(b"OggS") :]
    complete = len(page) >= 27 and bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
    return complete, max(0, int.from_bytes(page[6:14], "little", signed=True))
