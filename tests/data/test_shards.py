"""A data set -> tars and an index -> the same data set."""

import errno
import io
import json
import os
import re
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, strategies as st

from spectag.audio.read import open as open_recording, read
from spectag.data import packing
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Clip, Manifest
from spectag.data.packing import pack
from spectag.data.shards import INDEX, OLD_INDEX, is_packed, read_packed, reading_order
from spectag.errors import DataError, InputError, SaveError, SpectagWarning
from spectag.labels import LabelSet

STEP = 2**-15  # of 16 bits
LABELS = LabelSet(("dog", "rain", "sea"), ("/m/1", "/m/2", "/m/3"))


def noise(seconds: float, peak: float = 0.5, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).uniform(-1, 1, round(seconds * rate))
    return x / np.abs(x).max() * peak


@pytest.fixture(scope="module")
def loose(tmp_path_factory) -> Manifest:
    """Clips of all kinds: two parts, folds, several labels and none, odd names, stretches, other rates, one sample."""
    folder = tmp_path_factory.mktemp("loose")
    clips = []
    for n in range(12):
        path = folder / f"c.l ip ü{n}.wav"
        rate = (16_000, 44_100)[n % 2]
        soundfile.write(path, noise(0.1 + n / 100, rate=rate, seed=n), rate, subtype="FLOAT")
        labels, split = ((0,), (0, 2), ())[n % 3], ("train", "test")[n % 4 == 0]
        clips.append(Clip(path.name, path, labels, fold=n % 5, split=split, group=f"g{n % 3}"))
    soundfile.write(folder / "one.wav", [0.25], 16_000)
    clips.append(Clip("one", folder / "one.wav", (1,), split="train"))
    long = folder / "long.flac"
    soundfile.write(long, noise(70, rate=8_000), 8_000)
    for start, end in ((0.0, 1.0), (0.5, 1.5), (29.9, 30.1), (61.00003, 62.0), (69.5, 99.0), (5.0, None)):
        clips.append(Clip(f"long.flac {start} {end}", long, (1,), split="train", start=start, end=end))
    return Manifest(tuple(sorted(clips, key=lambda c: c.id)), LABELS, "a table", ("gone",))


def known(clip: Clip) -> Clip:
    """All but where it lies."""
    return replace(clip, path=Path(), start=None, end=None, place=None)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_comes_out_is_what_went_in(loose, tmp_path, workers):
    done = pack(loose, tmp_path / "out", shard_bytes=60_000, workers=workers)
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


def test_shards_are_tars_of_one_part_as_webdataset_wants_them(loose, tmp_path):
    out = tmp_path / "out"
    done = pack(loose, out, shard_bytes=60_000)
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
            for sound, told in zip(members[::2], members[1::2], strict=True):
                [(key, suffix), (same, json_)] = [m.name.split(".") for m in (sound, told)]
                assert (key, suffix, json_) == (same, "flac", "json")
                meta = json.load(tar.extractfile(told))
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
        pack(loose, tmp_path / name, shard_bytes=60_000, seed=seed, workers=workers)
        return [path.read_bytes() for path in sorted((tmp_path / name).iterdir())]

    assert packed("a", 1) == packed("b", 1)
    assert packed("c", 2) != packed("d", 1)


def test_packing_a_packed_set_again_changes_no_sample(loose, tmp_path):
    pack(loose, tmp_path / "one")
    once = read_packed(tmp_path / "one")
    pack(once, tmp_path / "two", seed=7)
    twice = read_packed(tmp_path / "two")
    assert twice.layout == once.layout
    for one, other in zip(once.clips, twice.clips, strict=True):
        np.testing.assert_array_equal(read(one.source), read(other.source))


def one_clip(path: Path, x: np.ndarray) -> Manifest:
    soundfile.write(path, x, 16_000, subtype="FLOAT")
    return Manifest((Clip(path.name, path, (0,)),), LABELS, "a table")


def test_full_scale_is_off_by_a_step_at_most(tmp_path):
    loose = one_clip(tmp_path / "full.wav", noise(0.1, peak=1.0))
    assert pack(loose, tmp_path / "out").over == 0
    assert np.abs(read(loose.clips[0].source) - read(read_packed(tmp_path / "out").clips[0].source)).max() <= STEP


