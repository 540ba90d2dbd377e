import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sounds import starts

from spectag.audio.fbank import fbank
from spectag.errors import InputError
from spectag.tag.windows import default_hop, merge, sound, windows


@st.composite
def geometry(draw: st.DrawFn) -> tuple[int, int, int]:
    frames = draw(st.integers(1, 40))
    return draw(st.integers(1, 200)), frames, draw(st.integers(1, frames))


@given(geometry())
def test_every_frame_is_covered_by_the_fewest_windows(shape: tuple[int, int, int]) -> None:
    total, frames, hop = shape
    found = list(windows([torch.arange(float(total))[:, None]], frames, hop))
    assert {int(frame) for window in found for frame in window} == set(range(total))
    assert len(found) == 1 + math.ceil(max(0, total - frames) / hop)
    assert {len(window) for window in found} == {min(frames, total)}


@given(geometry(), st.data())
def test_streaming_gives_the_slices_whatever_the_pieces(shape: tuple[int, int, int], data: st.DataObject) -> None:
    total, frames, hop = shape
    whole = torch.arange(2.0 * total).reshape(total, 2)
    cuts = sorted(data.draw(st.sets(st.integers(1, total - 1), max_size=10))) if total > 1 else []
    pieces = torch.tensor_split(whole, cuts)
    got = list(windows(pieces, frames, hop))
    want = [whole[start : start + frames] for start in starts(total, frames, hop)]
    assert len(got) == len(want)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize(("total", "count"), [(1, 1), (99, 1), (100, 1), (101, 2), (150, 2), (151, 3), (200, 3)])
def test_half_a_window_is_the_default_hop(total: int, count: int) -> None:
    assert len(list(windows([torch.zeros(total, 1)], 100))) == count


def test_default_hop_of_one_frame() -> None:
    assert default_hop(1) == 1
    assert default_hop(1025) == 512


def test_an_endless_stream_flows() -> None:
    pieces = (torch.full((7, 1), float(n)) for n in itertools.count())
    assert [int(w[0, 0]) for w in itertools.islice(windows(pieces, 14), 5)] == [0, 1, 2, 3, 4]


def test_no_pieces_no_windows() -> None:
    assert list(windows([], 10)) == []


@pytest.mark.parametrize(("frames", "hop"), [(0, 1), (10, 0), (10, 11)])
def test_out_of_range(frames: int, hop: int) -> None:
    with pytest.raises(InputError, match="windows:"):
        next(windows([torch.zeros(10, 1)], frames, hop))


def test_merge_is_the_weighted_mean() -> None:
    rng = np.random.default_rng(0)
    rows, weights = rng.random((1000, 3), np.float32), rng.random(1000)
    merged = merge(iter(rows), iter(weights))
    assert merged.dtype == np.float32
    np.testing.assert_allclose(merged, np.average(rows.astype(np.float64), 0, weights), rtol=1e-6)


def test_merge_of_nothing_but_silence_weighs_all_the_same() -> None:
    rows = np.array([[0.0, 1.0], [1.0, 1.0]], np.float32)
    np.testing.assert_array_equal(merge(rows, [0.0, 0.0]), [0.5, 1.0])
    np.testing.assert_array_equal(merge(rows, [0.0, 1e-9]), [1.0, 1.0])


def test_merge_needs_a_window() -> None:
    with pytest.raises(InputError, match="at least one window"):
        merge([], [])


def test_sound_is_the_share_above_the_floor() -> None:
    silence, noise = torch.zeros(80_000), 0.1 * torch.randn(80_000, generator=torch.Generator().manual_seed(0))
    assert sound(fbank(silence), 498) == 0
    assert sound(fbank(noise), 498) == pytest.approx(1, abs=0.01)  # a filter narrower than a line is always silent
    assert sound(fbank(noise), 996) == pytest.approx(0.5, abs=0.01)  # padding counts as silence
    assert sound(fbank(torch.cat([noise[:40_000], silence[:40_000]])), 498) == pytest.approx(0.5, abs=0.01)
