"""Clips in which nothing of interest is heard.

The kind: "nothing" is a label like any other in the user's mind, written as an empty cell, an empty list, a row of
zeros, or a folder of recordings without the species; a program that needs a name for every clip drops or refuses them.
"""

from collections import Counter
from dataclasses import replace

import pytest
from loose import known, make_loose
from test_tables import names_by_clip, put, write

from spectag.data.layouts import read_manifest
from spectag.data.negatives import add_negatives
from spectag.data.packing import pack_data_set
from spectag.data.shards import read_packed
from spectag.data.splits import divide
from spectag.errors import DataError


@pytest.mark.parametrize("cell", ["", "[]", "set()", '""'])
@pytest.mark.parametrize("column", ["label", "labels", "species"])
def test_an_empty_cell_beside_others(tmp_path, cell, column):
    put(tmp_path, "a.wav", "b.wav")
    manifest = read_manifest(write(tmp_path / "t.csv", f"path,{column}\na.wav,dog\nb.wav,{cell}\n"))
    assert names_by_clip(manifest) == {"a.wav": ("dog",), "b.wav": ()}
    assert (manifest.negatives, manifest.labels.names) == (1, ("dog",))


@pytest.mark.parametrize(
    "rows", ['{"path": "b.wav", "label": null}', '{"path": "b.wav"}', '{"path": "b.wav", "label": []}']
)
def test_nothing_in_json_lines(tmp_path, rows):
    put(tmp_path, "a.wav", "b.wav")
    manifest = read_manifest(write(tmp_path / "t.jsonl", '{"path": "a.wav", "label": ["dog"]}\n' + rows))
    assert names_by_clip(manifest) == {"a.wav": ("dog",), "b.wav": ()}


def test_a_table_without_any_label_is_no_table_of_negatives(tmp_path):
    """The labels of a test set that were never published, for example."""
    put(tmp_path, "a.wav", "b.wav", "c.wav")
    write(tmp_path / "train.csv", "path,label\na.wav,dog\nb.wav,\n")
    test = write(tmp_path / "test.csv", "path,label\nc.wav,\n")
    with pytest.raises(
        DataError, match=r"test\.csv, line 2, label: expected one or more labels, got ''; an empty cell"
    ):
        read_manifest(tmp_path)
    write(test, "path,label\nc.wav,[]\n")
    assert read_manifest(tmp_path).negatives == 2, "an empty list says so"


def test_negatives_in_the_json_of_ast(tmp_path):
    put(tmp_path, "a.wav", "b.wav")
    write(tmp_path / "x.json", '{"data": [{"wav": "a.wav", "labels": "dog"}, {"wav": "b.wav", "labels": ""}]}')
    assert names_by_clip(read_manifest(tmp_path)) == {"a.wav": ("dog",), "b.wav": ()}


FLAGS = "file,dog,Dog,dog bark,site,duration\na.wav,1,0,1,3,2\nb.wav,0,0,0,3,2\nc.wav,0,1,0,4,2\n"


@pytest.mark.parametrize("change", [{}, {"1,": "True,", "0,": "false,"}, {"1,": "1.0,", "0,": "0.0,"}])
def test_a_column_per_class(tmp_path, change):
    """Rows of zeros are negatives; names keep their letter case; other columns are no classes."""
    put(tmp_path, "a.wav", "b.wav", "c.wav")
    rows = FLAGS
    for one, other in change.items():
        rows = rows.replace(f",{one}", f",{other}")
    manifest = read_manifest(write(tmp_path / "t.csv", rows))
    assert manifest.labels.names == ("Dog", "dog", "dog bark")
    assert names_by_clip(manifest) == {"a.wav": ("dog", "dog bark"), "b.wav": (), "c.wav": ("Dog",)}
    assert manifest.notes == ("t.csv: labels are taken from the columns of 0 and 1; not used: site",)


def test_columns_that_are_no_classes(tmp_path):
    put(tmp_path, "a.wav", "b.wav")
    with pytest.raises(DataError, match=r"expected a column for its labels .*, or a column of 0 and 1 per class"):
        read_manifest(write(tmp_path / "t.csv", "file,seconds,verified,count\na.wav,1,1,1\nb.wav,1,0,1\n"))
    with pytest.raises(
        DataError, match=r"t\.csv: expected 0 or 1 in every cell of the column 'cat', got '': correct it"
    ):
        read_manifest(write(tmp_path / "t.csv", "file,dog,cat\na.wav,1,1\nb.wav,0,\n"))
    with pytest.raises(DataError, match="expected labels in some of the rows, got none in all 2"):
        read_manifest(write(tmp_path / "t.csv", "file,dog,cat\na.wav,0,0\nb.wav,0,0\n"))
    with pytest.raises(DataError, match=r"t\.csv: expected columns of different names, got 'dog' twice"):
        read_manifest(write(tmp_path / "t.csv", "file,dog,dog\na.wav,0,0\nb.wav,0,1\n"))


