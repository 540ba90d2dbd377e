"""Thresholds are those that trying all of them finds."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from spectag.errors import DataError, InputError
from spectag.score.thresholds import find_threshold, find_thresholds

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=30).filter(
    lambda rows: any(row[0] for row in rows)
)


def figures(targets, scores, threshold):
    taken = scores >= threshold
    hits = (taken & (targets == 1)).sum()
    return 2 * hits / (taken.sum() + targets.sum()), hits / taken.sum() if taken.any() else 0.0, taken.sum()


@given(ROWS)
def test_no_other_threshold_has_a_higher_f1(rows):
    targets, scores = np.array([row[0] for row in rows], int), np.array([row[1] / 20 for row in rows])
    found, reached = find_threshold(targets, scores)
    best = max(figures(targets, scores, limit)[0] for limit in np.linspace(0, 1, 81))
    assert reached
    assert 0 <= found <= 1
    assert figures(targets, scores, found)[0] == pytest.approx(best)


@given(ROWS, st.sampled_from([0.3, 0.5, 0.75, 0.9, 1.0]))
def test_the_lowest_threshold_that_reaches_the_precision(rows, precision):
    targets, scores = np.array([row[0] for row in rows], int), np.array([row[1] / 20 for row in rows])
    found, reached = find_threshold(targets, scores, precision)
    tried = [figures(targets, scores, limit) for limit in np.linspace(0, 1, 81)]
    enough = [taken for _, share, taken in tried if share >= precision]
    assert reached == bool(enough)
    if enough:
        assert figures(targets, scores, found)[2] == max(enough)
    else:
        assert figures(targets, scores, found)[1] == pytest.approx(max(share for _, share, _ in tried))


def test_a_threshold_lies_in_the_middle_of_a_gap():
    assert find_threshold(np.array([1, 1, 0]), np.array([0.9, 0.8, 0.2]))[0] == pytest.approx(0.5)


def test_scores_that_nearly_touch():
    low = np.float64(0.1)
    high = np.nextafter(low, 1)
    found, _ = find_threshold(np.array([1, 0]), np.array([high, low]))
    assert low < found <= high


def test_classes_of_few_clips_get_the_threshold_of_all():
    rng = np.random.default_rng(0)
    targets = (rng.random((100, 3)) < [0.3, 0.3, 0.02]).astype(int)
    targets[:5, 2], targets[5:, 2] = [1, 1, 1, 1, 0], 0
    scores = rng.random((100, 3)) * 0.5 + 0.5 * targets
    found = find_thresholds(targets, scores)
    assert found.own.tolist() == [True, True, False]
    assert found.values[2] == find_threshold(targets.ravel(), scores.ravel())[0]
    assert found.values[0] == find_threshold(targets[:, 0], scores[:, 0])[0]


def test_bad_input():
    with pytest.raises(DataError, match="no clip has a label"):
        find_thresholds(np.zeros((3, 2)), np.zeros((3, 2)))
    for precision in (0.0, 1.5, float("nan")):
        with pytest.raises(InputError, match="precision: expected more than 0"):
            find_thresholds(np.eye(2), np.eye(2), precision)
