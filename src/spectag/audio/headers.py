"""What the header of a recording states, and what lies behind it.

Sizes in headers may be wrong: never written after a crash, 32 bits for more than 4 GiB, placeholders of a program that
could not go back. :func:`inspect` finds where the sound ends, and which bytes to replace so that decoders read all of
it. Nothing is decoded here. Headers come from strangers, so every loop and every read has a bound.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from spectag.audio.tags import ReadAt, before_tags, behind_tags
from spectag.audio.transport import next_program, packet_size
from spectag.audio.view import Mark

_MOST = 1000  # chunks or pages that are looked at
_TAIL = 2**18  # bytes at the end that are searched for chunks
_SECTOR = 512  # bytes of a disk that recorders fill up
_MOST_PADDING = 2**13  # bytes of zeros that other programs append
_LITTLE = 64  # bytes behind the sound that are not worth a look
_W64 = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # the rest of each id
# Chunks that programs write behind the sound.
_CHUNKS = (
    b"LIST|list|INFO|id3 |ID3 |bext|cue |fact|smpl|inst|iXML|axml|_PMX|JUNK|junk|FLLR|PAD |plst|labl|note|ltxt|DISP"
    b"|PEAK|peak|chna|cart|levl|umid|afsp|minf|elm1|regn|acid|strc|wamd|guan|LGWV|ResU|MD5 |NAME|AUTH|ANNO|(c) |COMT"
    b"|MARK|INST|MIDI|AESD|APPL|CHAN|FVER|COMM|basc|trns|cate|info|edct|mark|uuid|ovvw|pakt|strg|midi|free|kuki|chan"
).split(b"|")
_MAGIC = re.compile(
    rb"RIFF....WAVE|RIFX....WAVE|RF64....WAVE|BW64....WAVE|FORM....AIF[FC]|caff\x00\x01|\.snd\x00|dns\.|"
    rb"riff\x2e\x91\xcf\x11|fLaC[\x00\x80]|OggS\x00|....ftyp|\x1aE\xdf\xa3|wvpk|TTA1|MAC ",
    re.DOTALL,
)
_TAG = re.compile(rb"TAG|ID3[\x02-\x04]|APETAGEX|LYRICSBEGIN")
_TEXT = re.compile(rb"[\t\r\n -~]+")
_OGG_BEGINS = (re.compile(rb"OggS\x00[\x02\x03\x06\x07]\x00{8}"),)  # a first page
_TAG_BEGINS = (  # in front of a joined MP3
    re.compile(rb"ID3[\x02-\x04][\x00-\x0f][\x00-\xf0][\x00-\x7f]{4}"),
    re.compile(rb"APETAGEX"),
)
_MPEG = re.compile(rb"\xff[\xe0-\xff]")
_FLAC_BEGINS = (re.compile(rb"fLaC[\x00\x80]\x00\x00\x22"),)


@dataclass(frozen=True)
class Header:
    """One recording in a file, which may be followed by others.

    Args:
        kind: what messages call the format; empty for formats that are not looked into.
        begin, end: bytes of the file that hold the recording, without tags in front of it or behind it.
        patches: (offset, bytes) to replace.
        stated: bytes of sound according to the header; None if it does not say.
        present: bytes of sound in the file; None if only decoding tells.
        seconds: duration according to the header, for formats that count samples.
        following: where the next recording begins.
        mark, mark_from: what the next recording begins with, and the offset from which on to look for it.
    """

    kind: str
    begin: int
    end: int
    patches: tuple[tuple[int, bytes], ...] = ()
    stated: int | None = None
    present: int | None = None
    seconds: float | None = None
    following: int | None = None
    mark: Mark | None = None
    mark_from: int = 0

    def promised(self, decoded: float) -> float | None:
        """The seconds that the header states, given the seconds that were decoded; None if it does not say.

        >>> Header("WAV", 0, 144, stated=50, present=100).promised(6.0)
        3.0
        """
        if self.stated is None or not self.present:
            return self.seconds
        return decoded * self.stated / self.present


@dataclass(frozen=True)
class _Layout:
    """How a format divides its file into chunks: id, size, content."""

    kind: str
    magic: re.Pattern[bytes]
    first: int  # offset of the first chunk
    size: struct.Struct
    sound: bytes  # the id of the chunk with the sound
    skip: int = 0  # bytes in it in front of the sound
    counted: int = 0  # bytes of id and size that the size includes
    align: int = 2


_U32, _BE32, _I64, _BE64 = (struct.Struct(form) for form in ("<I", ">I", "<q", ">q"))
_LAYOUTS = (
    _Layout("WAV", re.compile(rb"RIFF....WAVE", re.DOTALL), 12, _U32, b"data"),
    _Layout("WAV", re.compile(rb"RIFX....WAVE", re.DOTALL), 12, _BE32, b"data"),
    _Layout("RF64", re.compile(rb"(?:RF64|BW64)....WAVE", re.DOTALL), 12, _U32, b"data"),
    _Layout("AIFF", re.compile(rb"FORM....AIF[FC]", re.DOTALL), 12, _BE32, b"SSND", skip=8),
    _Layout("W64", re.compile(rb"riff\x2e\x91\xcf\x11", re.DOTALL), 40, _I64, b"data" + _W64, counted=24, align=8),
    _Layout("CAF", re.compile(rb"caff\x00\x01", re.DOTALL), 8, _BE64, b"data", skip=4, align=1),
)


def inspect(read_at: ReadAt, begin: int, end: int) -> Header:
    """Look at the recording that begins at a place in a file.

    Args:
        read_at: see :data:`ReadAt`.
        begin, end: offsets in bytes.

    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros(100), 8000, "PCM_16", format="WAV")
    >>> data = file.getvalue()[:40] + bytes(4) + file.getvalue()[44:]  # a size of 0
    >>> header = inspect(lambda at, size: data[at : at + size], 0, len(data))
    >>> header.kind, header.stated, header.present
    ('WAV', 0, 200)
    """
    begin = _behind_tags(read_at, begin, end)
    head = read_at(begin, 64)
    for layout in _LAYOUTS:
        if layout.magic.match(head):
            return _chunked(read_at, layout, begin, end) or Header(layout.kind, begin, end)
    if head[:4] in (b".snd", b"dns.") and len(head) >= 24:
        return _au(read_at, head, begin, end)
    bare = before_tags(read_at, begin, end)
    if head[:4] == b"fLaC":
        return _flac(read_at, begin, bare)
    if head[:4] == b"OggS":
        kind = "Ogg FLAC" if b"\x7fFLAC" in head else "Ogg"
        return Header(kind, begin, bare, mark=_OGG_BEGINS, mark_from=_behind_first_pages(read_at, begin))
    behind = behind_tags(read_at, begin)
    if _MPEG.match(read_at(behind, 2)) or behind > begin:
        return Header("MP3", behind if head[:3] != b"ID3" else begin, bare, mark=_TAG_BEGINS, mark_from=behind)
    if size := packet_size(read_at(begin, 1024)):
        following = next_program(read_at, begin, bare, size)
        return Header("MPEG-TS", begin, bare if following is None else following, following=following)
    return Header("", begin, bare)


# chunks


def _chunks(read_at: ReadAt, layout: _Layout, at: int) -> Iterator[tuple[bytes, int, int]]:
    """(id, offset of the size, size of the content) of each chunk from an offset on."""
    width = 16 if layout.counted else 4
    for _ in range(_MOST):
        head = read_at(at, width + layout.size.size)
        if len(head) < width + layout.size.size:
            return
        size = layout.size.unpack_from(head, width)[0]
        content = size - layout.counted
        yield head[:width], at + width, content
        if content < 0:
            return
        at += len(head) + content + -content % layout.align


def _chunked(read_at: ReadAt, layout: _Layout, begin: int, end: int) -> Header | None:
    long_sizes = 0  # where RF64 has its sizes of 64 bits
    for name, place, size in _chunks(read_at, layout, begin + layout.first):  # noqa: B007 - size is used after the loop
        if name == b"ds64" and layout.kind == "RF64":
            long_sizes = place + 4
        if name == layout.sound:
            break
    else:
        return None
    at = place + layout.size.size + layout.skip
    stated: int | None = size - layout.skip if size > 0 else 0 if size == -layout.counted else size
    if long_sizes and size == 2**32 - 1:
        stated = struct.unpack("<q", read_at(long_sizes + 8, 8).ljust(8, b"\0"))[0]
    if at > end:
        return None
    stop, known = _sound_ends(read_at, layout, at, stated or 0, end)
    present = stop - at
    header = Header(layout.kind, begin, end, stated=stated if known else None, present=present)
    if stop < end and (following := _following(read_at, layout, stop, end)) is not None:
        header = replace(header, end=following, following=following)
    patches = [(begin, b"RF64")] if read_at(begin, 4) == b"BW64" else []
    if stated != present or layout.kind == "W64":  # libsndfile takes what is behind the sound of W64 for sound
        header = replace(header, end=stop)
        size = present + layout.skip + layout.counted
        if long_sizes:
            patches += [(long_sizes, struct.pack("<qq", stop - begin - 8, present)), (place, b"\xff" * 4)]
        elif layout.size.size == 8:
            patches.append((place, layout.size.pack(size)))
        else:  # decoders take 0 for "up to the end"
            whole, size = (stop - begin - 8, size) if stop - begin < 2**32 else (0, 0)
            patches = [(begin, b"RIFF")] if layout.kind == "RF64" else []
            patches += [(begin + 4, layout.size.pack(whole)), (place, layout.size.pack(size))]
    return replace(header, patches=tuple(patches))


def _au(read_at: ReadAt, head: bytes, begin: int, end: int) -> Header:
    layout = _Layout("AU", _MAGIC, 0, _BE32 if head[:1] == b"." else _U32, b"")
    offset, stated = (layout.size.unpack_from(head, place)[0] for place in (4, 8))
    at = begin + offset
    if at > end:
        return Header("AU", begin, end)
    stop, known = _sound_ends(read_at, layout, at, stated, end)
    known &= stated != 2**32 - 1  # which stands for "unknown", also beyond 4 GiB
    following = _following(read_at, layout, stop, end) if stop < end else None
    patches = ((begin + 8, b"\xff" * 4),) if stated != stop - at else ()
    return Header("AU", begin, stop, patches, stated if known else None, stop - at, following=following)


def _sound_ends(read_at: ReadAt, layout: _Layout, at: int, stated: int, end: int) -> tuple[int, bool]:
    """Where sound that begins at ``at`` ends, and whether the header states a size at all."""
    if stated == end - at:
        return end, True
    if stated > end - at and not _is_placeholder(stated):
        return end, True  # cut off
    bare = before_tags(read_at, at, end)
    if 0 < stated <= end - at:
        step = 2**32 if layout.size.size == 4 else end + 1  # a size of 32 bits may have begun again at 0
        for stop in islice(range(at + stated, end + 1, step), _MOST):
            if _is_over(read_at, layout, stop, bare, end):
                return stop, True
    elif stated == 0 and (at >= bare or _is_chunk(read_at, layout, at, bare)):
        return at, True  # there is none
    return _before_chunks(read_at, layout, at, bare), 0 <= stated <= end - at


def _is_placeholder(size: int) -> bool:
    """Whether a size means "unknown": 0, -1, just below 2 or 4 GiB, or beyond any file."""
    return size < 0 or size >= 2**62 or (size <= 2**32 and (size + 2**16) % 2**31 <= 2**16)


def _is_over(read_at: ReadAt, layout: _Layout, at: int, bare: int, end: int) -> bool:
    """Whether what begins at ``at`` is no sound: chunks, tags (the last ones are at ``bare``), text, padding."""
    if bare - at < _LITTLE:
        return True
    for place in {at, at + -at % layout.align}:
        head = read_at(place, 64)
        if any(pattern.match(head) for pattern in (_TAG, _MAGIC)) or _TEXT.fullmatch(head):
            return True
        if _is_chunk(read_at, layout, place, bare):
            return True
    is_padding = end % _SECTOR == 0 or end - at <= _MOST_PADDING  # more zeros may be silence
    return is_padding and _first_not_zero(read_at, at, bare) == bare


def _following(read_at: ReadAt, layout: _Layout, stop: int, end: int) -> int | None:
    """Where another recording begins behind the sound of this one and its chunks and tags."""
    for at in {stop, stop + -stop % layout.align}:
        for _ in range(_MOST):
            begin = _behind_tags(read_at, at, end)
            if _MAGIC.match(read_at(begin, 12)):
                return begin
            name, place, size = next(_chunks(read_at, layout, at), (b"", 0, 0))
            if name[4:] != _W64 and name.upper() not in _KNOWN:
                break
            at = place + layout.size.size + max(0, size) + -size % layout.align
    return None


def _is_chunk(read_at: ReadAt, layout: _Layout, at: int, end: int) -> bool:
    """Whether a chunk of a known id begins here, or a row of printable ids that fills the file exactly."""
    for name, place, size in _chunks(read_at, layout, at):
        if name[4:] == _W64 or name.upper() in _KNOWN:
            return True
        stop = place + layout.size.size + size
        if layout.counted or size < 0 or stop > end + 1 or not _TEXT.fullmatch(name):
            return False
        if end - stop < layout.align:
            return True
    return False


_KNOWN = frozenset(name.upper() for name in _CHUNKS)


def _before_chunks(read_at: ReadAt, layout: _Layout, at: int, end: int) -> int:
    """The end of the sound: where the chunks begin that fill the file to its end."""
    start = max(at, end - _TAIL)
    tail = read_at(start, end - start)
    names = [_W64] if layout.counted else _CHUNKS
    places = sorted(
        start + place - (4 if layout.counted else 0) for name in names for place in _occurrences(tail, name)
    )
    for place in places[:_MOST]:
        stop = place
        for _, size_at, size in islice(_chunks(read_at, layout, place), 50):
            stop = size_at + layout.size.size + size
            if abs(end - stop) < layout.align:
                return max(at, place)
            if stop > end:
                break
    return end


def _occurrences(data: bytes, name: bytes) -> Iterator[int]:
    place = data.find(name)
    while place >= 0:
        yield place
        place = data.find(name, place + 1)


def _first_not_zero(read_at: ReadAt, at: int, end: int) -> int:
    """Where the first byte is that is not 0."""
    while at < end:
        block = read_at(at, min(2**20, end - at))
        rest = block.lstrip(b"\0")
        if rest or not block:
            return at + len(block) - len(rest)
        at += len(block)
    return end


def _behind_tags(read_at: ReadAt, begin: int, end: int) -> int:
    """Where a format that knows no ID3 begins behind such tags; ``begin`` itself for all others, such as MP3."""
    at = behind_tags(read_at, begin)
    if at > begin:
        at = _first_not_zero(read_at, at, min(end, at + 2**16))
    return at if at > begin and _MAGIC.match(read_at(at, 12)) else begin


# FLAC, Ogg, MP3


def _flac(read_at: ReadAt, begin: int, end: int) -> Header:
    """The number of samples is hidden from decoders, since they would stop there."""
    info = read_at(begin + 4, 22)
    if len(info) < 22 or info[0] & 127 or info[1:4] != b"\0\0\x22":
        return Header("FLAC", begin, end)
    at = begin + 4
    for _ in range(_MOST):
        block = read_at(at, 4)
        at += 4 + int.from_bytes(block[1:], "big")
        if len(block) < 4 or block[0] & 128 or at >= end:
            break
    rate, count = int.from_bytes(info[14:17], "big") >> 4, int.from_bytes(info[17:22], "big") & (2**36 - 1)
    return Header(
        "FLAC",
        begin,
        _before_zeros(read_at, at, end),
        ((begin + 21, bytes([info[17] & 0xF0, 0, 0, 0, 0])),),
        seconds=count / rate if rate and count else None,
        mark=_FLAC_BEGINS,
        mark_from=min(at, end),
    )


def _before_zeros(read_at: ReadAt, begin: int, end: int) -> int:
    """The end without zeros, but for two, which a block of FLAC may end with."""
    while end > begin:
        size = min(2**16, end - begin)
        kept = len(read_at(end - size, size).rstrip(b"\0"))
        if kept:
            return min(end, end - size + kept + 2)
        end -= size
    return end


def _behind_first_pages(read_at: ReadAt, at: int) -> int:
    """Where the first pages of an Ogg file's streams end. A first page behind others begins another recording."""
    for _ in range(_MOST):
        page = read_at(at, 27 + 255)
        if len(page) < 28 or page[:4] != b"OggS" or not page[5] & 2:
            break
        at += 27 + page[26] + sum(page[27 : 27 + page[26]])
    return at
