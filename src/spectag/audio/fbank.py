"""The front end: Kaldi/HTK-compatible log-mel filterbank energies, and what turns them into network inputs.

The chain is ``fbank -> fit -> (mask, training only) -> normalise``: small functions, composed in plain sight, batched,
differentiable, and the same on any device. What a checkpoint was trained with is a :class:`FrontEnd`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectag.audio.read import SAMPLE_RATE
from spectag.errors import InputError

Window = Literal["hamming", "hanning"]

FRAME = 400  # samples = 25 ms at 16 kHz
HOP = 160  # samples = 10 ms at 16 kHz
FRAMES_PER_SECOND = SAMPLE_RATE // HOP
FFT = 512  # the power of two that holds a frame
PRE_EMPHASIS = 0.97
MOST_BINS, MOST_FRAMES = 2**12, 2**20  # what a file may ask for, lest it ask for all memory
LOW_HZ = 20.0
HIGH_HZ = SAMPLE_RATE / 2
FLOOR = 2.0**-23  # float32 epsilon, 1.19e-7: Kaldi's floor before the logarithm
CACHED = 100_000  # samples whose frames, overlapping and padded, fit a cache of two megabytes


@dataclass(frozen=True)
class FrontEnd:
    """What turns a waveform into the inputs that one checkpoint was trained on.

    Args:
        window: ``hamming`` (paper, section 2) or ``hanning`` (the released code and weights).
        mel_bins: number of mel bands F.
        mean: mean of the training set's fbank (natural log units).
        std: standard deviation of the same; inputs are ``(fbank - mean) / (2 * std)``, so that they have 0 and 0.5.
        frames: length T that the network was trained on, in frames of 10 ms.
        sample_rate: Hz; only 16 kHz is known.

    Raises:
        InputError: a field out of its range.
    """

    window: Window = "hamming"
    mel_bins: int = 128
    mean: float = -4.2677393  # AudioSet
    std: float = 4.5689974  # AudioSet
    frames: int = 1024
    sample_rate: int = SAMPLE_RATE

    def __post_init__(self) -> None:
        if self.window not in get_args(Window):
            raise InputError(f"front end: window must be one of {', '.join(get_args(Window))}; got {self.window!r}")
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
                f"front end: at most {MOST_BINS} mel_bins and {MOST_FRAMES} frames are taken; "
                f"got {self.mel_bins} and {self.frames}"
            )
        if self.std <= 0:
            raise InputError(f"front end: std must be above 0; got {self.std!r}")

    @property
    def seconds(self) -> float:
        """Length of the network's window in seconds."""
        return self.frames / FRAMES_PER_SECOND

    def fbank(self, waveform: Tensor | NDArray[np.float32]) -> Tensor:
        """Waveform ``[..., N]`` -> fbank ``[..., T, F]``, see :func:`fbank`."""
        return fbank(waveform, window=self.window, mel_bins=self.mel_bins)

    def normalise(self, x: Tensor) -> Tensor:
        """Fbank -> inputs, see :func:`normalise`."""
        return normalise(x, self.mean, self.std)

    def inputs(self, waveform: Tensor | NDArray[np.float32]) -> Tensor:
        """Waveform ``[..., N]`` -> inputs ``[..., frames, F]``: fbank, fitted, normalised."""
        return self.normalise(fit(self.fbank(waveform), self.frames))

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


def num_frames(samples: int) -> int:
    """Frames T of a waveform of N samples: ``1 + (N - 400) // 160`` (snip edges), at least one; 0 for N = 0."""
    if samples <= 0:
        return 0
    return 1 + max(0, samples - FRAME) // HOP


