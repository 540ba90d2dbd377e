"""Scaling of logits: known parameters are found again, and few clips give no extreme ones."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import expit, softmax

from spectag.errors import DataError, InputError
from spectag.score import scaling
from spectag.score.scaling import Outputs, choose_method, cross_validate, fit_scaling, log_loss, make_folds, methods

CLIPS, CLASSES = 6000, 4
SCALE, OFFSET = np.array([0.5, 0.8, 1.5, 2.0]), np.array([-2.0, -1.0, 0.5, 1.0])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def draw_single(rng, scores):
    """One label for each clip, drawn by its scores."""
    chosen = (scores.cumsum(1) < rng.random((len(scores), 1))).sum(1)
    return np.eye(scores.shape[1], dtype=int)[np.minimum(chosen, scores.shape[1] - 1)]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_known_temperature_is_found(rng, activation, temperature):
    logits = rng.normal(0, 3, (CLIPS, CLASSES))
    if activation == "softmax":
        targets = draw_single(rng, softmax(logits / temperature, axis=1))
    else:
        targets = (rng.random(logits.shape) < expit(logits / temperature)).astype(int)
    found = fit_scaling(Outputs.of_clips(logits, targets, activation), "temperature")
    np.testing.assert_allclose(1 / found.scale, temperature, rtol=0.05)
    assert not found.offset.any()


def test_known_parameters_of_each_class_are_found_sigmoid(rng):
    logits = rng.normal(0, 3, (CLIPS, CLASSES))
    targets = (rng.random(logits.shape) < expit(SCALE * logits + OFFSET)).astype(int)
    found = fit_scaling(Outputs.of_clips(logits, targets, "sigmoid"), "classes")
    np.testing.assert_allclose(found.scale, SCALE, rtol=0.12)
    np.testing.assert_allclose(found.offset, OFFSET, atol=0.2)


def test_known_parameters_of_each_class_are_found_softmax(rng):
    logits = rng.normal(0, 3, (CLIPS, CLASSES))
    targets = draw_single(rng, softmax(SCALE * logits + OFFSET, axis=1))
    found = fit_scaling(Outputs.of_clips(logits, targets, "softmax"), "classes")
    np.testing.assert_allclose(found.scale, SCALE, rtol=0.12)
    np.testing.assert_allclose(found.offset - found.offset.mean(), OFFSET - OFFSET.mean(), atol=0.2)


def test_common_parameters_are_found(rng):
    logits = rng.normal(0, 3, (CLIPS, CLASSES))
    targets = (rng.random(logits.shape) < expit(0.7 * logits - 1.5)).astype(int)
    found = fit_scaling(Outputs.of_clips(logits, targets, "sigmoid"), "platt")
    np.testing.assert_allclose(found.scale, 0.7, rtol=0.05)
    np.testing.assert_allclose(found.offset, -1.5, atol=0.1)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_gradient_is_that_of_the_loss_over_windows(rng, activation, monkeypatch):
    """Clips of several windows: the score is the mean of the windows' scores, not the score of their mean."""
    places = np.repeat(np.arange(20), [1, 2, 3, 4] * 5)
    sound = rng.random(len(places)) + 0.1
    weights = sound / np.bincount(places, sound)[places]
    logits = rng.normal(0, 2, (len(places), CLASSES))
    targets = np.eye(CLASSES, dtype=int)[np.arange(20) % CLASSES]
    outputs = Outputs(logits, places, weights, targets, activation)
    rows = expit(logits) if activation == "sigmoid" else softmax(logits, axis=1)
    by_hand = [(weights[places == clip, None] * rows[places == clip]).sum(0) for clip in range(20)]
    np.testing.assert_allclose(outputs.scores(), by_hand)
    differences = []
    original = scaling.minimize

    def checking(objective, start, **options):
        at = rng.normal(0, 0.3, len(start))
        numerical = approx_fprime(at, lambda values: objective(values)[0], 1e-6)
        differences.append(np.abs(numerical - objective(at)[1]).max())
        return original(objective, start, **options)

    monkeypatch.setattr(scaling, "minimize", checking)
    fit_scaling(outputs, "classes")
    assert len(differences) == 2
    assert max(differences) < 1e-3


