"""Tables of clips, and the metadata of audiofolders."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, strategies as st

from spectag.audio.read import read
from spectag.data.cells import read_labels
from spectag.data.layouts import read_manifest
from spectag.errors import DataError
from spectag.labels import LabelSet


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


def names_by_clip(manifest) -> dict[str, tuple[str, ...]]:
    return {clip.id: tuple(manifest.labels.names[n] for n in clip.labels) for clip in manifest.clips}


@pytest.mark.parametrize("path", ["path", "file", "File_Name", "filename", "wav", "audio"])
@pytest.mark.parametrize("label", ["label", "Labels", "category", "class", "tags", "target"])
def test_columns_by_many_names(tmp_path, path, label):
    put(tmp_path, "audio/a.wav", "audio/b.wav")
    table = write(tmp_path / "mine.csv", f" {label} ,{path}\ndog,audio/a.wav\ncat,audio/b.wav\n", "utf-8-sig")
    manifest = read_manifest(table)
    assert manifest == read_manifest(tmp_path)
    assert (manifest.layout, manifest.labels.names, manifest.splits) == ("a table of clips", ("cat", "dog"), ())
    assert names_by_clip(manifest) == {"audio/a.wav": ("dog",), "audio/b.wav": ("cat",)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.tsv", "path\tlabel\tfold\tsplit\na.wav\tdog, big\t1\tdev\n\nb.wav\tcat\t2\tholdout\n"),
        ("t.csv", 'path;label;fold;split\n"a.wav";dog, big;1;dev\nb.wav;cat;2;holdout\n'),
        ("t.csv", '\ufeffpath,label,fold,split\r\na.wav,"dog, big",1.0,dev\r\nb.wav,cat,2.0,holdout\r\n,,,\r\n'),
        (
            "t.jsonl",
            '{"path": "a.wav", "label": "dog, big", "fold": 1, "split": "dev"}\n\n'
            '{"path": "b.wav", "label": ["cat"], "fold": "2", "split": "holdout", "more": [1]}\n',
        ),
    ],
)
def test_formats(tmp_path, name, content):
    put(tmp_path, "a.wav", "b.wav")
    manifest = read_manifest(write(tmp_path / name, content))
    assert names_by_clip(manifest) == {"a.wav": ("dog, big",), "b.wav": ("cat",)}
    assert [(c.fold, c.split) for c in manifest.clips] == [(1, "validation"), (2, "holdout")]


def test_a_table_per_split(tmp_path):
    put(tmp_path, "a.wav", "b.wav", "c.wav")
    for name, file in (("train", "a"), ("my_valid-2", "b"), ("eval", "c")):
        write(tmp_path / f"{name}.csv", f"path,label\n{file}.wav,{file}\n")
    manifest = read_manifest(tmp_path)
    assert {c.id: c.split for c in manifest.clips} == {"a.wav": "train", "b.wav": "validation", "c.wav": "test"}
    assert manifest.labels.names == ("a", "b", "c")
    assert read_manifest(tmp_path / "train.csv").splits == (), "alone it is no split"


def test_several_tables_of_no_split(tmp_path):
    put(tmp_path, "a.wav")
    for name in ("one", "two"):
        write(tmp_path / f"{name}.csv", "path,label\na.wav,a\n")
    with pytest.raises(DataError, match=r"expected one table, or train\.csv, .* found one\.csv, two\.csv"):
        read_manifest(tmp_path)


def test_rows_about_one_stretch_unite_and_pieces_share_a_group(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(1600, np.float32), 16000)
    put(tmp_path, "b.wav")
    rows = "filename,onset,offset,event_label\na.wav,0,0.05,dog\na.wav,0.0,.05,cat\n./a.wav,0.05,0.1,dog\nb.wav,,,cat\n"
    manifest = read_manifest(write(tmp_path / "t.csv", rows))
    assert names_by_clip(manifest) == {"a.wav#0-0.05": ("cat", "dog"), "a.wav#0.05-0.1": ("dog",), "b.wav": ("cat",)}
    assert [c.group for c in manifest.clips] == ["a.wav", "a.wav", None]
    assert len(read(manifest.clips[1].source)) == 800


def test_groups_and_open_ends(tmp_path):
    put(tmp_path, "a.wav", "b.wav")
    rows = "path,label,start,group\na.wav,dog,5,river\na.wav,cat,,river\nb.wav,cat,1.5,\n"
    manifest = read_manifest(write(tmp_path / "t.csv", rows))
    assert [(c.id, c.start, c.end, c.group) for c in manifest.clips] == [
        ("a.wav", None, None, "river"),
        ("a.wav#5-", 5.0, None, "river"),
        ("b.wav#1.5-", 1.5, None, "b.wav"),
    ]


def test_ids_are_unique_however_paths_are_written(tmp_path):
    put(tmp_path, "data/a.wav", "far/a.wav")
    paths = ("a.wav", "./a.wav", "../data/a.wav", str(tmp_path / "data/a.wav"), "../far/a.wav")
    rows = "".join(f"{path},label{n}\n" for n, path in enumerate(paths))
    manifest = read_manifest(write(tmp_path / "data" / "t.csv", "path,label\n" + rows))
    assert {id: len(labels) for id, labels in names_by_clip(manifest).items()} == {"../far/a.wav": 1, "a.wav": 4}


def test_relative_and_absolute_are_the_same_data_set(tmp_path, monkeypatch):
    put(tmp_path, "data/a.wav", "far/b.wav")
    write(tmp_path / "data" / "t.csv", "path,label\na.wav,x\n../far/b.wav,y\n")
    monkeypatch.chdir(tmp_path / "data")
    for data in (".", "../data", "t.csv", tmp_path / "data"):
        manifest = read_manifest(data)
        assert list(names_by_clip(manifest)) == ["../far/b.wav", "a.wav"]
        assert all(os.path.isfile(clip.path) for clip in manifest.clips)


def test_missing_files_are_listed(tmp_path):
    put(tmp_path, "a.wav")
    table = write(tmp_path / "t.csv", "path,label\na.wav,dog\nb.wav,cat\n.,cat\n")
    assert read_manifest(table).missing == (".", "b.wav")
    (tmp_path / "a.wav").unlink()
    with pytest.raises(DataError, match="none of the 3 files that it lists exists"):
        read_manifest(table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "path,text\na.wav,hello\n",
            r"t\.csv: expected a column for its labels \(label, labels, .*\), or .*; found: path, text",
        ),
        ("name,label\na.wav,dog\n", r"expected a column for the file \(path, file, .*\); found: name, label"),
        ("", r"found: nothing"),
        ("path,label\n", r"have no rows"),
        ("path,label\n,dog\n", r"t\.csv, line 2, path: expected the path of an audio file, got ''"),
        ("path,label\na.wav,\n", r"line 2, label: expected one or more labels, got ''"),
        (
            "path,label\na.wav,\"['dog', yard]\"\n",
            r"t\.csv, line 2, label: expected a list such as \['dog', 'rain'\], got",
        ),
        ("path,label\na.wav,|;\n", r"line 2, label: expected one or more labels, got '|;'"),
        ("path,label,fold\na.wav,dog,1\nb.wav,dog,two\n", r"line 3, fold: expected a whole number, got 'two'"),
        ("path,label,fold\na.wav,dog,1.5\n", r"fold: expected a whole number, got '1\.5'"),
        ('path,label,start\n"a.wav","dog\nbig",x\n', r"line 3, start: expected seconds, .* got 'x'"),
        ("path,label,start,end\na.wav,dog,2,2\n", r"line 2: expected an end after the start, got 2 to 2 s"),
        ("path,label,begin\na.wav,dog,-1\n", r"line 2, begin: expected seconds, 0 or more"),
        ("path,label,end\na.wav,dog,nan\n", r"line 2, end: expected seconds"),
        ("path,label\na.wav,dog,cat\n", r"line 2: expected 2 cells, got 3: .* in double quotes"),
        ("path,label,fold\na.wav,dog,1\na.wav,cat,2\n", r"line 3: a\.wav has fold 2 here and 1 in .*t\.csv, line 2"),
    ],
)
def test_errors_name_file_and_line(tmp_path, content, message):
    put(tmp_path, "a.wav", "b.wav")
    with pytest.raises(DataError, match=message) as caught:
        read_manifest(write(tmp_path / "t.csv", content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"path": "a.wav", "label": "x"}\n{', r"t\.jsonl, line 2: expected a JSON object"),
        ("[1]", r"line 1: expected a JSON object, got \[1\]"),
        ('{"path": "a.wav", "label": []}', r"line 1: expected labels in some of the rows, got none in all 1"),
        ('{"path": "a.wav", "label": [["x"]]}', r"line 1, label: expected a list of names, got \[\['x'\]\]"),
        ('{"path": "a.wav", "label": ["x", ""]}', r"label: expected names that are not empty"),
        ('{"path": "a.wav", "label": {"x": 1}}', r"label: expected names, got {'x': 1}"),
        ('{"path": ["a.wav"], "label": "x"}', r"line 1, path: expected text or a number, got \['a\.wav'\]"),
        ('{"path": "a\\u0000.wav", "label": "x"}', r"path: expected the path of an audio file"),
    ],
)
def test_errors_in_json_lines(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_manifest(write(tmp_path / "t.jsonl", content))


def test_not_text(tmp_path):
    (tmp_path / "t.csv").write_bytes("path,label\nä.wav,x\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"t\.csv: expected a table in UTF-8"):
        read_manifest(tmp_path / "t.csv")


def test_lack_of_labels_is_told_where_no_folders_could_be_classes(tmp_path):
    put(tmp_path, "a.wav")
    write(tmp_path / "t.csv", "path,seconds\na.wav,1\n")
    with pytest.raises(DataError, match="expected a column for its labels"):
        read_manifest(tmp_path)


def labels_of(root: Path, column: str, *cells) -> list[tuple[str, ...]]:
    """How cells are read, in JSON Lines."""
    put(root, *(f"{n:03}.wav" for n in range(len(cells))))
    rows = ({"path": f"{n:03}.wav", column: cell} for n, cell in enumerate(cells))
    manifest = read_manifest(write(root / "t.jsonl", "\n".join(map(json.dumps, rows))))
    return [tuple(sorted(names)) for names in names_by_clip(manifest).values()]


@pytest.mark.parametrize("column", ["label", "labels", "tags", "category", "class"])
@pytest.mark.parametrize("separator", ["|", ";", " ; ", "| "])
def test_several_labels_in_a_cell(tmp_path, column, separator):
    """Whatever other rows say."""
    cells = separator.join(("a", "b")), separator.join(("c", "d"))
    assert labels_of(tmp_path, column, *cells) == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize("column", ["labels", "tags"])
def test_commas_in_a_column_for_several_labels(tmp_path, column):
    assert labels_of(tmp_path, column, "dog,cat", "cow, owl|fox", "hen") == [
        ("cat", "dog"),
        ("cow", "fox", "owl"),
        ("hen",),
    ]


@pytest.mark.parametrize("column", ["label", "category", "class", "target", "event_label"])
@pytest.mark.parametrize("others", [(), ("Inside",), ("small room", "Inside; Rain")])
def test_a_comma_may_belong_to_a_name(tmp_path, column, others):
    """A row never changes the classes of other rows."""
    cells = "Inside, small room", "Inside, public space", "Rain", *others
    assert labels_of(tmp_path, column, *cells)[:3] == [("Inside, small room",), ("Inside, public space",), ("Rain",)]


def test_names_in_a_list_are_taken_as_they_are(tmp_path):
    cells = ["Inside, small room", "a|b"], "Rain, Inside"
    assert labels_of(tmp_path, "labels", *cells) == [("Inside, small room", "a|b"), ("Inside", "Rain")]


def test_the_names_of_audioset_are_whole_in_a_column_for_one(tmp_path):
    names = LabelSet.audioset().names
    assert labels_of(tmp_path, "label", *names) == [(name,) for name in names]


def test_numbers_are_ordered_by_value(tmp_path):
    put(tmp_path, "a.wav", "b.wav", "c.wav")
    table = write(tmp_path / "t.csv", "path,tags\na.wav,10; 9\nb.wav,9\nc.wav,x\n")
    manifest = read_manifest(table)
    assert manifest.labels.names == ("9", "10", "x")
    assert names_by_clip(manifest) == {"a.wav": ("9", "10"), "b.wav": ("9",), "c.wav": ("x",)}


names = st.text("abc ", min_size=1, max_size=4).map(str.strip).filter(bool)


@given(st.lists(st.sets(names, min_size=1, max_size=3), min_size=1), st.sampled_from("|;,"))
def test_cutting_gives_back_what_was_joined(sets, separator):
    assert [set(read_labels(separator.join(some), "labels")) for some in sets] == sets


@pytest.mark.parametrize("extension", ["csv", "jsonl"])
def test_audiofolder(tmp_path, extension):
    put(tmp_path, "train/a.wav", "test/b.wav", "c.wav")
    rows = [
        {"file_name": name, "label": label} for name, label in (("train/a.wav", 0), ("test/b.wav", 1), ("c.wav", 0))
    ]
    text = "file_name,label\n" + "".join(f"{row['file_name']},{row['label']}\n" for row in rows)
    write(tmp_path / f"metadata.{extension}", text if extension == "csv" else "\n".join(map(json.dumps, rows)))
    manifest = read_manifest(tmp_path)
    assert (manifest.layout, manifest.labels.names) == ("audiofolder", ("0", "1"))
    assert {c.id: c.split for c in manifest.clips} == {"train/a.wav": "train", "test/b.wav": "test", "c.wav": None}


def test_audiofolder_with_metadata_per_split(tmp_path):
    put(tmp_path, "train/a.wav", "valid/x/b.wav", "test/c.wav")
    write(tmp_path / "train" / "metadata.csv", "file_name,category\na.wav,dog\n")
    write(tmp_path / "valid" / "metadata.jsonl", '{"file_name": "x/b.wav", "category": "cat"}\n')
    manifest = read_manifest(tmp_path)
    assert {c.id: c.split for c in manifest.clips} == {"train/a.wav": "train", "valid/x/b.wav": "validation"}
    assert names_by_clip(manifest) == {"train/a.wav": ("dog",), "valid/x/b.wav": ("cat",)}


def test_metadata_without_labels_leaves_the_folders_to_be_classes(tmp_path):
    put(tmp_path, "dog/a.wav", "cat/b.wav")
    write(tmp_path / "metadata.csv", "file_name,seconds\ndog/a.wav,1\ncat/b.wav,2\n")
    assert read_manifest(tmp_path).layout == "a folder per class"


def test_one_rule_for_all_tables(tmp_path):
    """The kind: a comma that separates labels where a model learns, and belongs to a name where it is tested."""
    put(tmp_path, "a.wav", "b.wav")
    write(tmp_path / "train.csv", 'path,label\na.wav,"dog, yard"\n')
    test = write(tmp_path / "test.csv", 'path,labels\nb.wav,"dog, yard"\n')
    with pytest.raises(
        DataError, match=r"commas separate labels in test\.csv \(labels\), but not in train\.csv \(label\)"
    ):
        read_manifest(tmp_path)
    for separator, names in ((",", ("dog", "yard")), ("", ("dog, yard",))):
        assert read_manifest(tmp_path, separator=separator).labels.names == names
    write(test, "path,labels\nb.wav,dog|yard\n")
    assert read_manifest(tmp_path).labels.names == ("dog", "dog, yard", "yard"), "nothing contradicts"
