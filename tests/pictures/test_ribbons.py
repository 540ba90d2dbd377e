import numpy as np

from spectag.pictures.ribbons import choose_ribbons
from spectag.pictures.spectrogram import COLUMNS
from spectag.tag.results import ClipTags, Event, Tag, Timeline

TAGS = tuple(Tag(label, 0.5) for label in "abcdefghij")


def test_events_come_first_and_the_longest_before_the_others() -> None:
    events = Event("j", 0, 1, 0.9), Event("x", 1, 2, 0.6), Event("j", 5, 6, 0.9), Event("x", 3, 8, 0.6)
    ribbons = choose_ribbons(ClipTags("a.wav", 9.0, TAGS, events=events), most=5)
    assert [ribbon.label for ribbon in ribbons] == ["x", "j", "a", "b", "c"]
    assert [len(ribbon.events) for ribbon in ribbons] == [2, 2, 0, 0, 0]
    assert ribbons[2].scores.tolist() == [0.5]
    assert ribbons[2].edges.tolist() == [0, 9]


def test_long_timelines_keep_their_peaks_in_few_columns() -> None:
    scores = np.zeros((100_000, 2), np.float32)
    scores[77_777, 1] = 0.75
    timeline = Timeline(("a", "b"), 0.1, scores)
    ribbons = choose_ribbons(ClipTags("a.wav", 9999.95, TAGS[:2], timeline=timeline))
    assert len(ribbons[1].scores) <= COLUMNS
    assert ribbons[1].scores.max() == 0.75
    place = int(ribbons[1].scores.argmax())
    assert ribbons[1].edges[place] <= 7777.7 < ribbons[1].edges[place + 1]
    assert ribbons[1].edges[-1] == 9999.95
