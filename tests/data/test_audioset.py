"""AudioSet's tables of segments."""

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from spectag.data.cut_files import CutFiles
from spectag.data.layouts import read_manifest
from spectag.errors import DataError

HEAD = "# Segments csv created Sun Mar  5 10:54:31 2017\n# YTID, start_seconds, end_seconds, positive_labels\n"


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def segments(root: Path, name: str, *rows: str) -> None:
    (root / f"{name}_segments.csv").write_text(HEAD + "".join(f"{row}\n" for row in rows))


def test_as_published(tmp_path):
    put(
        tmp_path,
        "audio/train/Y--PJHxphWEs.wav",
        "audio/train/_YbcdefghiJ_0.FLAC",
        "audio/Y_12345_678_30.000_40.000.m4a",
    )
    segments(
        tmp_path,
        "balanced_train",
        '--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"',
        '_YbcdefghiJ, 0.000, 10.000, "/m/04rlf"',
        'AAAAAAAAAAA, 0.000, 10.000, "/m/04rlf"',
    )
    segments(tmp_path, "eval", 'Y_12345_678, 30.000, 40.000, "/m/09x0r"')
    manifest = read_manifest(tmp_path)
    assert (manifest.layout, len(manifest.labels)) == ("AudioSet", 527)
    assert [(c.id, c.split, c.group, c.start) for c in manifest.clips] == [
        ("audio/Y_12345_678_30.000_40.000.m4a", "eval", "Y_12345_678", None),
        ("audio/train/Y--PJHxphWEs.wav", "balanced_train", "--PJHxphWEs", None),
        ("audio/train/_YbcdefghiJ_0.FLAC", "balanced_train", "_YbcdefghiJ", None),
    ]
    assert [manifest.labels.ids[n] for n in manifest.clips[1].labels] == ["/m/09x0r", "/t/dd00088"]
    assert manifest.missing == ("balanced_train/AAAAAAAAAAA_0",)
    assert read_manifest(tmp_path / "eval_segments.csv").splits == ("eval",)


def test_own_mids_need_a_table(tmp_path):
    put(tmp_path, "a_b.wav")
    segments(tmp_path, "train", 'a_b, 0, 10, "/x/dog,/x/cat"')
    with pytest.raises(
        DataError, match=r"train_segments\.csv, line 3: no label '/x/dog'.* put a class_labels_indices\.csv"
    ):
        read_manifest(tmp_path)
    (tmp_path / "class_labels_indices.csv").write_text('index,mid,display_name\n0,/x/cat,"Cat, big"\n1,/x/dog,Dog\n')
    manifest = read_manifest(tmp_path)
    assert (manifest.labels.names, manifest.clips[0].labels) == (("Cat, big", "Dog"), (0, 1))


def test_one_video_in_several_tables(tmp_path):
    put(tmp_path, "x_0.wav", "x_30000.wav", "x_60.wav")
    segments(tmp_path, "train", "x, 0, 10, /m/09x0r", "x, 30, 40, /m/04rlf", "x, 30, 40, /m/09x0r,/t/dd00088")
    segments(tmp_path, "eval", "x, 60, 70, /m/09x0r", "x, 0, 10, /m/09x0r")
    manifest = read_manifest(tmp_path)
    found = {(c.id, c.split, len(c.labels)) for c in manifest.clips}
    assert found == {
        ("x_0.wav#eval", "eval", 1),
        ("x_0.wav#train", "train", 1),
        ("x_30000.wav", "train", 3),
        ("x_60.wav", "eval", 1),
    }
    assert {c.group for c in manifest.clips} == {"x"}


def test_a_file_that_two_segments_could_mean(tmp_path):
    put(tmp_path, "x.wav")
    segments(tmp_path, "train", "x, 0, 10, /m/09x0r", "x, 30, 40, /m/04rlf")
    with pytest.raises(
        DataError, match=r"x\.wav: may belong to .*line 3 \(x, 0 s\) and to .*line 4 \(x, 30 s\): add the start"
    ):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "row", ["x, 0, 10", "x, zero, 10, /m/09x0r", "x, 10, 0, /m/09x0r", ", 0, 10, /m/09x0r", "x, 0, nan, y"]
)
def test_a_line_that_makes_no_sense(tmp_path, row):
    put(tmp_path, "x.wav")
    segments(tmp_path, "train", row)
    with pytest.raises(DataError, match=r"train_segments\.csv, line 3: expected YTID, start_seconds"):
        read_manifest(tmp_path)


def test_all_files_missing(tmp_path):
    segments(tmp_path, "train", "x, 0, 10, /m/09x0r")
    with pytest.raises(DataError, match=r"looks like AudioSet, .* none of the 1 files .* train/x_0"):
        read_manifest(tmp_path)


def test_another_table_of_segments_is_not_audioset(tmp_path):
    put(tmp_path, "x.wav")
    (tmp_path / "my_segments.csv").write_text("path,start,end,label\nx.wav,0,1,dog\n")
    assert read_manifest(tmp_path).layout == "a table of clips"


def test_links_in_circles(tmp_path):
    put(tmp_path, "elsewhere/x.wav")
    (tmp_path / "data").mkdir()
    segments(tmp_path / "data", "train", "x, 0, 10, /m/09x0r")
    (tmp_path / "data" / "audio").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "data")
    assert [c.id for c in read_manifest(tmp_path / "data").clips] == ["audio/x.wav"]


video = st.text("abYZ019-_", min_size=11, max_size=11)
times = st.tuples(st.integers(0, 9000), st.integers(1, 20)).map(lambda t: (t[0] / 10, t[0] / 10 + t[1]))


@given(video, times, st.sampled_from(["", "Y"]), st.integers(0, 2), st.sampled_from(["{:g}", "{:.3f}", "ms", "ms.0"]))
def test_every_way_to_name_a_file(video, times, prefix, count, style):
    """However the file is named, its segment finds it, and a segment of other times only if the name has no times."""
    numbers = [f"{1000 * t:.{int(style == 'ms.0')}f}" if style.startswith("ms") else style.format(t) for t in times]
    path = "/".join(["/a.b/c", "_".join([prefix + video, *numbers[:count]]) + ".wav"])
    files = CutFiles(["/other/AAAAAAAAAAA_1.wav", path])
    assert files.find(video, *times) == path
    assert (files.find(video, times[0] + 7777, times[1] + 7777) == path) == (count == 0)


@given(st.sets(video, min_size=1, max_size=8), st.data())
def test_names_of_full_length_never_collide(videos, data):
    suffixes = ["", "_30", "_30.000", "_30000", "_30_40", "_30000_40000"]
    paths = {
        v: data.draw(st.sampled_from(["", "Y"])) + v + data.draw(st.sampled_from(suffixes)) + ".flac" for v in videos
    }
    files = CutFiles(paths.values())
    assert {v: files.find(v, 30.0, 40.0) for v in videos} == paths


def test_of_two_files_the_one_that_says_its_times():
    files = CutFiles(["b/x.wav", "a/x.wav", "x_30.wav", "x_30_40.wav", "x_30_50.wav"])
    assert files.find("x", 30, 40) == "x_30_40.wav"
    assert files.find("x", 30, 45) == "x_30.wav"
    assert files.find("x", 0, 10) == "a/x.wav"
