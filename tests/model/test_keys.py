import pytest
from small import TINY, make_bundle, renamed

from spectag.errors import KeyMismatch, ShapeMismatch
from spectag.model.deit import DEIT
from spectag.model.keys import KeyTable
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


def test_what_is_joined_is_kept_apart_in_files():
    """The class tokens along axis 1; query, key and value along axis 0."""
    apart = KeyTable("toy", {"tokens": "cls dist", "blocks.*.attn.qkv": "b.*.q b.*.k b.*.v"})
    shapes = apart.expected(network_shapes(TINY), 2, 2)
    assert shapes == {"cls": (1, 1, 32), "dist": (1, 1, 32)} | {
        f"b.{layer}.{name}.{kind}": shape
        for layer in range(2)
        for name in "qkv"
        for kind, shape in (("weight", (32, 32)), ("bias", (32,)))
    }


def test_a_table_without_its_head():
    table = KeyTable("toy", {"norm": "ln", "head.linear": "fc"}, frozenset("a"), frozenset("b"))
    for found in ({"ln.weight", "fc.weight"}, {"fc.bias"}):
        assert table.fitting(found) is table
    assert table.fitting({"ln.weight", "b"}) == KeyTable("toy", {"norm": "ln"}, frozenset("ab"), frozenset("b"))


def test_long_lists_are_cut():
    with pytest.raises(KeyMismatch, match=r"missing a, b, c and 2 more; unexpected x$"):
        DEIT.check_keys(["x"], ["a", "b", "c", "d", "e"], "file")
    with pytest.raises(KeyMismatch, match=r"missing a, b, c$"):
        DEIT.check_keys([], ["a", "b", "c"], "file")


def test_layers_are_not_taken_from_a_number_gone_wild():
    assert DEIT.count_layers(["blocks.0.norm1.weight", "blocks.1.norm1.weight"]) == 2
    assert DEIT.count_layers(["norm.weight", "blocks.x.norm1.weight"]) == 0
    assert DEIT.count_layers(["blocks.99999999999.norm1.weight", "blocks.0.norm1.weight"]) == 1
