"""Every step from a waveform to the inputs of the network is its formula, and the chain applies them in their order."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from test_augment import FULL, OFF, Given, close, noise

from spectag.audio.fbank import compute_inputs, fbank
from spectag.audio.front_end import FrontEnd
from spectag.train import inputs, patches
from spectag.train.inputs import Bands
from spectag.train.rng import Rows, make_rng
from spectag.train.sections import AugmentRecipe


def test_an_equaliser_is_drawn_in_decibels_of_power():
    knots = inputs.draw_equaliser(2, 10.0, Given(np.array([[[0.0]], [[0.75]]])))
    assert (knots.shape, knots.dtype) == ((2, 1, 6), np.float32)
    close(knots[0], -math.log(10))  # 10 dB are ten times the power
    close(knots[1], 0.5 * math.log(10))
    each = inputs.draw_equaliser(1, 3.0, Given(np.arange(6) / 6))
    close(each[0, 0], 0.3 * math.log(10) * (np.arange(6) / 3 - 1))


@pytest.mark.parametrize("bins", [6, 40, 128])
def test_equalise_adds_a_curve_through_the_knots_at_all_times(bins):
    x, knots = noise(3, 7, bins), noise(3, 1, 6, seed=1)
    curves = [np.interp(np.linspace(0, 5, bins), np.arange(6), knot[0]) for knot in knots]
    close(inputs.equalise(torch.from_numpy(x), knots), x + np.array(curves)[:, None, :])


def test_pad_sets_what_is_not_sound_to_zero():
    x = noise(4, 5, 3)
    out = inputs.pad(torch.from_numpy(x), torch.tensor([0, 1, 4, 5]))
    for clip, before, frames in zip(out, x, (0, 1, 4, 5), strict=True):
        np.testing.assert_array_equal(clip, np.concatenate([before[:frames], np.zeros((5 - frames, 3))]))


def test_a_band_is_drawn_by_width_then_start():
    bands = inputs.draw_bands(3, 100, 48, Given([0.0, 0.5, 0.99], [0.0, 0.9, 0.999]))
    assert bands.start.tolist() == [0, int(0.9 * (100 - 24)), int(0.999 * (100 - 47.52))]
    assert (bands.end - bands.start).tolist() == [0, 24, 47]
    narrow = inputs.draw_bands(1, 10, 48, Given([0.96], [0.9]))  # no wider than the axis
    assert (narrow.start.tolist(), narrow.end.tolist()) == ([0], [9])


@given(size=st.integers(1, 60), limit=st.integers(1, 80), seed=st.integers(0, 9))
def test_a_band_lies_within_its_axis_and_below_its_limit(size, limit, seed):
    bands = inputs.draw_bands(20, size, limit, make_rng(seed))
    assert (bands.start >= 0).all()
    assert (bands.start <= bands.end).all()
    assert (bands.end <= size).all()
    assert (bands.end - bands.start < limit).all()


@pytest.mark.parametrize("axis", [1, 2])
def test_mask_sets_one_band_of_each_clip_to_zero(axis):
    x = noise(4, 9, 6)
    starts, ends = [0, 2, 3, 5], [0, 3, 6, 6]
    out = inputs.mask(torch.from_numpy(x), axis, Bands(np.array(starts), np.array(ends)))
    for clip, start, end in zip(x, starts, ends, strict=True):
        clip[(slice(start, end),) if axis == 1 else (slice(None), slice(start, end))] = 0
    np.testing.assert_array_equal(out, x)


def test_noise_is_uniform_times_a_level_per_clip():
    drawn = inputs.draw_noise((2, 3, 4), Given(np.arange(4) / 4, np.array([[[0.2]], [[1.0]]])))
    assert drawn.dtype == np.float32
    close(drawn, np.array([0.02, 0.1])[:, None, None] * np.arange(4) / 4 * np.ones((2, 3, 4)))
    x = noise(2, 3, 4)
    close(inputs.add_noise(torch.from_numpy(x), drawn), x + drawn)


def test_shifts_are_up_to_ten_frames_back_and_nine_forward():
    assert inputs.draw_shifts(4, Given([0.0, 0.5, 0.51, 0.999])).tolist() == [-10, 0, 0, 9]
    x = noise(4, 12, 3)
    out = inputs.roll(torch.from_numpy(x), np.array([-10, 0, 1, 9]))
    for clip, before, shift in zip(out, x, (-10, 0, 1, 9), strict=True):
        np.testing.assert_array_equal(clip, np.roll(before, shift, axis=0))
    short = inputs.roll(torch.arange(3.0).view(1, 3, 1), np.array([-10]))
    assert short.flatten().tolist() == [1, 2, 0], "a clip may be shorter than the shift"


def expected_inputs(waveform, frames, front_end, recipe, seed):
    rng = np.random.default_rng(seed)
    x = fbank(waveform, window=front_end.window, mel_bins=front_end.mel_bins).double().numpy()
    batch, times, bins = x.shape
    if recipe.equalise_db:
        nepers = recipe.equalise_db / 10 * np.log(10)
        knots = rng.uniform(-nepers, nepers, (batch, 1, 6))
        x += np.array([np.interp(np.linspace(0, 5, bins), np.arange(6), knot[0]) for knot in knots])[:, None, :]
    for clip, sound in zip(x, frames, strict=True):
        clip[sound:] = 0
    for axis, limit in ((1, recipe.time_mask), (2, recipe.freq_mask)):
        if limit:
            size = x.shape[axis]
            widths = rng.uniform(0, min(limit, size), batch)
            starts = (rng.uniform(0, 1, batch) * (size - widths)).astype(int)
            for clip, start, width in zip(x.swapaxes(1, axis), starts, widths.astype(int), strict=True):
                clip[start : start + width] = 0
    x = (x - front_end.mean) / (2 * front_end.std)
    if recipe.noise_and_roll:
        x += rng.random((batch, times, bins), np.float32) * rng.random((batch, 1, 1), np.float32) / 10
        x = np.array([np.roll(clip, shift, 0) for clip, shift in zip(x, rng.integers(-10, 10, batch), strict=True)])
    return x


@pytest.mark.parametrize(
    "recipe",
    [OFF, FULL, AugmentRecipe(equalise_db=10.0), AugmentRecipe(time_mask=200), AugmentRecipe(freq_mask=48)],
)
def test_inputs_are_equalised_padded_masked_normalised_noisy_and_rolled(recipe):
    front_end = FrontEnd(window="hanning", mel_bins=64, frames=20, mean=-3.0, std=2.0)
    waveform, frames = torch.from_numpy(noise(4, 400 + 19 * 160)), torch.tensor([20, 7, 1, 19])
    for seed in range(10):
        found, _ = inputs.build_inputs(waveform, frames, front_end, recipe, make_rng(seed))
        close(found, expected_inputs(waveform, frames.tolist(), front_end, recipe, seed))


def test_what_is_off_draws_nothing():
    front_end, waveform = FrontEnd(frames=2), torch.from_numpy(noise(1, 560))
    found, _ = inputs.build_inputs(waveform, torch.tensor([2]), front_end, OFF, Given())
    assert torch.equal(found, compute_inputs(waveform, front_end))
    assert patches.draw_patches(2, (3, 4), OFF, Given()) is None


def test_processes_take_their_rows_of_what_one_would_draw():
    front_end, waveform, frames = FrontEnd(frames=20), torch.from_numpy(noise(6, 3440)), torch.arange(15, 21)
    whole, _ = inputs.build_inputs(waveform, frames, front_end, FULL, make_rng(3))
    for rank in range(3):
        rows = Rows(make_rng(3), rank, 3)
        own, _ = inputs.build_inputs(waveform[rank::3], frames[rank::3], front_end, FULL, rows)
        torch.testing.assert_close(own, whole[rank::3], rtol=0, atol=1e-5)
