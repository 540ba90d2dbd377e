"""Thresholds are those that trying all of them finds."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from spectag.errors import DataError, InputError
from spectag.score.thresholds import find_thresholds

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=30).filter(
    lambda rows: any(row[0] for row in rows)
)


def find_threshold(targets, scores, precision=None):
    """Of a single class, which has nobody to borrow from."""
    found = find_thresholds(targets[:, None], scores[:, None], precision)
    return found.values[0], bool(found.reached[0])


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


def drawn(rng, clips, shares=(0.3, 0.3, 0.3)):
    targets = (rng.random((clips, len(shares))) < shares).astype(int)
    return targets, rng.random(targets.shape) * 0.7 + 0.3 * targets


def test_a_class_without_clips_gets_the_threshold_of_all():
    targets, scores = drawn(np.random.default_rng(0), 100)
    targets[:, 2] = 0
    found = find_thresholds(targets, scores, known=np.array([0, 1]))
    assert found.values[2] == find_threshold(targets[:, :2].ravel(), scores[:, :2].ravel())[0]


def test_few_clips_are_drawn_to_the_threshold_of_all_and_many_are_not():
    """The second class scores lower by 0.4: with many clips its threshold does so, too."""
    apart = {}
    for clips in (12, 12_000):
        targets, scores = drawn(np.random.default_rng(1), clips, (0.3, 0.3))
        scores[:, 1] *= 0.5
        own = find_thresholds(targets, scores, borrowed=0).values
        found = find_thresholds(targets, scores).values
        common = find_threshold(targets.ravel(), scores.ravel())[0]
        apart[clips] = np.abs(found - own).max(), np.abs(found - common).max()
    assert apart[12_000][0] < 0.05 < apart[12_000][1]
    assert apart[12][1] < apart[12_000][1]


def test_a_single_lucky_clip_does_not_decide():
    """Kind: a class of one clip, whose score is high by chance, would be missed nearly always."""
    targets, scores = drawn(np.random.default_rng(2), 400)
    targets[:, 2] = 0
    targets[0, 2], scores[0, 2] = 1, 0.999
    common = find_threshold(targets.ravel(), scores.ravel())[0]
    alone, found = (find_thresholds(targets, scores, borrowed=cases).values[2] for cases in (0, 20))
    assert abs(found - common) < abs(alone - common) / 3


@pytest.mark.parametrize("borrowed", [0, 3, 50])
def test_borrowed_clips_count_like_clips(borrowed):
    """The formula: F1 of the class and of all classes together, which are scaled to so many positives."""
    targets, scores = drawn(np.random.default_rng(3), 60)
    share = borrowed / targets.sum()

    def f1(limit, column):
        own, all_ = scores[:, column] >= limit, scores >= limit
        hits = (own & (targets[:, column] == 1)).sum() + share * (all_ & (targets == 1)).sum()
        return 2 * hits / (own.sum() + share * all_.sum() + targets[:, column].sum() + borrowed)

    found = find_thresholds(targets, scores, borrowed=borrowed).values
    for column in range(3):
        tried = [f1(limit, column) for limit in [*((scores[:, column] + 1e-9).tolist()), found[column]]]
        assert f1(found[column], column) >= max(tried) - 0.02


def test_bad_input():
    with pytest.raises(DataError, match="no clip has a label"):
        find_thresholds(np.zeros((3, 2)), np.zeros((3, 2)))
    for precision in (0.0, 1.5, float("nan")):
        with pytest.raises(InputError, match="precision: expected more than 0"):
            find_thresholds(np.eye(2), np.eye(2), precision)
