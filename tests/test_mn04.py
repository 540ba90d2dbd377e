"""The convolutional teacher of ``benchmarks/teacher.py`` computes what its published code does."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch

from spectag.audio.read import read

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def teacher(shared, monkeypatch):
    monkeypatch.setenv("TEACHER", str(shared / "data" / "teacher" / "mn04_as_mAP_432.safetensors"))
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("teacher")
    sys.modules.pop("teacher")


def test_golden(teacher, shared):
    golden = np.load(shared / "data" / "teacher" / "golden.npz")
    waveform = torch.from_numpy(golden["waveform"])[None]
    assert np.abs(teacher.mel_spectrogram(waveform)[0].numpy() - golden["mel"]).max() < 1e-4
    logits, features = teacher.score(waveform)
    assert np.abs(logits[0].numpy() - golden["logits"]).max() < 1e-4
    assert np.abs(features[0].numpy() - golden["embedding"]).max() < 1e-4
    assert tuple(golden["labels"]) == teacher.mn04.labels
    scores, _ = teacher.mn04(golden["waveform"], 32_000)
    assert np.allclose(scores, logits[0].sigmoid(), atol=1e-5)


def test_without_resampling(teacher):
    """At half the rate, the spectrogram is computed from the samples that there are; what differs is small."""
    for name in ("rooster", "rain"):
        waveform = read(BENCHMARKS.parent / "examples" / f"{name}.ogg")
        doubled = scipy.signal.resample_poly(waveform, 2, 1).astype(np.float32)
        whole = teacher.mel_spectrogram(torch.from_numpy(doubled)[None])
        half = teacher.mel_at_half_rate(torch.from_numpy(waveform)[None])
        assert whole.shape == half.shape
        assert (whole - half).abs().mean() < 0.02
        scores, _ = teacher.mn04(waveform, 16_000)
        assert np.abs(scores - teacher.score(torch.from_numpy(doubled)[None])[0].sigmoid()[0].numpy()).max() < 0.05


@pytest.mark.parametrize("samples", [1, 100, 1025, 3000])
def test_any_length(teacher, samples):
    for rate in (16_000, 22_050):
        scores, features = teacher.mn04(np.zeros(samples, np.float32), rate)
        assert scores.shape == (527,)
        assert features.shape == (384,)
        assert np.isfinite(scores).all()
