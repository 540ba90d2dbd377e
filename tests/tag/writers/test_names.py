from hypothesis import given, strategies as st

from spectag.tag.writers.names import Names

PART = st.sampled_from(["a", "A", "b", "..", "a.wav", "a.flac", "A.wav", "b.c.wav", "a (2)", "-", ".wav"])
PATHS = st.lists(st.lists(PART, min_size=1, max_size=4).map("/".join), max_size=8)


@given(PATHS)
def test_stems_are_unique_and_stay_below_the_folder(paths: list[str]) -> None:
    names = Names(paths)
    stems = [names.stem(path) for path in dict.fromkeys(paths)]
    assert len({stem.casefold() for stem in stems}) == len(stems)
    for stem in stems:
        assert not stem.startswith("/")
        assert ".." not in stem.split("/")


@given(PATHS)
def test_stems_do_not_depend_on_what_is_asked_first(paths: list[str]) -> None:
    one, other = Names(paths), Names(paths)
    assert [one.stem(path) for path in paths] == [other.stem(path) for path in reversed(paths)][::-1]


def test_names_of_what_is_not_known_before() -> None:
    names = Names()
    assert [names.stem(path) for path in ("x/a.wav", "y/a.wav", "x/a.wav", None, None, "-")] == [
        "a",
        "a (2)",
        "a",
        "recording",
        "recording (2)",
        "stdin",
    ]
