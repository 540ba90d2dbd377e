"""Headers that are wrong: all sound that is there is heard, nothing else is, and it is said."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from recordings import BEXT, CUE, ID3_CHUNK, ID3V1, ID3V2, LIST, LYRICS, ape, by_soundfile, heard, patched, sound

from spectag.audio import read
from spectag.audio.headers import inspect
from spectag.audio.read import SAMPLE_RATE
from spectag.errors import EmptyAudio

TAILS = {
    "nothing": b"",
    "LIST": LIST,
    "bext": BEXT,
    "id3": ID3_CHUNK,
    "many": LIST + BEXT + ID3_CHUNK + CUE,
    "ID3v1": ID3V1,
    "APE": ape(2000),
    "APE and ID3v1": ape(2000) + ID3V1,
    "Lyrics3": LYRICS + ID3V1,
}
PADDING = {
    "zeros": bytes(5000),
    "text": b"<?xml version='1.0'?>" + b" hello" * 500,
    "a byte": b"x",
    "a few bytes": bytes(range(1, 64)),
    "a chunk of unknown id": b"abcd" + struct.pack("<I", 50) + bytes(range(50)),
}


def wav(subtype: str = "PCM_16", channels: int = 1, riff: int | None = None, size: int | None = None) -> bytes:
    data = by_soundfile("WAV", subtype, sound(channels=channels))
    data = data if riff is None else patched(data, 4, "<I", riff % 2**32)
    return data if size is None else patched(data, data.index(b"data") + 4, "<I", size % 2**32)


def assert_same(data: bytes, whole: bytes, warns: bool) -> None:
    waveform, notes = heard(data)
    np.testing.assert_array_equal(waveform, heard(whole)[0])
    assert len(notes) == warns, notes
    assert not warns or (
        "header states" in notes[0] and f"the file holds {len(waveform) / SAMPLE_RATE:.2f} s" in notes[0]
    )


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(("subtype", "channels"), [("PCM_16", 1), ("PCM_24", 2), ("FLOAT", 1)])
@pytest.mark.parametrize(
    ("riff", "size", "warns"),
    [
        (0, 0, True),  # never written
        (36, 0, True),
        (70, 44, True),  # a field recorder that writes the header once
        (20_036, 20_000, True),  # ... or once a second
        (-1, -1, False),  # FFmpeg into a pipe: the size is unknown, and nothing is promised
        (0x7FFFFFFF, 0x7FFFFFFF - 36, False),
        (0x7FFFF024, 0x7FFFF000, False),  # SoX
    ],
)
def test_wav_sizes(riff: int, size: int, warns: bool, subtype: str, channels: int, tail: str) -> None:
    """Kind: the size of the data is smaller than what lies there. The rest is sound, but chunks and tags are not."""
    assert_same(wav(subtype, channels, riff, size) + TAILS[tail], wav(subtype, channels), warns)


@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_chunks_in_front_of_the_sound(size: int) -> None:
    """Kind: a stale size behind chunks of any length; those of odd length are followed by one more byte."""
    front = b"JUNK" + struct.pack("<I", size) + bytes(size + size % 2)
    for subtype in ("PCM_16", "PCM_U8"):
        data = wav(subtype, size=8000)
        assert_same(data[:12] + front + data[12:36] + front * 3 + data[36:], wav(subtype), warns=True)


@pytest.mark.parametrize("tail", [*TAILS, *PADDING])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_U8", "IMA_ADPCM", "ULAW", "GSM610"])
def test_what_is_behind_a_right_size_is_no_sound(subtype: str, tail: str) -> None:
    """Kind: a whole file with chunks, tags, padding or text behind the data."""
    data = wav(subtype) + (TAILS | PADDING)[tail]
    assert_same(patched(data, 4, "<I", len(data) - 8), wav(subtype), warns=False)


def test_an_odd_size_with_and_without_padding() -> None:
    """Kind: chunks behind data of odd length; some programs leave out the byte that makes it even."""
    odd = by_soundfile("WAV", "PCM_U8", sound()[:-1])
    whole = heard(odd)[0]
    for data in (odd + LIST, odd[:-1] + LIST, odd[:-1]):
        waveform, notes = heard(data)
        np.testing.assert_array_equal(waveform, whole)
        assert notes == []


def test_silence_behind_a_stale_size_is_heard() -> None:
    """Kind: zeros behind the data are padding when they are few or fill up a sector, and silence otherwise."""
    quiet = np.concatenate([sound(), np.zeros((SAMPLE_RATE, 1), np.float32)])
    data = by_soundfile("WAV", "PCM_16", quiet)
    assert len(data) % 512
    waveform, notes = heard(patched(data, 40, "<I", 32_000))
    assert (len(waveform), len(notes)) == (2 * SAMPLE_RATE, 1)
    sectors = wav() + bytes(-len(wav()) % 512 + 100 * 512)
    assert_same(sectors, wav(), warns=False)


@pytest.mark.parametrize("tail", ["nothing", "many", "ID3v1"])
@pytest.mark.parametrize("form", [b"RF64", b"BW64"])
def test_rf64_sizes(form: bytes, tail: str) -> None:
    """Kind: RF64 and BW64, whose sizes of 64 bits were never written, or early."""
    whole = by_soundfile("RF64", "PCM_24", sound(channels=2))
    assert_same(form + whole[4:] + TAILS[tail], whole, warns=False)
    at, data = whole.index(b"ds64") + 8, whole.index(b"data") + 4
    for sizes, warns in (((0, 0, 0), True), ((20_072, 20_000, 5000), True), ((-1, -1, -1), False)):
        changed = form + patched(whole, at, "<qqq", *sizes)[4:]
        assert_same(changed + TAILS[tail], whole, warns)
    assert_same(form + patched(patched(whole, at, "<qqq", 0, 0, 0), data, "<I", 0)[4:], whole, warns=True)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_aiff_sizes(subtype: str) -> None:
    """Kind: AIFF that was never finished: no size of the form, no size of the sound, no number of samples."""
    whole = by_soundfile("AIFF", subtype)
    form, frames, size = 4, whole.index(b"COMM") + 10, whole.index(b"SSND") + 4
    chunks = b"NAME" + struct.pack(">I", 4) + b"name" + b"ID3 " + struct.pack(">I", len(ID3V2)) + ID3V2
    assert_same(whole + chunks, whole, warns=False)
    for tail in (b"", chunks, ID3V1):
        for wrong, warns in ((0, True), (8, True), (16_008, True), (0xFFFFFFFF, False)):
            changed = patched(patched(patched(whole, form, ">I", 46), frames, ">I", 0), size, ">I", wrong)
            assert_same(changed + tail, whole, warns)


@pytest.mark.parametrize("endian", ["BIG", "LITTLE"])
def test_au_sizes(endian: str) -> None:
    """Kind: AU that was never finished. 0xFFFFFFFF is allowed, and means that the size is unknown."""
    whole = by_soundfile("AU", "PCM_16", endian=endian)
    form = "<I" if whole[:4] == b"dns." else ">I"
    for tail in (b"", ID3V1, ape(1000)):
        for wrong, warns in ((0, True), (5000, True), (0xFFFFFFFF, False), (0x7FFFFFFF, False)):
            assert_same(patched(whole, 8, form, wrong) + tail, whole, warns)


@pytest.mark.parametrize("subtype", ["PCM_16", "ULAW"])
def test_w64_and_caf_sizes(subtype: str) -> None:
    """Kind: W64 and CAF that were never finished. A size of -1 is allowed in CAF."""
    w64, caf = by_soundfile("W64", subtype), by_soundfile("CAF", subtype)
    for wrong, warns in ((0, True), (24, True), (8024, True), (-1, False)):
        assert_same(patched(w64, w64.index(b"data") + 16, "<q", wrong), w64, warns)
    for wrong, warns in ((0, True), (4, True), (8004, True), (-1, False)):
        assert_same(patched(caf, caf.index(b"data\0") + 4, ">q", wrong), caf, warns)


@pytest.mark.parametrize(("subtype", "count"), [*(("ULAW", count) for count in range(15_993, 16_001)), ("FLOAT", 99)])
def test_chunks_behind_w64(subtype: str, count: int) -> None:
    """Kind: W64, whose chunks begin at multiples of 8, with chunks and another recording behind sound of any length.
    libsndfile reads on behind the size that the header states."""
    whole = by_soundfile("W64", subtype, sound()[:count])
    name = b"levl" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
    data = whole + bytes(-len(whole) % 8) + name + struct.pack("<q", 24 + 100) + bytes(range(100)) + bytes(4)
    assert_same(data, whole, warns=False)
    waveform, notes = heard(data + whole)
    np.testing.assert_array_equal(waveform, np.tile(heard(whole)[0], 2))
    assert notes == []


class Sparse(io.RawIOBase):
    """A file of any length: a header, then silence, but for the last ``len(end)`` bytes."""

    def __init__(self, head: bytes, size: int, end: bytes) -> None:
        self.head, self.size, self.tail, self.at = head, len(head) + size, end, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        at, stop = self.at, min(self.size, self.at + size)
        data = bytearray(max(0, stop - at))
        for place, part in ((0, self.head), (self.size - len(self.tail), self.tail)):
            first, last = max(at, place), min(stop, place + len(part))
            if first < last:
                data[first - at : last - at] = part[first - place : last - place]
        self.at += len(data)
        return bytes(data)


@pytest.mark.parametrize("tail", [b"", LIST, LIST + BEXT])
@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF, "RF64"])
def test_more_than_4_gib(size: int | str | None, tail: bytes) -> None:
    """Kind: sizes of 32 bits that began again at 0, were capped, or were not written, in a file of more than 4 GiB."""
    present = 7700 * 96_000 * 6
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 2, 96_000, 576_000, 6, 24) + b"data"
    if size == "RF64":
        head = b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<IQQQI", 28, present + 72, present, 0, 0)
        head += form + b"\xff" * 4
    else:
        stated = present % 2**32 if size is None else size
        head = b"RIFF" + struct.pack("<I", min(2**32 - 1, stated)) + b"WAVE" + form + struct.pack("<I", stated)
    file = Sparse(head, present + len(tail), b"sound!" * 1000 + tail)

    def read_at(at: int, count: int) -> bytes:
        file.seek(at)
        return file.read(count)

    header = inspect(read_at, 0, file.size)
    assert header.present == present
    assert header.promised(7700.0) == pytest.approx(7700.0 * header.stated / present)
    assert (header.stated == present) == (size == "RF64")
    blocks = read.open(file).blocks(1.0)  # type: ignore[arg-type]
    assert len(next(blocks)) == SAMPLE_RATE


def test_empty_stays_empty() -> None:
    """Kind: a header, no sound, then chunks that must not be taken for sound."""
    header = by_soundfile("WAV", "PCM_16", sound()[:0])
    for tail in (b"", LIST, BEXT + ID3_CHUNK, ID3V1):
        with pytest.raises(EmptyAudio, match="0 samples"):
            heard(patched(header + tail, 4, "<I", len(header + tail) - 8))
    for format in ("AIFF", "AU", "W64", "CAF", "RF64"):
        with pytest.raises(EmptyAudio, match="a header and 0 samples"):
            heard(by_soundfile(format, "PCM_16", sound()[:0]))
    for format in ("PAF", "NIST", "IRCAM"):  # whose headers are not looked into, and which FFmpeg does not know
        with pytest.raises(EmptyAudio, match="got no sample"):
            heard(by_soundfile(format, "PCM_16", sound()[:0]))


@pytest.mark.parametrize("format", ["WAV", "AIFF", "FLAC", "AU", "W64", "CAF", "RF64", "OGG"])
def test_id3_in_front(format: str) -> None:
    """Kind: ID3v2 tags in front of formats that do not know them."""
    whole = by_soundfile(format)
    for front in (ID3V2, ID3V2 * 2, ID3V2 + bytes(300)):
        assert_same(front + whole, whole, warns=False)


@pytest.mark.parametrize("difference", [1, 44, 700])
def test_small_differences_are_not_worth_a_word(difference: int) -> None:
    """Kind: the size counts the header too, or is off by some bytes."""
    for size in (32_000 + difference, 32_000 - difference):
        waveform, notes = heard(wav(size=size))
        assert notes == []
        assert len(waveform) >= SAMPLE_RATE - difference


@pytest.mark.parametrize(
    ("name", "seconds", "notes"),
    [
        ("fl003_declares_44.wav", 5.0, 1),
        ("fl005.wav", 2.5, 0),
        ("unfinished.wav", 2.5, 1),
        ("unfinished_rf64.wav", 2.5, 1),
        ("id3_before.wav", 2.5, 0),
    ],
)
def test_the_cases(name: str, seconds: float, notes: int, shared: Path) -> None:
    if not (shared / "cases").is_dir():
        pytest.skip("no cases in the shared folder")
    recording = read.open(shared / "cases" / name)
    assert sum(map(len, recording.blocks())) / SAMPLE_RATE == pytest.approx(seconds, abs=0.01)
    assert len(recording.notes) == notes
