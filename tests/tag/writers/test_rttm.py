import re

from writing import BAD, NASTY, clip, lines, nasty_clip

from spectag.tag.results import Event

OWL = Event("tawny owl", 1 / 3, 12, 0.75)


def test_ten_fields_between_single_spaces() -> None:
    [line] = lines("rttm", BAD, clip("in/my dawn.wav", OWL), paths=["in/my dawn.wav"])
    assert line == "SPEAKER my_dawn 1 0.333333 9.666667 <NA> <NA> tawny_owl 0.750000 <NA>"


def test_every_line_follows_the_grammar() -> None:
    grammar = r"SPEAKER \S+ 1 \d+\.\d+ \d+\.\d+ <NA> <NA> (\S+) [01]\.\d+ <NA>"
    names = [re.fullmatch(grammar, line)[1] for line in lines("rttm", nasty_clip())]  # type: ignore[index]
    assert len(names) == len(NASTY)
    assert names[NASTY.index("Käuzchen 梟")] == "Käuzchen_梟"
    assert names[NASTY.index("x --> y")] == "x_-->_y"


def test_files_of_the_same_name_stay_apart() -> None:
    paths = ["x/a.wav", "y/a.wav", "y/a.flac", "y/a b.wav", "y/a_b.wav"]
    files = [line.split()[1] for line in lines("rttm", *(clip(path, OWL) for path in paths))]
    assert files == ["x/a", "y/a.wav", "y/a.flac", "y/a_b", "y/a_b_"]


def test_no_event_is_an_empty_document() -> None:
    assert lines("rttm", clip("a.wav")) == []
