"""Generators: what they depend on, and how processes share the draws of a batch."""

import numpy as np
import pytest

from spectag.train.rng import Rows, make_rng


def test_a_generator_depends_on_all_its_numbers_and_their_order():
    streams = [make_rng(*seeds).integers(2**62) for seeds in ((1,), (1, 2), (2, 1), (1, 3), (1, 2, 3), (1, 3, 2))]
    assert len(set(streams)) == len(streams)
    assert make_rng(1, 2).integers(2**62) == streams[1] == np.random.default_rng((1, 2)).integers(2**62)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_take_every_nth_row_of_what_one_would_draw(world):
    whole = make_rng(0)
    parts = [Rows(make_rng(0), rank, world) for rank in range(world)]
    for one, own in (
        (whole.uniform(-2, 3, (6, 1, 4)), lambda rows: rows.uniform(-2, 3, (6 // world, 1, 4))),
        (whole.uniform(0, 9, 6), lambda rows: rows.uniform(0, 9, 6 // world)),
        (whole.random((6, 2), np.float32), lambda rows: rows.random((6 // world, 2), np.float32)),
        (whole.random(6), lambda rows: rows.random(6 // world)),
        (whole.integers(-10, 10, 6), lambda rows: rows.integers(-10, 10, 6 // world)),
    ):
        for rank, rows in enumerate(parts):
            drawn = own(rows)
            assert drawn.dtype == one.dtype
            np.testing.assert_array_equal(drawn, one[rank::world])
