"""Any recordings are clips without labels; long ones are cut, and nothing of them is lost."""

import numpy as np
import pytest
import soundfile

from spectag.audio.read import read
from spectag.data.sounds import STRETCH, read_sounds
from spectag.errors import DataError
from spectag.labels import LabelSet

LABELS = LabelSet(("owl",))


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("seconds", [0.1, 59.9, 60.0, 95.5])
def test_all_of_a_recording_is_heard_once(tmp_path, kind, seconds):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, int(seconds * 8000)).astype(np.float32)
    soundfile.write(tmp_path / f"x.{kind}", sound, 8000)
    clips = read_sounds(tmp_path, LABELS).clips
    assert len(clips) == max(1, int(seconds // STRETCH) if seconds >= 2 * STRETCH else 1)
    whole = read(tmp_path / f"x.{kind}")
    ordered = sorted(clips, key=lambda clip: clip.start or 0)
    assert sum(len(read(clip.source)) for clip in ordered) == len(whole)
    assert all(len(read(clip.source)) < 2 * STRETCH * 16_000 for clip in ordered)


def test_a_folder_of_folders_and_of_other_things(tmp_path):
    for name in ("b/deep/1.wav", "a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, np.zeros(800), 16_000)
    (tmp_path / "notes.txt").write_text("not a recording")
    (tmp_path / "broken.wav").write_text("neither")
    manifest = read_sounds(tmp_path, LABELS)
    assert [clip.id for clip in manifest.clips] == ["a.wav", "b/deep/1.wav", "broken.wav"]
    assert not any(clip.labels for clip in manifest.clips)


def test_one_recording(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 16_000)
    assert [clip.id for clip in read_sounds(tmp_path / "a.wav", LABELS).clips] == ["a.wav"]


def test_nothing_to_hear(tmp_path):
    with pytest.raises(DataError, match="expected recordings, found none"):
        read_sounds(tmp_path, LABELS)
