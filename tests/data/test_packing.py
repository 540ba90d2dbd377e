"""A data set -> tars and an index -> the same data set."""

import errno
import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from loose import LABELS, known, noise

from spectag.audio.read import Recording, read
from spectag.data import packing
from spectag.data.manifest import Clip, Manifest
from spectag.data.packing import pack_data_set
from spectag.data.shards import is_packed, read_packed
from spectag.errors import DataError, SaveError, SpectagWarning

STEP = 2**-15  # of 16 bits


@pytest.mark.parametrize("workers", [1, 2])
def test_what_comes_out_is_what_went_in(loose, tmp_path, workers):
    done = pack_data_set(loose, tmp_path / "out", shard_bytes=60_000, workers=workers)
    assert (done.clips, done.failed, done.over) == (len(loose), (), 0)
    assert is_packed(tmp_path / "out")
    assert not (tmp_path / "out.partial").exists()
    packed = read_packed(tmp_path / "out")
    assert (packed.labels, packed.missing, packed.layout) == (LABELS, ("gone",), "packed (was a table)")
    assert (packed.folds, packed.splits) == (loose.folds, loose.splits)
    assert [known(clip) for clip in packed.clips] == [known(clip) for clip in loose.clips]
    samples = 0
    for one, other in zip(loose.clips, packed.clips, strict=True):
        x, y = read(one.source), read(other.source)
        assert x.shape == y.shape
        assert np.abs(x - y).max() <= STEP / 2 + 1e-7, one.id
        samples += len(y)
    assert done.seconds == samples / 16_000


def test_shards_are_tars_of_one_split_as_webdataset_wants_them(loose, tmp_path):
    out = tmp_path / "out"
    done = pack_data_set(loose, out, shard_bytes=60_000)
    packed = {clip.id: clip for clip in read_packed(out).clips}
    paths = sorted(out.glob("shard-*.tar"))
    assert [path.name for path in paths] == [f"shard-{n:06d}.tar" for n in range(done.shards)]
    assert done.shards > 3
    assert done.bytes == sum(path.stat().st_size for path in paths)
    seen, splits = [], []
    for path in paths:
        with tarfile.open(path, "r:") as tar:
            members = tar.getmembers()
            keys = []
            for sound, facts in zip(members[::2], members[1::2], strict=True):
                [(key, suffix), (same, json_)] = [m.name.split(".") for m in (sound, facts)]
                assert (key, suffix, json_) == (same, "flac", "json")
                meta = json.load(tar.extractfile(facts))
                clip = packed[meta["id"]]
                assert clip.path == path
                assert clip.place == (sound.offset_data, sound.size)
                names = [LABELS.names[label] for label in clip.labels]
                assert meta == {
                    "id": clip.id, "labels": names, "split": clip.split, "fold": clip.fold, "group": clip.group
                }  # fmt: skip
                assert soundfile.info(io.BytesIO(tar.extractfile(sound).read())).samplerate == 16_000
                seen.append(clip.id)
                keys.append(key)
            assert path.stat().st_size <= 60_000 or len(keys) == 1
            splits.append({packed[id].split for id in seen[-len(keys) :]})
    assert sorted(seen) == sorted(packed)
    assert seen != sorted(seen), "shuffled"
    assert all(len(each) == 1 for each in splits)


def test_same_seed_same_bytes(loose, tmp_path):
    def packed(name: str, seed: int, workers: int = 1) -> list[bytes]:
        pack_data_set(loose, tmp_path / name, shard_bytes=60_000, seed=seed, workers=workers)
        return [path.read_bytes() for path in sorted((tmp_path / name).iterdir())]

    assert packed("a", 1) == packed("b", 1)
    assert packed("c", 2) != packed("d", 1)


def test_packing_a_packed_set_again_changes_no_sample(loose, tmp_path):
    pack_data_set(loose, tmp_path / "one")
    once = read_packed(tmp_path / "one")
    pack_data_set(once, tmp_path / "two", seed=7)
    twice = read_packed(tmp_path / "two")
    assert twice.layout == once.layout
    for one, other in zip(once.clips, twice.clips, strict=True):
        np.testing.assert_array_equal(read(one.source), read(other.source))


def one_clip(path: Path, x: np.ndarray) -> Manifest:
    soundfile.write(path, x, 16_000, subtype="FLOAT")
    return Manifest((Clip(path.name, path, (0,)),), LABELS, "a table")


def test_full_scale_is_off_by_a_step_at_most(tmp_path):
    loose = one_clip(tmp_path / "full.wav", noise(0.1, peak=1.0))
    assert pack_data_set(loose, tmp_path / "out").over == 0
    assert np.abs(read(loose.clips[0].source) - read(read_packed(tmp_path / "out").clips[0].source)).max() <= STEP


def test_peaks_above_full_scale_stay(tmp_path):
    loose = one_clip(tmp_path / "hot.wav", noise(0.1, peak=1.7))
    assert pack_data_set(loose, tmp_path / "out").over == 1
    [clip] = read_packed(tmp_path / "out").clips
    np.testing.assert_array_equal(read(clip.source), read(loose.clips[0].source))
    with tarfile.open(clip.path) as tar:
        assert tar.getnames() == ["000000000.wav", "000000000.json"]
    offset, size = clip.place
    content = clip.path.read_bytes()[offset : offset + size]
    assert soundfile.info(io.BytesIO(content)).subtype == "FLOAT"


