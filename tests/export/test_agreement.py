"""The figures of the agreement report."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from tests.model.small import make_bundle

from spectag.data.manifest import Clip, Manifest
from spectag.engines.factory import make_engine
from spectag.errors import FileError
from spectag.export.agreement import Agreement, correlate_ranks, make_reference, measure_agreement
from spectag.export.samples import choose_evenly, read_samples
from spectag.tag.tagger import Tagger

BUNDLE = make_bundle(frame_head=True)
SOUNDS = [
    np.random.default_rng(seed).standard_normal(8_000 + 9_000 * seed).astype(np.float32) * 0.1 for seed in range(4)
]


class Off:
    """An engine whose first score is a little lower, in some windows."""

    def __init__(self, by: float) -> None:
        self.engine, self.by = make_engine(BUNDLE), by

    def score_features(self, inputs: torch.Tensor, frames: bool = False) -> tuple[np.ndarray, ...]:
        scores, features, *more = self.engine.score_features(inputs, frames)
        scores[:, 0] -= self.by
        features = np.concatenate([-features[:1], features[1:]])
        return scores, features, *(moments + self.by for moments in more)


@pytest.fixture(scope="module")
def reference() -> object:
    samples, clips = read_samples(SOUNDS, BUNDLE.front_end)
    assert clips == 4
    return make_reference(BUNDLE.card, make_engine(BUNDLE), samples)


def test_samples_are_what_the_tagger_computes(reference) -> None:
    tagger = Tagger(BUNDLE)
    for sound, sample, windows in zip(SOUNDS, reference.samples, reference.windows, strict=True):
        np.testing.assert_allclose(sample.mean([row[0] for row in windows]), tagger.scores(sound), atol=1e-6)
    assert [len(sample.inputs) for sample in reference.samples] == [1, 2, 3, 4]


def test_each_window_has_the_waveform_that_it_is_made_of(reference) -> None:
    from spectag.audio.fbank import compute_inputs

    for sample in reference.samples:
        for waveform, inputs in zip(sample.waveforms, sample.inputs, strict=True):
            torch.testing.assert_close(compute_inputs(waveform, BUNDLE.front_end), inputs, atol=1e-3, rtol=0)


def test_long_recordings_are_cut_off_and_bad_ones_reported() -> None:
    (long, bad), _ = read_samples([np.ones(500_000, np.float32), "no-such-file.wav"], BUNDLE.front_end)
    assert len(long.inputs) == 8
    assert isinstance(bad, FileError)


def test_clips_are_taken_evenly() -> None:
    assert choose_evenly(3, 5) == [0, 1, 2]
    assert choose_evenly(100, 4) == [0, 25, 50, 75]


def test_the_same_engine_agrees(reference) -> None:
    agreement = measure_agreement(reference, make_engine(BUNDLE))
    assert agreement == Agreement(4, 10, 0.0, 0.0, 0.0, 1.0, 1.0, pytest.approx(1), frames=0.0)
    assert agreement.loss == 0


def test_an_engine_that_is_off(reference) -> None:
    agreement = measure_agreement(reference, Off(0.25))
    assert agreement.largest == pytest.approx(0.25, abs=1e-6)
    assert agreement.mean == pytest.approx(0.25 / 5, abs=1e-6)
    assert agreement.loss == agreement.mean_largest == pytest.approx(0.25, abs=1e-6)
    assert agreement.frames == pytest.approx(0.25, abs=1e-6)
    assert agreement.features == pytest.approx(-1)
    before = np.stack([s.mean([r[0] for r in w]) for s, w in zip(reference.samples, reference.windows, strict=True)])
    after = before - np.array([0.25, 0, 0, 0, 0])
    assert agreement.top1 == (before.argmax(1) == after.argmax(1)).mean()
    wanted = np.mean([spearmanr(a, b).statistic for a, b in zip(before, after, strict=True)])
    assert agreement.rank_correlation == pytest.approx(wanted)


def test_with_labels_the_loss_is_that_of_the_figures(reference) -> None:
    before = np.stack([s.mean([r[0] for r in w]) for s, w in zip(reference.samples, reference.windows, strict=True)])
    clips = tuple(Clip(f"{n}", f"{n}.wav", (int(row.argmax()),)) for n, row in enumerate(before))
    manifest = Manifest(clips, BUNDLE.labels, "a table")
    right = measure_agreement(reference, make_engine(BUNDLE), manifest=manifest)
    assert right.accuracy == (1.0, 1.0)
    off = Off(1.0)
    wrong = measure_agreement(reference, off, manifest=manifest)
    after = before - np.array([1, 0, 0, 0, 0])
    accuracy = float((before.argmax(1) == after.argmax(1)).mean())
    assert wrong.accuracy == (1.0, pytest.approx(accuracy))
    assert wrong.loss >= 1 - accuracy
    close = measure_agreement(reference, Off(1e-4), manifest=manifest)
    assert (close.accuracy, close.loss) == ((1.0, 1.0), 0.0)
    assert close.mean_largest == pytest.approx(1e-4, abs=1e-6)
    both = tuple(Clip(f"{n}", f"{n}.wav", (n % 2,)) for n in range(4))
    one = measure_agreement(reference, off, manifest=Manifest(both, BUNDLE.labels, "a table"))
    assert one.mean_ap is not None
    assert {name for name, _ in one.lines()} >= {"accuracy of model, of graph", "mAP of model, of graph"}


def test_ranks_of_equal_scores() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 4, (20, 9)).astype(np.float32) for _ in range(2))
    assert correlate_ranks(a, b) == pytest.approx(
        np.mean([spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)])
    )
    assert correlate_ranks(np.ones((1, 3)), np.ones((1, 3))) == 1
