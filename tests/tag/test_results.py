import pandas
import pytest

from spectag.errors import FileError
from spectag.tag.results import ClipTags, Event, Tag

BAD = FileError("bad.wav", "not audio")


def test_an_error_names_its_file() -> None:
    assert str(BAD) == "bad.wav: not audio"
    assert str(FileError(None, "empty")) == "<array>: empty"
    assert str(FileError("", "missing")) == "'': missing"


TAGGED = ClipTags("a.wav", 5.0, (Tag("dog", 0.75), Tag("cat", 0.25)))
HEARD = ClipTags("b.wav", 5.0, (), events=(Event("dog", 0.5, 2.0, 0.75),))


def test_lists_have_the_keys_of_pipelines() -> None:
    assert TAGGED.to_list() == [{"label": "dog", "score": 0.75}, {"label": "cat", "score": 0.25}]
    assert HEARD.to_list() == [{"label": "dog", "score": 0.75, "start": 0.5, "end": 2.0}]
    assert ClipTags("c.wav", 5.0, (Tag("dog", 0.75),), events=()).to_list() == []


def test_tables_for_pandas_join() -> None:
    tags, events, none = TAGGED.to_pandas(), HEARD.to_pandas(), ClipTags("c.wav", 5.0, (), events=()).to_pandas()
    assert tags.to_dict("list") == {"path": ["a.wav"] * 2, "label": ["dog", "cat"], "score": [0.75, 0.25]}
    assert list(events.columns) == ["path", "onset", "offset", "label", "score"]
    assert events.iloc[0].tolist() == ["b.wav", 0.5, 2.0, "dog", 0.75]
    joined = pandas.concat([none, events])
    assert joined["onset"].dtype == "float64"
    assert len(joined) == 1


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(Exception, match=r"pip install 'spectag\[pandas\]'"):
        TAGGED.to_pandas()
