"""Events are where the scores say so, whatever the method."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from spectag.errors import InputError
from spectag.tag.events import EventRule, find_events, find_events_at
from spectag.tag.results import Timeline

STEP = 0.1


def timeline(*spans: tuple[int, int, float], rows: int = 200, noise: float = 0.0) -> Timeline:
    scores = np.zeros((rows, 1), np.float32)
    for first, last, score in spans:
        scores[first:last] = score
    scores += np.random.default_rng(0).normal(0, noise, scores.shape).astype(np.float32) if noise else 0
    return Timeline(("owl",), STEP, scores.clip(0, 1))


def rows(found: Timeline, rule: EventRule, duration: float = 20.0) -> list[tuple[int, int]]:
    return [(round(event.onset / STEP), round(event.offset / STEP)) for event in find_events(found, duration, rule)]


@pytest.mark.parametrize("method", ["change", "threshold"])
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(8, 30), st.integers(8, 30)), max_size=6), st.floats(0.55, 1.0))
def test_clear_events_are_found_exactly(method: str, lengths: list[tuple[int, int]], score: float) -> None:
    """Sounds apart from each other, each longer than the smoothing: every onset, offset and score is exact."""
    spans, at = [], 0
    for pause, length in lengths:
        spans.append((at + pause, at + pause + length, score))
        at += pause + length
    found = find_events(timeline(*spans, rows=at + 20), 1e9, EventRule(method))
    assert [(round(event.onset / STEP), round(event.offset / STEP)) for event in found] == [s[:2] for s in spans]
    assert [event.score for event in found] == pytest.approx([score] * len(spans))


@pytest.mark.parametrize("method", ["change", "threshold"])
def test_noise_moves_nothing_far(method: str) -> None:
    spans = [(20, 50, 0.9), (80, 100, 0.8), (180, 200, 0.7)]
    found = rows(timeline(*spans, noise=0.1), EventRule(method))
    assert np.abs(np.array(found) - [span[:2] for span in spans]).max() <= 1


@pytest.mark.parametrize("method", ["change", "threshold"])
def test_events_at_both_ends(method: str) -> None:
    assert rows(timeline((0, 200, 0.9)), EventRule(method)) == [(0, 200)]
    assert find_events(timeline((190, 200, 0.9)), 19.97, EventRule(method))[0].offset == 19.97


def test_the_threshold_does_not_move_edges_of_changes() -> None:
    found = timeline((20, 60, 0.5), (100, 140, 0.9), noise=0.05)
    low, high = (find_events(found, 20.0, EventRule(threshold=threshold)) for threshold in (0.3, 0.7))
    assert [len(low), len(high)] == [2, 1]
    assert low[1] == high[0]


def test_a_short_dip_does_not_divide_and_a_long_one_does() -> None:
    assert rows(timeline((20, 40, 0.9), (40, 44, 0.7), (44, 70, 0.9)), EventRule()) == [(20, 70)]
    assert rows(timeline((20, 40, 0.9), (40, 50, 0.1), (50, 70, 0.9)), EventRule()) == [(20, 40), (50, 70)]


def test_hysteresis() -> None:
    """An event goes on down to the low threshold, and what never reaches the threshold is none."""
    found = timeline((20, 40, 0.9), (40, 60, 0.3), (100, 120, 0.45))
    assert rows(found, EventRule("threshold", low=0.5)) == [(20, 60)]
    assert rows(found, EventRule("threshold", low=0.8)) == [(20, 40)]


@pytest.mark.parametrize("method", ["change", "threshold"])
def test_gaps_are_closed_and_short_ones_left_out(method: str) -> None:
    found = timeline((20, 40, 0.9), (50, 70, 0.9), (150, 156, 0.9))
    assert rows(found, EventRule(method, gap=0.9)) == [(20, 40), (50, 70), (150, 156)]
    assert rows(found, EventRule(method, gap=1.0)) == [(20, 70), (150, 156)]
    assert rows(found, EventRule(method, shortest=0.7)) == [(20, 40), (50, 70)]


@pytest.mark.parametrize("method", ["change", "threshold"])
def test_an_event_of_exactly_the_shortest_length_stays(method: str) -> None:
    """Wherever it begins: 0.9 - 0.6 is a little less than 0.3."""
    for first in range(20, 60):
        found = timeline((first, first + 9, 0.9))
        assert rows(found, EventRule(method, shortest=0.9)) == [(first, first + 9)]
        assert rows(found, EventRule(method, shortest=0.91)) == []


@pytest.mark.parametrize("gap", [0.0, 0.6])
@pytest.mark.parametrize("method", ["change", "threshold"])
def test_several_thresholds_at_once(method: str, gap: float) -> None:
    scores = np.random.default_rng(0).random((300, 3)).astype(np.float32) ** 3
    found = Timeline(("owl", "fox", "cat"), STEP, np.repeat(scores, 4, axis=0))
    limits = (0.0, 0.1, 0.35, 0.5, 0.9, 1.0)
    wanted = [find_events(found, 120.0, EventRule(method, limit, gap=gap)) for limit in limits]
    assert find_events_at(found, 120.0, EventRule(method, gap=gap), limits) == wanted
    assert len(wanted[2]) > len(wanted[4])


def test_each_label_has_its_threshold() -> None:
    scores = np.full((50, 2), 0.4, np.float32)
    found = Timeline(("owl", "fox"), STEP, scores)
    assert find_events(found, 5.0) == ()
    assert [event.label for event in find_events(found, 5.0, thresholds={"fox": 0.3})] == ["fox"]
    assert [event.label for event in find_events(found, 5.0, EventRule(threshold=0.3), {"fox": 0.9})] == ["owl", "fox"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60),
    st.sampled_from(["change", "threshold"]),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_any_scores(scores: list[float], method: str, threshold: float, gap: float) -> None:
    """Events of a label are in order, apart, within the recording, not empty, and their score is a mean of scores."""
    duration = len(scores) * STEP
    found = find_events(
        Timeline(("owl",), STEP, np.array(scores, np.float32)[:, None]), duration, EventRule(method, threshold, gap=gap)
    )
    times = [time for event in found for time in (event.onset, event.offset)]
    assert times == sorted(times)
    assert all(0 <= event.onset < event.offset <= duration for event in found)
    assert all(before.offset < after.onset for before, after in pairwise(found))
    for event in found:
        inside = scores[round(event.onset / STEP) : max(1, round(event.offset / STEP))]
        assert event.score == pytest.approx(np.mean(inside), abs=1e-6)


@pytest.mark.parametrize(
    "options", [{"method": "sebb"}, {"threshold": 1.5}, {"low": -1}, {"merge": 2}, {"gap": -1}, {"smooth": np.inf}]
)
def test_rules_out_of_range(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))} must be .*; got "):
        EventRule(**options)  # type: ignore[arg-type]
