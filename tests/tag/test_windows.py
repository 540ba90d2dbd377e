import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from sounds import starts

from spectag.audio.fbank import FLOOR, fbank
from spectag.errors import InputError
from spectag.tag.windows import FLOOR_MARGIN, cut_windows, default_hop, measure_sound, weighted_mean


@st.composite
def geometry(draw: st.DrawFn) -> tuple[int, int, int]:
    frames = draw(st.integers(1, 40))
    return draw(st.integers(1, 200)), frames, draw(st.integers(1, frames))


@settings(deadline=None)
@given(geometry())
def test_every_frame_is_covered_by_the_fewest_windows(shape: tuple[int, int, int]) -> None:
    total, frames, hop = shape
    found = list(cut_windows([torch.arange(float(total))[:, None]], frames, hop))
    assert {int(frame) for window in found for frame in window.fbank} == set(range(total))
    assert len(found) == 1 + math.ceil(max(0, total - frames) / hop)
    assert {len(window.fbank) for window in found} == {min(frames, total)}


@settings(deadline=None)
@given(geometry(), st.data())
def test_streaming_gives_the_slices_whatever_the_pieces(shape: tuple[int, int, int], data: st.DataObject) -> None:
    total, frames, hop = shape
    whole = torch.arange(2.0 * total).reshape(total, 2)
    cuts = sorted(data.draw(st.sets(st.integers(1, total - 1), max_size=10))) if total > 1 else []
    pieces = torch.tensor_split(whole, cuts)
    got = list(cut_windows(pieces, frames, hop))
    assert [window.start for window in got] == starts(total, frames, hop)
    assert all(torch.equal(window.fbank, whole[window.start : window.start + frames]) for window in got)
    assert all(window.sound == measure_sound(window.fbank, frames) for window in got)


@pytest.mark.parametrize(("total", "count"), [(1, 1), (99, 1), (100, 1), (101, 2), (150, 2), (151, 3), (200, 3)])
def test_half_a_window_is_the_default_hop(total: int, count: int) -> None:
    assert len(list(cut_windows([torch.zeros(total, 1)], 100))) == count


def test_default_hop_of_one_frame() -> None:
    assert default_hop(1) == 1
    assert default_hop(1025) == 512


def test_an_endless_stream_flows() -> None:
    pieces = (torch.full((7, 1), float(n)) for n in itertools.count())
    assert [int(w.fbank[0, 0]) for w in itertools.islice(cut_windows(pieces, 14), 5)] == [0, 1, 2, 3, 4]


def test_no_pieces_no_windows() -> None:
    assert list(cut_windows([], 10)) == []


@pytest.mark.parametrize(("frames", "hop"), [(0, 1), (10, 0), (10, 11)])
def test_out_of_range(frames: int, hop: int) -> None:
    with pytest.raises(InputError, match="windows:"):
        next(cut_windows([torch.zeros(10, 1)], frames, hop))


def test_the_mean_is_weighted() -> None:
    rng = np.random.default_rng(0)
    rows, weights = rng.random((1000, 3), np.float32), rng.random(1000, np.float32)
    merged = weighted_mean(rows, weights)
    assert merged.dtype == np.float32
    np.testing.assert_allclose(merged, np.average(rows.astype(np.float64), 0, weights), rtol=1e-6)


def test_the_mean_of_nothing_but_silence_weighs_all_the_same() -> None:
    rows = np.array([[0.0, 1.0], [1.0, 1.0]], np.float32)
    np.testing.assert_array_equal(weighted_mean(rows, np.array([0.0, 0.0], np.float32)), [0.5, 1.0])
    np.testing.assert_array_equal(weighted_mean(rows, np.array([0.0, 1e-9], np.float32)), [1.0, 1.0])


def test_the_mean_needs_a_window() -> None:
    with pytest.raises(InputError, match="at least one window"):
        weighted_mean(np.empty((0, 3), np.float32), np.empty(0, np.float32))


def test_sound_is_the_share_above_the_floor() -> None:
    silence, noise = torch.zeros(80_000), 0.1 * torch.randn(80_000, generator=torch.Generator().manual_seed(0))
    assert measure_sound(fbank(silence), 498) == 0
    assert measure_sound(fbank(noise), 498) == pytest.approx(1, abs=0.01)  # the narrowest filters hear nothing
    assert measure_sound(fbank(noise), 996) == pytest.approx(0.5, abs=0.01)  # padding counts as silence
    assert measure_sound(fbank(torch.cat([noise[:40_000], silence[:40_000]])), 498) == pytest.approx(0.5, abs=0.01)


def test_only_what_exceeds_the_floor_by_the_margin_is_sound() -> None:
    floor = math.log(FLOOR)
    levels = torch.tensor([[floor, floor + 0.9 * FLOOR_MARGIN, floor + 1.1 * FLOOR_MARGIN, 0.0]])
    assert FLOOR_MARGIN < 0.1  # less than 0.5 dB: the quietest sound that 16 bits hold lies far above
    assert measure_sound(levels, 1) == 0.5
