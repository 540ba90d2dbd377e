"""95 % intervals: against a bootstrap by hand, over clips and over groups, and at the edges."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from spectag.errors import InputError
from spectag.score import intervals
from spectag.score.intervals import Intervals
from spectag.score.metrics import FIGURES, compute_metrics


def compute_intervals(targets, scores, groups=None, **options) -> Intervals:
    return intervals.compute_intervals(compute_metrics(targets, scores), targets, scores, groups, **options)


def by_hand(targets, scores, unit, resamples, thresholds=0.5) -> dict[str, np.ndarray]:
    """The figures of each draw, computed from the drawn clips."""
    rng, units = np.random.default_rng(0), unit.max() + 1
    rows = []
    for drawn in rng.integers(units, size=(resamples, units)):
        clips = np.concatenate([np.flatnonzero(unit == name) for name in drawn])
        rows.append(compute_metrics(targets[clips], scores[clips], thresholds).to_dict())
    return {name: np.array([np.nan if row[name] is None else row[name] for row in rows]) for name in FIGURES}


def example(seed: int, clips: int, classes: int, exclusive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores with many ties, clips without labels, and classes without clips."""
    rng = np.random.default_rng(seed)
    targets = np.eye(classes)[rng.integers(classes, size=clips)] if exclusive else rng.random((clips, classes)) < 0.3
    return targets.astype(int), np.clip(rng.integers(0, 8, (clips, classes)) / 10 + 0.2 * targets, 0, 1)


@settings(max_examples=40)
@given(st.integers(0, 999), st.integers(2, 12), st.integers(1, 4), st.booleans(), st.booleans(), st.data())
def test_every_draw_has_the_figures_of_its_clips(seed, clips, classes, exclusive, grouped, data):
    targets, scores = example(seed, clips, classes, exclusive)
    unit = np.arange(clips) // 2 if grouped else np.arange(clips)
    thresholds = data.draw(st.sampled_from([0.5, [0.2, 0.4, 0.6, 0.8][:classes]]))
    expected = by_hand(targets, scores, unit, 20, thresholds)
    weights = np.concatenate(list(intervals._draws(unit, int(unit.max()) + 1, 20, 0)))
    found = intervals._draw_figures(weights, targets == 1, scores, np.asarray(thresholds))
    for name, values in found.items():
        # a draw may hold one label per clip where the whole set does not
        np.testing.assert_allclose(values, expected[name], atol=1e-5, err_msg=name)


def test_bounds_are_the_quantiles_around_the_figure():
    targets, scores = example(1, 60, 3, exclusive=True)
    figures = compute_metrics(targets, scores).to_dict()
    found = compute_intervals(targets, scores, resamples=200)
    expected = by_hand(targets, scores, np.arange(60), 200)
    assert (found.resamples, found.units, found.grouped) == (200, 60, False)
    assert set(found.bounds) == set(FIGURES)
    for name, (low, high) in found.bounds.items():
        assert low < figures[name] < high
        if name != "d_prime":
            draws = expected[name]
            around = np.quantile(draws, (0.025, 0.975)) - draws.mean() + figures[name]
            assert (low, high) == pytest.approx(around, abs=1e-5)


def test_the_accuracy_of_many_clips_has_the_interval_of_the_textbook():
    right = np.arange(1000) % 5 > 0
    targets = np.eye(2)[np.zeros(1000, int)]
    low, high = compute_intervals(targets, np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])).bounds["accuracy"]
    assert (low, high) == pytest.approx((0.8 - 0.0248, 0.8 + 0.0248), abs=2e-3)


