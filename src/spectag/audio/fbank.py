"""The front end: Kaldi/HTK-compatible log-mel filterbank energies, and the functions that make network inputs of them.

The chain is ``fbank -> pad_or_cut -> (mask, in training only) -> normalise``: small functions, batched, differentiable,
and the same on any device. The values that a checkpoint was trained with are a :class:`spectag.FrontEnd`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectag.audio.front_end import FRAME, HOP, FrontEnd
from spectag.audio.read import SAMPLE_RATE
from spectag.audio.vml import call_each_once
from spectag.choices import WindowFunction
from spectag.errors import InputError

FFT = 512  # the power of two that holds a frame
PRE_EMPHASIS = 0.97
LOW_HZ = 20.0
HIGH_HZ = SAMPLE_RATE / 2
FLOOR = 2.0**-23  # float32 epsilon, 1.19e-7: Kaldi's floor before the logarithm
CACHED = 100_000  # samples whose overlapping, padded frames fit a cache of two megabytes

call_each_once()  # all that computes with threads imports this module first


def compute_inputs(waveform: Tensor | NDArray[np.float32], front_end: FrontEnd) -> Tensor:
    """The inputs that a network gets for a waveform, in evaluation.

    Args:
        waveform: ``[..., N]``, see :func:`fbank`.
        front_end: of the network's checkpoint.

    Returns:
        ``[..., frames, F]``: the fbank, padded or cut to the front end's length, and normalised.

    >>> compute_inputs(np.zeros(16_000, np.float32), spectag.FrontEnd(frames=512)).shape
    torch.Size([512, 128])
    """
    x = fbank(waveform, window=front_end.window, mel_bins=front_end.mel_bins)
    return normalise(pad_or_cut(x, front_end.frames), front_end.mean, front_end.std)


def fbank(waveform: Tensor | NDArray[np.float32], *, window: WindowFunction = "hamming", mel_bins: int = 128) -> Tensor:
    """Log-mel filterbank energies as Kaldi's ``compute-fbank-feats --htk-compat`` computes them, without dither.

    25 ms frames every 10 ms, mean removed and pre-emphasised (0.97) frame by frame, windowed, power spectrum of 512
    points, triangular mel filters from 20 to 8000 Hz, natural logarithm with a floor of 2**-23.
    Since each frame's mean is removed, removing the clip's mean first (as the published code does) changes nothing.

    Args:
        waveform: ``[..., N]``, 16 kHz, full scale 1.0. Fewer than 400 samples are zero-padded to one frame. Their
            mean is removed first, so that the padding does not add a step.
        window: ``hamming`` (paper) or ``hanning`` (released weights).
        mel_bins: number of bands F.

    Returns:
        ``[..., T, F]`` float32 on the waveform's device, ``T = max(1, 1 + (N - 400) // 160)``, not normalised.

    Raises:
        InputError: no samples, samples that are not floating point, an unknown window, or no bands.

    >>> fbank(torch.zeros(2, 16_000)).shape
    torch.Size([2, 98, 128])
    """
    x = torch.as_tensor(np.ascontiguousarray(waveform) if isinstance(waveform, np.ndarray) else waveform)
    if x.ndim == 0 or x.numel() == 0:
        raise InputError(f"fbank: expected a waveform [..., N] with at least one sample, got shape {list(x.shape)}")
    if not x.is_floating_point():
        raise InputError(f"fbank: expected floating-point samples with full scale 1.0, got {x.dtype}: divide first")
    if window not in get_args(WindowFunction):
        raise InputError(f"fbank: window must be one of {', '.join(get_args(WindowFunction))}; got {window!r}")
    if mel_bins < 1:
        raise InputError(f"fbank: mel_bins must be at least 1; got {mel_bins}")
    x = x.float()
    x = x - x.mean(-1, keepdim=True)  # only reduces the rounding error of a large offset
    if x.shape[-1] < FRAME:
        x = torch.nn.functional.pad(x, (0, FRAME - x.shape[-1]))
    tables = make_window(window, x.device), make_mel_filters(mel_bins, x.device)
    if x.ndim > 1 and x.device.type == "cpu":  # a few rows at a time, so that their frames fit the cache
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
    """Waveform ``[..., N]`` -> spectra of the frames as real and imaginary parts, ``[..., T, 257, 2]``.

    Kaldi removes each frame's mean m and then pre-emphasises it with a = 0.97::

        y[n] = (x[n] - m) - a (x[n-1] - m) = (x[n] - a x[n-1]) - (1 - a) m     for n > 0
        y[0] = (x[0] - m) - a (x[0]   - m) = (1 - a) x[0]      - (1 - a) m

    The first term for n > 0 is the same in every frame that holds the sample, so it is computed once per sample instead
    of once per frame and sample.
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
    """The fbank of a waveform that comes in pieces; memory does not grow with its length.

    Args:
        blocks: consecutive pieces ``[N]`` of one waveform, of any lengths.
        front_end: its window and bands are used.

    Yields:
        ``[t, F]`` with t >= 1, in order. Concatenated they equal the fbank ``[T, F]`` of the whole waveform, except for
        rounding. Nothing when there are no samples.

    >>> [len(x) for x in fbank_blocks([np.zeros(8_000, np.float32)] * 2, spectag.FrontEnd())]
    [48, 50]
    """
    rest = np.zeros(0, np.float32)
    started = False
    for block in blocks:
        rest = np.concatenate([rest, block])
        if len(rest) >= FRAME:
            piece = fbank(rest, window=front_end.window, mel_bins=front_end.mel_bins)
            started = True
            yield piece
            rest = rest[len(piece) * HOP :]
    if not started and len(rest):
        yield fbank(rest, window=front_end.window, mel_bins=front_end.mel_bins)


