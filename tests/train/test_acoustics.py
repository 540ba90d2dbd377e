"""Rooms, backgrounds and filters are their formulas, computed here once more in float64."""

import numpy as np
import pytest
import torch

from spectag.train import acoustics
from spectag.train.acoustics import Background, Room
from spectag.train.augment import build_example
from spectag.train.events import Sound
from spectag.train.rng import make_rng
from spectag.train.sections import AugmentRecipe


def noise(samples=4000):
    return torch.from_numpy(make_rng(1).normal(0, 0.1, samples).astype(np.float32))


@pytest.mark.parametrize("samples", [1, 2, 999, 16_000])
def test_a_room_is_a_convolution(samples):
    x, room = noise(samples), acoustics.draw_room(make_rng(2))
    response = np.concatenate([[1.0], room.echoes.astype(np.float64)])
    expected = np.convolve(x.double().numpy(), response)[:samples]
    assert np.allclose(acoustics.reverberate(x, room), expected, atol=1e-5)


def test_echoes_fall_by_60_db_within_the_decay():
    for seed in range(5):
        echoes = acoustics.draw_room(make_rng(seed)).echoes
        early, late = (
            np.sqrt(np.square(part).mean()) for part in np.split(echoes[: len(echoes) // 10 * 10], 10)[:10:9]
        )
        assert 20 * np.log10(early / late) == pytest.approx(54, abs=2)  # from the first to the last tenth
        assert 1e-3 < np.square(echoes).sum() < 1.01


@pytest.mark.parametrize("colour", [0.0, 1.0, 2.0])
def test_a_background_has_its_level_and_its_colour(colour):
    x = torch.ones(16_000)
    phases = make_rng(0).uniform(0, 2 * np.pi, 8001).astype(np.float32)
    added = (acoustics.add_background(x, Background(phases, colour, 20.0)) - x).double().numpy()
    assert np.sqrt(np.square(added).mean()) == pytest.approx(0.1, rel=1e-3)
    power = np.square(np.abs(np.fft.rfft(added)))
    expected = (np.arange(100, 200.0) ** -colour).sum() / (np.arange(1000, 1100.0) ** -colour).sum()
    assert power[100:200].sum() / power[1000:1100].sum() == pytest.approx(expected, rel=1e-3)


def test_silence_gets_a_quiet_background():
    found = acoustics.add_background(torch.zeros(1000), acoustics.draw_background(1000, make_rng(0)))
    assert 0 < float(found.square().mean().sqrt()) <= acoustics.QUIET * 1.01


def test_a_filter_raises_what_it_is_told_to():
    curve = np.array([0, 0, 0, 0, 20, 20, 20, 20], np.float32)
    time = np.arange(16_000) / 16_000
    for hertz, gain in ((200, 1.0), (6000, 10.0)):
        tone = np.sin(2 * np.pi * hertz * time)
        found = acoustics.filter_sound(torch.from_numpy(tone.astype(np.float32)), curve)[4000:12_000]
        assert float(found.square().mean().sqrt()) == pytest.approx(gain * np.sqrt(0.5), rel=0.02)


@pytest.mark.parametrize("samples", [1, 5, 1792, 1793, 1794, 5000])
def test_a_filter_is_a_convolution(samples):
    x, curve = noise(samples), acoustics.draw_filter(12.0, make_rng(3))
    mel = np.log1p(np.arange(129) * 62.5 / 700) / np.log1p(8000 / 700) * 7
    response = np.fft.fftshift(np.fft.irfft(10 ** (np.interp(mel, np.arange(8), curve.astype(float)) / 20), 256))
    expected = np.convolve(x.double().numpy(), response)[128 : 128 + samples]
    assert np.allclose(acoustics.filter_sound(x, curve), expected, atol=1e-5)


def test_a_sound_laid_over_another_has_its_level():
    x, other = noise(1000), 5 * noise(3000)[1000:]
    total = acoustics.overlay(x, other, level=-10.0)
    assert len(total) == 2000
    added = total - torch.nn.functional.pad(x, (0, 1000))
    ratio = 20 * np.log10(float(added.square().mean().sqrt()) / float(x.square().mean().sqrt()))
    assert ratio == pytest.approx(-10, abs=0.02)
    assert acoustics.overlay(20 * x, other, 0.0).abs().max() <= 1


@pytest.mark.parametrize("samples", [1, 7, 400])
def test_any_length_stays_and_is_finite(samples):
    recipe = AugmentRecipe(room_rate=1, background_rate=1, filter_db=12, mix_rate=1, mix_law="overlay", mix_most=4)
    clips = [Sound(noise(samples), torch.eye(2)[0]), Sound(torch.zeros(samples), torch.eye(2)[1])]
    for seed in range(10):
        found = build_example(seed % 2, clips.__getitem__, 2, 1600, recipe, make_rng(seed))
        assert len(found.waveform) == samples
        assert torch.isfinite(found.waveform).all()


def test_a_mixture_has_the_labels_of_all_its_sounds():
    recipe = AugmentRecipe(mix_rate=1, mix_law="overlay", mix_most=4)
    clips = [Sound(noise() * (n + 1), torch.eye(5)[n]) for n in range(5)]
    counts = set()
    for seed in range(60):
        read = []
        found = build_example(0, lambda n, read=read: read.append(n) or clips[n], 5, 4000, recipe, make_rng(seed))
        assert found.target.tolist() == [float(n in read) for n in range(5)]
        counts.add(len(read))
    assert counts == {2, 3, 4}


def test_pauses_make_short_sounds_heard_once():
    recipe = AugmentRecipe(excerpt=True, pause_rate=1.0)
    sound = Sound(torch.ones(2000), torch.ones(1))
    shares = [
        float((build_example(0, lambda _: sound, 1, 16_000, recipe, make_rng(seed)).waveform > 0).float().mean())
        for seed in range(50)
    ]
    assert min(shares) < 0.15, "heard once"
    assert max(shares) > 0.5, "or repeated"
    assert all(0.1 <= share <= 1 for share in shares)


def test_what_is_off_draws_nothing():
    recipe = AugmentRecipe(mix_law="linear")
    rng, untouched = make_rng(0), make_rng(0)
    build_example(0, lambda _: Sound(noise(), torch.ones(1)), 1, 4000, recipe, rng)
    untouched.random(2)  # of mixing and of the early end, which always draw
    assert rng.random() == untouched.random()


def test_a_room_that_is_longer_than_the_sound():
    assert torch.allclose(acoustics.reverberate(torch.ones(2), Room(np.ones(9, np.float32))), torch.tensor([1.0, 2.0]))
