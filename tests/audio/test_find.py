import os
import socket
import sys
import warnings
from pathlib import Path

import pytest

from spectag.audio.find import find_recordings, walk
from spectag.errors import FileError, SpectagWarning


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
    with pytest.warns(SpectagWarning, match=r"1 file was not taken for recordings: no extension 1$"):
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


def test_what_is_no_folder_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    for path, error in ((tmp_path / "none", FileNotFoundError), (tmp_path / "a.wav", NotADirectoryError)):
        errors: list[OSError] = []
        assert list(walk(path, errors.append)) == []
        assert [type(caught) for caught in errors] == [error]


def test_what_is_not_taken_for_a_recording_is_counted(tmp_path: Path) -> None:
    """The kind: recordings of a folder are left out, and nobody says so. All files but texts, tables and pictures are
    counted, by extension, most frequent first; hidden ones are not. Where nothing else is there, the error says the
    same."""
    touch(tmp_path, "a.wav", "notes", ".DS_Store", *(f"{n}.xyz" for n in range(12)), "b/x.RAW", "b/y.raw")
    touch(tmp_path, "a.txt", "b/tags.CSV", "spectrogram.png")
    with pytest.warns(SpectagWarning) as caught:
        assert inside(tmp_path) == ["a.wav"]
    [warning] = caught
    counted = "15 files were not taken for recordings: .xyz 12, .raw 2, no extension 1"
    assert str(warning.message) == f"{tmp_path}: {counted}"
    (tmp_path / "a.wav").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [error] = find_recordings([tmp_path])
    assert isinstance(error, FileError)
    assert counted in error.error


def test_many_kinds_are_summed_up(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", *(f"x.0{n:02}" for n in range(20)))
    with pytest.warns(SpectagWarning, match=r"20 files were .*\.000 1, .*\.007 1, others 12$"):
        list(find_recordings([tmp_path]))


@pytest.mark.parametrize("name", ["a.amb", "b.BWF", "c.dts", "d.m2ts", "e.sph", "f.awb", "g.vob", "h.3g2", "i.ogx"])
def test_rare_recordings_are_found(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    assert inside(tmp_path) == [name]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_sockets_in_a_folder_never_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind: something in a folder that can be opened but not read to its end. Named pipes and sockets, also behind
    links, are skipped with a note. A broken link is left to whoever reads it, since a recording is missing there."""
    touch(tmp_path, "a.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "pipe.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    (tmp_path / "broken.wav").symlink_to(tmp_path / "gone.wav")
    (tmp_path / "self.wav").symlink_to("self.wav")
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.wav")
        with pytest.warns(SpectagWarning, match=r"pipes.* are not read: skipped 4, for example .*link\.wav$"):
            assert inside(tmp_path) == ["a.wav", "broken.wav", "self.wav"]
    recording, pipe = find_recordings([tmp_path / "[ap]*.wav"])
    assert recording == str(tmp_path / "a.wav")
    assert isinstance(pipe, FileError)
