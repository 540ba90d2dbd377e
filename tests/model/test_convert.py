import pytest
import torch
from small import TINY, make_bundle

from spectag.errors import KeyMismatch, NotAModel, ShapeMismatch
from spectag.model import convert
from spectag.model.network import AST
from spectag.model.shapes import network_shapes

LAYOUTS = convert.COLUMNS
WITH_HEAD = [layout for layout in LAYOUTS if layout != "timm"]


@pytest.fixture(scope="module")
def state():
    return make_bundle().network.state_dict()


def test_every_tensor_has_its_row(state):
    for layout in WITH_HEAD:
        assert {row.ours for row in convert.rows(layout, 2, 2)} == set(state)
    assert {row.ours for row in convert.rows("timm", 2, 2)} == {key for key in state if not key.startswith("head.")}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("tokens", [1, 2])
def test_there_and_back(layout, tokens):
    state = make_bundle(tokens=tokens).network.state_dict()
    theirs = convert.from_ours(state, layout, 2, tokens)
    back = convert.to_ours(theirs, layout, 2, tokens)
    assert len(back) == len(list(convert.rows(layout, 2, tokens)))
    assert all(value.equal(state[key]) for key, value in back.items())
    assert len({id(value) for value in theirs.values()}) == len(theirs)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_recognised_even_when_a_tensor_is_missing(state, layout):
    theirs = convert.from_ours(state, layout, 2, 2)
    assert convert.recognise(theirs) == layout
    assert convert.count_layers(theirs, layout) == 2
    for key in theirs:
        assert convert.recognise(theirs.keys() - {key}) == layout


def test_something_else_is_not_recognised():
    assert convert.recognise(torch.nn.Transformer(8, 2, 1, 1, 8).state_dict()) is None
    with pytest.raises(NotAModel, match=r"a\.pth: not the weights of an Audio Spectrogram Transformer.*0\.weight"):
        convert.require_layout(["0.weight", "0.bias"], "a.pth")


@pytest.mark.parametrize(
    "fields", [{}, {"tokens": 1}, {"patch": (128, 2), "stride": (1, 2)}, {"depth": 1, "labels": 9}]
)
def test_shapes_by_arithmetic_are_the_networks(fields):
    from dataclasses import replace

    config = replace(TINY, **fields)
    with torch.device("meta"):
        network = AST(config)
    assert network_shapes(config) == {key: tuple(value.shape) for key, value in network.state_dict().items()}


def test_shapes_of_a_monster_cost_nothing():
    from dataclasses import replace

    monster = replace(TINY, width=2**31, heads=1, frames=2**20, labels=2**31)
    assert network_shapes(monster)["head.linear.weight"] == (2**31, 2**31)


@pytest.mark.parametrize("layout", WITH_HEAD)
def test_check(state, layout):
    found = {key: tuple(value.shape) for key, value in convert.from_ours(state, layout, 2, 2).items()}
    wanted = convert.expected(layout, network_shapes(TINY), 2, 2)
    assert found == wanted
    convert.check(found | dict.fromkeys(convert.DROPPED[layout], (1,)), wanted, layout, "file")
    key = next(reversed(found))
    with pytest.raises(KeyMismatch, match=f"file: .* missing {key}$"):
        convert.check({k: v for k, v in found.items() if k != key}, wanted, layout, "file")
    with pytest.raises(KeyMismatch, match=r"unexpected rogue$"):
        convert.check(found | {"rogue": (1,)}, wanted, layout, "file")
    with pytest.raises(ShapeMismatch, match=rf"file: {key}: expected shape \[\d+\], got \[77, 2\]"):
        convert.check(found | {key: (77, 2)}, wanted, layout, "file")


def test_long_lists_are_cut():
    with pytest.raises(KeyMismatch, match=r"missing a, b, c and 2 more; unexpected x$"):
        convert.check_keys(["x"], ["a", "b", "c", "d", "e"], "timm", "file")


def test_layers_are_not_taken_from_a_number_gone_wild():
    assert convert.count_layers(["blocks.99999999999.norm1.weight", "blocks.0.norm1.weight"], "timm") == 1


def test_strip_parallel(state):
    assert convert.strip_parallel({f"module.{key}": value for key, value in state.items()}).keys() == state.keys()
    mixed = {"module.a": state["tokens"], "b": state["tokens"]}
    assert convert.strip_parallel(mixed) is mixed
