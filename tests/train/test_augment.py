"""Every augmentation is its formula, computed here once more in float64; and the chain applies them in their order.

A draw is tested with a generator whose numbers are given; an augmentation with given parameters.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from spectag.train import augment, patches
from spectag.train.augment import Excerpt, Mixing
from spectag.train.events import Sound
from spectag.train.rng import make_rng
from spectag.train.sections import AugmentRecipe


class Given:
    """A generator whose numbers are given, each as a fraction of the range that is drawn from."""

    def __init__(self, *fractions):
        self.left = list(fractions)
        self.beta_of = None

    def _next(self, size):
        fraction = np.asarray(self.left.pop(0), np.float64)
        return fraction[()] if size is None else np.broadcast_to(fraction, size)

    def uniform(self, low=0.0, high=1.0, size=None):
        return low + (high - low) * self._next(size)

    def random(self, size=None, dtype=np.float64):
        return np.asarray(self._next(size), dtype)[()]

    def integers(self, low, high=None, size=None):
        low, high = (0, low) if high is None else (low, high)
        return np.floor(low + (high - low) * self._next(size)).astype(np.int64)

    def beta(self, a, b):
        self.beta_of = (a, b)
        return float(self._next(None))


def close(actual, expected, atol=1e-5):
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=1e-5, atol=atol)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# Waveforms


def expected_excerpt(x, samples, silence, rate, start):
    nonzero = np.flatnonzero(x)
    sound = nonzero[-1] + 1 if len(nonzero) else len(x)
    period = max(1600, sound + silence * (len(x) - sound))
    place = (start * period + rate * np.arange(samples)) % period
    padded = np.concatenate([x, np.zeros(1602)])
    return np.interp(place, np.arange(len(padded)), padded)


def test_an_excerpt_is_drawn_log_uniformly_in_speed():
    assert augment.draw_excerpt(1.3, Given(0.1, 0.0, 0.6)) == pytest.approx((0.1, 1 / 1.3, 0.6))
    assert augment.draw_excerpt(1.3, Given(0.1, 0.5, 0.6)) == pytest.approx((0.1, 1.0, 0.6))
    assert augment.draw_excerpt(1.44, Given(0.2, 0.75, 0.7)) == pytest.approx((0.2, 1.2, 0.7))


@pytest.mark.parametrize("drawn", [(0.0, 1.0, 0.0), (0.3, 1.0, 0.4), (0.77, 1.237, 0.21), (1.0, 0.8, 0.99)])
@pytest.mark.parametrize(("sound", "silence"), [(5000, 0), (3000, 2500), (700, 200), (1, 0), (0, 4000), (300, 9000)])
@pytest.mark.parametrize("samples", [400, 7000])
def test_an_excerpt_is_the_clip_wrapped_around_and_interpolated(drawn, sound, silence, samples):
    x = np.concatenate([noise(sound), np.zeros(silence, np.float32)])
    out = augment.excerpt(torch.from_numpy(x), samples, Excerpt(*drawn))
    close(out, expected_excerpt(x.astype(np.float64), samples, *drawn))


def test_an_excerpt_at_rate_1_is_the_clip_rotated():
    x = torch.arange(1.0, 4001.0)
    assert torch.equal(augment.excerpt(x, 4000, Excerpt(silence=0.5, rate=1.0, start=0.25)), x.roll(-1000))


def test_silence_at_the_end_is_shortened_but_not_the_pause_within():
    x = torch.zeros(16000)
    x[0] = x[3999] = 1.0
    for silence, period in ((0.0, 4000), (0.5, 10000), (1.0, 16000)):
        out = augment.excerpt(x, 32000, Excerpt(silence, rate=1.0, start=0.0))
        expected = sorted({*range(0, 32000, period), *range(3999, 32000, period)})
        assert out.nonzero().flatten().tolist() == expected


def test_a_gain_is_drawn_in_decibels():
    assert [augment.draw_gain(6.0, Given(u)) for u in (0.0, 0.5, 0.75)] == [-6.0, 0.0, 3.0]
    x = noise(100)
    for decibels in (-13.0, 0.0, 6.0):
        close(augment.gain(torch.from_numpy(x), decibels), x * 10 ** (decibels / 20))
    assert float(augment.gain(torch.ones(1), 20.0)) == 10


def test_a_partner_is_drawn_with_the_rates_probability():
    rng = Given(0.499, 0.75, 0.3)
    assert augment.draw_mixing(8, 0.5, 2.5, rng) == Mixing(partner=6, share=0.3)
    assert rng.beta_of == (2.5, 2.5)
    assert augment.draw_mixing(8, 0.5, 2.5, Given(0.5)) is None
    assert augment.draw_mixing(8, 0.0, 2.5, Given(0.0)) is None
    assert augment.draw_mixing(8, 1.0, 2.5, Given(0.999, 0.999, 0.1)) == Mixing(partner=7, share=0.1)


def centred(a, b):
    size = max(len(a), len(b))
    return [np.pad(x - x.mean(dtype=np.float64), (0, size - len(x))) for x in (a, b)]


def expected_mix(a, b, share):
    a, b = centred(a, b)
    return share * a + (1 - share) * b


def expected_between(a, b, share):
    a, b = centred(a, b)
    level_a, level_b = (np.sqrt(np.mean(x**2)) + 1e-4 for x in (a, b))
    p = 1 / (1 + level_a / level_b * (1 - share) / max(share, 1e-4))
    return (p * a + (1 - p) * b) / np.sqrt(p**2 + (1 - p) ** 2)


PAIRS = [(noise(300), 0.02 * noise(500, seed=1) + 1), (noise(500), noise(300, seed=1)), (noise(9), np.zeros(20, "f"))]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(("a", "b"), PAIRS, ids=["longer", "shorter", "silent"])
def test_both_laws_of_mixing_are_their_formulas(a, b, share):
    close(augment.mix(torch.from_numpy(a), torch.from_numpy(b), share), expected_mix(a, b, share))
    close(augment.mix_between(torch.from_numpy(a), torch.from_numpy(b), share), expected_between(a, b, share))


def test_between_classes_the_clips_are_as_loud_as_the_share_says():
    quiet, loud = torch.from_numpy(0.01 * noise(40000)), torch.from_numpy(noise(40000, seed=1))
    for share in (0.3, 0.5):
        mixed = augment.mix_between(quiet, loud, share)
        amounts = [float(mixed @ x / x.norm()) for x in (quiet, loud)]
        assert amounts[0] / amounts[1] == pytest.approx(share / (1 - share), rel=0.03)
    silence = torch.zeros(9)
    assert torch.equal(augment.mix_between(silence, silence, 0.0), silence)


def test_an_early_end_is_drawn_with_the_rates_probability():
    assert augment.draw_length(1000, 0.5, Given(0.499, 0.0)) == 400
    assert augment.draw_length(1000, 0.5, Given(0.499, 0.9999)) == 1000
    assert augment.draw_length(1000, 0.5, Given(0.499, 0.5)) == 400 + 601 // 2
    assert augment.draw_length(1000, 0.5, Given(0.5)) == 1000
    assert augment.draw_length(401, 1.0, Given(0.0, 0.0)) == 400
    assert augment.draw_length(400, 1.0, Given(0.0)) == 400, "one frame is not shortened"


# Spectrograms


# Patches


def test_what_is_kept_is_drawn_by_rank_and_ascends():
    fractions = np.array([[0.9, 0.1, 0.5, 0.3, 0.7], [0.1, 0.2, 0.3, 0.4, 0.5]])
    assert patches.draw_kept(2, 5, 0.4, Given(fractions)).tolist() == [[1, 2, 3], [0, 1, 2]]
    assert patches.draw_kept(2, 5, 0.99, Given(fractions)).tolist() == [[1], [0]], "at least one"
    assert patches.draw_kept(2, 3, 0.0, Given()).tolist() == [[0, 1, 2], [0, 1, 2]]


def test_rows_and_columns_are_dropped_first_then_any_patches():
    rows, columns = [[0.9, 0.1, 0.5, 0.3]], [[0.1, 0.9, 0.8, 0.2]]
    recipe = AugmentRecipe(row_drop=0.5, column_drop=0.5)
    keep = patches.draw_patches(1, (4, 4), recipe, Given(rows, columns))
    assert keep.tolist() == [[4 * 1 + 0, 4 * 1 + 3, 4 * 3 + 0, 4 * 3 + 3]]
    also = recipe.model_copy(update={"patch_drop": 0.25})
    keep = patches.draw_patches(1, (4, 4), also, Given(rows, columns, [[0.5, 0.9, 0.1, 0.2]]))
    assert keep.tolist() == [[4 * 1 + 0, 4 * 3 + 0, 4 * 3 + 3]]
    assert patches.draw_patches(1, (2, 3), AugmentRecipe(patch_drop=0.5), Given([np.arange(6)])).tolist() == [[0, 1, 2]]
    assert patches.draw_patches(1, (2, 3), AugmentRecipe(column_drop=0.6), Given([[2, 0, 1]])).tolist() == [[1, 4]]
    assert patches.draw_patches(1, (2, 3), AugmentRecipe(row_drop=0.5), Given([[1, 0]])).tolist() == [[3, 4, 5]]


@given(f=st.integers(1, 8), t=st.integers(1, 8), drops=st.tuples(*[st.floats(0.01, 0.99)] * 3), seed=st.integers(0, 9))
def test_kept_patches_are_distinct_and_as_many_as_asked(f, t, drops, seed):
    patch, row, column = drops
    recipe = AugmentRecipe(patch_drop=patch, row_drop=row, column_drop=column)
    keep = patches.draw_patches(5, (f, t), recipe, make_rng(seed))
    rows, columns = max(1, round((1 - row) * f)), max(1, round((1 - column) * t))
    assert keep.shape == (5, max(1, round((1 - patch) * rows * columns)))
    for kept in keep.tolist():
        assert kept == sorted(set(kept))
        assert len({place // t for place in kept}) <= rows
        assert len({place % t for place in kept}) <= columns
    assert keep.min() >= 0
    assert keep.max() < f * t


# The chain


CLIPS = [noise(2000), np.concatenate([0.1 * noise(500, seed=1) + 0.3, np.zeros(5000, "f")]), 3 * noise(5000, seed=2)]
TARGETS = np.eye(3, dtype=np.float32)
OFF = AugmentRecipe()
FULL = AugmentRecipe(
    excerpt=True,
    speed=1.2,
    gain_db=6.0,
    mix_rate=0.6,
    mix_alpha=2.0,
    mix_law="between",
    equalise_db=6.0,
    short_rate=0.5,
    time_mask=9,
    freq_mask=40,
    noise_and_roll=True,
)


def build(index, samples, recipe, seed):
    clips = [Sound(torch.from_numpy(x), torch.from_numpy(y)) for x, y in zip(CLIPS, TARGETS, strict=True)]
    return augment.build_example(index, clips.__getitem__, len(clips), samples, recipe, make_rng(seed))


def expected_example(index, samples, recipe, seed):
    """The stream of random numbers is part of the format of a run, so the numbers are drawn here in the same order."""
    rng = np.random.default_rng(seed)

    def vary(x):
        if recipe.excerpt:
            silence, speed, start = rng.uniform(0, 1), rng.uniform(-1, 1), rng.uniform(0, 1)
            x = expected_excerpt(x, samples, silence, recipe.speed**speed, start)
        if recipe.gain_db:
            x = x * 10 ** (rng.uniform(-recipe.gain_db, recipe.gain_db) / 20)
        return x[:samples]

    x, target = vary(CLIPS[index].astype(np.float64)), TARGETS[index]
    if rng.random() < recipe.mix_rate:
        partner, share = rng.integers(0, 3), rng.beta(recipe.mix_alpha, recipe.mix_alpha)
        mixed = {"linear": expected_mix, "between": expected_between}[recipe.mix_law]
        x = mixed(x, vary(CLIPS[partner].astype(np.float64)), share)
        target = share * target + (1 - share) * TARGETS[partner]
    if rng.random() < recipe.short_rate and len(x) > 400:
        x = x[: rng.integers(400, len(x) + 1)]
    return x, target


@pytest.mark.parametrize(
    "recipe",
    [
        OFF,
        FULL,
        FULL.model_copy(update={"mix_law": "linear"}),
        AugmentRecipe(mix_rate=0.5, mix_alpha=10.0, short_rate=0.3),
        AugmentRecipe(gain_db=20.0),
        AugmentRecipe(excerpt=True, mix_rate=1.0),
    ],
)
def test_an_example_is_excerpt_gain_mixing_and_early_end(recipe):
    for seed in range(12):
        for index in range(3):
            x, target, _ = build(index, 3000, recipe, seed)
            expected, expected_target = expected_example(index, 3000, recipe, seed)
            close(x, expected, atol=1e-4)
            close(target, expected_target)


def test_without_augmentation_an_example_is_the_clips_beginning():
    for index, clip in enumerate(CLIPS):
        x, target, _ = build(index, 3000, OFF, 0)
        np.testing.assert_array_equal(x, clip[:3000])
        np.testing.assert_array_equal(target, TARGETS[index])


@given(samples=st.integers(1, 5000), window=st.integers(400, 4000), seed=st.integers(0, 99))
def test_an_example_is_never_longer_than_the_window(samples, window, seed):
    clip = Sound(torch.ones(samples), torch.ones(1))
    for recipe in (OFF, FULL):
        x, *_ = augment.build_example(0, lambda _: clip, 1, window, recipe, make_rng(seed))
        assert 1 <= len(x) <= window
