"""Segments that are decoded together are those that are read one by one."""

import math
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given, strategies as st

from spectag.audio.read import Recording, read
from spectag.audio.readers import Readers
from spectag.audio.segments import group_segments, read_group, read_segments
from spectag.audio.source import Segment
from spectag.errors import AudioError, EmptyAudio, InputError

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
    sources, blocks = [], Recording.blocks
    monkeypatch.setattr(Recording, "blocks", lambda self: sources.append(self.source) or blocks(self))
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
    list(read_segments(sources))
    assert opened == [Segment(NOISE, 0.0, 73.0)]


def test_memory_holds_a_segment_and_a_block():
    """A waveform is no view of more than itself."""
    found = list(read_segments([Segment(NOISE, float(start), start + 0.1) for start in range(70)]))
    assert all(waveform.base is None and waveform.nbytes == 6400 for waveform in found)


def test_other_sources_are_read_one_by_one(tmp_path, opened):
    soundfile.write(tmp_path / "a.wav", NOISE[:1600], 16_000)
    sources = [tmp_path / "a.wav", Segment(NOISE, 1.0, 2.0), Segment(NOISE, 3.0, 2.0), tmp_path / "none.wav"]
    list(read_segments(sources))
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
    assert note.startswith(f"{path} (20 s to 40 s): expected 75.00 s, read 31.25 s: the recording is cut off")


@pytest.mark.parametrize("start", [75.0, 75.5, 36_000.0], ids=["at the end", "behind it", "hours behind it"])
@pytest.mark.parametrize("end", [None, 40_000.0])
def test_a_stretch_that_begins_after_the_end_says_where_the_end_is(start, end):
    """Kind of fault: a true error with a false reason; the recording was said to hold no sound, and should be recorded
    again, where a table has wrong times.
    """
    segment = Segment(NOISE, start, end)
    for error in (alone(segment), list(read_segments([Segment(NOISE, 1.0, 2.0), segment, segment]))[1]):
        assert isinstance(error, EmptyAudio)
        assert str(error).startswith(f"<array> ({start:g} s to ")
        assert str(error).endswith(": begins after the end of the recording, which is 75.000 s long: correct the times")


def test_stretches_after_the_end_are_not_looked_for_one_by_one(opened):
    sources = [Segment(NOISE, float(start), start + 1.0) for start in (0, 80, 90, 100)]
    assert [isinstance(x, AudioError) for x in read_segments(sources)] == [False, True, True, True]
    assert len(opened) == 1


def test_a_recording_without_sound_still_says_so(tmp_path):
    soundfile.write(tmp_path / "a.wav", NOISE[:0], 16_000)
    for error in (alone(Segment(tmp_path / "a.wav", 1.0, 2.0)), alone(tmp_path / "a.wav")):
        assert isinstance(error, EmptyAudio)
        assert "begins after" not in str(error)
    soundfile.write(tmp_path / "b.wav", NOISE[:1600], 16_000)
    assert "at least one sample" in str(alone(Segment(tmp_path / "b.wav", 0.01, 0.010001)))


@pytest.mark.parametrize("rate", [16_000, 8_000])
def test_a_stretch_late_in_a_long_file_takes_no_more_memory_than_an_early_one(tmp_path, rate):
    """Kind of fault: what is passed over is kept, as an empty view of it: 64 kB for each second before the stretch,
    which is 2.3 GB after ten hours.
    """
    minutes = 20
    with soundfile.SoundFile(tmp_path / "long.wav", "w", rate, 1, subtype="PCM_16") as file:
        for _ in range(minutes):
            file.write(np.full(60 * rate, 100, np.int16))
    peaks = []
    for start in (0.0, 60.0 * minutes - 10):
        tracemalloc.start()
        try:
            assert len(read(Segment(tmp_path / "long.wav", start, start + 10.0))) == 160_000
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000, "20 minutes at 16 kHz are 77 MB"


def ends(sources, **options) -> list[list[str]]:
    found = []
    for recording, blocks in read_group(sources, **options):
        try:
            list(blocks)
        except AudioError as error:
            found.append([error.reason])
        else:
            found.append(recording.notes)
    return found


def test_a_stretch_that_the_recording_ends_within_has_a_note():
    """The kind: a table has a wrong time, and what it asks for is shortened without a word. Said once per file."""
    note = "ends after the recording, which is 75.000 s long{}: what is there is used; correct the times"
    short, other, third = Segment(NOISE, 70.0, 80.0), Segment(NOISE, 71.0, 75.2), Segment(NOISE, 74.0, 99.0)
    fits, nearly, behind = Segment(NOISE, 70.0, 75.0), Segment(NOISE, 70.5, 75.05), Segment(NOISE, 75.0, 99.0)
    assert ends([short]) == [[note.format("")]]
    assert ends([fits]) == ends([nearly]) == ends([Segment(NOISE, 70.0)]) == [[]]
    assert ends([Segment(NOISE, 1.0, 2.0), short, other, third]) == [
        [],
        [note.format(", and so do 2 others of its stretches")],
        [],
        [],
    ]
    assert ends([fits, nearly, third, behind]) == [
        [],
        [],
        [note.format("")],
        ["begins after the end of the recording, which is 75.000 s long: correct the times"],
    ]


def test_the_same_in_other_processes(tmp_path):
    """Facts and notes, too; and the process can read on."""
    stereo = np.stack([NOISE, -NOISE], 1)
    soundfile.write(tmp_path / "a.wav", stereo, 16_000, subtype="FLOAT")
    sources = [Segment(tmp_path / "a.wav", start, end) for start, end in ((0, 40), (10, 20), (31, 32), (70, 90))]
    readers = Readers(1)
    for _ in range(2):
        here, there = (
            [(np.concatenate(list(blocks)), recording) for recording, blocks in read_group(sources, read)]
            for read in (None, readers.blocks)
        )
        for (want, one), (got, other) in zip(here, there, strict=True):
            np.testing.assert_array_equal(want, got)
            assert vars(one) == vars(other)
            assert (one.rate, one.channels, one.silent) == (16_000, 2, False)
            assert one.seconds * 16_000 == len(want)
        assert ["channels cancel" in note for note in there[-1][1].notes] == [True, False]
    assert len(readers._idle) == 1
    assert readers._idle[0].recordings == 2


def test_neighbours_of_one_file_are_grouped(tmp_path):
    one, two, three = (Segment("a.wav", start) for start in (0.0, 1.0, 1.0))
    array = Segment(NOISE, 0.0)
    items = [one, two, three, one, "a.wav", Segment("b.wav", 2.0), array, array, Segment(b"RIFF", 1.0)]
    assert list(map(len, group_segments(items))) == [3, 1, 1, 1, 1, 1, 1]


def test_a_file_and_samples_are_different_recordings():
    """They are compared by kind first: samples answer == element by element."""
    mixed = [Segment("a.wav", 0.0, 1.0), Segment(NOISE, 0.0, 1.0), Segment(NOISE, 1.0, 2.0), Segment("a.wav", 2.0, 3.0)]
    assert list(map(len, group_segments(mixed))) == [1, 1, 1, 1]
