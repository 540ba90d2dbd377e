"""The learning rate of every step is its formula."""

import math

import pytest
from hypothesis import given, strategies as st

from spectag.train.schedule import compute_lr_factor
from spectag.train.sections import ScheduleRecipe


def factors(schedule, steps, per_epoch=10, total=100):
    return [compute_lr_factor(step, per_epoch, total, schedule) for step in steps]


def test_warm_up_grows_to_one_in_stairs():
    schedule = ScheduleRecipe(kind="constant", warmup_steps=6, warmup_every=2)
    assert factors(schedule, range(8)) == pytest.approx([0, 0, 2 / 6, 2 / 6, 4 / 6, 4 / 6, 1, 1])
    smooth = ScheduleRecipe(kind="constant", warmup_steps=4)
    assert factors(smooth, range(6)) == [0, 0.25, 0.5, 0.75, 1, 1]


def test_milestones_are_ends_of_epochs():
    schedule = ScheduleRecipe(kind="milestones", milestones=(2, 3), gamma=0.5)
    assert factors(schedule, (0, 19, 20, 29, 30, 99)) == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_further_milestones_follow_the_last_one():
    schedule = ScheduleRecipe(kind="milestones", milestones=(1, 2), repeat=3, gamma=0.1)
    by_epoch = factors(schedule, range(0, 100, 10))
    assert by_epoch == pytest.approx([1, 0.1, 0.01, 0.01, 0.01, 1e-3, 1e-3, 1e-3, 1e-4, 1e-4])
    alone = ScheduleRecipe(kind="milestones", repeat=4, gamma=0.1)
    assert factors(alone, (0, 39, 40, 80)) == pytest.approx([1, 1, 0.1, 0.01])


@given(warmup=st.integers(0, 50), total=st.integers(51, 200), step=st.integers(0, 300))
def test_cosine_goes_from_one_to_zero_after_the_warm_up(warmup, total, step):
    [factor] = factors(ScheduleRecipe(kind="cosine", warmup_steps=warmup), [step], total=total)
    if step < warmup:
        assert factor == step / warmup
    else:
        angle = math.pi * min(1, (step - warmup) / (total - warmup))
        assert factor == pytest.approx((1 + math.cos(angle)) / 2, abs=1e-12)


def test_cosine_may_end_with_its_warm_up():
    assert factors(ScheduleRecipe(kind="cosine", warmup_steps=10), (9, 10, 11), total=10) == pytest.approx([0.9, 1, 0])
