"""Waveforms in memory, training examples and their batches."""

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from spectag.audio.front_end import FrontEnd
from spectag.audio.read import Recording, read
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Clip
from spectag.errors import AudioError, DataError
from spectag.train.augment import build_example
from spectag.train.events import Sound
from spectag.train.examples import TrainingClips, Waveforms, collate
from spectag.train.rng import make_rng
from spectag.train.sampler import Draw
from spectag.train.sections import AugmentRecipe


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
    monkeypatch.setattr("spectag.train.examples.read_segments", None)  # nothing decodes any more
    assert [len(x) for x in waveforms] == [4000 + 1000 * i for i in range(5)] * 2
    assert all(isinstance(x, np.ndarray) for x in waveforms.sources())


def test_memory_is_bounded(manifest):
    waveforms = Waveforms(manifest.clips, cache_bytes=2.5 * 4000 * 4)
    waveforms.preload(threads=1)
    assert not waveforms.complete
    kept = [x for x in waveforms.sources() if isinstance(x, np.ndarray)]
    assert sum(x.nbytes for x in kept) <= 2.5 * 4000 * 4
    assert len(waveforms[9]) == 8000, "what is not kept is decoded"


def test_memory_is_used_until_a_clip_does_not_fit(manifest):
    """Later clips that would still fit are not kept, so that preloading can stop there."""
    waveforms = Waveforms(manifest.clips, cache_bytes=(4000 + 5000 + 4000) * 4)
    waveforms.preload(threads=1)
    for _ in waveforms:
        pass
    assert [len(x) for x in waveforms.sources() if isinstance(x, np.ndarray)] == [4000, 5000]
    exactly = Waveforms(manifest.clips[:2], cache_bytes=(4000 + 5000) * 4)
    exactly.preload()
    assert exactly.complete


def test_a_clip_that_cannot_be_read_is_not_tried_again(manifest, monkeypatch):
    manifest.clips[0].path.write_text("broken")
    waveforms = Waveforms(manifest.clips[:1], 0)
    with pytest.raises(AudioError) as first:
        waveforms[0]
    monkeypatch.setattr("spectag.train.examples.read_segments", None)
    with pytest.raises(AudioError) as again:
        waveforms[0]
    assert again.value is first.value


@pytest.fixture
def broken(manifest):
    """Breaks clips by their index, and makes examples of what is left."""

    def make(*indices: int, **recipe) -> TrainingClips:
        for index in indices:
            manifest.clips[index].path.write_text("broken")
        waveforms = Waveforms(manifest.clips, 0)
        return TrainingClips(waveforms, manifest.targets(), FrontEnd(frames=30), AugmentRecipe(**recipe))

    return make


def test_a_clip_that_cannot_be_read_is_replaced_and_the_reason_travels_along(manifest):
    manifest.clips[3].path.write_text("broken")
    waveforms = Waveforms(manifest.clips, 1e9)
    waveforms.preload()
    assert waveforms.complete, "nothing is tried again"
    assert str(manifest.clips[3].path) in str(waveforms.failed[3])
    clips = TrainingClips(waveforms, manifest.targets(), FrontEnd(frames=30), AugmentRecipe())
    example = clips[Draw(3, 1)]
    [other] = example.heard
    assert example.unreadable == (("fox/3.wav", waveforms.failed[3]),)
    same = clips[Draw(other, 1)]
    assert torch.equal(example.waveform, same.waveform)
    assert same.heard == (other,)
    assert same.unreadable == ()


