"""The figures of events, against numbers by hand and against the same figure by another library."""

from pathlib import Path

import numpy as np
import pytest

from spectag.data.manifest import Clip, Heard, Manifest
from spectag.errors import DataError, FileError, LabelMismatch, SpectagWarning
from spectag.labels import LabelSet
from spectag.score.events import COLLAR, EVENT_FIGURES, Detected, evaluate_events, import_scorers
from spectag.tag.results import Event, Timeline

pytest.importorskip("sed_eval")

NAMES = ("cat", "dog")
STEP = 0.1


def make_manifest(*clips: list[tuple[str, float, float]], names=NAMES) -> Manifest:
    made = []
    for n, events in enumerate(clips):
        heard = tuple(Heard(names.index(label), onset, offset) for label, onset, offset in events)
        made.append(Clip(f"{n}.wav", Path(f"{n}.wav"), tuple(sorted({e.label for e in heard})), events=heard))
    return Manifest(tuple(made), LabelSet(names), "a test")


def make_timeline(events: list[Event], duration: float, names=NAMES) -> Timeline:
    scores = np.zeros((round(duration / STEP), len(names)), np.float32)
    for event in events:
        scores[round(event.onset / STEP) : round(event.offset / STEP), names.index(event.label)] = event.score
    return Timeline(names, STEP, scores)


def detect(events: list[Event], duration: float, threshold=0.5, names=NAMES, candidates=True) -> Detected:
    found = [event for event in events if event.score >= threshold]
    return Detected(duration, make_timeline(events, duration, names), events if candidates else None, found)


def figures(manifest, *rows, labels=NAMES):
    metrics, failed = evaluate_events(manifest, rows, LabelSet(labels))
    return metrics, failed


@pytest.mark.parametrize("candidates", [True, False], ids=["events", "timeline"])
def test_all_is_one_where_all_is_found(candidates):
    events = [Event("dog", 1.0, 3.0, 0.9), Event("cat", 2.0, 2.5, 0.8)]
    metrics, failed = figures(
        make_manifest([("dog", 1, 3), ("cat", 2, 2.5)], []), detect(events, 10, candidates=candidates), detect([], 10)
    )
    values = metrics.to_dict()
    assert {name: values[name] for name in EVENT_FIGURES} == pytest.approx(dict.fromkeys(EVENT_FIGURES, 1.0))
    assert (metrics.clips, metrics.events, metrics.labels, failed) == (2, 2, NAMES, ())
    assert metrics.hours == pytest.approx(20 / 3600)
    assert metrics.best_thresholds == pytest.approx((0.8, 0.9))


@pytest.mark.parametrize("names", [NAMES, ("dog",)], ids=["two classes", "one class"])
def test_psds_by_hand(names):
    """In an hour: a right event at 0.9, a false one at 0.8, a right one at 0.7; the right ones are all.

    Below one false positive per hour the rate of true positives is 1/2, and above it 1; PSDS looks up to 100 per hour.
    """
    true = [(name, start, start + 10.0) for name in names for start in (100, 200)]
    events = [
        Event(name, start, start + 10.0, score)
        for name in names
        for start, score in ((100, 0.9), (1000, 0.8), (200, 0.7))
    ]
    metrics, _ = figures(make_manifest(true, names=names), detect(events, 3600, names=names), labels=names)
    assert metrics.psds1 == pytest.approx((0.5 * 1 + 1.0 * 99) / 100)
    assert metrics.psds2 == pytest.approx((0.5 * 1 + 1.0 * 99) / 100)
    assert metrics.timeline_psds1 == pytest.approx(metrics.psds1)


def test_f1_by_hand():
    """Within the collars: an onset by 0.2 s; an offset by 0.2 s, or by a fifth of the length of a long event."""
    true = [("dog", 1.0, 2.0), ("dog", 5.0, 15.0), ("dog", 20.0, 21.0), ("cat", 30.0, 31.0)]
    found = [
        Event("dog", 1.15, 2.15, 0.9),  # right
        Event("dog", 5.0, 16.9, 0.9),  # right: 1.9 s late, of 10
        Event("dog", 20.25, 21.0, 0.9),  # wrong: begins 0.25 s late
        Event("cat", 30.0, 31.25, 0.9),  # wrong: ends 0.25 s late
    ]
    metrics, _ = figures(make_manifest(true), detect(found, 40))
    assert metrics.to_dict()["event_f1_by_class"] == pytest.approx({"cat": 0.0, "dog": 2 / 3})
    assert metrics.event_f1 == pytest.approx(1 / 3)
    # Seconds with dog: 1, 5 to 14, 20; found: 1, 2, 5 to 16, 20. With cat: 30; found: 30, 31.
    dog, cat = 2 * 12 / (12 + 15), 2 * 1 / (1 + 2)
    assert metrics.segment_f1 == pytest.approx((dog + cat) / 2)


