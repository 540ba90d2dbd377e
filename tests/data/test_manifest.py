"""Layouts on disk -> one table of clips."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from spectag.data.layouts import read_manifest
from spectag.errors import DataError, SpectagWarning


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(400, np.float32), 16000)
    return path


def test_esc10(tmp_path):
    touch(tmp_path / "001 - Dog bark" / "1-100032-A.wav")
    touch(tmp_path / "001 - Dog bark" / "2-100032-B.WAV")
    touch(tmp_path / "002 - Rain" / "5-17367-A.wav")
    manifest = read_manifest(tmp_path)
    assert manifest.layout == "ESC-10"
    assert manifest.labels.names == ("Dog bark", "Rain")
    assert manifest.folds == (1, 2, 5)
    assert [clip.labels for clip in manifest.clips] == [(0,), (0,), (1,)]
    assert len(manifest.only(fold=2)) == 1
    assert [c.path.name for c in manifest.excluding(["1-100032-A.wav"]).clips] == ["5-17367-A.wav"], "takes go together"


def test_names_to_exclude_mean_clips_in_any_format_and_must_exist(tmp_path):
    touch(tmp_path / "audio" / "1-40730-A-1.wav")
    touch(tmp_path / "audio" / "1-40731-A-1.wav")
    (tmp_path / "meta").mkdir()
    rows = "filename,fold,target,category\n1-40730-A-1.wav,1,0,rooster\n1-40731-A-1.wav,1,0,rooster\n"
    (tmp_path / "meta" / "esc50.csv").write_text(rows)
    with pytest.warns(SpectagWarning, match=r"not in the data set: typo\.ogg"):
        left = read_manifest(tmp_path).excluding(["1-40730-A.ogg", "typo.ogg"])
    assert [clip.path.name for clip in left.clips] == ["1-40731-A-1.wav"]


def test_esc50(tmp_path):
    for name in ("1-1-A-0.wav", "2-2-A-1.wav"):
        touch(tmp_path / "audio" / name)
    (tmp_path / "meta").mkdir()
    table = tmp_path / "meta" / "esc50.csv"
    table.write_text("filename,fold,target,category,src_file\n1-1-A-0.wav,1,0,dog,1\n2-2-A-1.wav,2,1,rooster,2\n")
    manifest = read_manifest(tmp_path)
    assert (manifest.layout, manifest.labels.names, manifest.folds) == ("ESC-50", ("dog", "rooster"), (1, 2))
    assert manifest.clips[0].group == "1"
    table.write_text("filename,fold,target\n1-1-A-0.wav,one,0\n")
    with pytest.raises(DataError, match=r"esc50\.csv, line 2: expected the columns"):
        read_manifest(tmp_path)


def test_esc50_cannot_point_outside(tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("filename,fold,target,category\n../../secret.wav,1,0,dog\n")
    assert read_manifest(tmp_path).clips[0].path == tmp_path / "audio" / "secret.wav"


def test_speech_commands(tmp_path):
    for name in ("go/a_nohash_0.wav", "go/b_nohash_0.wav", "up/a_nohash_1.wav", "_background_noise_/hum.wav"):
        touch(tmp_path / name)
    (tmp_path / "validation_list.txt").write_text("go/b_nohash_0.wav\n")
    manifest = read_manifest(tmp_path)
    assert (manifest.layout, manifest.labels.names) == ("Speech Commands", ("go", "up"))
    assert manifest.splits == ("train", "validation")
    assert [c.id for c in manifest.only(split="validation").clips] == ["go/b_nohash_0.wav"]
    assert {c.group for c in manifest.clips} == {"a", "b"}


def test_folder_per_class(tmp_path):
    touch(tmp_path / "owl" / "x.wav")
    touch(tmp_path / "fox" / "y.FLAC".lower())
    touch(tmp_path / ".cache" / "z.wav")
    manifest = read_manifest(tmp_path)
    assert (manifest.labels.names, manifest.folds, manifest.splits) == (("fox", "owl"), (), ())


@pytest.mark.parametrize(
    "make", [lambda p: None, lambda p: touch(p / "only.wav"), lambda p: touch(p / "one" / "a.wav")]
)
def test_unknown_layout_lists_the_known(tmp_path, make):
    make(tmp_path)
    with pytest.raises(
        DataError, match=r"no known layout; known are: ESC-50 .*ESC-10 .*Speech Commands .*a folder per"
    ):
        read_manifest(tmp_path)


def test_not_a_directory(tmp_path):
    with pytest.raises(DataError, match="found nothing"):
        read_manifest(tmp_path / "nowhere")
    with pytest.raises(DataError, match="found a file"):
        read_manifest(touch(tmp_path / "a.wav"))


def test_absent_fold_and_split_list_what_there_is(tmp_path):
    touch(tmp_path / "001 - Dog bark" / "1-1-A.wav")
    touch(tmp_path / "002 - Rain" / "3-2-A.wav")
    manifest = read_manifest(tmp_path)
    with pytest.raises(DataError, match=r"--fold 4: .* it has: 1, 3"):
        manifest.only(fold=4)
    with pytest.raises(DataError, match=r"--split test: .* it has: none"):
        manifest.only(split="test")
