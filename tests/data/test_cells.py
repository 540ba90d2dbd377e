"""Several labels, or none, in one cell of a table."""

import pytest
from hypothesis import given, strategies as st

from spectag.data.cells import read_labels


@pytest.mark.parametrize("column", ["label", "labels", "species"])
@pytest.mark.parametrize(
    "cell",
    [
        "['dog', 'yard']",
        '["dog", "yard"]',
        "{'dog', 'yard'}",
        "('dog', 'yard')",
        "['dog' 'yard']",  # NumPy
        "['dog'\n 'yard']",
        "[dog, yard]",
        "{dog,yard}",  # PostgreSQL
        ["dog", "yard"],
        " ['dog' , \"yard\"] ",
        "dog|yard",
        "dog; yard",
        "dog|yard|",
        "dog|yard|dog",
    ],
)
def test_a_list_however_it_is_written(cell, column):
    """The kind: a program that wrote a list into a cell must not make one new class of it, brackets and all."""
    assert set(read_labels(cell, column)) == {"dog", "yard"}


@pytest.mark.parametrize("cell", ["[]", "{}", "()", "set()", "", "  ", "|;", None, float("nan"), [], "[ ]", "['']"])
def test_no_label(cell):
    """The kind: nothing is heard, and the cell says so in one of many ways."""
    assert read_labels(cell) == ()


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("(unknown)", ("(unknown)",)),
        ("Inside, small room", ("Inside, small room",)),
        ('["Inside, small room"]', ("Inside, small room",)),
        ("[\"bird's song\", 'a \"b\"', 'it\\'s']", ("bird's song", 'a "b"', "it's")),
        ("['Gr\\xfcnfink']", ("Grünfink",)),
        ("bird's song", ("bird's song",)),
        ("[Grünfink]", ("Grünfink",)),
        ("[1, 2]", ("1", "2")),
        (3, ("3",)),
        ("R+B", ("R+B",)),
    ],
)
def test_names_are_whole(cell, names):
    assert read_labels(cell) == names


@pytest.mark.parametrize(
    "cell", ["['dog', yard]", "['dog': 1]", "[['a'], ['b']]", "['a\\N{no}']", [["a"]], {"a": 1}, ["a", None]]
)
def test_what_is_no_list_is_refused(cell):
    """Never read as one strange name."""
    with pytest.raises(ValueError, match=r"list|names"):
        read_labels(cell)


@pytest.mark.parametrize("form", ["\u00e9", "e\u0301"])
def test_composed_and_decomposed_are_one_name(form):
    assert read_labels(f"['{form}']") == read_labels([form]) == read_labels(form) == ("\u00e9",)


def test_a_separator_of_ones_own():
    """It alone separates; lists stay lists."""
    assert read_labels("dog yard", separator=" ") == ("dog", "yard")
    assert read_labels("dog+big|yard", separator="+") == ("dog", "big|yard")
    assert read_labels("a|b, c", "labels", separator="") == ("a|b, c",)
    assert read_labels("['a b', 'c']", separator=" ") == ("a b", "c")


@given(st.lists(st.text(min_size=1, max_size=5), max_size=4))
def test_python_lists_come_back(names):
    """Whatever the names hold, as long as they are neither empty nor differ in form alone."""
    import unicodedata

    wanted = [unicodedata.normalize("NFC", name.strip()) for name in names if name.strip()]
    assert list(read_labels(repr([name for name in names if name.strip()]))) == list(dict.fromkeys(wanted))
