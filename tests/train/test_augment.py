"""Each augmentation: what it changes, what it must leave alone, and that a seed decides it."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from spectag.train import augment
from spectag.train.recipe import AugmentRecipe


def test_mix_is_the_formula_and_the_longer_decides_the_length():
    a, b = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 3.0, 3.0])
    mixed = augment.mix(a, b, 0.25)
    expected = 0.25 * torch.tensor([-1.0, 1.0, 0.0]) + 0.75 * torch.tensor([-2.0, 1.0, 1.0])
    torch.testing.assert_close(mixed, expected)


def test_between_class_mixing_evens_out_the_levels():
    quiet, loud = 0.01 * torch.randn(4000), torch.randn(4000)
    mixed = augment.mix_between(quiet, loud, 0.5)
    shares = [float(torch.dot(mixed, x) / x.norm()) for x in (quiet, loud)]
    assert shares[0] == pytest.approx(shares[1], rel=0.1)
    torch.testing.assert_close(augment.mix_between(quiet, loud, 1.0), quiet - quiet.mean(), rtol=1e-3, atol=1e-5)
    assert augment.mix_between(torch.zeros(9), torch.zeros(9), 0.0).isfinite().all()


@given(samples=st.integers(1, 5000), window=st.integers(400, 4000), seed=st.integers(0, 99), silent=st.booleans())
def test_excerpts_are_as_long_as_asked_and_no_louder(samples, window, seed, silent):
    x = torch.zeros(samples) if silent else torch.ones(samples)
    out = augment.waveform(x, window, AugmentRecipe(excerpt=True, speed=1.3, gain_db=6), augment.rng(seed))
    assert len(out) == window
    assert 0 <= out.min() <= out.max() <= 10 ** (6 / 20) + 1e-4


def test_an_excerpt_shortens_the_silence_at_the_end():
    x = torch.cat([torch.ones(4000), torch.zeros(12000)])
    shares = [float(augment.excerpt(x, 16000, 1.0, augment.rng(seed)).mean()) for seed in range(50)]
    assert min(shares) > 0.2
    assert max(shares) > 0.6


def test_everything_off_changes_nothing():
    x = torch.randn(500)
    assert torch.equal(augment.waveform(x, 500, AugmentRecipe(), augment.rng(0)), x)
    assert torch.equal(augment.mask(x.view(1, 50, 10), 0, 0, augment.rng(0)), x.view(1, 50, 10))
    assert augment.patches_to_keep(2, (3, 4), AugmentRecipe(), augment.rng(0)) is None


def test_speed_moves_pitch_within_its_limits():
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(16000) / 16000)
    peaks = [
        torch.fft.rfft(augment.excerpt(tone, 16000, 1.25, augment.rng(s))).abs().argmax().item() for s in range(30)
    ]
    assert 440 / 1.25 - 2 <= min(peaks) < 400
    assert 490 < max(peaks) <= 440 * 1.25 + 2


def test_an_excerpt_at_speed_1_is_the_clip_rotated():
    x = torch.arange(1.0, 4001.0)
    out = augment.excerpt(x, 4000, 1.0, augment.rng(1))
    steps = out.diff()
    torch.testing.assert_close(steps.median(), torch.tensor(1.0))
    assert (steps != steps.median()).sum() < 2500  # float32 steps differ in their last digits
    assert (out - out[0]).abs().max() > 2000


@given(frames=st.integers(1, 60), bins=st.integers(1, 40), time=st.integers(0, 80), freq=st.integers(0, 50))
def test_mask_is_one_band_of_zeros_per_axis(frames, bins, time, freq):
    out = augment.mask(torch.ones(3, frames, bins), time, freq, augment.rng(frames, bins))
    for clip in out:
        hidden_frames = (clip == 0).all(1).nonzero().flatten()
        hidden_bins = (clip == 0).all(0).nonzero().flatten()
        if len(hidden_frames) < frames and len(hidden_bins) < bins:  # else one band hides all
            assert len(hidden_frames) < max(time, 1)
            assert len(hidden_bins) < max(freq, 1)
            for hidden in (hidden_frames, hidden_bins):
                if len(hidden):
                    assert hidden[-1] - hidden[0] == len(hidden) - 1, "a band has no gaps"


def test_mask_widths_are_uniform_and_differ_between_clips():
    out = augment.mask(torch.ones(4000, 100, 1), 50, 0, augment.rng(0))
    widths = (out[:, :, 0] == 0).sum(1)
    assert widths.min() == 0
    assert widths.max() == 49
    assert widths.float().mean() == pytest.approx(24.5, abs=1)


def test_equalise_is_smooth_bounded_and_constant_in_time():
    change = augment.equalise(torch.zeros(8, 20, 128), 10.0, augment.rng(3))
    nepers = np.log(10)  # 10 dB of power
    assert change.abs().max() <= nepers
    assert change.abs().max() > nepers / 2
    assert torch.equal(change[:, :1].expand_as(change), change)
    assert change.diff(dim=2).abs().max() < 2 * nepers / 20
    assert not torch.equal(change[0], change[1])


def test_noise_and_roll():
    x = torch.arange(100.0).view(1, 100, 1).expand(64, 100, 4) * 10
    out = augment.noise_and_roll(x, augment.rng(0))
    shift = (out[:, 0, 0] / 10).floor()
    shift = torch.where(shift > 50, 100 - shift, -shift)
    assert set(shift.int().tolist()) <= set(range(-10, 10))
    assert len(set(shift.tolist())) > 10
    noise = out % 10
    assert 0 <= noise.min() < noise.max() < 0.1 + 1e-4


@given(f=st.integers(1, 8), t=st.integers(1, 8), drops=st.tuples(*[st.floats(0.01, 0.99)] * 3), seed=st.integers(0, 9))
def test_kept_patches_are_distinct_and_as_many_as_asked(f, t, drops, seed):
    patch, row, column = drops
    recipe = AugmentRecipe(patch_drop=patch, row_drop=row, column_drop=column)
    keep = augment.patches_to_keep(5, (f, t), recipe, augment.rng(seed))
    rows, columns = max(1, round((1 - row) * f)), max(1, round((1 - column) * t))
    assert keep.shape == (5, max(1, round((1 - patch) * rows * columns)))
    for kept in keep.tolist():
        assert kept == sorted(set(kept))
        assert len({place // t for place in kept}) <= rows
        assert len({place % t for place in kept}) <= columns
    assert keep.min() >= 0
    assert keep.max() < f * t


def test_structured_dropout_leaves_whole_rows_and_columns():
    recipe = AugmentRecipe(row_drop=0.5, column_drop=0.25)
    [kept] = augment.patches_to_keep(1, (4, 8), recipe, augment.rng(0)).tolist()
    rows, columns = {place // 8 for place in kept}, {place % 8 for place in kept}
    assert (len(rows), len(columns)) == (2, 6)
    assert kept == [8 * row + column for row in sorted(rows) for column in sorted(columns)]


def test_processes_take_their_rows_of_what_one_would_draw():
    x = torch.randn(6, 40, 16)
    whole = augment.noise_and_roll(augment.mask(augment.equalise(x, 6, r := augment.rng(3)), 20, 8, r), r)
    for rank in range(3):
        rows = augment.Rows(augment.rng(3), rank, 3)
        mine = augment.noise_and_roll(augment.mask(augment.equalise(x[rank::3], 6, rows), 20, 8, rows), rows)
        assert torch.equal(mine, whole[rank::3])


def test_a_seed_decides_and_another_differs():
    def draw(*seeds):
        return augment.mask(torch.ones(4, 100, 20), 50, 10, augment.rng(*seeds))

    assert torch.equal(draw(1, 2), draw(1, 2))
    assert not torch.equal(draw(1, 2), draw(2, 1))
