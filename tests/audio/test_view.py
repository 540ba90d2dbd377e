"""What decoders see of a file: a part of it, with bytes replaced, up to where another recording begins."""

from __future__ import annotations

import io
import os
import re

import pytest
from hypothesis import given, strategies as st

from spectag.audio.view import View
from spectag.errors import AudioError

MARK = (re.compile(b"OggS\\0"), re.compile(b"fLaC"))
DIGITS = b"0123456789"


class Slow(io.BytesIO):
    """Gives less than it is asked for, as raw files may, and does not say where it is, as temporary files once did."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(3 if size is None or not 0 <= size <= 3 else size)

    def seek(self, offset: int, whence: int = 0) -> None:  # type: ignore[override]
        super().seek(offset, whence)


@given(
    data=st.binary(max_size=60),
    patches=st.lists(st.tuples(st.integers(0, 59), st.binary(min_size=1, max_size=9)), max_size=3),
    part=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    sizes=st.lists(st.integers(1, 30), max_size=8),
)
def test_a_part_with_bytes_replaced(
    data: bytes, patches: list[tuple[int, bytes]], part: tuple[int, int], sizes: list[int]
) -> None:
    begin, end = sorted(min(place, len(data)) for place in part)
    changed = bytearray(data)
    for at, patch in patches:
        changed[at : at + len(patch)] = patch[: max(0, len(data) - at)]
    view = View(Slow(data), "x", begin, end, patches)
    assert view.seek(0) == 0
    got = b""
    for size in (*sizes, 100, 1):
        piece = view.read(size)
        got += piece
        assert len(piece) <= size
        assert view.tell() == len(got)
    assert got == bytes(changed)[begin:end]
    view.check()


@given(st.lists(st.sampled_from([b"OggS\0", b"fLaC", b"OggS", b"fL", b"O", b"x" * 40, b"g"]), max_size=9), st.data())
def test_a_view_ends_at_a_mark_whatever_the_pieces(parts: list[bytes], draw: st.DataObject) -> None:
    """In one piece or in several, but not in front of ``mark_from``. Looking ahead finds the same."""
    data = b"".join(parts)
    mark_from = draw.draw(st.integers(0, len(data)))
    found = [place.start() for pattern in MARK if (place := pattern.search(data, mark_from))]
    end = min(found, default=len(data))
    view = View(io.BytesIO(data), "x", mark=MARK, mark_from=mark_from)
    view.seek(0)
    got = b""
    while piece := view.read(draw.draw(st.integers(1, 50))):
        got += piece
    assert (view.following, view.end) == (end if found else None, end)
    assert got[:end] == data[:end]
    assert len(got) - end < 5  # the first bytes of a mark that came in pieces
    view = View(io.BytesIO(data), "x", mark=MARK, mark_from=mark_from)
    view.find_end()
    assert (view.following, view.end) == (end if found else None, end)
    view.seek(0)
    assert view.read(len(data)) == data[:end]


@pytest.mark.parametrize("size", [1, 2, 3, 30, 31, 32, 33, 40, 61, 62, 63, 100])
def test_a_mark_in_pieces_of_one_size(size: int) -> None:
    for place in range(130):
        view = View(io.BytesIO(bytes(place) + b"OggS\0" + bytes(140)), "x", mark=MARK)
        view.seek(0)
        while view.read(size):
            pass
        assert view.following == place


@pytest.mark.parametrize("place", [*range(2**16 - 34, 2**16 + 3), 2**17 - 64, 2**17 - 31, 2**17 - 3, 2**17])
def test_a_mark_where_one_piece_ends(place: int) -> None:
    """Pieces are read ahead, and a mark may lie across two of them."""
    data = b"\1" * place + b"OggS\0" + bytes(100)
    view = View(io.BytesIO(data), "x", mark=MARK)
    got = b""
    while piece := view.read(1000):
        got += piece
    assert (view.following, len(got) - place < 5) == (place, True)
    assert got[:place] == data[:place]


@pytest.mark.parametrize("place", [2**20 - 31, 2**20 - 4, 2**20 - 1, 2**20, 2**21 - 33, 2**21 + 5])
def test_looking_far_ahead(place: int) -> None:
    """Also for a mark that lies across two of the pieces in which a long file is searched."""
    data = bytes(place) + b"OggS\0" + bytes(100) + b"OggS\0"
    view = View(io.BytesIO(data), "x", mark=MARK)
    view.find_end()
    assert view.following == view.end == place
    view = View(io.BytesIO(data), "x", 0, place + 3, mark=MARK)  # the part ends within the mark
    view.find_end()
    assert (view.following, view.end) == (None, place + 3)


def test_reading_again_behind_a_jump_finds_no_mark_that_is_not_there() -> None:
    """The end of one piece and the beginning of another are no mark unless one follows the other in the file."""
    view = View(io.BytesIO(b"..fL....aC.."), "x", mark=MARK)
    view.seek(0)
    assert view.read(4) == b"..fL"
    view.seek(8)
    assert view.read(4) == b"aC.."
    assert view.following is None


def test_seeking_counts_from_the_part() -> None:
    view = View(io.BytesIO(DIGITS), "x", 2, 8)
    assert (view.seek(1), view.read(2)) == (1, b"34")
    assert (view.seek(1, os.SEEK_CUR), view.read(1)) == (4, b"6")
    assert (view.seek(-2, os.SEEK_END), view.read(9), view.read(9)) == (4, b"67", b"")
    assert (view.seek(3), view.seek(-99), view.tell()) == (3, -1, 3)
    assert (view.seek(100), view.read(1), view.tell()) == (100, b"", 100)
    assert (view.read_at(3, 2), view.read_at(7, 5), view.read_at(9, 1), view.read_at(-1, 5)) == (b"34", b"7", b"", b"")
    assert View(io.BytesIO(DIGITS), "x", 2).end == View(Slow(DIGITS), "x", 2).end == 10


def test_what_fails_is_raised_by_check() -> None:
    class Failing(io.BytesIO):
        error: BaseException = OSError(5, "Input/output error")

        def read(self, size: int | None = -1) -> bytes:
            raise self.error

    stream = Failing(DIGITS)
    view = View(stream, "dawn.wav")
    assert view.read(5) == b""
    with pytest.raises(AudioError, match=r"dawn\.wav: cannot be read: .*Input/output error"):
        view.check()
    stream.error = KeyboardInterrupt()
    assert view.read(5) == b""
    with pytest.raises(KeyboardInterrupt):
        view.check()
