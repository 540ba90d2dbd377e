"""The index of a packed data set, whoever wrote it, and the order in which shards are read."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, strategies as st
from loose import LABELS, known

from spectag.audio.read import read
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Clip
from spectag.data.packing import pack_data_set
from spectag.data.shards import INDEX, OLD_INDEX, is_packed, read_packed, reading_order
from spectag.errors import DataError, InputError


@pytest.fixture(scope="module")
def intact(loose, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    pack_data_set(loose, folder, shard_bytes=60_000)
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
    pack_data_set(replace(loose, clips=tuple(replace(clip, labels=()) for clip in loose.clips)), tmp_path / "out")
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
    pack_data_set(manifest, tmp_path / "again")
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
    pack_data_set(loose, tmp_path / "packed")
    packed = read_manifest(tmp_path / "packed")
    kept = [clip.id for clip in loose.excluding(["1-10-A.ogg"]).clips]
    assert len(kept) == 2
    assert [clip.id for clip in packed.excluding(["1-10-A.ogg"]).clips] == kept