def pad_or_cut(x: Tensor, frames: int) -> Tensor:
    """Pad an fbank with zeros at its end, or cut it at its end, to a number of frames.

    This comes before normalisation, as in the released code.

    Args:
        x: fbank ``[..., T, F]``.
        frames: the number of frames wanted.

    Returns:
        ``[..., frames, F]``; x itself if it already has that length.

    >>> pad_or_cut(torch.ones(98, 128), 100)[97:].sum(1)
    tensor([128.,   0.,   0.])
    """
    missing = frames - x.shape[-2]
    if missing > 0:
        return torch.nn.functional.pad(x, (0, 0, 0, missing))
    return x if missing == 0 else x[..., :frames, :]


def normalise(x: Tensor, mean: float, std: float) -> Tensor:
    """``(x - mean) / (2 * std)``: mean 0 and standard deviation 0.5 over the data set (paper, section 2).

    >>> normalise(torch.tensor([1.0, 5.0]), mean=1.0, std=2.0)
    tensor([0., 1.])
    """
    return (x - mean) / (2 * std)


# A table made within inference_mode could not be used by a caller that differentiates, so both are made outside of it.
@lru_cache(maxsize=16)
@torch.inference_mode(False)
def make_window(name: WindowFunction, device: torch.device) -> Tensor:
    """The window function of a frame, ``[400]``.

    >>> make_window("hanning", torch.device("cpu"))[0]
    tensor(0.)
    """
    make = {"hamming": torch.hamming_window, "hanning": torch.hann_window}[name]
    return make(FRAME, periodic=False, dtype=torch.float64).float().to(device)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def make_mel_filters(bins: int, device: torch.device) -> Tensor:
    """Triangles of equal width on the mel scale ``1127 ln(1 + f / 700)``, ``[257, bins]``; Nyquist weighs 0.

    >>> make_mel_filters(128, torch.device("cpu")).shape
    torch.Size([257, 128])
    """

    def mel(hz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hz / 700.0)

    low, high = mel(torch.tensor([LOW_HZ, HIGH_HZ], dtype=torch.float64))
    width = (high - low) / (bins + 1)
    left = low + width * torch.arange(bins, dtype=torch.float64)  # [bins]
    lines = mel(torch.arange(FFT // 2, dtype=torch.float64) * SAMPLE_RATE / FFT)[:, None]  # [256, 1]
    up, down = (lines - left) / width, (left + 2 * width - lines) / width
    filters = torch.minimum(up, down).clamp_min(0)
    return torch.nn.functional.pad(filters, (0, 0, 0, 1)).float().to(device)
