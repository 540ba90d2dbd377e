"""The front end against the published implementation, a peer, and arithmetic at the edges."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import spectag
from spectag.audio.fbank import compute_inputs, fbank, fbank_blocks, normalise, pad_or_cut
from spectag.audio.front_end import FrontEnd, num_frames
from spectag.audio.read import read
from spectag.errors import InputError

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.ogg"))
WINDOWS = ("hamming", "hanning")


def test_golden():
    compare(Path(__file__).parents[1] / "golden" / "fbank.npz", signals=4)


def test_golden_with_recordings(golden):
    compare(golden / "fbank.npz", signals=9)


def compare(path, signals):
    file = np.load(path)
    names = sorted({key.split("/")[0] for key in file})
    assert len(names) >= signals
    for name in names:
        for window in WINDOWS:
            ours = fbank(file[f"{name}/waveform"], window=window)
            np.testing.assert_allclose(ours, file[f"{name}/{window}"], rtol=0, atol=1e-3, err_msg=f"{name} {window}")


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_transformers_feature_extractor():
    from transformers import ASTFeatureExtractor

    peer = ASTFeatureExtractor(max_length=400)
    front_end = FrontEnd("hanning", frames=400)
    for path in EXAMPLES[:4]:
        waveform = read(path)
        theirs = peer(waveform, sampling_rate=16000, return_tensors="pt").input_values[0]
        ours = compute_inputs(waveform, front_end)
        scale = 2 * front_end.std  # compare in fbank units
        assert (ours - theirs).abs().max() * scale <= 1e-3, path


@pytest.mark.parametrize("samples", [1, 2, 399, 400, 401, 559, 560, 561, 719, 720])
def test_frames_at_the_edges(samples):
    expected = 1 if samples < 560 else (samples - 400) // 160 + 1
    assert num_frames(samples) == expected
    assert fbank(torch.randn(samples)).shape == (expected, 128)


def test_ten_seconds_are_998_frames():
    assert num_frames(160_000) == 998
    assert num_frames(0) == 0


def test_short_clips_are_padded_without_a_step():
    offset = fbank(torch.full((100,), 0.5))
    assert torch.equal(offset, fbank(torch.zeros(400)))


def test_silence_is_the_floor_and_finite():
    assert torch.equal(fbank(torch.zeros(800)), torch.full((3, 128), math.log(2.0**-23)))


def test_a_tone_peaks_in_its_band():
    x = fbank(torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000))
    low, high = (1127 * math.log1p(hz / 700) for hz in (20, 8000))
    expected = (1127 * math.log1p(1000 / 700) - low) / (high - low) * 129 - 1
    assert (x.argmax(1) - expected).abs().max() <= 1


@settings(max_examples=20, deadline=None)
@given(offset=st.floats(-1, 1), samples=st.integers(400, 2000))
def test_a_constant_offset_changes_nothing(offset, samples):
    x = torch.randn(samples, generator=torch.Generator().manual_seed(samples)) * 0.1
    assert (fbank(x + offset) - fbank(x)).abs().max() < 2e-2  # float32 samples with an offset hold fewer digits


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 1500), min_size=1, max_size=8))
def test_blocks_give_the_fbank_of_the_whole(sizes):
    x = np.random.default_rng(0).standard_normal(sum(sizes)).astype(np.float32)
    front_end = FrontEnd("hanning", mel_bins=64)
    pieces = list(fbank_blocks(np.split(x, np.cumsum(sizes)[:-1]), front_end))
    if sum(sizes) == 0:
        assert pieces == []
    else:
        torch.testing.assert_close(torch.cat(pieces), fbank(x, window="hanning", mel_bins=64), rtol=0, atol=1e-3)


def test_batches_and_leading_axes():
    x = torch.randn(2, 3, 1000)
    out = fbank(x, mel_bins=64)
    assert out.shape == (2, 3, 4, 64)
    torch.testing.assert_close(out[1, 2], fbank(x[1, 2], mel_bins=64), rtol=0, atol=1e-3)


def test_gradients_flow():
    x = torch.randn(800, requires_grad=True)
    fbank(x).sum().backward()
    assert x.grad.isfinite().all()


def test_fit_and_normalise():
    x = torch.randn(2, 10, 4)
    for missing in (1, 2):
        assert torch.equal(pad_or_cut(x, 10 + missing), torch.cat([x, torch.zeros(2, missing, 4)], 1))
        assert torch.equal(pad_or_cut(x, 10 - missing), x[:, :-missing])
    assert pad_or_cut(x, 10) is x
    assert torch.equal(normalise(x, 1.0, 2.0), (x - 1) / 4)


def test_inputs_pad_in_fbank_units():
    front_end = FrontEnd(frames=50)
    inputs = compute_inputs(torch.randn(1600), front_end)
    assert inputs.shape == (50, 128)
    torch.testing.assert_close(inputs[-1], torch.full((128,), 4.2677393 / (2 * 4.5689974)))  # +0.467


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (torch.zeros(0), "at least one sample"),
        (torch.tensor(1.0), "at least one sample"),
        (torch.zeros(800, dtype=torch.int16), "floating-point"),
    ],
)
def test_refusals(waveform, message):
    with pytest.raises(InputError, match=message):
        fbank(waveform)


@pytest.mark.parametrize(
    "fields",
    [
        {"window": "kaiser"},
        {"mel_bins": 0},
        {"frames": 1.5},
        {"mean": math.nan},
        {"std": 0.0},
        {"std": math.inf},
        {"sample_rate": 44100},
    ],
)
def test_front_end_refuses_by_name(fields):
    with pytest.raises(InputError, match=next(iter(fields))):
        FrontEnd(**fields)


def test_front_end_limits():
    assert FrontEnd(mel_bins=1, frames=1).seconds == 0.01
    assert FrontEnd(mel_bins=2**12, frames=2**20).seconds == 2**20 / 100
    for fields in ({"mel_bins": 2**12 + 1}, {"frames": 2**20 + 1}, {"frames": True}, {"std": -1}):
        with pytest.raises(InputError, match=next(iter(fields))):
            FrontEnd(**fields)


def test_public_name():
    assert spectag.fbank is fbank


def test_the_first_caller_may_be_in_inference_mode():
    with torch.inference_mode():
        fbank(torch.randn(800), window="hanning", mel_bins=37)
    x = torch.randn(800, requires_grad=True)
    fbank(x, window="hanning", mel_bins=37).sum().backward()


def test_reversed_arrays():
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    assert torch.equal(fbank(x[::-1]), fbank(x[::-1].copy()))
