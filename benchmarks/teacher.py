"""EfficientAT's ``mn04_as`` as a teacher: a small convolutional network that scores the 527 classes of AudioSet.

    TEACHER=mn04_as_mAP_432.safetensors spectag train distill --teacher benchmarks.teacher:mn04 --data SOUNDS --out RUN

Schmid et al. 2023, "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge Distillation": a MobileNetV3
of 0.98 M parameters, mean average precision 0.432 on AudioSet. Its weights are not part of spectag: the environment
variable ``TEACHER`` names the file, the published state dict as safetensors.

It is also an example of a function as a teacher: it takes a waveform and its rate, and returns scores and features.
"""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path

import numpy as np
import scipy.signal
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spectag import LabelSet

RATE = 32_000
HOP, FFT, WINDOW, BINS = 320, 1024, 800, 128

# Per block: kernel, channels within, channels out, width of the squeeze-and-excitation (0: none), activation, stride
BLOCKS = [
    (3, 8, 8, 0, "relu", 1),
    (3, 24, 16, 0, "relu", 2),
    (3, 32, 16, 0, "relu", 1),
    (5, 32, 16, 8, "relu", 2),
    (5, 48, 16, 16, "relu", 1),
    (5, 48, 16, 16, "relu", 1),
    (3, 96, 32, 0, "hardswish", 2),
    (3, 80, 32, 0, "hardswish", 1),
    (3, 72, 32, 0, "hardswish", 1),
    (3, 72, 32, 0, "hardswish", 1),
    (3, 192, 48, 48, "hardswish", 1),
    (3, 272, 48, 72, "hardswish", 1),
    (5, 272, 64, 72, "hardswish", 2),
    (5, 384, 64, 96, "hardswish", 1),
    (5, 384, 64, 96, "hardswish", 1),
]


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm, and an activation if one is named."""

    def __init__(
        self, inner: int, outer: int, kernel: int, stride: int = 1, groups: int = 1, activation: str = ""
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outer, eps=0.001),
        ]
        if activation:
            layers.append(nn.ReLU() if activation == "relu" else nn.Hardswish())
        super().__init__(*layers)


class Excitation(nn.Module):
    """Squeeze-and-excitation over channels, in the names of the published weights."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        layer = nn.Module()
        layer.fc1, layer.fc2 = nn.Linear(channels, width), nn.Linear(width, channels)
        self.conc_se_layers = nn.ModuleList([layer])

    def forward(self, x: Tensor) -> Tensor:
        layer = self.conc_se_layers[0]
        gate = layer.fc2(layer.fc1(x.mean((2, 3))).relu()).sigmoid()
        return x * gate[:, :, None, None]


class Residual(nn.Module):
    """An inverted residual block: expand, depthwise convolution, excitation, project."""

    def __init__(self, inner: int, block: tuple[int, int, int, int, str, int]) -> None:
        super().__init__()
        kernel, within, outer, width, activation, stride = block
        steps: list[nn.Module] = [] if within == inner else [ConvNorm(inner, within, 1, activation=activation)]
        steps.append(ConvNorm(within, within, kernel, stride, groups=within, activation=activation))
        if width:
            steps.append(Excitation(within, width))
        steps.append(ConvNorm(within, outer, 1))
        self.block = nn.Sequential(*steps)
        self.adds = stride == 1 and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        return x + out if self.adds else out


class MobileNet(nn.Module):
    """Mel spectrograms ``[B, 1, 128, T]`` -> logits ``[B, 527]`` and features ``[B, 384]``."""

    def __init__(self) -> None:
        super().__init__()
        channels = [8, *(block[2] for block in BLOCKS)]
        self.features = nn.Sequential(
            ConvNorm(1, 8, 3, 2, activation="hardswish"),
            *(Residual(inner, block) for inner, block in zip(channels, BLOCKS, strict=False)),
            ConvNorm(64, 384, 1, activation="hardswish"),
        )
        self.classifier = nn.Sequential(
            nn.Identity(), nn.Identity(), nn.Linear(384, 512), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(512, 527)
        )

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(mel).mean((2, 3))
        return self.classifier(features), features


