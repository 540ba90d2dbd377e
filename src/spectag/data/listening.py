"""What decoding one clip shows about it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spectag.audio.read import SAMPLE_RATE, Recording, Waveform
from spectag.audio.segments import Read, read_group
from spectag.data.fingerprints import BANDS, Fingerprint
from spectag.data.manifest import Clip
from spectag.errors import AudioError, InputError, SpectagError

FULL_SCALE = 0.999  # magnitude from which a sample counts as clipped
_NOISE = 4 / 2**30 / 12  # power below which a band holds no more than rounding to 16 bits adds
_LOUD = 1e4  # times as much in the loudest band: what is there would be heard


@dataclass(frozen=True)
class Reading:
    """What is known about a clip after decoding it.

    Args:
        clip: the clip.
        samples: at 16 kHz; 0 if it cannot be read.
        peak: largest magnitude, full scale = 1.0.
        clipped: fraction of the samples at full scale, 0..1.
        digest: hash of the waveform, rounded to 16 bits.
        highest: frequency in Hz above which there is nothing, up to 8000.
        keys: the fingerprint, see :mod:`spectag.data.fingerprints`.
        rate: sampling rate of the file in Hz; None if it cannot be read.
        channels: channels of the file; None if it cannot be read.
        error: why it cannot be read; None if it can.
        notes: problems that did not prevent reading, one line each.

    >>> from spectag.data.manifest import Clip
    >>> Reading(Clip("1.wav", Path("1.wav"), ()), 8000, 0.5, 0.0, b"", 44_100, 2, None, ()).seconds
    0.5
    """

    clip: Clip
    samples: int
    peak: float
    clipped: float
    digest: bytes
    rate: int | None
    channels: int | None
    error: SpectagError | None
    notes: tuple[str, ...]
    highest: int = SAMPLE_RATE // 2
    keys: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32), repr=False, compare=False)

    @property
    def seconds(self) -> float:
        """Duration of the clip."""
        return self.samples / SAMPLE_RATE


def listen(clips: Sequence[Clip], read: Read | None = None) -> Iterator[Reading]:
    """Decode clips once, block by block.

    Args:
        clips: one, or segments of one file by their starts, see :func:`spectag.audio.segments.read_group`.
        read: as there.

    >>> [reading] = listen([Clip("1.wav", Path("1.wav"), ())])
    >>> reading.error.reason
    'expected a file, found none: check the path'
    """
    for clip, (recording, blocks) in zip(clips, read_group([clip.source for clip in clips], read), strict=True):
        yield _listen(clip, recording, blocks)


def _listen(clip: Clip, recording: Recording, blocks: Iterable[Waveform]) -> Reading:
    digest = hashlib.blake2b(digest_size=16)
    fingerprint = Fingerprint()
    samples = full = 0
    error = None
    try:
        for block in blocks:
            full += int(np.count_nonzero(np.abs(block) >= FULL_SCALE))
            samples += len(block)
            fingerprint.add(block)
            digest.update(np.clip(np.rint(block * 32768), -32768, 32767).astype("<i2").data)
    except (AudioError, InputError) as failure:  # InputError: the start or end of the segment is invalid
        samples, error = 0, failure
    return Reading(
        clip=clip,
        samples=samples,
        peak=recording.peak,
        clipped=full / samples if samples else 0.0,
        digest=digest.digest(),
        rate=None if error else round(recording.rate),
        channels=None if error else recording.channels,
        error=error,
        notes=tuple(recording.notes),
        highest=_highest(fingerprint.spectrum()),
        keys=fingerprint.keys(),
    )


def _highest(spectrum: NDArray[np.float64]) -> int:
    """The upper end of the highest band with sound in it, in Hz; that of the last where all is quiet."""
    heard = np.nonzero(spectrum > _NOISE)[0]
    loud = spectrum.max() > _LOUD * _NOISE
    return (int(heard[-1]) + 1 if loud else BANDS) * SAMPLE_RATE // 2 // BANDS