def test_peaks_above_full_scale_stay(tmp_path):
    loose = one_clip(tmp_path / "hot.wav", noise(0.1, peak=1.7))
    assert pack(loose, tmp_path / "out").over == 1
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
    done = pack(both, tmp_path / "out")
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
    with pytest.raises(DataError, match=r"not one of 2 clips can be read; the first: .*(text|none)\.wav"):
        pack(replace(loose, clips=tuple(bad[:2])), tmp_path / "none")
    assert not list(tmp_path.glob("none*"))


def test_a_recording_that_breaks_off_is_packed_with_a_warning(loose, tmp_path):
    path = tmp_path / "cut.wav"
    soundfile.write(path, noise(2), 16_000)
    path.write_bytes(path.read_bytes()[:40_000])
    cut = [Clip(f"cut {n}", path, (0,), start=n, end=n + 1.0) for n in range(2)]
    with pytest.warns(SpectagWarning, match=r"cut\.wav.* cut off") as caught:
        pack(replace(loose, clips=tuple(cut)), tmp_path / "out")
    assert len(caught) == 1
    assert [len(read(clip.source)) for clip in read_packed(tmp_path / "out").clips] == [16_000, 3_978]


def test_ids_are_unique(loose, tmp_path):
    with pytest.raises(DataError, match="'one' twice"):
        pack(replace(loose, clips=(*loose.clips, replace(loose.clips[0], id="one"))), tmp_path / "out")


