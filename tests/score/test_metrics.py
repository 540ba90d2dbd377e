"""Figures against the published implementation's, and at the edges."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from spectag.errors import InputError
from spectag.score.metrics import FIGURES, compute_metrics, format_figures


def test_golden():
    file = np.load(Path(__file__).parents[1] / "golden" / "metrics.npz")
    ours = compute_metrics(file["targets"], file["scores"])
    np.testing.assert_allclose(ours.ap, file["ap"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.auc, file["auc"], rtol=0, atol=1e-9)
    for name, value in (("mAP", ours.mean_ap), ("mAUC", ours.mean_auc), ("d_prime", ours.d_prime)):
        assert value == pytest.approx(float(file[name]), abs=1e-9)
    assert ours.accuracy == pytest.approx(float(file["accuracy"]), abs=1e-9)


def test_perfect_and_inverted():
    targets = np.eye(3)[[0, 1, 2, 0]]
    assert (compute_metrics(targets, targets).accuracy, compute_metrics(targets, targets).mean_ap) == (1, 1)
    assert compute_metrics(targets, 1 - targets).mean_auc == 0


def test_a_class_without_positives_is_left_out_not_zero():
    targets = np.array([[1.0, 0, 0], [0, 1, 0]])
    figures = compute_metrics(targets, np.array([[0.9, 0.1, 0.5], [0.2, 0.8, 0.4]]))
    assert figures.ap == (1, 1, None)
    assert figures.auc == (1, 1, None)
    assert (figures.mean_ap, figures.mean_auc, figures.d_prime) == (1, 1, None)


def test_one_class_everywhere_has_no_auc():
    figures = compute_metrics(np.ones((2, 1)), np.zeros((2, 1)))
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
        compute_metrics(targets, scores)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1))
def test_ap_and_auc_by_their_definitions(clips):
    """AUC: how often a positive is above a negative, ties counting half. AP: the precision at each positive's score."""
    truth, score = (np.array(column, float) for column in zip(*clips, strict=True))
    figures = compute_metrics(truth[:, None], score[:, None])
    positives, negatives = score[truth == 1], score[truth == 0]
    if len(positives) and len(negatives):
        above = np.sign(positives[:, None] - negatives)
        assert figures.auc[0] == pytest.approx(((above + 1) / 2).mean())
    if len(positives):
        assert figures.ap[0] == pytest.approx(np.mean([truth[score >= level].mean() for level in positives]))


def test_d_prime():
    """sqrt(2) times the normal quantile of mAUC: half a standard deviation's shift gives mAUC = Phi(0.5 / sqrt(2))."""
    targets = np.array([[1.0], [1], [0], [0]])
    figures = compute_metrics(targets, np.array([[0.9], [0.4], [0.5], [0.1]]))
    assert figures.mean_auc == 0.75
    assert figures.d_prime == pytest.approx(np.sqrt(2) * 0.6744897501960817)


def test_figures_have_one_order_and_one_name_each():
    values = compute_metrics(np.eye(2), np.array([[0.9, 0.2], [0.6, 0.4]])).to_dict()
    assert set(FIGURES) <= set(values)
    assert format_figures(values) == "accuracy 0.500, mAP 1.000, mAUC 1.000"
    row = {"d_prime": 1.5, "mean_auc": 0.25, "mean_ap": 0.125, "accuracy": 1, "clips": 3}
    assert format_figures(row) == "accuracy 1.000, mAP 0.125, mAUC 0.250, d-prime 1.500"
    assert format_figures({"d_prime": 1}, {"d_prime": 0.25}) == "d-prime 1.000 +- 0.250"
