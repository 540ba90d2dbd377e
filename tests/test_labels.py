import warnings

import pytest
from hypothesis import given, strategies as st

from spectag.errors import DataError, InputError, LabelMismatch, SpectagWarning
from spectag.labels import LabelSet, align, nearest


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


@pytest.mark.parametrize(
    ("wanted", "known", "places", "said"),
    [
        (("dog", "rain"), ("rain", "sea", "dog"), [2, 0], None),
        (("c", "C"), ("C", "b", "c"), [2, 0], None),
        (("dog_bark", "dog bark"), ("dog bark", "dog_bark"), [1, 0], None),
        (("Dog",), ("dog", "Dog", "DOG"), [1], None),
        (("Vo\u0308gel",), ("V\u00f6gel",), [0], None),
        (("Vo\u0308gel",), ("V\u00f6gel", "Vo\u0308gel"), [1], None),
        (("clock_tick", "rain"), ("rain", "Clock tick"), [1, 0], "clock_tick is Clock tick"),
        (("CLOCK  TICK ",), ("clock_tick",), [0], "CLOCK  TICK  is clock_tick"),
        (("STRASSE",), ("straße",), [0], "STRASSE is straße"),
        (("A", "B", "C", "D"), ("a", "b", "c", "d"), [0, 1, 2, 3], r"A is a, B is b, C is c, ... (4 in all)"),
    ],
)
def test_names_that_are_equal_go_together_first(wanted, known, places, said):
    """Kind: classes that become one because their names are made alike. What is equal goes together; similar names
    only where no other could be meant, and this is said. Unicode composed and decomposed is equal.
    """
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert align(LabelSet(wanted), LabelSet(known)) == places
    messages = [str(warning.message) for warning in found]
    assert messages == (
        [f"classes of the data set are taken for classes of the model with similar names: {said}"] * bool(said)
    )
    assert all(warning.category is SpectagWarning for warning in found)


@pytest.mark.parametrize(
    ("wanted", "known", "message"),
    [
        (
            ("DOG",),
            ("dog", "Dog", "sea"),
            "1 of the data set's 1 classes: DOG; DOG could be dog or Dog; it knows dog, Dog, sea",
        ),
        (("dog", "Dog"), ("dog",), "1 of the data set's 2 classes: Dog; Dog could be dog; it knows dog"),
        (("rain", "Rain"), ("rain", "RAIN"), "1 of the data set's 2 classes: Rain; Rain could be rain or RAIN"),
        (("dog_bark", "Dog bark"), ("DOG BARK",), "2 of the data set's 2 classes"),
        (("dog-bark",), ("dog bark",), "1 of the data set's 1 classes: dog-bark; it knows dog bark$"),
        (
            ("a", "b", "c", "d", "e", "f"),
            ("z",),
            r"6 of the .* classes: a, b, c, d, e, \.\.\. \(6 in all\); it knows z",
        ),
    ],
)
def test_names_that_could_be_several_classes_are_refused(wanted, known, message):
    with pytest.raises(LabelMismatch, match=f"the model does not know {message}"):
        align(LabelSet(wanted), LabelSet(known))


NAMES = st.lists(st.text("aAbB _", min_size=1, max_size=3), min_size=1, max_size=6, unique=True)


@given(NAMES, NAMES)
def test_no_two_classes_become_one(wanted, known):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            places = align(LabelSet(wanted), LabelSet(known))
        except LabelMismatch:
            assert not set(wanted) <= set(known)
            return
    assert len(set(places)) == len(wanted)
    assert all(known[place] == name for name, place in zip(wanted, places, strict=True) if name in known)
