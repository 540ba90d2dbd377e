import os
import sys
from pathlib import Path

import pytest

from spectag.audio.find import find_recordings
from spectag.errors import FileError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def inside(root: Path, *paths: Path) -> list[str]:
    return [os.path.relpath(str(p), root).replace(os.sep, "/") for p in find_recordings(paths or (root,))]


def test_a_folder_is_its_recordings_sorted(tmp_path: Path) -> None:
    touch(
        tmp_path, "b.WAV", "a.mp3", "notes.txt", "wav", "b/c.Flac", "b/a/x.ogg", ".hidden.wav", ".git/y.wav", "a-/z.wav"
    )
    assert inside(tmp_path) == ["a-/z.wav", "a.mp3", "b/a/x.ogg", "b/c.Flac", "b.WAV"]


def test_files_are_taken_as_given_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.bin", "a.wav", "sub/.c.wav")
    given = [tmp_path / "b.bin", tmp_path / "sub/.c.wav", tmp_path / "missing.wav", tmp_path / "a.wav"]
    assert list(find_recordings(given)) == list(map(str, given))


def test_a_folder_without_recordings_says_what_was_looked_for(tmp_path: Path) -> None:
    touch(tmp_path, "x.txt")
    [error] = find_recordings([tmp_path])
    assert isinstance(error, FileError)
    assert error.path == str(tmp_path)
    assert ".flac" in error.error
    assert ".wav" in error.error


def test_links_are_followed_but_not_for_ever(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.wav", "outside.wav")
    try:
        (tmp_path / "real/loop").symlink_to(tmp_path / "real", target_is_directory=True)
        (tmp_path / "real/self").symlink_to("self")
        (tmp_path / "real/b.wav").symlink_to(tmp_path / "outside.wav")
    except OSError:
        pytest.skip("no symbolic links here")
    assert inside(tmp_path, tmp_path / "real") == ["real/a.wav", "real/b.wav"]


def test_patterns_are_expanded_unless_they_name_a_file(tmp_path: Path) -> None:
    touch(tmp_path, "a1.wav", "a2.wav", "[x].wav", "b/c.wav")
    assert inside(tmp_path, tmp_path / "a?.wav") == ["a1.wav", "a2.wav"]
    assert inside(tmp_path, tmp_path / "[x].wav") == ["[x].wav"]
    assert inside(tmp_path, tmp_path / "*b") == ["b/c.wav"]
    assert inside(tmp_path, tmp_path / "none*.wav") == ["none*.wav"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs a folder that cannot be listed")
def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "locked/b.wav")
    (tmp_path / "locked").chmod(0)
    error, path = find_recordings([tmp_path])
    (tmp_path / "locked").chmod(0o700)
    assert isinstance(error, FileError)
    assert path == str(tmp_path / "a.wav")
