"""Figures against the published implementation's, and at the edges."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from spectag.errors import InputError
from spectag.score.metrics import FIGURES, compute_metrics, format_figures, top_1


def test_golden():
    file = np.load(Path(__file__).parents[1] / "golden" / "metrics.npz")
    ours = compute_metrics(file["targets"], file["scores"])
    np.testing.assert_allclose(ours.ap, file["ap"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.auc, file["auc"], rtol=0, atol=1e-9)
    for name, value in (("mAP", ours.mean_ap), ("mAUC", ours.mean_auc), ("d_prime", ours.d_prime)):
        assert value == pytest.approx(float(file[name]), abs=1e-9)
    assert top_1(file["targets"], file["scores"]) == pytest.approx(float(file["accuracy"]), abs=1e-9)
    assert ours.accuracy is None, "these clips have none to thirteen labels"


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


def test_a_class_in_every_clip_says_nothing():
    """Kind: a figure that is perfect whatever the model answers. Of one class there is one answer; of a class that is
    in every clip, every ranking is perfect.
    """
    figures = compute_metrics(np.ones((2, 1)), np.zeros((2, 1)))
    assert (figures.accuracy, figures.mean_ap, figures.mean_auc, figures.d_prime) == (None, None, None, None)
    assert (figures.mean_ap_classes, figures.micro_f1) == (0, 0), "neither is found"
    figures = compute_metrics(np.array([[1, 0], [1, 1]]), np.array([[0.1, 0.2], [0.1, 0.9]]))
    assert (figures.ap, figures.auc, figures.mean_ap_classes) == ((None, 1), (None, 1), 1)


@pytest.mark.parametrize(
    ("targets", "scores", "message", "thresholds"),
    [
        (np.zeros((0, 2)), np.zeros((0, 2)), "N >= 1", 0.5),
        (np.zeros((2, 2)), np.zeros((2, 3)), "one shape", 0.5),
        (np.full((2, 2), 0.5), np.zeros((2, 2)), "0 and 1", 0.5),
        (np.zeros((2, 2)), np.full((2, 2), np.nan), "finite", 0.5),
        *(
            (np.eye(2), np.eye(2), "one number, or one for each of 2 classes, 0 to 1", wrong)
            for wrong in (1.5, -0.1, float("nan"), [0.5], [0.5, 2], [[0.5, 0.5]], [])
        ),
    ],
)
def test_refusals(targets, scores, message, thresholds):
    with pytest.raises(InputError, match=message):
        compute_metrics(targets, scores, thresholds)


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
    if len(positives) and len(negatives):
        assert figures.ap[0] == pytest.approx(np.mean([truth[score >= level].mean() for level in positives]))


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_ap_and_auc_are_those_of_scikit_learn(seed):
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(seed)
    targets, scores = (rng.random((30, 4)) < 0.2).astype(int), rng.integers(0, 11, (30, 4)).astype(np.float32) / 10
    targets[:2] = [[0], [1]]
    figures = compute_metrics(targets, scores)
    for function, found in ((average_precision_score, figures.ap), (roc_auc_score, figures.auc)):
        assert found == pytest.approx([function(*pair) for pair in zip(targets.T, scores.T, strict=True)], abs=1e-12)


def test_d_prime():
    """sqrt(2) times the normal quantile of mAUC: half a standard deviation's shift gives mAUC = Phi(0.5 / sqrt(2))."""
    targets = np.array([[1.0], [1], [0], [0]])
    figures = compute_metrics(targets, np.array([[0.9], [0.4], [0.5], [0.1]]))
    assert figures.mean_auc == 0.75
    assert figures.d_prime == pytest.approx(np.sqrt(2) * 0.6744897501960817)


@pytest.mark.parametrize("labels", [(1, 1, 1, 1), (1, 2, 1, 1), (1, 0, 1, 1), (0, 0, 0, 0), (2, 2, 2, 2)])
def test_accuracy_is_for_exactly_one_label_per_clip(labels):
    """Kind: a figure that is defined for other data than these. The first of several labels is not the truth, and
    argmax of a clip without labels is the first class.
    """
    targets = np.array([[c < n for c in range(3)] for n in labels], int)
    figures = compute_metrics(targets, np.eye(3)[[0, 1, 0, 0]])
    assert figures.accuracy == (0.75 if set(labels) == {1} else None)
    assert figures.negatives == labels.count(0)


