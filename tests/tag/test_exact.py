"""Short recordings at their own length: what the network gets, and that neighbours make no difference."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import spectag
from spectag import AST, ASTConfig, Bundle, Card, FrontEnd, LabelSet, Tagger
from spectag.audio.fbank import fbank, normalise, pad_or_cut
from spectag.audio.front_end import num_frames
from spectag.errors import FileError, InputError
from spectag.tag.detector import Detector


@pytest.fixture(scope="module")
def bundle():
    torch.manual_seed(0)
    config = ASTConfig(
        width=16, depth=1, heads=2, frames=256, patch=(16, 16), stride=(16, 16), labels=3, frame_head=True
    )
    card = Card(config, FrontEnd("hanning", frames=256, mean=-6, std=4), LabelSet(("a", "b", "c")), "sigmoid")
    return Bundle(card, AST(config).eval())


def sound(samples, seed=0):
    return (np.random.default_rng([samples, seed]).standard_normal(samples) * 0.1).astype(np.float32)


class Counting:
    """An engine that notes the shapes of what it gets."""

    def __init__(self, engine):
        self.engine, self.shapes = engine, []

    def scores(self, inputs):
        self.shapes.append(tuple(inputs.shape[:2]))
        return self.engine.scores(inputs)

    def embed(self, inputs):
        return self.engine.embed(inputs)


@pytest.mark.parametrize("samples", [160, 400, 5200, 16_000, 30_000, 41_000, 60_000])
def test_the_network_gets_what_is_there(bundle, samples):
    frames = num_frames(samples)
    x = fbank(sound(samples), window="hanning")
    fitted = pad_or_cut(x, min(256, -(-len(x) // 32) * 32))
    with torch.inference_mode():
        expected = bundle.scores(bundle.network(normalise(fitted, -6, 4)[None]))[0]
    if frames <= 256:
        assert np.allclose(Tagger(bundle, length="exact").scores(sound(samples)), expected, atol=1e-6)
    padded = Tagger(bundle).scores(sound(samples))
    same = np.allclose(padded, Tagger(bundle, length="exact").scores(sound(samples)), atol=1e-6)
    assert same == (frames > 224), "only short recordings differ"


def test_windows_of_one_length_share_batches(bundle):
    engine = Counting(spectag.make_engine(bundle))
    tagger = Tagger(bundle, engine=engine, batch_size=4, length="exact")
    lengths = [8000, 30_000] * 8 + [60_000]
    assert len(list(tagger.tag_many([sound(n) for n in lengths]))) == len(lengths)
    assert sorted(engine.shapes) == [(2, 256), (4, 64), (4, 64), (4, 192), (4, 192)]


@settings(max_examples=30)
@given(st.lists(st.integers(1, 90_000), min_size=1, max_size=12), st.integers(1, 5), st.integers(0, 11))
def test_neighbours_and_order_make_no_difference(bundle, lengths, batch_size, broken):
    tagger = Tagger(bundle, batch_size=batch_size, length="exact")
    sources = [sound(n, seed) for seed, n in enumerate(lengths)]
    sources.insert(min(broken, len(sources)), FileError("x.wav", "broken"))
    found = list(tagger.scores_many(sources))
    assert len(found) == len(sources)
    for source, scores in zip(sources, found, strict=True):
        if isinstance(source, FileError):
            assert scores is source
        else:
            assert np.allclose(scores, tagger.scores(source), atol=1e-6)


def test_results_come_although_their_length_is_rare(bundle):
    """A recording does not wait for others of its length longer than for a few batches."""
    engine = Counting(spectag.make_engine(bundle))
    tagger = Tagger(bundle, engine=engine, batch_size=2, length="exact")
    given_out = []

    def sources():
        for n in range(200):
            given_out.append(n)
            yield sound(8000 if n else 30_000, n)

    results = tagger.tag_many(sources())
    next(results)
    assert len(given_out) < 60


@pytest.mark.parametrize("samples", [3000, 16_000, 50_000])
def test_times_of_short_recordings(bundle, samples):
    found = Detector(Tagger(bundle, length="exact")).detect(sound(samples), timeline=True)
    assert found.timeline is not None
    assert len(found.timeline.scores) == -(-samples * 100 // (16_000 * 16))
    assert np.isfinite(found.timeline.scores).all()


def test_a_patch_longer_than_the_unit():
    torch.manual_seed(0)
    config = ASTConfig(width=16, depth=1, heads=2, frames=256, patch=(128, 50), stride=(128, 50), labels=3)
    card = Card(config, FrontEnd("hanning", frames=256, mean=-6, std=4), LabelSet(("a", "b", "c")), "sigmoid")
    assert np.isfinite(Tagger(Bundle(card, AST(config).eval()), length="exact").scores(sound(800))).all()


def test_other_lengths_are_refused(bundle):
    with pytest.raises(InputError, match="length must be one of pad, exact; got 'full'"):
        Tagger(bundle, length="full")  # type: ignore[arg-type]
