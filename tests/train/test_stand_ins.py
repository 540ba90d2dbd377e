"""Who is heard in place of a clip that cannot be read."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, strategies as st

from spectag.train.sampler import compute_clip_weights
from spectag.train.stand_ins import StandIns


@given(st.lists(st.lists(st.booleans(), min_size=2, max_size=2), min_size=1, max_size=12), st.integers(0, 99))
def test_every_other_clip_once_and_those_with_a_label_in_common_first(rows, seed):
    """Negatives have in common that they have none."""
    targets = np.array(rows, np.float32)
    index = seed % len(rows)
    order = list(StandIns(targets).draw(index, np.random.default_rng(seed)))
    assert sorted(order) == [other for other in range(len(rows)) if other != index]
    own = targets[index]
    alike = [bool(targets[other] @ own) if own.any() else not targets[other].any() for other in order]
    assert alike == sorted(alike, reverse=True)


def test_of_several_labels_a_rare_one_is_kept_more_often():
    """As balanced sampling draws: a clip of a common and a rare class is mostly drawn for the rare one."""
    targets = np.zeros((33, 2), np.float32)
    targets[:31, 0] = 1
    targets[30:, 1] = 1  # clip 30 has both
    first = [next(StandIns(targets).draw(30, np.random.default_rng(seed))) for seed in range(300)]
    rare = np.mean([clip > 30 for clip in first])
    weights = compute_clip_weights(targets)[[0, 32]]
    assert rare == pytest.approx(weights[1] / weights.sum(), abs=0.06)


def test_only_what_is_asked_for_is_made():
    targets = np.ones((2_000_000, 1), np.float32)
    stand_ins = StandIns(targets)
    firsts = {next(stand_ins.draw(0, np.random.default_rng(seed))) for seed in range(200)}
    assert len(firsts) > 190
    assert len(set(islice(stand_ins.draw(7, np.random.default_rng(0)), 1000))) == 1000
