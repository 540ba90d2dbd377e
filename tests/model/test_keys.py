import pytest
from small import TINY, make_bundle, renamed

from spectag.errors import KeyMismatch, ShapeMismatch
from spectag.model.deit import DEIT
from spectag.model.naming import TABLES
from spectag.model.shapes import network_shapes

WITH_HEAD = [table for table in TABLES if table is not DEIT]


@pytest.fixture(scope="module")
def state():
    return make_bundle().network.state_dict()


def test_every_tensor_has_its_row(state):
    for table in WITH_HEAD:
        assert {row.ours for row in table.rows(2, 2)} == set(state)
    assert {row.ours for row in DEIT.rows(2, 2)} == {key for key in state if not key.startswith("head.")}


@pytest.mark.parametrize("table", WITH_HEAD, ids=lambda table: table.kind)
def test_check(table):
    found = {key: tuple(value.shape) for key, value in renamed(make_bundle(), table).items()}
    wanted = table.expected(network_shapes(TINY), 2, 2)
    assert found == wanted
    table.check_shapes(found | dict.fromkeys(table.dropped, (1,)), wanted, "file")
    key = next(reversed(found))
    with pytest.raises(KeyMismatch, match=f"file: .* missing {key}$"):
        table.check_shapes({k: v for k, v in found.items() if k != key}, wanted, "file")
    with pytest.raises(KeyMismatch, match=r"unexpected rogue$"):
        table.check_shapes(found | {"rogue": (1,)}, wanted, "file")
    with pytest.raises(ShapeMismatch, match=rf"file: {key}: expected shape \[\d+\], got \[77, 2\]"):
        table.check_shapes(found | {key: (77, 2)}, wanted, "file")


def test_long_lists_are_cut():
    with pytest.raises(KeyMismatch, match=r"missing a, b, c and 2 more; unexpected x$"):
        DEIT.check_keys(["x"], ["a", "b", "c", "d", "e"], "file")


def test_layers_are_not_taken_from_a_number_gone_wild():
    assert DEIT.count_layers(["blocks.99999999999.norm1.weight", "blocks.0.norm1.weight"]) == 1