def test_clips_that_cannot_be_read_are_named_and_left_out(loose, tmp_path):
    folder = loose.clips[0].path.parent
    (folder / "text.wav").write_text("no sound\n" * 100)
    hurt = folder / "hurt.wav"
    x = noise(3).astype(np.float32)
    x[40_000] = np.nan
    soundfile.write(hurt, x, 16_000, subtype="FLOAT")
    bad = [Clip("text", folder / "text.wav", (0,)), Clip("no file", folder / "none.wav", (0,))]
    bad += [Clip(f"hurt {n}", hurt, (0,), start=n, end=n + 0.5) for n in range(4)]
    bad += [Clip("late", folder / "long.flac", (0,), split="train", start=80.0, end=81.0)]
    both = replace(loose, clips=loose.clips + tuple(bad))
    done = pack_data_set(both, tmp_path / "out")
    assert done.clips == len(loose) + 2
    packed = read_packed(tmp_path / "out")
    assert {clip.id for clip in packed.clips} == {clip.id for clip in loose.clips} | {"hurt 0", "hurt 1"}
    assert packed.missing == ("gone", "hurt 2", "hurt 3", "late", "no file", "text")
    assert [line.split(":")[0] for line in done.failed] == [
        f"{hurt} (2 s to 2.5 s)",
        f"{hurt} (3 s to 3.5 s)",
        f"{folder / 'long.flac'} (80 s to 81 s)",
        str(folder / "none.wav"),
        str(folder / "text.wav"),
    ]
    with pytest.raises(DataError, match=r"none of the 2 clips can be read; the first error: .*(text|none)\.wav"):
        pack_data_set(replace(loose, clips=tuple(bad[:2])), tmp_path / "none")
    assert not list(tmp_path.glob("none*"))


def test_a_recording_that_breaks_off_is_packed_with_a_warning(loose, tmp_path):
    path = tmp_path / "cut.wav"
    soundfile.write(path, noise(2), 16_000)
    path.write_bytes(path.read_bytes()[:40_000])
    cut = [Clip(f"cut {n}", path, (0,), start=n, end=n + 1.0) for n in range(2)]
    with pytest.warns(SpectagWarning, match=r"cut\.wav.* cut off") as caught:
        pack_data_set(replace(loose, clips=tuple(cut)), tmp_path / "out")
    assert len(caught) == 1
    assert [len(read(clip.source)) for clip in read_packed(tmp_path / "out").clips] == [16_000, 3_978]


def test_ids_are_unique(loose, tmp_path):
    with pytest.raises(DataError, match="'one' twice"):
        pack_data_set(replace(loose, clips=(*loose.clips, replace(loose.clips[0], id="one"))), tmp_path / "out")


def test_segments_of_a_recording_are_decoded_together(loose, monkeypatch, tmp_path):
    opened, blocks = [], Recording.blocks
    monkeypatch.setattr(Recording, "blocks", lambda self: opened.append(self.source) or blocks(self))
    pack_data_set(loose, tmp_path / "out")
    assert len(opened) == 13 + 2, "13 files, the segments, and the one without an end"


def test_a_recording_of_days_is_taken_in_hours():
    clips = [Clip(f"{n:04d}", Path("long.wav"), (), start=10.0 * n, end=10.0 * n + 10) for n in range(800)]
    tasks = packing._tasks([*clips, Clip("other", Path("short.wav"), ())])
    assert [len(task) for task in tasks] == [360, 360, 80, 1]
    assert [place for task in tasks for place in task] == list(range(801))


# what goes wrong on the disk


def test_what_is_there_is_not_touched(loose, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    pack_data_set(loose, out)  # empty: fine
    before = sorted(out.iterdir())
    with pytest.raises(SaveError, match="choose a new or an empty folder"):
        pack_data_set(loose, out)
    assert sorted(out.iterdir()) == before
    (tmp_path / "new.partial").mkdir()
    with pytest.raises(SaveError, match=r"new\.partial: already exists: delete it"):
        pack_data_set(loose, tmp_path / "new")
    assert (tmp_path / "new.partial").is_dir()
    with pytest.raises(SaveError, match="choose a new or an empty folder"):
        pack_data_set(loose, loose.clips[0].path)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_a_full_disk_leaves_nothing(loose, tmp_path, monkeypatch, error):
    calls = iter(range(100))

    def fsync(_: int) -> None:
        if next(calls) == 2:
            raise error

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises((SaveError, KeyboardInterrupt)) as caught:
        pack_data_set(loose, tmp_path / "out", shard_bytes=60_000)
    if isinstance(error, OSError):
        assert str(caught.value).startswith(f"{tmp_path / 'out'}: could not be written (No space left on device)")
    assert not list(tmp_path.glob("out*"))


class Deadly:
    """Ends the process in which it is unpickled."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_process_that_dies(loose, tmp_path):
    clips = (*loose.clips[:5], Clip("deadly", Deadly(), (0,)))
    with pytest.raises(DataError, match=r"a process that decodes died, .* try again with --workers 1"):
        pack_data_set(replace(loose, clips=clips), tmp_path / "out", workers=2)
    assert not list(tmp_path.glob("out*"))
