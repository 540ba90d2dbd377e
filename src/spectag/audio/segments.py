"""Many segments of one recording, which is decoded once for all of them."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from spectag.audio.read import SAMPLE_RATE, Recording, Waveform, beyond_end, open
from spectag.audio.source import Segment, Source, describe
from spectag.errors import AudioError, InputError


def read_segments(
    sources: Sequence[Source], note: Callable[[str], None] = lambda _: None
) -> Iterator[Waveform | AudioError | InputError]:
    """Read what :func:`spectag.audio.read.read` reads, but decode a recording only once for all of its segments.

    The recording is decoded while the segments are drawn, so memory holds one segment and one block at a time.

    Args:
        sources: segments of one recording in the order of their starts. Anything else is read one by one.
        note: called with each note about the recording, preceded by its name.

    Yields:
        for each source its waveform ``[N]``, or the error that reading it raises.

    >>> noise = np.random.default_rng(0).standard_normal(32_000)
    >>> [len(x) for x in read_segments([Segment(noise, 0.0, 1.5), Segment(noise, 1.0, 3.0)])]
    [24000, 16000]
    """
    segments = [source for source in sources if isinstance(source, Segment)]
    ordered = all(one.start <= other.start for one, other in pairwise(segments))
    if len(segments) < max(2, len(sources)) or not ordered or not all(map(_is_valid, segments)):
        yield from (_read_alone(source, note) for source in sources)
        return
    ends = [math.inf if segment.end is None else segment.end for segment in segments]
    recording = open(Segment(segments[0].file, 0.0, None if math.inf in ends else max(ends)))
    blocks = recording.blocks()
    held: deque[tuple[int, Waveform]] = deque()  # blocks that are still needed, with the samples before each
    count = 0  # samples that were decoded
    for number, (segment, end) in enumerate(zip(segments, ends, strict=True)):
        first, last = round(segment.start * SAMPLE_RATE), sys.maxsize if math.isinf(end) else round(end * SAMPLE_RATE)
        while held and held[0][0] + len(held[0][1]) <= first:
            held.popleft()
        try:
            while count < last and (block := next(blocks, None)) is not None:
                if count + len(block) > first:
                    held.append((count, block))
                count += len(block)
        except (AudioError, InputError):  # the damage may be behind the end of this segment
            yield from (_read_alone(segment, note) for segment in segments[number:])
            return
        pieces = [block[max(0, first - at) : max(0, last - at)] for at, block in held]
        waveform = np.concatenate([np.empty(0, np.float32), *pieces])
        if len(waveform):
            yield waveform
        else:  # where nothing was read at all, or no sample lies between the times, reading says what is wrong
            yield beyond_end(describe(segment), count) if 0 < count <= first else _read_alone(segment, note)
    _report(recording, note)


def _is_valid(segment: Segment) -> bool:
    return 0 <= segment.start < (math.inf if segment.end is None else segment.end)


def _read_alone(source: Source, note: Callable[[str], None]) -> Waveform | AudioError | InputError:
    recording = open(source)
    try:
        waveform = np.concatenate(list(recording.blocks()))
    except (AudioError, InputError) as error:
        return error
    _report(recording, note)
    return waveform


def _report(recording: Recording, note: Callable[[str], None]) -> None:
    for text in recording.notes:
        note(f"{recording.name}: {text}")
