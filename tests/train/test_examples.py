"""Waveforms in memory, the order of an epoch, training examples."""

import numpy as np
import pytest
import soundfile
import torch

from spectag.audio.fbank import fbank
from spectag.audio.front_end import FrontEnd
from spectag.audio.read import read
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Clip
from spectag.errors import DataError
from spectag.train.examples import TrainingClips, Waveforms, statistics, targets
from spectag.train.recipe import AugmentRecipe
from spectag.train.sampler import Draw, EpochSampler


@pytest.fixture
def manifest(tmp_path):
    rng = np.random.default_rng(0)
    for label, name in enumerate(("fox", "owl")):
        (tmp_path / name).mkdir()
        for i in range(5):
            noise = rng.standard_normal(4000 + 1000 * i) * 0.1
            soundfile.write(tmp_path / name / f"{i}.wav", noise + label, 16000, subtype="FLOAT")
    return read_manifest(tmp_path)


def test_each_clip_is_decoded_once(manifest, monkeypatch):
    waveforms = Waveforms(manifest.clips, 1e9)
    waveforms.preload()
    assert waveforms.complete
    assert not waveforms.failed
    monkeypatch.setattr("spectag.train.examples.read", None)  # nothing decodes any more
    assert [len(x) for x in waveforms] == [4000 + 1000 * i for i in range(5)] * 2
    assert all(isinstance(x, np.ndarray) for x in waveforms.sources())


def test_memory_is_bounded(manifest):
    waveforms = Waveforms(manifest.clips, cache_bytes=2.5 * 4000 * 4)
    waveforms.preload(threads=1)
    assert not waveforms.complete
    kept = [x for x in waveforms.sources() if isinstance(x, np.ndarray)]
    assert sum(x.nbytes for x in kept) <= 2.5 * 4000 * 4
    assert len(waveforms[9]) == 8000, "what is not kept is decoded"


def test_a_broken_clip_is_stood_in_for_by_the_next(manifest):
    manifest.clips[3].path.write_text("broken")
    waveforms = Waveforms(manifest.clips, 1e9)
    waveforms.preload()
    assert waveforms.complete, "nothing is tried again"
    assert str(manifest.clips[3].path) in str(waveforms.failed[3])
    clips = TrainingClips(waveforms, targets(manifest), FrontEnd(frames=30), AugmentRecipe())
    example, neighbour = clips[Draw(3, 1)], clips[Draw(4, 1)]
    assert (int(example.clip), example.broken.tolist()) == (3, [3, -1])
    assert torch.equal(example.waveform, neighbour.waveform)
    assert torch.equal(example.target, neighbour.target)
    assert neighbour.broken.tolist() == [-1, -1]


def test_nothing_but_broken_clips(manifest):
    for clip in manifest.clips:
        clip.path.write_text("broken")
    clips = TrainingClips(Waveforms(manifest.clips, 0), targets(manifest), FrontEnd(frames=30), AugmentRecipe())
    with pytest.raises(DataError, match=r"not one of 10 training clips can be read; the first error: .*fox/0\.wav"):
        clips[Draw(2, 0)]


def test_a_file_as_a_whole_and_a_stretch_of_it(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, 16_000, subtype="FLOAT")
    clips = [Clip("a.wav", tmp_path / "a.wav", (0,)), Clip("a.wav#0.5-1", tmp_path / "a.wav", (0,), start=0.5, end=1.0)]
    clips.append(Clip("a.wav#1-", tmp_path / "a.wav", (0,), start=1.0))
    waveforms = Waveforms(clips, 1e9)
    waveforms.preload()
    assert [len(x) for x in waveforms] == [32_000, 8_000, 16_000]


def test_stretches_of_one_file_are_decoded_with_one_reading(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", noise, 16_000, subtype="FLOAT")
    clips = [Clip(f"long.wav#{i}", tmp_path / "long.wav", (0,), start=i / 4, end=i / 4 + 0.5) for i in range(6)]
    calls = []
    monkeypatch.setattr("spectag.train.examples.read", lambda source: calls.append(source) or read(source))
    waveforms = Waveforms(clips, 1e9)
    waveforms.preload()
    assert len(calls) == 1
    for i, x in enumerate(waveforms):
        np.testing.assert_array_equal(x, noise[i * 4000 : i * 4000 + 8000])


def test_the_paper_example_is_the_beginning_of_the_clip(manifest):
    front_end = FrontEnd(frames=30)
    clips = TrainingClips(Waveforms(manifest.clips, 1e9), targets(manifest), front_end, AugmentRecipe())
    draws = {draw.clip: draw for draw in EpochSampler(10, 0)}
    short, long = clips[draws[0]], clips[draws[4]]
    assert len(short.waveform) == len(long.waveform) == 400 + 29 * 160
    assert (short.frames, long.frames) == (23, 30)
    assert torch.equal(long.waveform, clips.waveforms[4][: 400 + 29 * 160])
    assert (short.waveform[4000:] == 0).all()
    assert short.target.tolist() == [1, 0]


def test_mixing_mixes_targets_by_the_same_share(manifest):
    recipe = AugmentRecipe(mix_rate=1.0, mix_alpha=10.0)
    clips = TrainingClips(Waveforms(manifest.clips, 1e9), targets(manifest), FrontEnd(frames=30), recipe)
    examples = [clips[draw] for epoch in range(20) for draw in _epoch(epoch)]
    shares = torch.stack([example.target for example in examples])
    torch.testing.assert_close(shares.sum(1), torch.ones(len(shares)))
    mixed = shares[:, 0][(shares[:, 0] > 0) & (shares[:, 0] < 1)]
    assert 0.35 < len(mixed) / len(shares) < 0.65, "partners are drawn from the whole set"
    assert mixed.mean() == pytest.approx(0.5, abs=0.05)
    assert mixed.std() == pytest.approx((1 / (4 * 21)) ** 0.5, rel=0.25), "Beta(10, 10)"


def _epoch(number):
    sampler = EpochSampler(10, 0)
    sampler.set_epoch(number)
    return sampler


def test_short_clips_in_training(manifest):
    recipe = AugmentRecipe(excerpt=True, short_rate=0.5)
    clips = TrainingClips(Waveforms(manifest.clips, 1e9), targets(manifest), FrontEnd(frames=30), recipe)
    frames = [int(clips[draw].frames) for epoch in range(10) for draw in _epoch(epoch)]
    assert min(frames) < 10
    assert 0.3 < np.mean([n == 30 for n in frames]) < 0.7


def test_statistics_are_those_of_all_frames(manifest):
    waveforms = Waveforms(manifest.clips, 1e9)
    front_end = FrontEnd(frames=20)
    everything = torch.cat([fbank(x, window=front_end.window)[:20] for x in waveforms]).double()
    mean, std = statistics(waveforms, front_end)
    assert mean == pytest.approx(float(everything.mean()), rel=1e-9)
    assert std == pytest.approx(float(everything.std(correction=0)), rel=1e-6)
