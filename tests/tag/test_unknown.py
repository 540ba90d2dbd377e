"""Thresholds and unknown sounds of a model in tags, events and the listener."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from sounds import noise

from spectag.model.bundle import Bundle
from spectag.model.unknown import Unknown
from spectag.tag.detector import Detector
from spectag.tag.events import EventRule
from spectag.tag.listener import Listener
from spectag.tag.tagger import Tagger
from spectag.tag.writers.formats import make_writer


def with_facts(bundle: Bundle, **facts) -> Bundle:
    return replace(bundle, card=replace(bundle.card, **facts))


def knows(bundle: Bundle, *samples: np.ndarray, factor: float = 1.0) -> Unknown:
    """What a model says that knows these sounds and, of others, those that are less than ``factor`` as far away."""
    plain = Unknown(np.eye(32), np.eye(32), np.zeros(99), 0.05)
    distances = [plain.measure(Tagger(bundle).embed_windows(each).features).mean() for each in samples]
    return Unknown(np.eye(32), np.eye(32), np.full(99, factor * max(distances)), 0.05)


@pytest.fixture
def loud() -> np.ndarray:
    return noise(20_000)


def test_tags_need_the_threshold_of_their_label(bundle, loud):
    scores = Tagger(bundle).scores(loud)
    order = np.argsort(-scores)
    limits = np.ones(4)
    limits[order[1]], limits[order[3]] = scores[order[1]], scores[order[3]]  # the second and the last reach theirs
    tagger = Tagger(with_facts(bundle, thresholds=tuple(limits.tolist())))
    names = bundle.labels.names
    assert [tag.label for tag in tagger.tag(loud).tags] == [names[order[1]], names[order[3]]]
    assert [tag.label for tag in tagger.tag(loud, top_k=1).tags] == [names[order[1]]]  # the best of those that do
    assert len(tagger.tag(loud, threshold=0).tags) == 4
    assert [tag.label for tag in tagger.tag(loud, threshold=float(scores[order[0]])).tags] == [names[order[0]]]
    [same] = tagger.tag_many([loud])
    assert same.tags == tagger.tag(loud).tags


def test_a_recording_is_unknown_or_not(bundle, loud):
    far = Tagger(with_facts(bundle, unknown=knows(bundle, loud, factor=0.99))).tag(loud)
    near = Tagger(with_facts(bundle, unknown=knows(bundle, loud, factor=1.01))).tag(loud)
    assert (far.unknown, far.tags, far.unknown_score) == (True, (), 0.99)
    assert (near.unknown, len(near.tags), near.unknown_score) == (False, 4, 0.0)
    asked = Tagger(with_facts(bundle, unknown=knows(bundle, loud, factor=0.99))).tag(loud, threshold=0)
    assert asked.unknown
    assert len(asked.tags) == 4
    assert Tagger(bundle).tag(loud).unknown is None


def test_scores_are_the_same_in_one_pass(bundle, loud):
    tagger = Tagger(with_facts(bundle, unknown=knows(bundle, loud)))
    np.testing.assert_allclose(tagger.scores(loud), Tagger(bundle).scores(loud), atol=1e-6)
    clip = tagger.score_windows(loud)
    wanted = tagger.card.unknown.measure(tagger.embed_windows(loud).features)
    np.testing.assert_allclose(clip.distances, wanted, rtol=1e-4)


def test_an_engine_without_the_method_is_asked_twice(bundle, loud):
    inner = Tagger(bundle).engine

    class Plain:
        scores = staticmethod(inner.scores)
        embed = staticmethod(inner.embed)

    unknown = knows(bundle, loud, factor=0.99)
    assert Tagger(replace(bundle.card, unknown=unknown), engine=Plain()).tag(loud).unknown


def test_silence_is_not_unknown(bundle, loud):
    result = Tagger(with_facts(bundle, unknown=knows(bundle, loud, factor=0.01))).tag(np.zeros(16_000, np.float32))
    assert result.unknown is None
    assert result.warnings


def test_formats(bundle, loud):
    far = Tagger(with_facts(bundle, unknown=knows(bundle, loud, factor=0.99))).tag(loud)
    texts = {}
    for format in ("text", "jsonl", "csv"):
        file = io.StringIO()
        writer = make_writer(format, file)
        writer.write(far)
        writer.close()
        texts[format] = file.getvalue()
    assert "(unknown)" in texts["text"]
    row = json.loads(texts["jsonl"])
    assert (row["unknown"], row["unknown_score"], row["tags"]) == (True, 0.99, [])
    [row] = csv.DictReader(texts["csv"].splitlines())
    assert (row["label"], row["score"], row["rank"]) == ("(unknown)", "0.99", "")


def test_events_need_the_threshold_of_their_label(bundle):
    long = noise(100_000)
    plain = Detector(Tagger(bundle), EventRule(threshold=0.0), hop=0.25).detect(long)
    highest = {event.label: event.score for event in plain.events}
    label = min(highest, key=highest.get)
    names = bundle.labels.names
    limits = tuple(0.0 if name == label else 1.0 for name in names)
    tagger = Tagger(with_facts(bundle, event_thresholds={"change": limits}))
    assert {event.label for event in Detector(tagger, hop=0.25).detect(long).events} == {label}
    forced = Detector(tagger, EventRule(threshold=0.0), hop=0.25)
    assert forced.detect(long).events == plain.events


def test_events_have_thresholds_of_their_own_for_each_method(bundle):
    facts = {"thresholds": (0.9,) * 4, "event_thresholds": {"change": (0.1, 0.2, 0.3, 0.4)}}
    tagger = Tagger(with_facts(bundle, **facts))
    assert Detector(tagger).thresholds == dict(zip(bundle.labels.names, (0.1, 0.2, 0.3, 0.4), strict=True))
    assert Detector(tagger, EventRule("threshold")).thresholds is None  # those of tags are of other scores


def test_the_detector_and_the_listener_say_unknown(bundle, loud):
    facts = {"unknown": knows(bundle, loud, factor=0.5), "thresholds": (0.0,) * 4}
    tagger = Tagger(with_facts(bundle, **facts))
    found = Detector(tagger, hop=0.25).detect(loud)
    assert (found.unknown, found.tags) == (True, ())
    distances = tagger.score_windows(loud, hop=0.25).distances
    assert found.unknown_score == pytest.approx(tagger.card.unknown.score(distances.mean()))
    moments = list(Listener(tagger, hop=0.25).listen([loud]))
    assert all(moment.unknown and not moment.tags for moment in moments if moment.unknown is not None)
    assert any(moment.unknown for moment in moments)
    assert moments[0].to_dict()["unknown"] is True
    assert all(moment.tags for moment in Listener(tagger, hop=0.25).listen([loud], threshold=0) if moment.unknown)
    assert "unknown" not in next(iter(Listener(Tagger(bundle), hop=0.25).listen([loud]))).to_dict()
