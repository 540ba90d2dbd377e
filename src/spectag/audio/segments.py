"""Many segments of one recording, which is decoded once for all of them."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, TypeAlias, TypeVar

import numpy as np

from spectag.audio.heard import DAMAGED
from spectag.audio.read import BLOCK, SAMPLE_RATE, Recording, Waveform, _cut, beyond_end, open
from spectag.audio.source import Member, Segment, Source, describe
from spectag.errors import AudioError, InputError

T = TypeVar("T")
Read: TypeAlias = Callable[[Recording], Iterator[Waveform]]
"""How a recording becomes blocks: ``Recording.blocks``, or in another process ``Readers().blocks``."""

SHORTENED = "ends after the recording"  # in the note about a segment that is not as long as its times
_SHORTER = 0.1  # s by which it may be, without a word


def group_segments(items: Iterable[T], source: Callable[[T], Any] = lambda item: item) -> Iterator[list[T]]:
    """Put segments of one file together that follow each other in the order of their starts.

    Args:
        items: sources, or anything that has one.
        source: the source of an item.

    Yields:
        one or more items each, in the order that was given.

    >>> one, other = Segment("dawn.wav", 0.0, 1.0), Segment("dawn.wav", 5.0, 6.0)
    >>> [len(group) for group in group_segments([one, other, "dusk.wav", one])]
    [2, 1, 1]
    """
    group: list[T] = []
    for item in items:
        if group and not _follows(source(group[-1]), source(item)):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _follows(one: Any, other: Any) -> bool:
    if not (isinstance(one, Segment) and isinstance(other, Segment)) or not one.start <= other.start:
        return False
    files = (str, os.PathLike, Member)  # arrays are compared element by element
    return isinstance(one.file, files) and isinstance(other.file, files) and one.file == other.file


def read_group(sources: Sequence[Source], read: Read | None = None) -> Iterator[tuple[Recording, Iterator[Waveform]]]:
    """Read what :meth:`spectag.audio.read.Recording.blocks` reads, but decode a recording once for all of its segments.

    It is decoded while the blocks are drawn. Memory holds one block, and what later segments share with this one.

    Args:
        sources: segments of one recording in the order of their starts. Anything else is read one by one.
        read: how a recording becomes blocks; None for ``Recording.blocks``.

    Yields:
        for each source its recording, and the blocks, which raise what reading it alone raises. Take all of them before
        the next source. Where the recording ends within segments, the first of them has a note that counts the others.

    >>> noise = np.random.default_rng(0).standard_normal(32_000)
    >>> for recording, blocks in read_group([Segment(noise, 0.0, 1.5), Segment(noise, 1.0, 3.0)]):
    ...     [len(block) for block in blocks], recording.notes
    ([24000], [])
    ([16000], ['ends after the recording, which is 2.000 s long: what is there is used; correct the times'])
    """
    read = read or Recording.blocks
    segments = [source for source in sources if isinstance(source, Segment)]
    ordered = all(one.start <= other.start for one, other in pairwise(segments))
    shared = None
    if len(segments) == len(sources) > 1 and ordered and all(map(_is_valid, segments)):
        shared = _Shared(segments, read)
    for number, source in enumerate(sources):
        recording = open(source)
        if shared is None:
            yield recording, _read_alone(recording, read)
        else:
            yield recording, _cut(shared.blocks(number, recording), round(BLOCK * SAMPLE_RATE))


def read_segments(
    sources: Sequence[Source], note: Callable[[str], None] = lambda _: None, read: Read | None = None
) -> Iterator[Waveform | AudioError | InputError]:
    """The waveforms of sources; otherwise as :func:`read_group`.

    Args:
        sources, read: as there.
        note: called with each note about a recording, preceded by its name.

    Yields:
        for each source its waveform ``[N]``, or the error that reading it raises.

    >>> noise = np.random.default_rng(0).standard_normal(32_000)
    >>> [len(x) for x in read_segments([Segment(noise, 0.0, 1.5), Segment(noise, 1.0, 3.0)])]
    [24000, 16000]
    """
    for recording, blocks in read_group(sources, read):
        try:
            waveform = np.concatenate(list(blocks))
        except (AudioError, InputError) as error:
            yield error
            continue
        for text in recording.notes:
            note(f"{recording.name}: {text}")
        yield waveform


class _Shared:
    """A recording that is decoded once, up to the end of the last of its segments."""

    def __init__(self, segments: Sequence[Segment], read: Read) -> None:
        self._read = read
        self._segments = segments
        self._spans = [_span(segment) for segment in segments]
        end = max(math.inf if segment.end is None else segment.end for segment in segments)
        self._recording = open(Segment(segments[0].file, 0.0, None if math.isinf(end) else end))
        self._decoded = read(self._recording)
        self._held: list[tuple[int, Waveform]] = []  # blocks that are still needed, and the samples before each
        self._count = 0  # samples that were decoded
        self._failed = self._noted = self._shortened = False

    def blocks(self, number: int, own: Recording) -> Iterator[Waveform]:
        """The pieces of a segment, of any lengths; fills in the facts of its recording."""
        if self._failed:
            yield from _read_alone(own, self._read)
            return
        given = 0
        try:
            for piece in self._pieces(number):
                given += len(piece)
                _add(own, self._recording, piece, given)
                yield piece
        except Exception:  # the damage may be behind the end of this segment
            self._failed = True
            yield from _without(given, _read_alone(own, self._read))
            return
        first, last = self._spans[number]
        if not given:  # where nothing was read at all, or no sample lies between the times, reading says what is wrong
            if 0 < self._count <= first:
                raise beyond_end(describe(self._segments[number]), self._count)
            yield from _read_alone(own, self._read)
        if not self._noted:
            self._noted = bool(self._recording.notes)
            own.notes += self._recording.notes
        if _is_short(last, self._count) and not self._shortened:
            self._shortened = True
            rest = self._spans[number + 1 :]
            others = sum(first < self._count and _is_short(last, self._count) for first, last in rest)
            _note_end(self._recording.notes, own.notes, self._count, others)

    def _pieces(self, number: int) -> Iterator[Waveform]:
        first, last = self._spans[number]
        self._held = [(at, block) for at, block in self._held if self._needed(at, block, number)]
        for at, block in chain(list(self._held), self._decode(last, number)):
            piece = block[max(0, first - at) : max(0, last - at)]
            if len(piece):
                yield piece
        if number == len(self._spans) - 1:  # the decoder has its say, and whoever reads is free again
            for _ in self._decode(sys.maxsize, number):
                pass

    def _decode(self, last: int, number: int) -> Iterator[tuple[int, Waveform]]:
        while self._count < last and (block := next(self._decoded, None)) is not None:
            at = self._count
            self._count += len(block)
            if self._needed(at, block, number + 1):
                self._held.append((at, block))
            yield at, block

    def _needed(self, at: int, block: Waveform, number: int) -> bool:
        """Whether one of the segments from ``number`` on has samples in a block."""
        for first, last in map(self._spans.__getitem__, range(number, len(self._spans))):
            if first >= at + len(block):
                return False
            if last > at:
                return True
        return False


def _read_alone(recording: Recording, read: Read) -> Iterator[Waveform]:
    yield from read(recording)
    if isinstance(segment := recording.source, Segment):
        first, last = _span(segment)
        end = first + round(recording.seconds * SAMPLE_RATE)
        if _is_short(last, end):
            _note_end(recording.notes, recording.notes, end, 0)


def _is_valid(segment: Segment) -> bool:
    return 0 <= segment.start < (math.inf if segment.end is None else segment.end)


def _span(segment: Segment) -> tuple[int, int]:
    """Its first sample, and the one behind its last."""
    return round(segment.start * SAMPLE_RATE), sys.maxsize if segment.end is None else round(segment.end * SAMPLE_RATE)


def _is_short(last: int, end: int) -> bool:
    return last < sys.maxsize and last - end > _SHORTER * SAMPLE_RATE


def _note_end(known: Sequence[str], notes: list[str], samples: int, others: int) -> None:
    """Add a note that the recording ends within a segment, and within ``others``; not if it is known to be cut off."""
    if any(DAMAGED in note for note in known):
        return
    more = f", and so {'does 1 other' if others == 1 else f'do {others} others'} of its stretches" if others else ""
    length = f"{SHORTENED}, which is {samples / SAMPLE_RATE:.3f} s long"
    notes.append(f"{length}{more}: what is there is used; correct the times")


def _add(own: Recording, shared: Recording, piece: Waveform, given: int) -> None:
    own.rate, own.channels, own.progress = shared.rate, shared.channels, shared.progress
    own.silent = (own.silent or given == len(piece)) and not piece.any()
    own.peak = max(own.peak, float(piece.max()), -float(piece.min()))
    own.seconds = given / SAMPLE_RATE


def _without(count: int, blocks: Iterator[Waveform]) -> Iterator[Waveform]:
    """All blocks but their first ``count`` samples."""
    for block in blocks:
        if count < len(block):
            yield block[count:]
        count = max(0, count - len(block))
