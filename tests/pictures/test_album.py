from pathlib import Path

import numpy as np
import pytest

from spectag.errors import SaveError
from spectag.pictures.album import Album
from spectag.pictures.spectrogram import Spectrogram
from spectag.tag.results import ClipTags, Event

SOUND = Spectrogram(np.zeros((10, 128), np.float32), 0.1)


def clip(path: str) -> ClipTags:
    return ClipTags(path, 0.1, (), events=(Event("owl", 0.0, 0.1, 0.5),))


def fill(album: Album, *paths: str) -> None:
    for path in paths:
        album.add(clip(path), SOUND if album.each else None)
    album.close()


def test_one_recording_is_one_picture(tmp_path: Path) -> None:
    fill(Album(str(tmp_path / "a.png"), ["in/a.wav"]), "in/a.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_several_recordings_in_a_file_are_an_overview(tmp_path: Path) -> None:
    album = Album(str(tmp_path / "a.svg"), ["in/a.wav", "in/b.wav"])
    assert not album.each
    fill(album, "in/a.wav", "in/b.wav")
    assert "2 recordings" in (tmp_path / "a.svg").read_text("utf-8")


def test_a_folder_has_a_picture_each_and_the_overview(tmp_path: Path) -> None:
    paths = ["in/x/a.wav", "in/y/a.wav", "in/overview.wav"]
    fill(Album(f"{tmp_path}/new/", paths), *paths)
    found = sorted(path.relative_to(tmp_path / "new").as_posix() for path in tmp_path.rglob("*.png"))
    assert found == ["overview (2).png", "overview.png", "x/a.png", "y/a.png"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("a file")
    with pytest.raises(SaveError, match="new: cannot be created"):
        fill(Album(f"{tmp_path}/new/", ["a.wav"]), "a.wav")


def test_no_recording_that_could_be_read_leaves_nothing(tmp_path: Path) -> None:
    fill(Album(f"{tmp_path}/new/", ["a.wav", "b.wav"]))
    assert list(tmp_path.iterdir()) == []
