"""Figures against the published implementation's, and at the edges."""

from pathlib import Path

import numpy as np
import pytest

from spectag.errors import InputError
from spectag.train.metrics import metrics


def test_golden():
    file = np.load(Path(__file__).parents[1] / "golden" / "metrics.npz")
    ours = metrics(file["targets"], file["scores"])
    np.testing.assert_allclose(ours.ap, file["ap"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.auc, file["auc"], rtol=0, atol=1e-9)
    for name, value in (("mAP", ours.mean_ap), ("mAUC", ours.mean_auc), ("d_prime", ours.d_prime)):
        assert value == pytest.approx(float(file[name]), abs=1e-9)
    assert ours.accuracy == pytest.approx(float(file["accuracy"]), abs=1e-9)


def test_perfect_and_inverted():
    targets = np.eye(3)[[0, 1, 2, 0]]
    assert (metrics(targets, targets).accuracy, metrics(targets, targets).mean_ap) == (1, 1)
    assert metrics(targets, 1 - targets).mean_auc == 0


def test_a_class_without_positives_is_left_out_not_zero():
    targets = np.array([[1.0, 0, 0], [0, 1, 0]])
    figures = metrics(targets, np.array([[0.9, 0.1, 0.5], [0.2, 0.8, 0.4]]))
    assert figures.ap == (1, 1, None)
    assert figures.auc == (1, 1, None)
    assert (figures.mean_ap, figures.mean_auc, figures.d_prime) == (1, 1, None)


def test_one_class_everywhere_has_no_auc():
    figures = metrics(np.ones((2, 1)), np.zeros((2, 1)))
    assert (figures.accuracy, figures.mean_ap, figures.mean_auc) == (1, 1, None)


@pytest.mark.parametrize(
    ("targets", "scores", "message"),
    [
        (np.zeros((0, 2)), np.zeros((0, 2)), "N >= 1"),
        (np.zeros((2, 2)), np.zeros((2, 3)), "one shape"),
        (np.full((2, 2), 0.5), np.zeros((2, 2)), "0 and 1"),
        (np.zeros((2, 2)), np.full((2, 2), np.nan), "finite"),
    ],
)
def test_refusals(targets, scores, message):
    with pytest.raises(InputError, match=message):
        metrics(targets, scores)