def test_stretches_of_a_recording_cost_one_decoding(loose, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(packing, "open_recording", lambda part: opened.append(part) or open_recording(part))
    pack(loose, tmp_path / "out")
    assert len(opened) == 13 + 2, "13 files, the stretches, and the one without an end"


def test_a_recording_of_days_is_taken_in_hours():
    clips = [Clip(f"{n:04d}", Path("long.wav"), (), start=10.0 * n, end=10.0 * n + 10) for n in range(800)]
    tasks = packing._tasks([*clips, Clip("other", Path("short.wav"), ())])
    assert [len(task) for task in tasks] == [360, 360, 80, 1]
    assert [place for task in tasks for place in task] == list(range(801))


# what goes wrong on the disk


def test_what_is_there_is_not_touched(loose, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    pack(loose, out)  # empty: fine
    before = sorted(out.iterdir())
    with pytest.raises(SaveError, match="choose a new or an empty folder"):
        pack(loose, out)
    assert sorted(out.iterdir()) == before
    (tmp_path / "new.partial").mkdir()
    with pytest.raises(SaveError, match=r"new\.partial: already exists: delete it"):
        pack(loose, tmp_path / "new")
    assert (tmp_path / "new.partial").is_dir()
    with pytest.raises(SaveError, match="choose a new or an empty folder"):
        pack(loose, loose.clips[0].path)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_a_full_disk_leaves_nothing(loose, tmp_path, monkeypatch, error):
    calls = iter(range(100))

    def fsync(_: int) -> None:
        if next(calls) == 2:
            raise error

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises((SaveError, KeyboardInterrupt)) as caught:
        pack(loose, tmp_path / "out", shard_bytes=60_000)
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
        pack(replace(loose, clips=clips), tmp_path / "out", workers=2)
    assert not list(tmp_path.glob("out*"))


# an index that nobody vouches for


@pytest.fixture(scope="module")
def intact(loose, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    pack(loose, folder, shard_bytes=60_000)
    return folder


@pytest.fixture
def packed(intact, tmp_path) -> Path:
    return Path(shutil.copytree(intact, tmp_path / "packed"))


def refused(packed: Path, change) -> str:
    """Change the index by a function; what reading it says."""
    index = packed / INDEX
    new = change(json.loads(index.read_text()))
    index.write_text(new if isinstance(new, str) else json.dumps(new), errors="surrogateescape")
    assert is_packed(packed)
    with pytest.raises(DataError) as caught:
        read_packed(packed)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{index}: ")
    return str(caught.value)


def put(column: str, value, row: int = 5):
    """Change a value of a clip."""

    def change(index):
        index["clips"][column][row] = value
        return index

    return change


def without(index, column):
    del index["clips"][column]
    return index


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("id", ("", 5, None, ["x"]), "ids in ascending order, each once"),
        ("shard", (-1, 10**6), "shards that exist"),
        ("shard", (True, "../x", None, 1.0), "whole numbers as shard"),
        ("offset", (-1, 10**9), "clips within their shards"),
        ("offset", (5.0, "1", None), "whole numbers as shard"),
        ("size", (0, -5, 10**9, 2**63 - 1), "clips within their shards"),
        ("size", (1e3, [1]), "whole numbers as shard"),
        ("samples", (0, -1), "clips of at least one sample"),
        ("samples", (None,), "whole numbers as shard"),
        ("labels", (None, 3, "abc", ["dog"], [[0]], {"a": 1}, [True]), "lists of whole numbers as labels|not iterable"),
        ("labels", ([3], [-1], [0, 3]), "labels from 0 to 2"),
        ("labels", ([1, 0], [1, 1]), "labels of a clip in ascending order"),
        ("split", (1, []), "text or null as split and group"),
        ("group", (1.5,), "text or null as split and group"),
        ("fold", ("1", 1.0), "whole numbers or null as fold"),
        ("fold", ({},), "whole numbers or null as fold"),
    ],
)
def test_a_wrong_value_is_named(packed, column, values, words):
    whole = (packed / INDEX).read_text()
    for value in values:
        assert re.search(f"damaged .*({words})", refused(packed, put(column, value)))
        (packed / INDEX).write_text(whole)


@pytest.mark.parametrize("column", ["offset", "shard", "size", "samples"])
def test_numbers_of_any_size(packed, column):
    assert "damaged" in refused(packed, put(column, 10**400))


def test_ids_occur_once(packed):
    assert "ids in ascending order" in refused(packed, put("id", read_packed(packed).clips[4].id))


@pytest.mark.parametrize(
    "change",
    [
        lambda index: "",
        lambda index: "null",
        lambda index: "[]",
        lambda index: '"packed"',
        lambda index: '{"packed": 2}',
        lambda index: json.dumps(index)[:-5],
        lambda index: json.dumps(index) + json.dumps(index),
        lambda index: "[" * 100_000,
        lambda index: json.dumps(index).replace('"clips"', '"\udcff"'),
        lambda index: "[" + "9" * 5000 + "]",
        lambda index: {**index, "clips": 3},
        lambda index: {**index, "clips": [[]] * 9},
        lambda index: without(index, "group"),
        lambda index: {**index, "clips": {**index["clips"], "id": index["clips"]["id"][:-1]}},
        lambda index: {**index, "clips": {**index["clips"], "offset": index["clips"]["offset"][:-1]}},
        lambda index: {**index, "clips": {**index["clips"], "fold": None}},
        lambda index: {**index, "labels": [1]},
        lambda index: {**index, "labels": "abc"},
        lambda index: {**index, "missing": None},
        lambda index: {**index, "layout": 1},
        lambda index: {**index, "label_ids": {"a": 1}},
        lambda index: {**index, "packed": "2"},
    ],
)
def test_a_damaged_index(packed, change):
    assert re.search("copy it again$", refused(packed, change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda index: {**index, "labels": []}, "at least one name"),
        (lambda index: {**index, "labels": ["a", "a", "b"]}, "twice"),
        (lambda index: {**index, "packed": 3}, "expected version 2, got 3: update spectag"),
    ],
)
def test_a_bad_header_is_named(packed, change, words):
    assert re.search(words, refused(packed, change))


@pytest.mark.parametrize("sizes", [[-1], ["x"], [None], [512.5], [10**400]])
def test_sizes_that_are_none(packed, sizes):
    index = json.loads((packed / INDEX).read_text())
    (packed / INDEX).write_text(json.dumps({**index, "shards": sizes}))
    with pytest.raises(DataError, match=r"shard-000000\.tar: expected .* bytes, found \d+: copy it again"):
        read_packed(packed)


def test_clips_without_any_label(loose, tmp_path):
    pack(replace(loose, clips=tuple(replace(clip, labels=()) for clip in loose.clips)), tmp_path / "out")
    assert {clip.labels for clip in read_packed(tmp_path / "out").clips} == {()}


OLD = Path(__file__).parent / "packed_version_1"  # written by spectag before version 2 of the index