def fbank(waveform: Tensor | NDArray[np.float32], *, window: Window = "hamming", mel_bins: int = 128) -> Tensor:
    """Log-mel filterbank energies as Kaldi's ``compute-fbank-feats --htk-compat`` computes them, without dither.

    25 ms frames every 10 ms, mean removed and pre-emphasised (0.97) frame by frame, windowed, power spectrum of 512
    points, triangular mel filters from 20 to 8000 Hz, natural logarithm with a floor of 2**-23.
    Since each frame's mean is removed, removing the clip's mean first (as the published code does) changes nothing.

    Args:
        waveform: ``[..., N]``, 16 kHz, full scale 1.0. Fewer than 400 samples are zero-padded to one frame, their
            mean removed first, lest the padding add a step.
        window: ``hamming`` (paper) or ``hanning`` (released weights).
        mel_bins: number of bands F.

    Returns:
        ``[..., T, F]`` float32 on the waveform's device, ``T = max(1, 1 + (N - 400) // 160)``, not normalised.

    Raises:
        InputError: no samples, or not floating point, an unknown window or no bands.
    """
    x = torch.as_tensor(np.ascontiguousarray(waveform) if isinstance(waveform, np.ndarray) else waveform)
    if x.ndim == 0 or x.numel() == 0:
        raise InputError(f"fbank: expected a waveform [..., N] with at least one sample, got shape {list(x.shape)}")
    if not x.is_floating_point():
        raise InputError(f"fbank: expected floating-point samples with full scale 1.0, got {x.dtype}: divide first")
    if window not in get_args(Window):
        raise InputError(f"fbank: window must be one of {', '.join(get_args(Window))}; got {window!r}")
    if mel_bins < 1:
        raise InputError(f"fbank: mel_bins must be at least 1; got {mel_bins}")
    x = x.float()
    x = x - x.mean(-1, keepdim=True)  # changes nothing but the rounding of a large offset
    if x.shape[-1] < FRAME:
        x = torch.nn.functional.pad(x, (0, FRAME - x.shape[-1]))
    tables = _window(window, x.device), _mel_filters(mel_bins, x.device)
    if x.ndim > 1 and x.device.type == "cpu":  # a few at a time, so that their frames fit a processor's cache
        few = torch.split(x.flatten(0, -2), max(1, CACHED // x.shape[-1]))
        out = torch.cat([_log_mel(rows, *tables) for rows in few])
        return out.reshape(*x.shape[:-1], *out.shape[1:])
    return _log_mel(x, *tables)


def _log_mel(x: Tensor, window: Tensor, filters: Tensor) -> Tensor:
    """Waveform ``[..., N]`` -> fbank ``[..., T, F]``."""
    real, imaginary = _spectrum(x, window).unbind(-1)  # [..., T, 257]
    power = torch.addcmul(real.square(), imaginary, imaginary)
    return (power @ filters).clamp_min(FLOOR).log()


def _spectrum(x: Tensor, window: Tensor) -> Tensor:
    """Waveform ``[..., N]`` -> frames' spectra as real and imaginary parts, ``[..., T, 257, 2]``.

    The waveform is pre-emphasised once, not frame by frame, though each sample lies in 2.5 frames; which leaves of a
    frame's mean ``(1 - 0.97) * mean``, and of its first sample, whose predecessor is itself, ``(1 - 0.97)`` of it.
    """
    frames = x.unfold(-1, FRAME, HOP)  # [..., T, 400], a view
    emphasised = (x[..., 1:] - PRE_EMPHASIS * x[..., :-1]).unfold(-1, FRAME - 1, HOP)
    padded = x.new_zeros(*frames.shape[:-1], FFT)
    padded[..., 1:FRAME] = emphasised[..., : frames.shape[-2], :]
    padded[..., :1] = (1 - PRE_EMPHASIS) * frames[..., :1]
    padded[..., :FRAME] -= (1 - PRE_EMPHASIS) * frames.mean(-1, keepdim=True)
    padded[..., :FRAME] *= window
    return torch.view_as_real(torch.fft.rfft(padded))


def fbank_blocks(blocks: Iterable[NDArray[np.float32]], front_end: FrontEnd) -> Iterator[Tensor]:
    """The fbank of a waveform that comes in pieces: concatenated, ``[T, F]``, that of the whole but for rounding.

    Args:
        blocks: consecutive pieces ``[N]`` of one waveform, of any lengths.
        front_end: whose window and bands are used.

    Yields:
        ``[t, F]`` with t >= 1, in order; nothing when there are no samples.
    """
    rest = np.zeros(0, np.float32)
    started = False
    for block in blocks:
        rest = np.concatenate([rest, block])
        if len(rest) >= FRAME:
            piece = front_end.fbank(rest)
            started = True
            yield piece
            rest = rest[len(piece) * HOP :]
    if not started and len(rest):
        yield front_end.fbank(rest)


def fit(x: Tensor, frames: int) -> Tensor:
    """Pad with zeros at the end, or cut at the end, to a number of frames; in fbank units, before normalising.

    Args:
        x: fbank ``[..., T, F]``.
        frames: wanted T.

    Returns:
        ``[..., frames, F]``; x itself where nothing is to do.
    """
    missing = frames - x.shape[-2]
    if missing > 0:
        return torch.nn.functional.pad(x, (0, 0, 0, missing))
    return x if missing == 0 else x[..., :frames, :]


def normalise(x: Tensor, mean: float, std: float) -> Tensor:
    """``(x - mean) / (2 * std)``: mean 0 and standard deviation 0.5 over the data set (paper, section 2)."""
    return (x - mean) / (2 * std)


# Both tables serve every caller, those that differentiate included, whoever was the first to ask.
@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _window(name: Window, device: torch.device) -> Tensor:
    make = {"hamming": torch.hamming_window, "hanning": torch.hann_window}[name]
    return make(FRAME, periodic=False, dtype=torch.float64).float().to(device)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _mel_filters(bins: int, device: torch.device) -> Tensor:
    """Triangles of equal width on the mel scale ``1127 ln(1 + f / 700)``, ``[257, bins]``; Nyquist weighs 0."""

    def mel(hz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hz / 700.0)

    low, high = mel(torch.tensor([LOW_HZ, HIGH_HZ], dtype=torch.float64))
    width = (high - low) / (bins + 1)
    left = low + width * torch.arange(bins, dtype=torch.float64)  # [bins]
    lines = mel(torch.arange(FFT // 2, dtype=torch.float64) * SAMPLE_RATE / FFT)[:, None]  # [256, 1]
    up, down = (lines - left) / width, (left + 2 * width - lines) / width
    filters = torch.minimum(up, down).clamp_min(0)
    return torch.nn.functional.pad(filters, (0, 0, 0, 1)).float().to(device)
