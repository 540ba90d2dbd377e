import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from spectag.audio.fbank import FLOOR, fbank
from spectag.audio.read import Recording
from spectag.pictures.spectrogram import Pooling, WithSpectrogram, even_bands, mel
from spectag.tag.windows import cut_windows


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(1, 8))
def test_columns_are_mean_powers_whatever_the_pieces(pieces: list[int], columns: int) -> None:
    frames = np.log(np.random.default_rng(0).uniform(0.1, 1, (sum(pieces), 3))).astype(np.float32)
    pooling = Pooling(2 * columns)
    for piece in np.split(frames, np.cumsum(pieces)[:-1]):
        pooling.add(piece)
    levels = pooling.levels()
    assert len(levels) <= 2 * columns
    for n, level in enumerate(levels):
        part = frames[n * pooling.frames : (n + 1) * pooling.frames]
        assert level == pytest.approx(10 * np.log10(np.exp(part).mean(0)), abs=1e-3)
    assert len(levels) == -(-len(frames) // pooling.frames)
    assert pooling.frames == 1 or len(frames) > columns * pooling.frames, "no fewer columns than needed"


class Nothing:
    """A collector that makes nothing."""

    def __init__(self) -> None:
        self.starts: list[int] = []

    def add(self, window, *rows) -> None:  # type: ignore[no-untyped-def]
        self.starts.append(window.start)

    def end(self, recording: Recording) -> list[int]:
        return self.starts


@pytest.mark.parametrize(("frames", "hop"), [(100, 30), (100, 100), (1000, None), (7, 3)])
def test_overlapping_windows_count_once(frames: int, hop: int | None) -> None:
    x = torch.randn(333, 5)
    collector = WithSpectrogram(Nothing())
    for window in cut_windows(list(torch.split(x, 50)), frames, hop):
        collector.add(window)
    starts, spectrogram = collector.end(Recording(None, None, "x", seconds=3.35))
    assert starts == sorted(set(starts))
    assert spectrogram.levels == pytest.approx(10 / math.log(10) * x.numpy(), abs=1e-3)
    assert spectrogram.seconds == 3.35


def test_white_noise_has_no_stripes_after_evening() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32)
    pooling = Pooling(2)
    pooling.add(fbank(noise).numpy())
    levels = pooling.levels()
    steps = np.abs(np.diff(levels[0]))
    even = np.abs(np.diff(even_bands(levels)[0]))
    assert steps[:40].max() > 10  # dB: some of the lowest bands hold no line of the spectrum
    assert even[3:40].max() < 4


def test_silence_stays_silent() -> None:
    floor = 10 * math.log10(FLOOR)
    assert even_bands(np.full((3, 128), floor, np.float32)) == pytest.approx(floor)
    assert even_bands(np.zeros((0, 0), np.float32)).size == 0


def test_the_mel_scale_is_that_of_the_front_end() -> None:
    tone = np.sin(2 * np.pi * 2000 * np.arange(16_000) / 16_000).astype(np.float32)
    band = int(fbank(tone).mean(0).argmax())
    width = (mel(8000) - mel(20)) / 129
    assert abs(mel(20) + width * (band + 1) - mel(2000)) < width
