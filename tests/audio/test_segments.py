"""Segments that are decoded together are those that are read one by one."""

import math

import numpy as np
import pytest
import soundfile
from hypothesis import given, strategies as st

from spectag.audio import segments as module
from spectag.audio.read import open as open_recording, read
from spectag.audio.segments import read_segments
from spectag.audio.source import Segment
from spectag.errors import AudioError, InputError

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 75 * 16_000).astype(np.float32)  # 2.5 blocks


def alone(source):
    try:
        return read(source)
    except (AudioError, InputError) as error:
        return error


def require_same(found, sources) -> None:
    for one, other in zip(found, map(alone, sources), strict=True):
        if isinstance(other, np.ndarray):
            np.testing.assert_array_equal(one, other)
        else:
            assert (type(one), str(one)) == (type(other), str(other))


@pytest.fixture
def opened(monkeypatch):
    sources = []
    monkeypatch.setattr(module, "open", lambda source: sources.append(source) or open_recording(source))
    return sources


times = st.tuples(st.floats(0, 80), st.one_of(st.none(), st.floats(0.001, 40)))


@given(st.lists(times, max_size=6), st.booleans())
def test_the_same_as_one_by_one(pairs, ordered):
    """In any order, overlapping or not, beyond the end, and without an end."""
    pairs = sorted(pairs, key=lambda pair: pair[0]) if ordered else pairs
    sources = [Segment(NOISE, start, None if length is None else start + length) for start, length in pairs]
    require_same(read_segments(sources), sources)


def test_a_recording_is_decoded_once(opened):
    sources = [Segment(NOISE, start, start + 5.0) for start in range(0, 70, 2)]
    require_same(read_segments(sources), sources)
    assert opened == [Segment(NOISE, 0.0, 73.0)]


def test_memory_holds_a_segment_and_a_block():
    """A waveform is no view of more than itself."""
    found = list(read_segments([Segment(NOISE, float(start), start + 0.1) for start in range(70)]))
    assert all(waveform.base is None and waveform.nbytes == 6400 for waveform in found)


def test_other_sources_are_read_one_by_one(tmp_path, opened):
    soundfile.write(tmp_path / "a.wav", NOISE[:1600], 16_000)
    sources = [tmp_path / "a.wav", Segment(NOISE, 1.0, 2.0), Segment(NOISE, 3.0, 2.0), tmp_path / "none.wav"]
    require_same(read_segments(sources), sources)
    assert opened == sources
    assert list(read_segments([])) == []


@pytest.mark.parametrize("start", [-1.0, math.nan, math.inf])
def test_times_that_are_none(start):
    sources = [Segment(NOISE, 0.0, 1.0), Segment(NOISE, start, 2.0)]
    one, other = read_segments(sources)
    assert len(one) == 16_000
    assert isinstance(other, InputError)


def test_damage_costs_the_segments_that_reach_it(tmp_path):
    x = NOISE.copy()
    x[40 * 16_000] = np.nan
    soundfile.write(tmp_path / "a.wav", x, 16_000, subtype="FLOAT")
    sources = [Segment(tmp_path / "a.wav", start, start + 10.0) for start in (0.0, 5.0, 20.0, 25.0, 35.0, 50.0)]
    found = list(read_segments(sources))
    require_same(found, sources)
    assert [isinstance(x, AudioError) for x in found] == [False, False, False, False, True, True]


@pytest.mark.filterwarnings("ignore::spectag.errors.AudioWarning")
def test_notes_have_the_name_of_the_recording(tmp_path):
    path = tmp_path / "cut.wav"
    soundfile.write(path, NOISE, 16_000)
    path.write_bytes(path.read_bytes()[:1_000_000])
    sources = [Segment(path, 0.0, 10.0), Segment(path, 20.0, 40.0)]
    notes = []
    require_same(read_segments(sources, notes.append), sources)
    [note] = notes
    assert note.startswith(f"{path} (0 s to 40 s): ")
