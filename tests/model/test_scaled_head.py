"""Scaled logits, thresholds and unknown sounds in a bundle: exact, read back, checked; transformers reads them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from small import edit, make_bundle, with_facts

from spectag import errors
from spectag.engines.factory import make_engine
from spectag.model.card import Card
from spectag.model.directory import digest_of
from spectag.model.ensemble import Ensemble
from spectag.model.loading import load
from spectag.model.scaling import scale_logits
from spectag.model.unknown import Unknown, fit_unknown, unit

INPUTS = torch.randn(3, 100, 128, generator=torch.Generator().manual_seed(1))
SCALE, OFFSET = np.array([0.3, 0.5, 1.0, 1.7, 2.5]), np.array([-1.0, 0.5, 0.0, 2.0, 0.25])
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 1.0)


def make_unknown(width: int = 32) -> Unknown:
    rng = np.random.default_rng(0)
    return Unknown(rng.normal(size=(width, width)), rng.normal(size=(5, width)), np.sort(rng.random(40)), 0.05)


@torch.no_grad()
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_head_takes_in_scale_and_offset(activation):
    bundle = with_facts(make_bundle(), activation=activation)
    before = bundle.network(INPUTS)
    scaled = scale_logits(bundle, SCALE, OFFSET)
    wanted = bundle.scores(torch.from_numpy(SCALE) * before.double() + torch.from_numpy(OFFSET))
    torch.testing.assert_close(scaled.scores(scaled.network(INPUTS)), wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(bundle.network(INPUTS), before, rtol=0, atol=0)  # left as it was


@torch.no_grad()
def test_each_head_is_scaled_by_itself():
    bundle = make_bundle(frame_head=True)
    clip, frames = bundle.network.forward_frames(INPUTS)
    scaled = scale_logits(bundle, SCALE, OFFSET, frames=True).network.forward_frames(INPUTS)
    torch.testing.assert_close(scaled[0], clip)
    torch.testing.assert_close(scaled[1], torch.from_numpy(SCALE).float() * frames + torch.from_numpy(OFFSET).float())
    with pytest.raises(errors.InputError, match="no frame head"):
        scale_logits(make_bundle(), SCALE, OFFSET, frames=True)
    with pytest.raises(errors.InputError, match="5 finite numbers"):
        scale_logits(bundle, np.full(5, np.nan), OFFSET)
    with pytest.raises(errors.InputError, match="5 finite numbers"):
        scale_logits(bundle, SCALE[:4], OFFSET[:4])


def test_scores_features_and_frames_in_one_pass():
    engine = make_engine(make_bundle(frame_head=True))
    scores, features = engine.score_features(INPUTS)
    np.testing.assert_allclose(scores, engine.scores(INPUTS), atol=1e-6)
    np.testing.assert_allclose(features, engine.embed(INPUTS), atol=1e-5)
    again, same, frames = engine.score_features(INPUTS, frames=True)
    moments = engine.score_frames(INPUTS)
    np.testing.assert_allclose(again, moments[0], atol=1e-6)
    np.testing.assert_array_equal(frames, moments[1])  # to the last bit: jobs that go on depend on it
    np.testing.assert_allclose(same, features, atol=1e-5)
    with pytest.raises(errors.InputError, match="no frame head"):
        make_engine(make_bundle()).score_features(INPUTS, frames=True)


def test_thresholds_and_unknown_are_read_back(tmp_path):
    unknown = make_unknown()
    bundle = with_facts(make_bundle(), thresholds=THRESHOLDS, unknown=unknown)
    loaded = load(bundle.save(tmp_path / "a")).card
    assert loaded.thresholds == THRESHOLDS
    for name, array in unknown.arrays().items():
        np.testing.assert_array_equal(getattr(loaded.unknown, name), array)
    assert loaded.unknown.rate == 0.05
    assert loaded.unknown.limit == unknown.limit
    facts = loaded.describe()
    assert facts["thresholds"]["count"] == 5
    assert facts["unknown"]["clips"] == 40
    assert json.loads((tmp_path / "a/spectag.json").read_text())["format"] == 1  # older versions read it, too
    again = load(load(tmp_path / "a").save(tmp_path / "b")).card
    assert again.thresholds == THRESHOLDS
    assert again.unknown.limit == unknown.limit


def test_thresholds_of_events_are_read_back_by_method(tmp_path):
    limits = {"change": (0.1, 0.2, 0.3, 0.4, 0.5), "threshold": (0.5,) * 5}
    bundle = with_facts(make_bundle(), event_thresholds=limits)
    folder = bundle.save(tmp_path / "a")
    assert load(folder).card.event_thresholds == limits
    assert load(folder).card.describe()["event_thresholds"]["change"] == {"count": 5, "lowest": 0.1, "highest": 0.5}
    assert load(folder, activation="sigmoid").card.event_thresholds is None
    edit(folder / "spectag.json", event_thresholds={"change": [0.5] * 5, "a newer method": 7})
    assert load(folder).card.event_thresholds == {"change": (0.5,) * 5}
    for wrong, message in (
        ({"change": [0.5]}, "event_thresholds: change: expected one for each of 5 labels, got 1: calibrate again"),
        ({"threshold": 7}, "event_thresholds: threshold: expected numbers from 0 to 1, got 7"),
        ([0.5] * 5, "event_thresholds: expected a table"),
    ):
        edit(folder / "spectag.json", event_thresholds=wrong)
        with pytest.raises(errors.ModelError, match=message):
            load(folder)
    with pytest.raises(errors.InputError, match="expected change or threshold, got 'sebb'"):
        with_facts(make_bundle(), event_thresholds={"sebb": (0.5,) * 5})


def test_a_bundle_without_them_has_no_such_fields(tmp_path):
    make_bundle().save(tmp_path / "a")
    assert (
        not {"thresholds", "event_thresholds", "unknown"} & json.loads((tmp_path / "a/spectag.json").read_text()).keys()
    )
    assert not (tmp_path / "a/unknown.safetensors").exists()
    card = load(tmp_path / "a").card
    assert card.thresholds is None
    assert card.unknown is None


@pytest.mark.parametrize(
    "thresholds",
    [[0.5], [0.5] * 6, [0.5] * 4 + [1.5], [0.5] * 4 + ["0.5"], [True] * 5, 0.5, [float("inf")] * 5],
)
def test_thresholds_are_checked(tmp_path, thresholds):
    folder = make_bundle().save(tmp_path / "a")
    edit(folder / "spectag.json", thresholds=thresholds)
    with pytest.raises(errors.ModelError, match=r"spectag\.json"):
        load(folder)


def test_a_threshold_for_each_label():
    card = make_bundle().card
    with pytest.raises(errors.InputError, match="one for each of 5 labels, got 2"):
        replace(card, thresholds=(0.5, 0.5))
    with pytest.raises(errors.InputError, match="numbers from 0 to 1, got nan"):
        Card(card.config, card.front_end, card.labels, "softmax", thresholds=(float("nan"),) * 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": np.zeros((5, 31), np.float32)}, "expected \\[K, 32\\]"),
        ({"means": np.zeros(32, np.float32)}, "expected \\[K, 32\\]"),
        ({"means": np.zeros((0, 32), np.float32)}, "finite numbers"),
        ({"whitening": np.zeros((32, 31), np.float32)}, "whitening \\[D, D\\]"),
        ({"whitening": np.full((32, 32), np.nan, np.float32)}, "finite numbers"),
        ({"distances": np.zeros(3, np.float32)}, "at least 19 distances"),
        ({"distances": np.arange(40, 0, -1).astype(np.float32)}, "ascending"),
        ({"distances": np.zeros(40, np.float64)}, "float32"),
        ({"more": np.zeros(1, np.float32)}, "expected the arrays"),
    ],
)
def test_unknown_is_checked(tmp_path, change, message):
    folder = with_facts(make_bundle(), unknown=make_unknown()).save(tmp_path / "a")
    path = folder / "unknown.safetensors"
    save_file(load_file(path) | change, path)
    with pytest.raises(errors.UnreadableModel, match="do not belong together"):
        load(folder)
    edit(folder / "spectag.json", unknown={"rate": 0.05, "sha256": digest_of(path)})
    with pytest.raises(errors.ModelError, match=message):
        load(folder)


@pytest.mark.parametrize("table", [{}, {"rate": 2.0}, {"rate": "0.05"}, {"rate": None}, []])
def test_the_rate_is_checked(tmp_path, table):
    folder = with_facts(make_bundle(), unknown=make_unknown()).save(tmp_path / "a")
    digest = {"sha256": digest_of(folder / "unknown.safetensors")} if table != [] else {}
    edit(folder / "spectag.json", unknown=(table | digest) if isinstance(table, dict) else table)
    with pytest.raises(errors.ModelError):
        load(folder)


def test_files_that_are_no_safetensors(tmp_path):
    folder = with_facts(make_bundle(), unknown=make_unknown()).save(tmp_path / "a")
    path = folder / "unknown.safetensors"
    path.write_bytes(b"\x80\x04cos\nsystem\n")  # a pickle
    edit(folder / "spectag.json", unknown={"rate": 0.05, "sha256": digest_of(path)})
    with pytest.raises(errors.UnreadableModel, match="cannot read it"):
        load(folder)
    path.unlink()
    with pytest.raises(errors.UnreadableModel, match="is missing"):
        load(folder)


def test_another_activation_has_no_thresholds(tmp_path):
    folder = with_facts(make_bundle(), thresholds=THRESHOLDS).save(tmp_path / "a")
    assert load(folder, activation="sigmoid").card.thresholds is None
    assert load(folder, activation="softmax").card.thresholds == THRESHOLDS


def test_an_ensemble_has_neither():
    bundle = with_facts(make_bundle(), thresholds=THRESHOLDS, unknown=make_unknown())
    card = Ensemble((bundle, bundle)).card
    assert card.thresholds is None
    assert card.unknown is None


def test_transformers_gives_the_calibrated_scores(tmp_path):
    transformers = pytest.importorskip("transformers")
    bundle = scale_logits(make_bundle(), SCALE, OFFSET)
    path = with_facts(bundle, thresholds=THRESHOLDS, unknown=make_unknown()).save(tmp_path / "a")
    theirs = transformers.AutoModelForAudioClassification.from_pretrained(path)
    with torch.no_grad():
        torch.testing.assert_close(theirs(INPUTS).logits, bundle.network(INPUTS), rtol=1e-4, atol=1e-4)


def cloud(clips: int, width: int = 16, seed: int = 0):
    """Features of clips of three classes, each of two windows."""
    rng = np.random.default_rng(seed)
    targets = np.eye(3, dtype=int)[np.arange(clips) % 3]
    places = np.repeat(np.arange(clips), 2)
    features = 6 * np.eye(3, width)[places % 3] + rng.normal(size=(2 * clips, width))
    return features, places, np.full(2 * clips, 0.5), targets, np.arange(clips) % 5


def test_the_stated_rate_is_kept():
    """On sounds that are drawn anew, and averaged over draws: the limit is itself drawn."""
    rates = []
    for seed in range(20):
        unknown, _ = fit_unknown(*cloud(90, seed=seed), rate=0.1)
        features, places, weights, targets, _ = cloud(600, seed=100 + seed)
        distances = np.bincount(places, weights * unknown.measure(features))
        rates.append(np.mean([unknown.is_unknown(distance) for distance in distances]))
        assert len(targets) == len(distances)
    assert 0.05 < np.mean(rates) < 0.11


def test_far_sounds_are_unknown():
    unknown, distances = fit_unknown(*cloud(90), rate=0.05)
    far = 6 * np.eye(16)[8:12]
    assert all(unknown.is_unknown(distance) for distance in unknown.measure(far))
    assert unknown.score(unknown.measure(far)[0]) > 0.95
    assert unknown.score(float(np.median(distances))) == pytest.approx(0.5, abs=0.02)
    assert (distances > unknown.limit).mean() <= 0.05


def test_distances_by_hand():
    unknown = make_unknown(4)
    features = np.random.default_rng(3).normal(size=(7, 4))
    x = unit(features) @ unknown.whitening.T
    wanted = np.sqrt(((x[:, None] - unknown.means) ** 2).sum(2)).min(1)
    np.testing.assert_allclose(unknown.measure(features), wanted, rtol=1e-4)


def test_few_clips_are_refused():
    features, places, weights, targets, folds = cloud(30)
    with pytest.raises(errors.DataError, match="needs at least 99 clips with labels, got 30"):
        fit_unknown(features, places, weights, targets, folds, rate=0.01)
    with pytest.raises(errors.DataError, match="at least 20 clips with labels, got 0"):
        fit_unknown(features, places, weights, 0 * targets, folds, rate=0.5)
    with pytest.raises(errors.DataError, match="same features"):
        fit_unknown(np.ones_like(features), places, weights, targets, folds, rate=0.1)
    with pytest.raises(errors.InputError, match="rate"):
        fit_unknown(features, places, weights, targets, folds, rate=1.0)
