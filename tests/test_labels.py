import pytest
from hypothesis import given, strategies as st

from spectag.errors import DataError, InputError
from spectag.labels import LabelSet, nearest


def test_audioset_is_the_published_table():
    labels = LabelSet.audioset()
    assert len(labels) == 527 == len(set(labels.ids))
    assert (labels.names[0], labels.ids[0]) == ("Speech", "/m/09x0r")
    assert (labels.names[137], labels.ids[137]) == ("Music", "/m/04rlf")
    assert (labels.names[-1], labels.ids[-1]) == ("Field recording", "/m/07hvw1")


def test_esc50_and_speech_commands():
    assert (len(LabelSet.esc50()), LabelSet.esc50().index("clock_tick")) == (50, 38)
    words = LabelSet.speech_commands()
    assert (len(words), words.names[0], words.names[-1], words.index("yes")) == (35, "backward", "one", 28)


def test_esc50_agrees_with_the_data_sets_own_table(shared):
    import csv

    with (shared / "data/esc50/meta/esc50.csv").open() as lines:
        for row in csv.DictReader(lines):
            assert LabelSet.esc50().names[int(row["target"])] == row["category"]


def test_index_takes_names_and_ids():
    labels = LabelSet.audioset()
    assert labels.index("Music") == labels.index("/m/04rlf") == 137
    with pytest.raises(InputError, match="no label 'musik'; nearest: Music"):
        labels.index("musik")


@pytest.mark.parametrize("names", [("Gr\u00fcn", "\u00c5"), ("Gru\u0308n", "A\u030a"), ("Gr\u00fcn", "\u212b")])
def test_composed_and_decomposed_are_one_name(names):
    """The kind: macOS decomposes the names of folders, from which labels come; other systems do not."""
    labels = LabelSet(names)
    assert labels.names == names, "kept as they are"
    assert [labels.index(name) for name in ("Gr\u00fcn", "Gru\u0308n", "\u00c5", "A\u030a")] == [0, 0, 1, 1]


def test_names_that_differ_only_in_case_or_spaces_are_different():
    names = ("c", "C", "dog bark", "dog_bark", "dog  bark")
    assert [LabelSet(names).index(name) for name in names] == [0, 1, 2, 3, 4]


@given(st.lists(st.text("aB é_/"), min_size=1, max_size=20, unique=True))
def test_index_is_the_inverse_of_names(names):
    labels = LabelSet(tuple(names))
    assert [labels.index(name) for name in labels.names] == list(range(len(names)))


@pytest.mark.parametrize(
    ("names", "ids", "message"),
    [
        ((), None, "at least one"),
        (("a", "a"), None, "'a' is listed twice"),
        (("a", "b"), ("/m/1",), "as many ids as names"),
        (("a", "b"), ("/m/1", "/m/1"), "id '/m/1' is listed twice"),
        (("a", 3), None, "to be text"),
    ],
)
def test_bad_sets(names, ids, message):
    with pytest.raises(InputError, match=message):
        LabelSet(names, ids)


def test_named_finds_the_ids_of_a_packaged_table():
    assert LabelSet.named(LabelSet.audioset().names).ids == LabelSet.audioset().ids
    assert LabelSet.named(reversed(LabelSet.audioset().names)).ids is None
    assert LabelSet.named(["a", "b"]) == LabelSet(("a", "b"))


def test_for_outputs():
    assert LabelSet.for_outputs(35) == LabelSet.speech_commands()
    assert LabelSet.for_outputs(3).names == ("LABEL_0", "LABEL_1", "LABEL_2")


def test_read(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text('index,mid,display_name\n1,/m/b,"b, and so on"\n0,/m/a,a\n')
    assert LabelSet.read(table) == LabelSet(("a", "b, and so on"), ("/m/a", "/m/b"))
    table.write_text("index,display_name\n0,a\n1,b\n")
    assert LabelSet.read(table) == LabelSet(("a", "b"))


@pytest.mark.parametrize("text", ["", "name\na\n", "index,display_name\n0,a\n2,b\n", "index,display_name\nx,a\n"])
def test_bad_tables_name_the_file(tmp_path, text):
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=r"labels\.csv"):
        LabelSet.read(table)
    with pytest.raises(DataError, match=r"missing\.csv"):
        LabelSet.read(tmp_path / "missing.csv")


def test_nearest_ignores_case_and_says_nothing_where_nothing_is_near():
    assert nearest("dog BARK", ["Dog bark", "Rain"]) == "; nearest: Dog bark"
    assert nearest("xyz", ["Dog bark"]) == ""
