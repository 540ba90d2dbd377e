"""Thresholds of events: events are counted as sed_eval counts them, and no figure is of its own fold."""

import numpy as np
import pytest

from spectag.errors import DataError
from spectag.score.event_thresholds import GRID, EventTally, count_right
from spectag.tag.results import Event


def draw_spans(rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
    """Spans apart from each other."""
    edges = np.cumsum(rng.uniform(0.05, 0.6, 2 * count))
    return [(float(a), float(b)) for a, b in edges.reshape(-1, 2)]


@pytest.mark.parametrize("seed", range(40))
def test_events_are_right_as_sed_eval_counts_them(seed: int) -> None:
    sed_eval = pytest.importorskip("sed_eval")
    import dcase_util

    rng = np.random.default_rng(seed)
    true = draw_spans(rng, 12)
    found = [(a + rng.normal(0, 0.15), b + rng.normal(0, 0.15)) for a, b in true] + draw_spans(rng, 6)
    found = [(a, b) for a, b in found if b > a]

    def listed(spans: list[tuple[float, float]]) -> object:
        rows = [{"filename": "a", "onset": a, "offset": b, "event_label": "owl"} for a, b in spans]
        return dcase_util.containers.MetaDataContainer(rows)

    metric = sed_eval.sound_event.EventBasedMetrics(["owl"], t_collar=0.2, percentage_of_length=0.2)
    metric.evaluate(listed(true), listed(found))
    assert count_right(true, found) == metric.overall["Ntp"]


def test_a_true_event_counts_once_and_the_best_pairs_are_taken() -> None:
    true = [(1.0, 2.0), (1.3, 2.0)]
    assert count_right(true, [(1.15, 2.0), (1.0, 2.0)]) == 2  # the first fits both, the second only one
    assert count_right(true, [(1.15, 2.0)] * 3) == 2
    assert count_right(true, []) == count_right([], true) == 0
    assert count_right([(0.0, 10.0)], [(0.0, 11.9)]) == 1
    assert count_right([(0.0, 10.0)], [(0.0, 12.1)]) == 0


def events(scores: list[float], limit: float) -> list[Event]:
    return [Event("owl", 2.0 * n, 2.0 * n + 1, score) for n, score in enumerate(scores) if score >= limit]


def tally_of(*folds: tuple[int, list[float]], labels: tuple[str, ...] = ("owl", "fox")) -> EventTally:
    """Recordings of a fold each, in which every event with a score above 0.3 is right."""
    tally = EventTally(labels, max(fold for fold, _ in folds) + 1)
    for fold, scores in folds:
        true = [(2.0 * n, 2.0 * n + 1, "owl") for n, score in enumerate(scores) if score > 0.3]
        tally.add(fold, true, [events(scores, limit) for limit in GRID])
    return tally


def test_the_threshold_of_the_highest_f1() -> None:
    scores = [0.1, 0.2, 0.25, 0.4, 0.45, 0.35]
    found = tally_of((0, scores), (1, scores)).choose()
    assert 0.25 < found.values[0] <= 0.35
    assert found.values[1] == found.values[0]  # nothing is known of foxes: the threshold of all classes
    assert found.events.tolist() == [6, 0]
    assert found.f1 == (0.0, 1.0)  # all scores are below 0.5
    assert found.to_dict() == {"events": [6, 0], "event_f1": {"before": 0.0, "after": 1.0}}


def test_figures_are_cross_validated() -> None:
    """Of two recordings that need different thresholds, each is judged by that of the other."""
    tally = EventTally(["owl"], folds=2)
    for fold, (right, wrong) in enumerate([(0.9, 0.8), (0.2, 0.1)]):
        heard = [Event("owl", 1.0, 2.0, right), *(Event("owl", 3.0 + n, 3.5 + n, wrong) for n in range(5))]
        tally.add(fold, [(1.0, 2.0, "owl")], [[e for e in heard if e.score >= limit] for limit in GRID])
    assert tally.choose().f1[1] == pytest.approx(2 * 1 / (2 + 6))


def test_false_alarms_of_a_class_that_is_not_heard_raise_its_threshold() -> None:
    tally = tally_of((0, [0.4, 0.9, 0.9, 0.9]), (1, [0.4, 0.9, 0.9, 0.9]))
    false = [[Event("fox", float(n), n + 0.5, 0.6) for n in range(30)] if limit <= 0.6 else [] for limit in GRID]
    tally.add(0, [], false)
    assert tally.choose().values[1] > 0.6


def test_no_events() -> None:
    tally = EventTally(["owl"], folds=2)
    tally.add(0, [], [[] for _ in GRID])
    with pytest.raises(DataError, match="no events"):
        tally.choose()