def test_flags_beside_folders_of_classes_are_not_taken_for_classes(tmp_path):
    put(tmp_path, "dog/a.wav", "cat/b.wav")
    table = write(tmp_path / "facts.csv", "file,day,rainy\ndog/a.wav,1,0\ncat/b.wav,0,1\n")
    manifest = read_manifest(tmp_path)
    assert manifest.labels.names == ("cat", "dog")
    assert manifest.notes == ("facts.csv is not used, since folders are the classes: name it to use its columns",)
    assert read_manifest(table).labels.names == ("day", "rainy")


# folders of negatives


def test_a_detector_of_one_class(tmp_path):
    put(tmp_path, "set/owl/1.wav", "set/owl/2.wav", "quiet/night/3.wav", "rain/3.wav", "quiet/notes.txt")
    manifest = read_manifest(tmp_path / "set", negatives=[tmp_path / "quiet", tmp_path / "rain"])
    assert names_by_clip(manifest) == {
        "owl/1.wav": ("owl",),
        "owl/2.wav": ("owl",),
        "quiet/night/3.wav": (),
        "rain/3.wav": (),
    }
    assert read_manifest(tmp_path / "set").labels.names == ("owl",), "read, and refused where it is trained on"


def test_a_class_folder_that_is_named_as_negatives_is_no_class(tmp_path):
    put(tmp_path, "fox/1.wav", "noise/2.wav", "owl/3.wav", "owl/silent/4.wav")
    manifest = read_manifest(tmp_path, negatives=[tmp_path / "noise", tmp_path / "owl" / "silent", tmp_path / "noise"])
    assert names_by_clip(manifest) == {
        "fox/1.wav": ("fox",),
        "noise/2.wav": (),
        "owl/3.wav": ("owl",),
        "owl/silent/4.wav": (),
    }
    assert manifest.labels.names == ("fox", "owl")


def test_folders_of_one_name(tmp_path):
    put(tmp_path, "set/owl/1.wav", "a/quiet/2.wav", "b/quiet/2.wav")
    manifest = read_manifest(tmp_path / "set", negatives=[tmp_path / "a/quiet", tmp_path / "b/quiet"])
    assert [clip.id for clip in manifest.clips] == ["b/quiet/2.wav", "owl/1.wav", "quiet/2.wav"]


def test_negatives_that_cannot_be_used(tmp_path):
    put(tmp_path, "set/owl/1.wav", "set/fox/2.wav", "empty/notes.txt", "tables/1.wav", "tables/2.wav")
    for folder, message in (("empty", "holds no recordings"), ("none", "expected a folder, found none")):
        with pytest.raises(DataError, match=f"--negatives .*{folder}: {message}"):
            read_manifest(tmp_path / "set", negatives=[tmp_path / folder])
    with pytest.raises(DataError, match=r"every recording of the data set .* is a negative: no class is left"):
        read_manifest(tmp_path / "set", negatives=[tmp_path / "set"])
    write(tmp_path / "tables/t.csv", "path,label\n1.wav,owl\n2.wav,\n")
    with pytest.raises(DataError, match=r"1\.wav has labels in the data set"):
        read_manifest(tmp_path / "tables", negatives=[tmp_path / "tables"])


def test_negatives_are_dealt_out_to_splits_and_folds(tmp_path):
    put(tmp_path, *(f"set/train/owl/{n}.wav" for n in range(6)), *(f"set/test/owl/{n}.wav" for n in range(3)))
    put(tmp_path, *(f"quiet/{n}.wav" for n in range(12)))
    manifest = read_manifest(tmp_path / "set", negatives=[tmp_path / "quiet"])
    split = {clip.id: clip.split for clip in manifest.clips if not clip.labels}
    assert Counter(split.values()) == {"train": 8, "test": 4}
    assert manifest == read_manifest(tmp_path / "set", negatives=[tmp_path / "quiet"]), "the same every time"
    owls = [clip for clip in manifest.clips if clip.labels]
    folds = replace(manifest, clips=tuple(replace(c, split=None, fold=n % 3) for n, c in enumerate(owls)))
    dealt = add_negatives(folds, [tmp_path / "quiet"])
    assert Counter(c.fold for c in dealt.clips if not c.labels) == {0: 4, 1: 4, 2: 4}


def test_negatives_are_divided_like_a_class(tmp_path):
    put(tmp_path, *(f"set/owl/{n}.wav" for n in range(20)), *(f"quiet/{n}.wav" for n in range(40)))
    divided = divide(read_manifest(tmp_path / "set", negatives=[tmp_path / "quiet"]), share=0.25)
    held_out = divided.only(split="validation")
    assert (len(held_out), held_out.negatives) == (15, 10)
    assert not divided.targets()[[not c.labels for c in divided.clips]].any()


def test_negatives_are_packed(tmp_path):
    (tmp_path / "loose").mkdir()
    manifest = make_loose(tmp_path / "loose")
    assert manifest.negatives
    pack_data_set(manifest, tmp_path / "packed")
    packed = read_packed(tmp_path / "packed")
    assert packed.negatives == manifest.negatives
    assert [known(clip) for clip in packed.clips] == [known(clip) for clip in manifest.clips]
