"""The draws of an epoch: every clip once, in a given order, or by weight; in one process or in several."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from spectag.train.sampler import EpochSampler, compute_clip_weights


def test_an_epoch_is_every_clip_once_and_epochs_differ():
    sampler = EpochSampler(20, seed=1)
    first = list(sampler)
    assert first == list(sampler)
    assert sorted(draw.clip for draw in first) == list(range(20))
    sampler.start_epoch(1)
    assert list(sampler) != first
    assert len({draw.seed for draw in first}) == 20


@pytest.mark.parametrize("epoch", [0, 3])
def test_the_draws_follow_from_seed_and_epoch(epoch):
    """The stream of random numbers is part of the format of a run, so the numbers are drawn here in the same order."""
    weights = np.arange(1.0, 21.0)
    for kind in ("once", "weights", "order"):
        rng = np.random.default_rng((5, epoch))
        if kind == "once":
            sampler, clips = EpochSampler(20, 5), rng.permutation(20)
        elif kind == "weights":
            sampler, clips = EpochSampler(20, 5, weights), rng.choice(20, 20, p=weights / 210)
        else:
            sampler = EpochSampler(20, 5, order=lambda generator: generator.permutation(20)[::-1].tolist())
            clips = rng.permutation(20)[::-1]
        sampler.start_epoch(epoch)
        assert list(sampler) == list(zip(clips, rng.integers(2**62, size=20), strict=True))


@given(st.integers(1, 200), st.integers(1, 8), st.integers(1, 5), st.booleans())
def test_processes_share_what_one_would_draw(clips, world, batch, balanced):
    """Step k of all processes together is step k of one process with the whole batch."""
    weights = np.arange(1.0, clips + 1) if balanced else None
    whole = list(EpochSampler(clips, 3, weights))[: clips // world * world]
    parts = [list(EpochSampler(clips, 3, weights, rank, world)) for rank in range(world)]
    assert {len(part) for part in parts} == {clips // world}
    for start in range(0, clips // world, batch):
        together = sorted(draw for part in parts for draw in part[start : start + batch])
        assert together == sorted(whole[start * world : (start + batch) * world])


def test_draws_made_before_the_run_was_resumed_are_left_out():
    sampler = EpochSampler(10, 0, rank=1, world=2)
    whole = list(sampler)
    sampler.start_epoch(0, skip=3)
    assert list(sampler) == whole[3:]
    sampler.start_epoch(1)
    assert len(list(sampler)) == len(whole)


def test_weights_of_the_released_code():
    targets = np.array([[1, 0], [1, 0], [1, 1], [1, 0]], np.float32)
    common, rare = 1000 / 4.01, 1000 / 1.01
    np.testing.assert_allclose(compute_clip_weights(targets), [common, common, common + rare, common])


@pytest.mark.parametrize("world", [1, 3])
def test_balanced_draws_follow_the_weights_and_are_drawn_anew(world):
    weights = np.array([1.0, 2.0, 7.0] * 100)
    samplers = [EpochSampler(300, 0, weights, rank, world) for rank in range(world)]
    counts = np.zeros(300)
    epochs = []
    for epoch in range(60):
        drawn: list[int] = []
        for sampler in samplers:
            sampler.start_epoch(epoch)
            drawn += [draw.clip for draw in sampler]
        epochs.append(drawn)
        counts += np.bincount(drawn, minlength=300)
    assert epochs[0] != epochs[1]
    shares = counts.reshape(100, 3).sum(0) / counts.sum()
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.7], atol=0.015)


def test_clips_without_a_label_are_drawn_as_often_as_those_of_a_class():
    """Kind of fault: the sum over no labels is 0, so that negatives would never be drawn. Whatever their number, and
    also where there is one class only or none but them.
    """
    for rows in ([[1], [0], [0], [0]], [[1, 0]] * 6 + [[0, 1], [0, 0], [0, 0]], [[1, 1], [0, 0]]):
        targets = np.array(rows, np.float32)
        weights = compute_clip_weights(targets)
        negative = ~targets.any(1)
        per_class = [weights[targets[:, c] > 0].sum() for c in range(targets.shape[1])]
        assert weights[negative].sum() == pytest.approx(1000, rel=0.01)
        assert min(per_class) > 0.99 * 1000
    assert (compute_clip_weights(np.zeros((3, 2), np.float32)) > 0).all()


def test_without_negatives_the_weights_are_those_of_the_released_code_to_the_last_bit():
    targets = (np.random.default_rng(0).random((50, 4)) < 0.3).astype(np.float32)
    targets[:, 0] = 1
    expected = targets @ (1000 / (targets.sum(0, dtype=np.float64) + 0.01))
    np.testing.assert_array_equal(compute_clip_weights(targets), expected)
