"""The front end of a checkpoint as plain facts, and the arithmetic of its frames. No torch here."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, get_args

from spectag.audio.read import SAMPLE_RATE
from spectag.choices import WindowFunction
from spectag.errors import InputError

FRAME = 400  # samples = 25 ms at 16 kHz
HOP = 160  # samples = 10 ms at 16 kHz
FRAMES_PER_SECOND = SAMPLE_RATE // HOP
MOST_BINS, MOST_FRAMES = 2**12, 2**20  # limits for what a file may ask for, so that it cannot exhaust the memory


@dataclass(frozen=True)
class FrontEnd:
    """How waveforms become the inputs that one checkpoint was trained on; see :mod:`spectag.audio.fbank`.

    Args:
        window: ``hamming`` (paper, section 2) or ``hanning`` (the released code and weights).
        mel_bins: number of mel bands F.
        mean: mean of the training set's fbank (natural log units).
        std: standard deviation of the same; inputs are ``(fbank - mean) / (2 * std)``.
        frames: length T that the network was trained on, in frames of 10 ms.
        sample_rate: Hz; only 16 kHz is supported.

    Raises:
        InputError: a field is out of its range.

    >>> FrontEnd(frames=512).seconds
    5.12
    """

    window: WindowFunction = "hamming"
    mel_bins: int = 128
    mean: float = -4.2677393  # AudioSet
    std: float = 4.5689974  # AudioSet
    frames: int = 1024
    sample_rate: int = SAMPLE_RATE

    def __post_init__(self) -> None:
        if self.window not in get_args(WindowFunction):
            known = ", ".join(get_args(WindowFunction))
            raise InputError(f"front end: window must be one of {known}; got {self.window!r}")
        if self.sample_rate != SAMPLE_RATE:
            raise InputError(f"front end: sample_rate must be {SAMPLE_RATE} Hz; got {self.sample_rate!r}")
        for name in ("mel_bins", "frames"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"front end: {name} must be a positive whole number; got {value!r}")
        for name in ("mean", "std"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not math.isfinite(value):
                raise InputError(f"front end: {name} must be a finite number; got {value!r}")
        if self.mel_bins > MOST_BINS or self.frames > MOST_FRAMES:
            raise InputError(
                f"front end: at most {MOST_BINS} mel_bins and {MOST_FRAMES} frames are supported; "
                f"got {self.mel_bins} and {self.frames}"
            )
        if self.std <= 0:
            raise InputError(f"front end: std must be above 0; got {self.std!r}")

    @property
    def seconds(self) -> float:
        """Length of the network's window in seconds."""
        return self.frames / FRAMES_PER_SECOND

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


def num_frames(samples: int) -> int:
    """Frames T of a waveform of N samples: ``1 + (N - 400) // 160`` (snip edges), at least one; 0 for N = 0.

    >>> num_frames(16_000)
    98
    """
    if samples <= 0:
        return 0
    return 1 + max(0, samples - FRAME) // HOP