def test_clips_of_a_group_are_drawn_together():
    """Kind: figures that seem surer than they are. Ten takes of one recording say what one of them says."""
    targets, scores = example(2, 30, 3, exclusive=True)
    ten = [np.repeat(part, 10, axis=0) for part in (targets, scores)]
    names = [f"recording {n}" for n in range(30) for _ in range(10)]
    alone, together, deceived = (
        compute_intervals(*part, groups).bounds
        for part, groups in (((targets, scores), None), (ten, names), (ten, None))
    )
    for name in ("accuracy", "mean_auc", "micro_f1"):
        assert together[name] == pytest.approx(alone[name], abs=1e-6)
        assert np.ptp(deceived[name]) < 0.5 * np.ptp(alone[name])
    whole = compute_intervals(*ten, names)
    assert whole.to_dict()["resampled"] == {"units": "groups", "number": 30, "draws": 1000}
    assert compute_intervals(targets, scores, [""] * 30) == compute_intervals(targets, scores), "each on its own"


def test_rare_classes_do_not_push_the_interval_off_the_figure():
    """A clip that is drawn twice is right twice, which flatters the average precision of a class with few clips."""
    rng = np.random.default_rng(0)
    targets, scores = (rng.random((300, 500)) < 0.005).astype(int), rng.random((300, 500))
    figure = compute_metrics(targets, scores).mean_ap
    low, high = compute_intervals(targets, scores, resamples=100).bounds["mean_ap"]
    assert low < figure < high
    weights = next(intervals._draws(np.arange(300), 300, 100, 0))
    draws = intervals._draw_figures(weights, targets == 1, scores, np.array(0.5))["mean_ap"]
    assert draws.min() > figure, "plain quantiles would leave the figure out"


def test_perfect_figures():
    """A bootstrap of a perfect figure has no width: no interval is claimed, except for the accuracy, by Wilson."""
    eye = np.eye(2)[[0, 1] * 10]
    assert compute_intervals(eye, eye).bounds == {"accuracy": pytest.approx((0.8389, 1.0), abs=1e-4)}
    pairs = [str(n // 4) for n in range(20)]
    assert compute_intervals(eye, eye, pairs).bounds == {"accuracy": pytest.approx((0.5655, 1.0), abs=1e-4)}
    assert compute_intervals(eye, 1 - eye).bounds["accuracy"] == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert compute_intervals(eye[:1], eye[:1]).bounds == {}, "one clip"


def test_sets_without_some_of_the_figures():
    none = np.zeros((4, 2), int)
    assert compute_intervals(none, np.full((4, 2), 0.1)).bounds == {}
    several = compute_intervals(
        np.array([[1, 1], [0, 0], [1, 0]]), np.array([[0.9, 0.2], [0.6, 0.3], [0.4, 0.1]])
    ).bounds
    assert "accuracy" not in several
    assert "micro_f1" in several


def test_the_same_seed_gives_the_same_intervals(monkeypatch):
    targets, scores = example(3, 40, 4, exclusive=False)
    once = compute_intervals(targets, scores)
    assert once == compute_intervals(targets, scores)
    assert once != compute_intervals(targets, scores, seed=1)
    monkeypatch.setattr(intervals, "MEMORY", 40 * 130)  # 130 draws and 32 pairs at a time
    parts = compute_intervals(targets, scores)
    for name, bounds in once.bounds.items():
        assert parts.bounds[name] == pytest.approx(bounds, abs=1e-6)


def test_large_sets_get_fewer_draws(monkeypatch):
    targets, scores = example(4, 30, 3, exclusive=True)
    for work, draws in ((30 * 30 * 2000, 1000), (30 * 30 * 250, 250), (30 * 30, 100)):
        monkeypatch.setattr(intervals, "WORK", work)
        assert compute_intervals(targets, scores).resamples == draws
    assert compute_intervals(targets, scores, resamples=7).resamples == 7


def test_refusals():
    eye = np.eye(2)
    with pytest.raises(InputError, match=r"at least 1 draw.* got 0 draws"):
        compute_intervals(eye, eye, resamples=0)
    with pytest.raises(InputError, match="one group name for each clip; got 1000 draws, 1 groups for 2 clips"):
        compute_intervals(eye, eye, ["a"])
