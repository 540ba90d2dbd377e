"""The front end as nodes of an ONNX graph: waveforms -> inputs, as :mod:`spectag.audio.fbank` computes them.

All that happens to a frame before its power is taken is linear: its mean is removed, it is pre-emphasised, windowed and
transformed. So it is one matrix, which a convolution with a stride of 10 ms applies to all frames.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from spectag.audio.fbank import FFT, FLOOR, PRE_EMPHASIS, make_mel_filters, make_window
from spectag.audio.front_end import FRAME, HOP, FrontEnd
from spectag.choices import WindowFunction
from spectag.engines.nodes import Nodes

CPU = torch.device("cpu")
LINES = FFT // 2  # of the spectrum; that at half the sampling rate is in no band


def add_front_end(nodes: Nodes, waveform: str, inputs: str, front_end: FrontEnd) -> None:
    """Add the front end to a graph.

    Args:
        nodes: of the graph.
        waveform: name of the waveform ``[B, N]``, 16 kHz, with N >= 1.
        inputs: name of the result ``[B, T, F]``, with ``T = max(frames, 1 + (N - 400) // 160)``.
        front_end: of the model. Waveforms shorter than its frames are padded, longer ones are not cut.

    >>> nodes = Nodes()
    >>> add_front_end(nodes, "waveform", "inputs", spectag.FrontEnd())
    >>> nodes.nodes[-1].output
    ['inputs']
    """
    x = nodes("Sub", waveform, nodes("ReduceMean", waveform, np.array([1]), keepdims=1))
    x = _add_padding(nodes, x, FRAME, axes=2)
    x = nodes("Unsqueeze", x, np.array([1]))  # [B, 1, N]
    kernel = make_spectrum_kernel(front_end.window)[:, None]
    x = nodes("Conv", x, kernel, name="front_end.spectrum", strides=[HOP])
    real, imaginary = nodes.split(x, [LINES, LINES], axis=1)  # [B, 256, T]
    power = nodes("Add", nodes("Mul", real, real), nodes("Mul", imaginary, imaginary))
    filters = make_mel_filters(front_end.mel_bins, CPU)[:LINES].numpy()
    mel = nodes("MatMul", nodes("Transpose", power, perm=[0, 2, 1]), filters, name="front_end.mel")
    x = nodes("Log", nodes("Max", mel, np.float32(FLOOR)))
    x = _add_padding(nodes, x, front_end.frames, axes=3)
    centred = nodes("Sub", x, np.float32(front_end.mean))
    nodes("Div", centred, np.float32(2 * front_end.std), name=inputs)


def _add_padding(nodes: Nodes, x: str, size: int, axes: int) -> str:
    """Pad the second of two or three axes with zeros at its end to at least a size."""
    missing = nodes("Max", nodes("Sub", np.array([size]), nodes("Shape", x, start=1, end=2)), np.array([0]))
    before = np.zeros(axes + 1, np.int64)
    pads = nodes("Concat", before, missing, *([np.array([0])] if axes == 3 else []), axis=0)
    return nodes("Pad", x, pads, np.float32(0))


@lru_cache(maxsize=2)
def make_spectrum_kernel(window: WindowFunction) -> NDArray[np.float32]:
    """The matrix that turns the samples of a frame into its spectrum, ``[2 * 256, 400]``: real, then imaginary parts.

    >>> make_spectrum_kernel("hamming").shape
    (512, 400)
    """
    samples = np.arange(FRAME)
    steps = np.eye(FRAME) - np.full((FRAME, FRAME), 1 / FRAME)  # the mean is removed
    emphasis = np.eye(FRAME) - PRE_EMPHASIS * np.eye(FRAME, k=-1)
    emphasis[0, 0] -= PRE_EMPHASIS  # what would be before the first sample is the first one
    angles = -2j * np.pi * np.outer(np.arange(LINES), samples) / FFT
    spectrum = np.exp(angles) * make_window(window, CPU).double().numpy()
    kernel = spectrum @ emphasis @ steps
    return np.concatenate([kernel.real, kernel.imag]).astype(np.float32)