def test_the_best_f1_is_the_best_of_all_thresholds():
    """Of one library without thresholds, and of the other at every threshold."""
    rng = np.random.default_rng(0)
    true, rows = [], []
    for _ in range(6):
        onsets = np.sort(rng.choice(18, 4, replace=False)) * 0.5
        true.append([(NAMES[i % 2], float(t), float(t) + 0.4) for i, t in enumerate(onsets)])
        found = [
            Event(n, a + rng.uniform(-0.3, 0.3), b + rng.uniform(-0.3, 0.3), rng.uniform(0.3, 1))
            for n, a, b in true[-1]
        ]
        found = [Event(e.label, max(0.0, e.onset), e.offset, e.score) for e in found]
        found += [Event("dog", 9.2, 9.9, rng.uniform(0.1, 0.8))]
        rows.append(found)
    manifest = make_manifest(*true)
    best = np.zeros(2)
    for threshold in np.unique([event.score for row in rows for event in row]):
        metrics, _ = figures(manifest, *(detect(row, 10, threshold) for row in rows))
        best = np.maximum(best, metrics.event_f1_by_class)
    assert metrics.best_event_f1_by_class == pytest.approx(best.tolist())
    assert metrics.best_event_f1 == pytest.approx(best.mean())
    assert 0.2 < metrics.best_event_f1 < 0.95, "neither nothing nor all"


def test_events_of_one_label_that_touch_are_one():
    """As the scorers demand; so they neither stop nor count twice."""
    manifest = make_manifest([("dog", 1, 2), ("dog", 2, 3), ("cat", 0, 1)])
    found = [Event("dog", 1, 2, 0.9), Event("dog", 1.5, 3, 0.8), Event("cat", 0, 1, 0.9)]
    metrics, _ = figures(manifest, detect(found, 10))
    assert (metrics.events, metrics.event_f1) == (2, 1.0)


def test_events_end_with_the_clip():
    manifest = make_manifest([("dog", 1, 99), ("cat", 0, 1), ("cat", 50, 60)])
    found = [Event("dog", 1, 10.0, 0.9), Event("cat", 0, 1, 0.9)]
    metrics, _ = figures(manifest, detect(found, 10))
    assert (metrics.events, metrics.event_f1) == (2, 1.0)


def test_a_class_that_is_never_heard_does_not_count_and_a_false_one_costs_nothing_else():
    manifest = make_manifest([("dog", 1, 2)], names=NAMES)
    found = [Event("dog", 1, 2, 0.9), Event("fox", 5, 6, 0.9)]
    metrics, _ = figures(manifest, detect(found, 10, names=("cat", "dog", "fox")), labels=("cat", "dog", "fox"))
    assert metrics.labels == ("dog",)
    assert metrics.event_f1 == 1.0


def test_nothing_found():
    metrics, _ = figures(make_manifest([("dog", 1, 2), ("cat", 3, 4)]), detect([], 10))
    assert {metrics.to_dict()[name] for name in EVENT_FIGURES} == {0.0}
    assert metrics.best_thresholds == (None, None)


def test_a_clip_that_failed_is_left_out():
    manifest = make_manifest([("dog", 1, 2)], [("dog", 1, 2)])
    metrics, failed = figures(manifest, detect([Event("dog", 1, 2, 0.9)], 10), FileError("1.wav", "damaged"))
    assert (metrics.clips, metrics.event_f1, failed) == (1, 1.0, ("1.wav: damaged",))
    with pytest.raises(DataError, match=r"expected clips with events, got none: 1\.wav: damaged"):
        figures(make_manifest([("dog", 1, 2)]), FileError("1.wav", "damaged"))


def test_a_model_of_other_classes():
    with pytest.raises(LabelMismatch, match="does not know 1 of the data set's 2 classes: dog"):
        figures(make_manifest([("dog", 1, 2)]), detect([], 10), labels=("cat", "fox"))


def test_names_that_are_written_differently_go_together():
    """As in the figures of clips: the events of the model have its own names."""
    found = detect([Event("Dog", 1.0, 3.0, 0.9)], 10, names=("Cat", "Dog"))
    with pytest.warns(SpectagWarning, match="dog is Dog"):
        metrics, _ = figures(make_manifest([("dog", 1, 3)]), found, labels=("Cat", "Dog"))
    assert (metrics.labels, metrics.event_f1) == (("Dog",), 1.0)


def test_the_timeline_may_end_behind_the_clip():
    """Its last row is about less than a step."""
    timeline = Timeline(NAMES, 0.3, np.full((4, 2), 0.9, np.float32))
    metrics, _ = figures(
        make_manifest([("dog", 0, 1.0), ("cat", 0, 1.0)]),
        Detected(1.0, timeline, None, (Event("dog", 0, 1.0, 0.9), Event("cat", 0, 1.0, 0.9))),
    )
    assert metrics.psds1 == metrics.event_f1 == 1.0


def test_the_scorers_are_silent(recwarn):
    assert import_scorers().collar_based.best_fscore
    assert COLLAR == 0.2
    assert not [w for w in recwarn if "pkg_resources" in str(w.message)]
