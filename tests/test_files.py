"""What is written is complete, or what was there before is intact."""

from pathlib import Path

import pytest

from spectag.errors import SaveError
from spectag.files import new_folder, replacing, require_new, write_table, write_text


def test_a_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    with replacing(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("x"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    wanted = SaveError if isinstance(error, OSError) else type(error)

    def fail() -> None:
        with replacing(target) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(wanted) as caught:
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    if isinstance(error, OSError):
        assert str(target) in str(caught.value)
        assert "No space left" in str(caught.value)


def test_a_folder_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="could not be written"):
        write_text(tmp_path / "none" / "a", "text")


@pytest.mark.parametrize("exists", [True, False])
def test_a_new_folder_appears_whole(tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "a" / "set"
    if exists:
        target.mkdir(parents=True)
    with new_folder(target) as folder:
        (folder / "x").touch()
        assert not (target / "x").exists()
    assert [path.name for path in target.iterdir()] == ["x"]
    assert [path.name for path in target.parent.iterdir()] == ["set"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("x")])
def test_a_failure_leaves_no_folder(tmp_path: Path, error: Exception) -> None:
    wanted = SaveError if isinstance(error, OSError) else type(error)

    def fail() -> None:
        with new_folder(tmp_path / "set") as folder:
            (folder / "x").touch()
            raise error

    with pytest.raises(wanted):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "busy.partial").mkdir()
    for name in ("file", "full"):
        with pytest.raises(SaveError, match="already exists"):
            require_new(tmp_path / name)
        with pytest.raises(SaveError, match="already exists"), new_folder(tmp_path / name):
            pass
    with pytest.raises(SaveError, match="another command"), new_folder(tmp_path / "busy"):
        pass
    assert (tmp_path / "full" / "x").exists()
    assert (tmp_path / "busy.partial").exists()


def test_a_table_has_the_columns_of_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_table(path, [{"a": 1}, {"a": 2, "b": "x,y"}])
    assert path.read_text() == 'a,b\n1,\n2,"x,y"\n'
    write_table(path, [{"a": 1, "b": 2}], ["b"])
    assert path.read_text() == "b\n2\n"