def test_negatives_count_in_every_figure():
    """Kind: clips that no figure sees. A negative that scores high lowers AP, AUC and F1."""
    targets, scores = np.array([[1, 0], [0, 1], [0, 0], [0, 0]]), np.array([[0.8, 0], [0, 0.8], [0.1, 0.1], [0.1, 0.1]])
    good = compute_metrics(targets, scores)
    assert (good.negatives, good.accuracy, good.mean_ap, good.mean_auc, good.micro_f1) == (2, None, 1, 1, 1)
    scores[2:] = 0.9
    alarms = compute_metrics(targets, scores)
    assert alarms.ap == pytest.approx((1 / 3, 1 / 3))
    assert alarms.auc == pytest.approx((1 / 3, 1 / 3))
    assert alarms.f1 == (0.5, 0.5)
    assert (alarms.micro_f1, alarms.macro_f1) == (0.5, 0.5)


def test_only_negatives():
    quiet, loud = (compute_metrics(np.zeros((3, 2)), np.full((3, 2), score)) for score in (0.1, 0.9))
    for figures in (quiet, loud):
        assert (figures.accuracy, figures.mean_ap, figures.mean_auc, figures.macro_f1) == (None,) * 4
        assert (figures.negatives, figures.mean_ap_classes) == (3, 0)
    assert (quiet.micro_f1, loud.micro_f1) == (None, 0)


def test_a_detector():
    """One class and negatives."""
    figures = compute_metrics(np.array([[1], [0], [1], [0]]), np.array([[0.9], [0.6], [0.4], [0.1]]))
    assert (figures.accuracy, figures.mean_auc, figures.mean_ap_classes) == (None, 0.75, 1)
    assert figures.mean_ap == pytest.approx(5 / 6)
    assert (figures.micro_f1, figures.macro_f1) == (0.5, 0.5)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.3, (0.2, 0.5, 0.8), 0.0, 1.0]))
def test_f1_is_that_of_scikit_learn(seed, thresholds):
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(seed)
    targets, scores = (rng.random((12, 3)) < 0.3).astype(int), rng.integers(0, 11, (12, 3)) / 10
    figures, taken = compute_metrics(targets, scores, thresholds), scores >= np.array(thresholds)
    each = f1_score(targets, taken, average=None, zero_division=0)
    assert figures.f1 == tuple(
        pytest.approx(f1) if truth.any() else None for f1, truth in zip(each, targets.T, strict=True)
    )
    if targets.any():
        assert figures.macro_f1 == pytest.approx(each[targets.any(0)].mean())
    if targets.any() or taken.any():
        assert figures.micro_f1 == pytest.approx(f1_score(targets, taken, average="micro", zero_division=0))
    assert figures.thresholds == thresholds


def test_figures_have_one_order_and_one_name_each():
    values = compute_metrics(np.eye(2), np.array([[0.9, 0.2], [0.6, 0.4]])).to_dict()
    assert set(FIGURES) <= set(values)
    assert format_figures(values) == (
        "accuracy 0.500, mAP 1.000 over 2 classes, mAUC 1.000 over 2 classes, "
        "micro F1 0.500 at threshold 0.5, macro F1 0.333 at threshold 0.5"
    )
    values |= {"mean_ap_classes": 1, "thresholds": (0.5, 0.25), "accuracy": None, "macro_f1": None, "mean_auc": None}
    values["intervals"] = {"micro_f1": (0.25, 0.75)}
    assert format_figures(values) == "mAP 1.000 over 1 class, micro F1 0.500 at a threshold per class (0.250 to 0.750)"
    row = {"d_prime": 1.5, "mean_auc": 0.25, "mean_ap": 0.125, "accuracy": 1, "clips": 3}
    assert format_figures(row) == "accuracy 1.000, mAP 0.125, mAUC 0.250, d-prime 1.500"
    assert format_figures(compute_metrics(np.zeros((2, 2)), np.zeros((2, 2))).to_dict()) == (
        "no figure is defined for these clips"
    )
    assert format_figures({"d_prime": 1}, {"d_prime": 0.25}) == "d-prime 1.000 +- 0.250"
