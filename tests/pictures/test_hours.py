from datetime import datetime

import pytest
from hypothesis import given, strategies as st

from spectag.pictures.hours import Hours, time_in
from spectag.tag.results import ClipTags, Event


def clip(path: str, duration: float, *events: tuple[str, float, float]) -> ClipTags:
    return ClipTags(path, duration, (), events=tuple(Event(*event, 0.5) for event in events))


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("20260514_053000.WAV", datetime(2026, 5, 14, 5, 30)),
        ("in/20250101_000000/SMA01234_20260514_235959.wav", datetime(2026, 5, 14, 23, 59, 59)),
        ("AM-20260514T053000Z.flac", datetime(2026, 5, 14, 5, 30)),
        ("20261399_053000_20260514_010203.wav", datetime(2026, 5, 14, 1, 2, 3)),
        ("120260514_053000.wav", None),
        ("20260514_2530.wav", None),
        ("20260514/dawn.wav", None),
    ],
)
def test_times_in_names(name: str, time: datetime | None) -> None:
    assert time_in(name) == time


def test_hours_of_several_days_count_together() -> None:
    paths = ["x_20260514_055000.wav", "x_20260515_235000.wav"]
    hours = Hours(paths)
    hours.add(clip(paths[0], 1200, ("owl", 0, 900)))
    hours.add(clip(paths[1], 1200, ("owl", 540, 660), ("fox", 1199, 1200)))
    assert hours.clock
    assert hours.bins() == 24
    assert [hours.recorded(h) for h in (5, 6, 23, 0, 12)] == [600, 600, 600, 600, 0]
    assert [hours.heard("owl", h) for h in (5, 6, 23, 0)] == [600, 300, 60, 60]
    assert hours.labels() == ["owl", "fox"]
    assert hours.events == {"owl": 2, "fox": 1}
    assert hours.days == {"2026-05-14", "2026-05-15"}


def test_what_overlaps_counts_once() -> None:
    hours = Hours(["a.wav"])
    hours.add(clip("a.wav", 60, ("owl", 10, 30), ("owl", 0, 20), ("owl", 5, 15), ("owl", 50, 70)))
    assert hours.heard("owl") == 40
    assert hours.events == {"owl": 4}


def test_one_name_without_a_time_puts_all_in_a_row() -> None:
    paths = ["x_20260514_055000.wav", "y.wav"]
    hours = Hours(paths)
    hours.add(clip(paths[0], 90))
    hours.add(clip(paths[1], 90, ("owl", 10, 40)))
    assert not hours.clock
    assert (hours.minutes, hours.bins()) == (1, 3)
    assert [hours.recorded(m) for m in range(3)] == [60, 60, 60]
    assert [hours.heard("owl", m) for m in range(3)] == [0, 20, 10]


@given(st.lists(st.floats(0.1, 2e5), min_size=1, max_size=5), st.booleans())
def test_no_second_is_lost(durations: list[float], clock: bool) -> None:
    paths = [f"x_2026051{n}_22300{n}.wav" if clock else f"{n}.wav" for n in range(len(durations))]
    hours = Hours(paths)
    for path, duration in zip(paths, durations, strict=True):
        hours.add(clip(path, duration, ("owl", duration / 4, duration / 2)))
    assert 1 <= hours.bins() <= 24
    assert sum(hours.recorded(n) for n in range(hours.bins())) == pytest.approx(sum(durations))
    assert sum(hours.heard("owl", n) for n in range(hours.bins())) == pytest.approx(sum(durations) / 4)
    assert hours.heard("owl") == pytest.approx(sum(durations) / 4)