def test_classes_of_few_clips_keep_the_common_parameters(rng):
    logits = rng.normal(0, 3, (300, 3))
    targets = (rng.random(logits.shape) < expit(SCALE[:3] * logits)).astype(int)
    targets[:, 2] = 0
    targets[:4, 2] = 1
    outputs = Outputs.of_clips(logits, targets, "sigmoid")
    common, own = fit_scaling(outputs, "platt"), fit_scaling(outputs, "classes")
    assert own.scale[2] == common.scale[2]
    assert own.offset[2] == common.offset[2]
    assert own.scale[0] != common.scale[0]


def test_separable_clips_give_no_extreme_parameters():
    logits = np.repeat([[4.0, -4.0], [-4.0, 4.0]], 6, axis=0)
    found = fit_scaling(Outputs.of_clips(logits, np.eye(2)[[0] * 6 + [1] * 6], "softmax"), "classes")
    assert found.scale.max() < 5
    assert np.abs(found.offset).max() < 3


def test_classes_that_the_data_set_lacks_do_not_count_with_sigmoid(rng):
    logits = rng.normal(0, 3, (2000, 2))
    targets = (rng.random(logits.shape) < expit(logits / 2)).astype(int)
    targets[:, 1] = 0  # nobody listened for it
    known = np.array([True, False])
    found = fit_scaling(Outputs(*_parts(logits), targets, "sigmoid", known), "temperature")
    np.testing.assert_allclose(found.scale, 0.5, rtol=0.1)


def _parts(logits):
    return logits, np.arange(len(logits)), np.ones(len(logits))


def test_clips_without_a_label_do_not_count_with_softmax(rng):
    logits = rng.normal(0, 3, (200, 3))
    targets = draw_single(rng, softmax(logits, axis=1))
    some = fit_scaling(Outputs.of_clips(logits, targets, "softmax"), "temperature")
    more = Outputs.of_clips(np.concatenate([logits, logits]), np.concatenate([targets, 0 * targets]), "softmax")
    np.testing.assert_allclose(fit_scaling(more, "temperature").scale, some.scale, rtol=1e-4)


def test_what_is_calibrated_already_stays(rng):
    logits = rng.normal(0, 2, (2000, 3))
    targets = draw_single(rng, softmax(logits, axis=1))
    outputs = Outputs.of_clips(logits, targets, "softmax")
    method, losses = choose_method(outputs, make_folds(targets))
    assert losses["none"] - losses[method] < 1e-3
    assert set(losses) == set(methods("softmax"))


def test_no_clip_is_scored_with_a_map_that_was_fitted_on_it(rng):
    logits, targets = rng.normal(0, 3, (30, 2)), np.eye(2)[np.arange(30) % 2]
    outputs = Outputs.of_clips(logits, targets, "softmax")
    folds = np.arange(30) % 3
    scores = cross_validate(outputs, "temperature", folds)
    other = targets.copy()
    other[folds == 0] = 1 - other[folds == 0]
    changed = cross_validate(Outputs.of_clips(logits, other, "softmax"), "temperature", folds)
    np.testing.assert_array_equal(scores[folds == 0], changed[folds == 0])
    assert (scores[folds == 1] != changed[folds == 1]).all()


def test_log_loss_by_hand():
    outputs = Outputs.of_clips(np.zeros((2, 2)), np.array([[1, 0], [1, 1]]), "sigmoid")
    scores = np.array([[0.8, 0.1], [0.5, 0.25]])
    assert log_loss(outputs, scores) == pytest.approx(-np.log([0.8, 0.9, 0.5, 0.25]).mean())


@pytest.mark.parametrize("seed", range(5))
def test_folds_keep_groups_together_and_share_the_classes(seed):
    rng = np.random.default_rng(seed)
    targets = np.eye(4, dtype=int)[rng.integers(0, 4, 200)]
    groups = [f"g{n}" if n < 40 else "" for n in rng.integers(0, 60, 200)]
    folds = make_folds(targets, groups)
    for name in set(groups) - {""}:
        assert len({fold for fold, group in zip(folds, groups, strict=True) if group == name}) == 1
    for fold in range(5):
        share = targets[folds == fold].sum(0) / targets.sum(0)
        assert (np.abs(share - 0.2) < 0.12).all()


def test_bad_input():
    with pytest.raises(DataError, match="at least two groups, got 1"):
        make_folds(np.eye(2), ["a", "a"])
    outputs = Outputs.of_clips(np.zeros((2, 2)), np.eye(2), "softmax")
    with pytest.raises(InputError, match="none, temperature, classes; got 'platt'"):
        fit_scaling(outputs, "platt")
    with pytest.raises(InputError, match="fitting shapes"):
        Outputs.of_clips(np.zeros((2, 3)), np.eye(2), "softmax")