@cache
def mel_filters() -> Tensor:
    """Triangles ``[513, 128]`` that are linear in mel, as Kaldi's, from 0 to half the rate; the last bin has none."""
    mel = 1127 * torch.log1p(torch.arange(FFT // 2, dtype=torch.float64) * RATE / FFT / 700)[:, None]
    edges = torch.linspace(0, 1127 * math.log1p(RATE / 2 / 700), BINS + 2, dtype=torch.float64)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = torch.minimum((mel - low) / (centre - low), (high - mel) / (high - centre)).clamp(min=0)
    return functional.pad(triangles, (0, 0, 0, 1)).float()


def mel_spectrogram(waveform: Tensor) -> Tensor:
    """Waveforms ``[B, N]`` at 32 kHz -> ``[B, 128, 1 + (N - 1) // 320]``."""
    emphasised = waveform[:, 1:] - 0.97 * waveform[:, :-1]
    window = functional.pad(torch.hann_window(WINDOW, periodic=False), ((FFT - WINDOW) // 2,) * 2)
    spectrum = torch.stft(emphasised, FFT, HOP, window=window, center=True, pad_mode="reflect", return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    return ((power.mT @ mel_filters()).mT.add(1e-5).log() + 4.5) / 5


@cache
def doubling_gain() -> Tensor:
    """The power gain ``[513]`` of the filter with which SciPy doubles a rate, and of the pre-emphasis after it."""
    filter_ = 2 * scipy.signal.firwin(41, 0.5, window=("kaiser", 5.0))
    frequency = np.pi * np.arange(FFT // 2 + 1) / (FFT // 2)
    response = np.abs(scipy.signal.freqz(filter_, worN=frequency)[1]) ** 2
    return torch.from_numpy(response * (1 + 0.97**2 - 2 * 0.97 * np.cos(frequency))).float()


def mel_at_half_rate(waveform: Tensor) -> Tensor:
    """The same of waveforms at 16 kHz, without resampling them, which is several times as fast.

    Doubling a rate puts a zero behind each sample, which mirrors the spectrum, and then filters. So half as long a
    transform gives all bins.
    """
    half = FFT // 2
    window = functional.pad(torch.hann_window(WINDOW, periodic=False)[::2], ((half - WINDOW // 2) // 2,) * 2)
    spectrum = torch.stft(waveform, half, HOP // 2, window=window, center=True, pad_mode="reflect", return_complex=True)
    spectrum = spectrum[..., : 1 + (2 * waveform.shape[1] - 2) // HOP]  # the pre-emphasis takes a sample off
    power = spectrum.real.square() + spectrum.imag.square()
    power = torch.cat([power, power.flip(1)[:, 1:]], 1) * doubling_gain()[:, None]
    return ((power.mT @ mel_filters()).mT.add(1e-5).log() + 4.5) / 5


@cache
def network() -> MobileNet:
    """The network with its published weights."""
    path = os.environ.get("TEACHER")
    if not path or not Path(path).is_file():
        raise SystemExit(f"TEACHER: expected the file mn04_as_mAP_432.safetensors, got {path!r}: set the variable")
    net = MobileNet()
    net.load_state_dict(load_file(path), strict=True)
    net.eval()
    for layer in net.modules():
        if isinstance(layer, ConvNorm):  # twice as fast as one after the other
            layer[0], layer[1] = fuse_conv_bn_eval(layer[0], layer[1]), nn.Identity()
    return net


@torch.inference_mode()
def score(waveforms: Tensor) -> tuple[Tensor, Tensor]:
    """Waveforms ``[B, N]`` at 32 kHz -> logits ``[B, 527]`` and features ``[B, 384]``."""
    logits, features = network()(mel_spectrogram(waveforms)[:, None])
    return logits, features


def mn04(waveform: NDArray[np.float32], rate: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores ``[527]``, 0..1, and features ``[384]`` of a waveform ``[N]`` at any rate."""
    short = max(0, FFT + 1 - len(waveform))  # the reflection at the ends needs some samples
    waveform = np.pad(waveform, (0, short))
    if rate * 2 == RATE:
        mel = mel_at_half_rate(torch.from_numpy(waveform)[None])
    else:
        divisor = math.gcd(rate, RATE)
        samples = scipy.signal.resample_poly(waveform, RATE // divisor, rate // divisor)
        mel = mel_spectrogram(torch.from_numpy(samples.astype(np.float32))[None])
    with torch.inference_mode():
        logits, features = network()(mel[:, None])
    return logits[0].sigmoid().numpy(), features[0].numpy()


mn04.labels = LabelSet.audioset().names  # type: ignore[attr-defined]  # what tells the names of the scores
