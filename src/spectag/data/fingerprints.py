"""Fingerprints of recordings, by which two cuts of one recording are found.

::

    waveform -> energies of bands, 31 times a second -> 20 bits each -> equal bits at one distance -> overlaps

A bit tells whether the difference of two neighbouring bands rises or falls (Haitsma and Kalker 2002, "A Highly Robust
Audio Fingerprinting System"). Bits survive another level, a lossy format, and a cut at any sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectag.audio.read import SAMPLE_RATE, Waveform

try:
    from scipy.fft import rfft
except ImportError:  # the same, at a fifth of the speed
    from numpy.fft import rfft

WINDOW, HOP = 2048, 512  # samples: 128 ms every 32 ms
QUIET = 1e-3  # amplitude below which a window has no bits
BANDS = 16  # of 500 Hz, of the mean spectrum

_PART = 8 * WINDOW  # samples at once: their windows fit into a processor's cache
_LAG = 4  # windows between which energies are compared
_EDGES = np.unique(np.round(np.geomspace(200, 6000, 22) * WINDOW / SAMPLE_RATE).astype(int))
_SHAPE = np.hanning(WINDOW).astype(np.float32)
_BITS = len(_EDGES) - 2
_NEAR = 4  # clips with equal bits that each is compared with
_INDEXED = 2**21  # windows by which clips are found to be compared; of 18 hours or more, the share that fits
_LEAST, _WRONG = 24, 0.3  # windows that two cuts share; bits of them that may differ (0.5 between strangers)


class Fingerprint:
    """The fingerprint and the mean spectrum of a recording, block by block.

    >>> fingerprint = Fingerprint()
    >>> fingerprint.add(np.random.default_rng(0).uniform(-1, 1, 16_000).astype(np.float32))
    >>> len(fingerprint.keys())
    24
    """

    def __init__(self) -> None:
        self._rest: Waveform = np.zeros(0, np.float32)
        self._recent = np.zeros((0, _BITS), np.float32)
        self._keys: list[NDArray[np.uint32]] = []
        self._power = np.zeros(BANDS)
        self._windows = 0

    def add(self, block: Waveform) -> None:
        """Continue with the next samples, float32 ``[n]`` at 16 kHz."""
        for start in range(0, len(block), _PART):
            self._add(block[start : start + _PART])

    def _add(self, block: Waveform) -> None:
        samples = np.concatenate([self._rest, block])
        count = (len(samples) - WINDOW) // HOP + 1
        if count < 1:
            self._rest = samples
            return
        windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
        spectrum = rfft(windows * _SHAPE)[:, :-1]
        power = spectrum.real**2 + spectrum.imag**2
        self._power += power.sum(0).reshape(BANDS, -1).mean(1)
        self._windows += count
        energies = np.log(np.add.reduceat(power[:, : _EDGES[-1]], _EDGES[:-1], axis=1) + 1e-9)
        slopes = np.concatenate([self._recent, np.diff(energies, axis=1)])
        bits = slopes[_LAG:] > slopes[:-_LAG]
        keys = (bits @ (1 << np.arange(_BITS))).astype(np.uint32)
        loud = np.maximum(windows.max(1), -windows.min(1)) > QUIET
        self._keys.append(np.where(loud[len(loud) - len(keys) :], keys, 0).astype(np.uint32))
        self._recent = slopes[-_LAG:]
        self._rest = samples[count * HOP :]

    def keys(self) -> NDArray[np.uint32]:
        """The bits of each window, the first in the lowest place; 0 where it is quiet."""
        return np.concatenate([np.zeros(0, np.uint32), *self._keys])

    def spectrum(self) -> NDArray[np.float64]:
        """Mean power in each 500 Hz from 0 to 8 kHz; white noise has the square of its deviation."""
        return self._power / max(self._windows, 1) / float(_SHAPE @ _SHAPE)


class Overlap(NamedTuple):
    """Two clips that hold the same stretch of sound.

    Args:
        one, other: their indices, in ascending order.
        start, other_start: seconds at which it begins in each.
        seconds: its length.

    >>> Overlap(0, 1, 2.0, 0.0, 3.0).seconds
    3.0
    """

    one: int
    other: int
    start: float
    other_start: float
    seconds: float


def find_overlaps(fingerprints: Sequence[NDArray[np.uint32]]) -> list[Overlap]:
    """Find the pairs of clips that share a stretch of 0.8 s or more.

    Args:
        fingerprints: of the clips, ``[windows]`` each.

    >>> sound = np.random.default_rng(0).uniform(-1, 1, 48_000).astype(np.float32)
    >>> one, other = Fingerprint(), Fingerprint()
    >>> one.add(sound)
    >>> other.add(0.3 * sound[20_000:])
    >>> [(found.one, found.other, round(found.start, 1)) for found in find_overlaps([one.keys(), other.keys()])]
    [(0, 1, 1.2)]
    """
    lengths = np.array([len(keys) for keys in fingerprints], np.int64)
    keys = np.concatenate([np.zeros(0, np.uint32), *fingerprints])
    step = len(keys) // _INDEXED + 1
    kept = (keys > 0) & (keys * np.uint32(2654435761) % np.uint32(step) == 0)  # the same keys of all clips
    windows = np.nonzero(kept)[0]
    order = np.argsort(keys[windows], kind="stable")  # clips stay in ascending order
    keys, windows = keys[windows][order], windows[order]
    clips = np.repeat(np.arange(len(lengths)), lengths)[windows]
    places = windows - (np.cumsum(lengths) - lengths)[clips]
    reach = int(lengths.max(initial=0)) + 1
    found = [np.zeros(0, np.int64)]
    for apart in range(1, min(_NEAR, len(keys) - 1) + 1):
        same = (keys[apart:] == keys[:-apart]) & (clips[apart:] != clips[:-apart])
        distance = (places[:-apart] - places[apart:])[same] + reach
        found.append((clips[:-apart][same] * len(lengths) + clips[apart:][same]) * (2 * reach) + distance)
    best: dict[tuple[int, int], Overlap] = {}
    for code in np.unique(np.concatenate(found)).tolist():
        pair, distance = divmod(code, 2 * reach)
        one, other = divmod(pair, len(lengths))
        overlap = _compare(fingerprints, one, other, distance - reach)
        if overlap and overlap.seconds > best.get((one, other), overlap._replace(seconds=0.0)).seconds:
            best[one, other] = overlap
    return [best[pair] for pair in sorted(best)]


def _compare(fingerprints: Sequence[NDArray[np.uint32]], one: int, other: int, distance: int) -> Overlap | None:
    """The overlap of two clips whose windows are this far apart, if their bits are nearly the same there."""
    a, b = fingerprints[one][max(distance, 0) :], fingerprints[other][max(-distance, 0) :]
    length = min(len(a), len(b))
    a, b = a[:length], b[:length]
    heard = (a > 0) & (b > 0)
    if heard.sum() < _LEAST:
        return None
    wrong = np.unpackbits((a ^ b)[heard].view(np.uint8)).sum() / (heard.sum() * _BITS)
    if wrong > _WRONG:
        return None
    unit = HOP / SAMPLE_RATE
    return Overlap(one, other, max(distance, 0) * unit, max(-distance, 0) * unit, length * unit)
