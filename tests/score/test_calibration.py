"""A calibration as a whole, and reliability."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, softmax

from spectag.errors import DataError, InputError
from spectag.score.calibration import calibrate, decide, judge
from spectag.score.plots import plot_reliability
from spectag.score.reliability import measure_reliability
from spectag.score.scaling import Outputs


def drawn(clips=600, classes=3, scale=3.0, activation="softmax", seed=0):
    """Outputs that are ``scale`` times too sure."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (clips, classes))
    if activation == "sigmoid":
        targets = (rng.random(logits.shape) < expit(logits)).astype(int)
    else:
        chosen = (softmax(logits, axis=1).cumsum(1) < rng.random((clips, 1))).sum(1).clip(0, classes - 1)
        targets = np.eye(classes, dtype=int)[chosen]
    return Outputs.of_clips(scale * logits, targets, activation)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_networks_that_are_too_sure_are_mended(activation):
    found = calibrate(drawn(activation=activation))
    assert found.method != "none"
    before, after = found.reliability
    assert after.error < 0.06
    assert after.error < before.error / 2
    assert found.losses[found.method] < found.losses["none"]
    np.testing.assert_allclose(found.scaling.scale, 1 / 3, rtol=0.25)
    json.dumps(found.to_dict(), allow_nan=False)


def test_figures_after_are_of_clips_that_nothing_was_fitted_on():
    """Labels drawn at random: thresholds that were judged on their own clips would look better than chance."""
    rng = np.random.default_rng(1)
    targets = (rng.random((400, 6)) < 0.1).astype(int)
    found = calibrate(Outputs.of_clips(rng.normal(0, 1, targets.shape), targets, "sigmoid"))
    everything = 2 * 0.1 / 1.1  # F1 of taking all classes for present
    assert found.decisions[1].macro_f1 < everything + 0.03


@pytest.mark.parametrize("method", ["temperature", "classes"])
def test_no_decision_depends_on_the_labels_of_its_fold(method):
    """Neither by the map of the logits nor by the thresholds, which were found on scores of such maps."""
    outputs, folds = drawn(60), np.arange(60) % 3
    scores, taken = decide(outputs, method, folds)
    targets = outputs.targets.copy()
    targets[folds == 0] = np.roll(targets[folds == 0], 1, axis=1)
    others = decide(replace(outputs, targets=targets), method, folds)
    for one, other in zip((scores, taken), others, strict=True):
        np.testing.assert_array_equal(one[folds == 0], other[folds == 0])
    assert (scores[folds == 1] != others[0][folds == 1]).any()


def test_groups_are_counted():
    outputs = drawn(30)
    assert calibrate(outputs, ["a"] * 10 + ["b"] * 10 + [""] * 10).groups == 12
    assert calibrate(outputs).groups == 30


def test_a_single_output():
    found = calibrate(drawn(200, 1, activation="sigmoid"))
    assert found.thresholds.reached.all()
    assert found.reliability[1].error < 0.1


def test_tiny_data():
    outputs = Outputs.of_clips(
        np.array([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [0.0, 2.0]]), np.eye(2)[[0, 1, 0, 1]], "softmax"
    )
    found = calibrate(outputs)
    assert np.ptp(found.thresholds.values) < 0.1
    assert np.isfinite(found.scaling.scale).all()


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([[0, 0], [0, 0]], "no clip has a label"),
        ([[1, 0], [1, 0]], "every clip has the same labels"),
        ([[1, 0], [0, 0]], "all labels are in one group"),
    ],
)
def test_bad_data(targets, message):
    with pytest.raises(DataError, match=message):
        calibrate(Outputs.of_clips(np.zeros((2, 2)), np.array(targets), "softmax"))


def test_decisions_by_hand():
    targets = np.array([[1, 0], [1, 1], [0, 1]])
    taken = np.array([[True, True], [False, True], [True, False]])
    found = judge(targets, taken)
    np.testing.assert_allclose(found.precision, [0.5, 0.5])
    np.testing.assert_allclose(found.recall, [0.5, 0.5])
    assert found.micro_f1 == pytest.approx(0.5)


def test_calibration_error_by_hand():
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    targets = np.array([[1, 0], [0, 1], [0, 1]])
    of_tags = measure_reliability(targets, scores, "softmax")  # bins of 0.9, 0.8 (wrong) and 0.7
    assert of_tags.error == pytest.approx((0.1 + 0.8 + 0.3) / 3)
    assert of_tags.counts.sum() == 3
    of_all = measure_reliability(targets, scores, "sigmoid")
    assert of_all.counts.sum() == 6
    in_one = measure_reliability(np.array([[1], [0]]), np.array([[0.62], [0.64]]), "sigmoid")
    assert in_one.error == pytest.approx(0.63 - 0.5)


def test_scores_of_exactly_0_and_1_have_bins():
    found = measure_reliability(np.array([[1], [0]]), np.array([[1.0], [0.0]]), "sigmoid")
    assert found.error == 0
    assert found.counts[0] == found.counts[-1] == 1


def test_shapes_are_checked():
    with pytest.raises(InputError, match="one shape"):
        measure_reliability(np.zeros((0, 2)), np.zeros((0, 2)), "softmax")


def test_a_diagram_is_an_image(tmp_path):
    found = calibrate(drawn(100))
    words = plot_reliability(*found.reliability, tmp_path / "a.svg")
    assert f"{found.reliability[0].error:.3f} before" in words
    assert words in (tmp_path / "a.svg").read_text("utf-8")
    plot_reliability(*found.reliability, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg"]