def test_a_set_that_was_packed_with_an_index_of_lines(tmp_path):
    assert is_packed(OLD)
    manifest = read_manifest(OLD)
    assert (manifest.layout, manifest.missing, manifest.labels) == (
        "packed (was a table of clips)",
        ("gone.wav",),
        LABELS,
    )
    assert [(c.id, c.labels, c.fold, c.split, c.group) for c in manifest.clips] == [
        ("a b.wav", (0,), 1, "train", "g"),
        ("z/c.wav", (), None, None, "g"),
        ("ü.wav", (0, 2), 2, "train", None),
    ]
    assert [len(read(clip.source)) for clip in manifest.clips] == [100, 102, 101]
    assert [read(clip.source)[0] for clip in manifest.clips] == [0, 0.5, 0.25]
    pack(manifest, tmp_path / "again")
    assert [known(clip) for clip in read_packed(tmp_path / "again").clips] == [known(clip) for clip in manifest.clips]
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "index.json",
        "shard-000000.tar",
        "shard-000001.tar",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines[:-1], "expected 3 clips, found 2: copy it again"),
        (lambda lines: [], "expected the index of a packed data set"),
        (lambda lines: lines[1:], "expected the index of a packed data set"),
        (lambda lines: [*lines[:2], lines[2][:-5], lines[3]], "expected the index of a packed data set"),
        (lambda lines: [*lines[:2], "[1]", lines[3]], "expected the index of a packed data set"),
        (lambda lines: [*lines[:2], lines[2].replace("512", "-1"), lines[3]], "clips within their shards"),
        (lambda lines: [lines[0].replace('"packed": 1', '"packed": 9'), *lines[1:]], "expected version 2, got 9"),
    ],
)
def test_a_damaged_index_of_lines(tmp_path, change, words):
    packed = Path(shutil.copytree(OLD, tmp_path / "packed"))
    lines = (packed / OLD_INDEX).read_text().splitlines()
    (packed / OLD_INDEX).write_text("\n".join(change(lines)))
    with pytest.raises(DataError, match=words):
        read_packed(packed)


def test_shards_must_be_whole(packed):
    shard = packed / "shard-000001.tar"
    content = shard.read_bytes()
    shard.write_bytes(content[:-512])
    with pytest.raises(
        DataError, match=rf"shard-000001\.tar: expected {len(content)} bytes, found {len(content) - 512}"
    ):
        read_packed(packed)
    shard.unlink()
    with pytest.raises(DataError, match=r"shard-000001\.tar: expected \d+ bytes, found no file: copy it again"):
        read_packed(packed)


# the order of an epoch


@given(st.lists(st.integers(0, 9), max_size=200), st.integers(1, 12), st.integers(0, 2**32))
def test_an_epoch_reads_every_clip_once_and_a_few_shards_at_a_time(shards, buffer, seed):
    clips = [Clip(str(i), Path(f"shard-{shard:06d}.tar"), ()) for i, shard in enumerate(shards)]
    order = reading_order(clips, np.random.default_rng(seed), buffer)
    assert sorted(order) == list(range(len(clips)))
    assert all(type(i) is int for i in order)
    assert order == reading_order(clips, np.random.default_rng(seed), buffer)
    # Walking along, whoever counts the shards that were begun and are not finished never counts more than the buffer.
    left = {shard: shards.count(shard) for shard in shards}
    begun: set[int] = set()
    for i in order:
        begun.add(shards[i])
        assert len(begun) <= buffer
        left[shards[i]] -= 1
        if all(not left[shard] for shard in begun):
            begun.clear()
    assert not begun


def test_an_epoch_differs_from_the_next_and_mixes_its_shards():
    clips = [Clip(str(i), Path(f"{i // 100}"), ()) for i in range(1000)]
    rng = np.random.default_rng(0)
    one, other = reading_order(clips, rng), reading_order(clips, rng)
    assert one != other
    assert len({i // 100 for i in one[:40]}) == 4
    with pytest.raises(InputError, match="buffer_shards: expected 1 or more, got 0"):
        reading_order(clips, rng, 0)


def test_clips_are_excluded_by_name_from_packed_sets_too(tmp_path):
    """And with them other takes of the same recording."""
    for name in ("1-10-A", "1-10-B", "2-20-A"):
        for folder in ("001 - Dog bark", "002 - Rain"):
            (tmp_path / "loose" / folder).mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / "loose" / folder / f"{name}.wav", np.zeros(1600), 16_000)
    loose = read_manifest(tmp_path / "loose")
    pack(loose, tmp_path / "packed")
    packed = read_manifest(tmp_path / "packed")
    kept = [clip.id for clip in loose.excluding(["1-10-A.ogg"]).clips]
    assert len(kept) == 2
    assert [clip.id for clip in packed.excluding(["1-10-A.ogg"]).clips] == kept