@pytest.mark.parametrize("index", [0, 3, 4, 5, 9], ids=lambda index: f"clip {index}")
def test_the_stand_in_is_any_clip_of_the_class_and_never_the_neighbour(broken, manifest, index):
    """Kind of fault: clips lie sorted by class and by recording, so that a neighbour who always stands in is heard too
    often, and at the end of a class teaches the wrong label. The first and last of each class are tried.
    """
    clips = broken(index)
    drawn = [clips[Draw(index, seed)] for seed in range(200)]
    assert all(torch.equal(example.target, clips.targets[index]) for example in drawn)
    counts = np.bincount([example.heard[0] for example in drawn], minlength=10)
    own = {clip for clip in range(10) if clip // 5 == index // 5} - {index}
    assert set(np.flatnonzero(counts)) == own
    assert counts[sorted(own)].min() > 25, "each of four about equally often"


def test_the_stand_in_follows_from_the_draw_alone(broken, manifest):
    """Whatever was read before, in whatever process: so a run that is resumed hears the same."""
    clips = broken(0, 1, 2)
    first = [clips[Draw(0, seed)].heard for seed in range(20)]
    again = broken()
    assert [again[Draw(0, seed)].heard for seed in reversed(range(20))] == first[::-1]
    assert len(set(first)) == 2


def test_where_a_whole_class_cannot_be_read_another_is_heard_and_says_so(broken, manifest):
    clips = broken(*range(5))
    example = clips[Draw(2, 0)]
    assert example.heard[0] >= 5
    assert example.target.tolist() == [0, 1]
    assert {clip for clip, _ in example.unreadable} == {clip.id for clip in manifest.clips[:5]}
    again = clips[Draw(2, 1)]
    assert [clip for clip, _ in again.unreadable] == ["fox/2.wav"], "the others were noted with the draw before"


def test_a_partner_that_cannot_be_read_is_replaced_too(broken):
    clips = broken(*range(1, 10), mix_rate=1.0)
    for seed in range(5):
        example = clips[Draw(0, seed)]
        assert example.heard == (0, 0)
        assert example.target.tolist() == pytest.approx([1, 0])
    clips = broken(mix_rate=1.0)
    own, partner = clips[Draw(9, 3)].heard
    assert (own, partner) == (0, 0)


def test_an_example_with_a_stand_in_is_augmented_as_it_would_have_been(broken, manifest):
    keys = {"excerpt": True, "gain_db": 6.0, "short_rate": 0.5}
    clips = broken(3, **keys)
    for seed in range(10):
        example = clips[Draw(3, seed)]
        assert torch.equal(example.waveform, clips[Draw(example.heard[0], seed)].waveform)


def test_nothing_but_clips_that_cannot_be_read(manifest):
    for clip in manifest.clips:
        clip.path.write_text("broken")
    clips = TrainingClips(Waveforms(manifest.clips, 0), manifest.targets(), FrontEnd(frames=30), AugmentRecipe())
    with pytest.raises(DataError, match=r"not one of 10 training clips can be read; the first error: .*fox/0\.wav"):
        clips[Draw(2, 0)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_is_its_examples_wherever_they_were_read(manifest, workers):
    manifest.clips[3].path.write_text("broken")
    clips = TrainingClips(Waveforms(manifest.clips, 0), manifest.targets(), FrontEnd(frames=30), AugmentRecipe())
    draws = [Draw(3, 0), Draw(9, 1), Draw(3, 2)]
    [batch] = DataLoader(clips, 3, sampler=draws, collate_fn=collate, num_workers=workers)
    examples = [clips[draw] for draw in draws]
    assert torch.equal(batch.waveform, torch.stack([example.waveform for example in examples]))
    assert torch.equal(batch.target, torch.stack([example.target for example in examples]))
    assert batch.frames.tolist() == [example.frames for example in examples]
    assert batch.heard == [example.heard for example in examples]
    assert batch.heard[1] == (9,)
    assert [clip for clip, _ in batch.unreadable] == ["fox/3.wav"] * 2
    for unreadable in batch.unreadable:
        assert type(unreadable.error) is type(clips.waveforms.failed[3])
        assert str(unreadable.error) == str(clips.waveforms.failed[3])


def test_a_file_as_a_whole_and_a_stretch_of_it(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, 16_000, subtype="FLOAT")
    clips = [Clip("a.wav", tmp_path / "a.wav", (0,)), Clip("a.wav#0.5-1", tmp_path / "a.wav", (0,), start=0.5, end=1.0)]
    clips.append(Clip("a.wav#1-", tmp_path / "a.wav", (0,), start=1.0))
    waveforms = Waveforms(clips, 1e9)
    waveforms.preload()
    assert [len(x) for x in waveforms] == [32_000, 8_000, 16_000]


def test_segments_of_one_file_are_decoded_with_one_reading(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", noise, 16_000, subtype="FLOAT")
    clips = [Clip(f"long.wav#{i}", tmp_path / "long.wav", (0,), start=i / 4, end=i / 4 + 0.5) for i in range(6)]
    calls, blocks = [], Recording.blocks
    monkeypatch.setattr(Recording, "blocks", lambda self: calls.append(self.source) or blocks(self))
    waveforms = Waveforms(clips, 1e9)
    waveforms.preload()
    assert len(calls) == 1
    assert waveforms.complete
    for i, x in enumerate(waveforms):
        np.testing.assert_array_equal(x, noise[i * 4000 : i * 4000 + 8000])


def test_the_paper_example_is_the_beginning_of_the_clip(manifest):
    front_end = FrontEnd(frames=30)
    clips = TrainingClips(Waveforms(manifest.clips, 1e9), manifest.targets(), front_end, AugmentRecipe())
    short, long = clips[Draw(0, 7)], clips[Draw(4, 8)]
    assert len(short.waveform) == len(long.waveform) == 400 + 29 * 160
    assert (short.frames, long.frames) == (23, 30)
    assert torch.equal(long.waveform, clips.waveforms[4][: 400 + 29 * 160])
    assert (short.waveform[4000:] == 0).all()
    assert short.target.tolist() == [1, 0]


def test_an_example_depends_on_clip_and_seed_alone(manifest):
    recipe = AugmentRecipe(excerpt=True, gain_db=6.0, mix_rate=0.7, short_rate=0.5)
    truth = torch.from_numpy(manifest.targets())
    clips = TrainingClips(Waveforms(manifest.clips, 1e9), truth.numpy(), FrontEnd(frames=30), recipe)
    waveforms = [torch.from_numpy(read(clip.path)) for clip in manifest.clips]
    lengths = set()
    for seed in range(20):
        example = clips[Draw(seed % 10, seed)]
        window, rng = 400 + 29 * 160, make_rng(seed)
        x, target, _ = build_example(seed % 10, lambda i: Sound(waveforms[i], truth[i]), 10, window, recipe, rng)
        lengths.add(len(x))
        assert torch.equal(example.waveform[: len(x)], x)
        assert example.waveform.shape == (window,)
        assert not example.waveform[len(x) :].any()
        assert torch.equal(example.target, target)
        assert (example.heard[0], example.frames) == (seed % 10, 1 + (len(x) - 400) // 160)
    assert len(lengths) > 5
