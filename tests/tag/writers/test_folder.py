import os
from pathlib import Path

import pytest
from writing import BAD, clip, nasty_clip

from spectag.errors import InputError, SaveError
from spectag.tag.results import ClipTags, Event
from spectag.tag.writers.folder import Folder
from spectag.tag.writers.formats import DOCUMENTS

OWL = Event("owl", 1, 2, 0.75)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_per_recording_in_the_folders_of_the_recordings(tmp_path: Path) -> None:
    paths = ["in/x/a.wav", "in/y/a.wav", "in/y/a.flac", "in/c.mp3"]
    writer = Folder(tmp_path / "new" / "labels", "webvtt", paths)
    for path in paths:
        writer.write(clip(path, OWL))
    writer.write(BAD)
    writer.close()
    assert files(tmp_path / "new" / "labels") == ["c.vtt", "x/a.vtt", "y/a.flac.vtt", "y/a.wav.vtt"]


def test_no_document_leaves_the_folder(tmp_path: Path) -> None:
    writer = Folder(tmp_path / "labels", "audacity", ["../../etc/passwd.wav"])
    for path in ("../../etc/passwd.wav", "/etc/other.wav", "../up.wav", "..", None, "-"):
        writer.write(clip(path, OWL))
    found = files(tmp_path)
    assert len(found) == 6
    assert all(name.startswith("labels/") for name in found)


def test_every_format_has_a_document_of_its_own(tmp_path: Path) -> None:
    import numpy as np

    from spectag.tag.results import Timeline

    whole = ClipTags("a.wav", 1.0, (), events=(OWL,), timeline=Timeline(("owl",), 0.5, np.zeros((2, 1), np.float32)))
    for format, document in DOCUMENTS.items():
        Folder(tmp_path / format, format, ["a.wav"]).write(whole)
        assert files(tmp_path / format) == ["a" + document.extensions[0]]
        begins = (tmp_path / format / ("a" + document.extensions[0])).read_bytes()[:3]
        assert (begins == b"\xef\xbb\xbf") == document.mark, format


def test_the_old_document_stays_if_the_new_one_fails(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(InputError, match="ask for events"):
        Folder(tmp_path, "audacity", ["a.wav"]).write(ClipTags("a.wav", 1.0, ()))
    assert target.read_text() == "old"
    assert files(tmp_path) == ["a.txt"]


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"  # what a file holds counts, not its name
    path.write_text("sound")
    with pytest.raises(SaveError, match="is one of the inputs"):
        Folder(tmp_path, "audacity", [str(path)]).write(clip(str(path), OWL))
    assert path.read_text() == "sound"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("a file")
    with pytest.raises(SaveError, match="labels: cannot be created"):
        Folder(tmp_path / "labels", "audacity", ["a.wav"]).write(clip("a.wav", OWL))


def test_very_long_names(tmp_path: Path) -> None:
    paths = ["ä" * 124 + f"{n}.wav" for n in range(2)]
    writer = Folder(tmp_path, "audacity", paths)
    for path in paths:
        writer.write(clip(path, OWL))
    assert len(files(tmp_path)) == 2


@pytest.mark.skipif(os.name == "nt", reason="file names are Unicode there")
def test_odd_names(tmp_path: Path) -> None:
    writer = Folder(tmp_path, "audacity", [os.fsdecode(b"caf\xe9.wav"), 'a\t"b"\n.wav'])
    writer.write(nasty_clip(os.fsdecode(b"caf\xe9.wav")))
    writer.write(nasty_clip('a\t"b"\n.wav'))
    assert sorted(map(os.fsencode, os.listdir(tmp_path))) == [b'a\t"b"\n.txt', b"caf\xe9.txt"]
