"""The JSON files of a model, field by field."""

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from spectag.errors import ModelError, NewerBundle, NotAModel, ShapeMismatch, UnreadableModel
from spectag.model.fields import LARGEST, Fields, to_json

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=10,
)


@given(document=st.dictionaries(st.text(), PLAIN))
@settings(deadline=None)
def test_what_is_written_is_read(tmp_path_factory, document):
    path = tmp_path_factory.mktemp("fields") / "a.json"
    path.write_text(to_json(document), encoding="utf-8")
    assert Fields.read(path).data == document


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {"a": {1, 2}}])
def test_what_is_not_plain_is_not_written(value):
    with pytest.raises((TypeError, ValueError)):
        to_json({"a": value})


@pytest.mark.parametrize(
    ("text", "error"),
    [("", UnreadableModel), ("{", UnreadableModel), ('{"a": NaN}', UnreadableModel), ("[1]", NotAModel)],
)
def test_files_that_are_something_else(tmp_path, text, error):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(error, match=r"a\.json"):
        Fields.read(tmp_path / "a.json")


@pytest.mark.parametrize("found", [1, 2])
def test_known_formats(found):
    assert Fields(Path("a.json"), {"format": found}).require_format(2) == found


def test_newer_formats_say_what_to_do():
    with pytest.raises(NewerBundle, match=r"^a\.json: format 3 is newer than 2, .*: pip install --upgrade spectag$"):
        Fields(Path("a.json"), {"format": 3}).require_format(2)
    with pytest.raises(ShapeMismatch, match="format: expected a positive whole number, got None"):
        Fields(Path("a.json"), {}).require_format(2)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None, LARGEST + 1])
def test_what_is_no_positive_whole_number(value):
    with pytest.raises(ShapeMismatch, match=r"a\.json: size: expected a positive whole number"):
        Fields(Path("a.json"), {"size": value}).integer("size", 1)


def test_defaults_and_choices():
    fields = Fields(Path("a.json"), {"window": "hamming", "table": {"a": 1}})
    assert fields.integer("size", 7) == 7
    assert fields.number("mean", -1.5) == -1.5
    assert fields.choice("window", ("hamming", "hanning")) == "hamming"
    assert fields.mapping("table") == {"a": 1}
    assert fields.mapping("none") is None
    with pytest.raises(ModelError, match="window: expected tanh or relu, got hamming"):
        fields.choice("window", ("tanh", "relu"))
    with pytest.raises(ModelError, match="window: expected a table, got hamming"):
        fields.mapping("window")
