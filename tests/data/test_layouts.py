"""Layouts on disk -> one table of clips. Nothing is decoded: empty files will do."""

import subprocess
import sys
from pathlib import Path

import pytest

from spectag.data.layouts import LAYOUTS, read_manifest
from spectag.errors import DataError, SpectagWarning


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def ids(manifest) -> list[str]:
    return [clip.id for clip in manifest.clips]


def test_esc10(tmp_path):
    put(tmp_path, "001 - Dog bark/1-100032-A.wav", "001 - Dog bark/2-100032-B.WAV", "002 - Rain/5-17367-A.wav")
    manifest = read_manifest(tmp_path)
    assert manifest.layout == "ESC-10"
    assert manifest.labels.names == ("Dog bark", "Rain")
    assert manifest.folds == (1, 2, 5)
    assert [clip.labels for clip in manifest.clips] == [(0,), (0,), (1,)]
    assert len(manifest.only(fold=2)) == 1
    assert [c.path.name for c in manifest.excluding(["1-100032-A.wav"]).clips] == ["5-17367-A.wav"], "takes go together"
    put(tmp_path, "002 - Rain/other.wav")
    with pytest.raises(DataError, match=r"other\.wav: expected an ESC file name"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["clips.parquet", "clips.PARQUET", "clips.feather", "clips.xlsx", "clips.ods"])
def test_tables_that_only_other_libraries_read(tmp_path, name):
    """The kind: a table that pandas or a spreadsheet wrote; the message listed layouts, and not how to go on."""
    put(tmp_path, "audio.txt", name)
    kind = {"parquet": "parquet", "feather": "feather"}.get(name.lower()[6:], "excel")
    advice = f"pandas.read_{kind}('{tmp_path / name}').to_json('{tmp_path}/clips.jsonl', orient='records', lines=True)"
    for data in (tmp_path / name, tmp_path):
        with pytest.raises(DataError) as caught:
            read_manifest(data)
        assert str(caught.value).endswith(f"write {name} as clips.jsonl, for example with pandas: {advice}")


def test_the_advice_for_a_table_of_pandas(tmp_path):
    """As typed; lists, empty cells and paths in other letters come through."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    put(tmp_path, "é/1.wav", "é/2.wav", "é/3.wav")
    rows = {"path": ["é/1.wav", "é/2.wav", "é/3.wav"], "labels": [["owl", "fox"], ["owl"], []]}
    pandas.DataFrame(rows).to_parquet(tmp_path / "clips.parquet")
    with pytest.raises(DataError) as caught:
        read_manifest(tmp_path / "clips.parquet")
    exec(str(caught.value).rsplit("with pandas: ", 1)[1], {"pandas": pandas})
    manifest = read_manifest(tmp_path / "clips.jsonl")
    assert (manifest.labels.names, [clip.labels for clip in manifest.clips]) == (("fox", "owl"), [(0, 1), (1,), ()])


def esc50(root: Path, rows: str) -> Path:
    put(root, "meta/esc50.csv", "audio/1-1-A-0.wav", "audio/2-2-A-1.wav")
    (root / "meta" / "esc50.csv").write_text(f"filename,fold,target,category,src_file\n{rows}")
    return root


def test_esc50(tmp_path):
    esc50(tmp_path, "1-1-A-0.wav,1,0,dog,1\n2-2-A-1.wav,2,1,rooster,2\n3-3-A-1.wav,2,1,rooster,3\n")
    manifest = read_manifest(tmp_path)
    assert (manifest.layout, manifest.labels.names, manifest.folds) == ("ESC-50", ("dog", "rooster"), (1, 2))
    assert (ids(manifest), manifest.missing) == (["audio/1-1-A-0.wav", "audio/2-2-A-1.wav"], ("audio/3-3-A-1.wav",))
    assert manifest.clips[0].group == "1"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1-1-A-0.wav,one,0,dog,1\n", r"esc50\.csv, line 2: expected the columns"),
        ("1-1-A-0.wav,1,0,dog,1\n2-2-A-1.wav,1,0,cat,2\n", r"line 3: target 0 is 'dog' above, here 'cat'"),
        ("1-1-A-0.wav,1,1,dog,1\n", r"expected targets 0 to 0 without gaps, got \[1\]"),
        ("9-9-A-0.wav,1,0,dog,1\n", r"none of the 1 files that it lists exists, e\.g\. audio/9-9-A-0\.wav"),
    ],
)
def test_esc50_that_makes_no_sense(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        read_manifest(esc50(tmp_path, rows))


def test_esc50_cannot_point_outside(tmp_path):
    esc50(tmp_path / "data", "../../1-1-A-0.wav,1,0,dog,1\n")
    put(tmp_path, "1-1-A-0.wav")
    assert read_manifest(tmp_path / "data").clips[0].path == tmp_path / "data" / "audio" / "1-1-A-0.wav"


def test_speech_commands(tmp_path):
    put(tmp_path, "go/a_nohash_0.wav", "go/b_nohash_0.wav", "up/a_nohash_1.wav", "_background_noise_/hum.wav")
    (tmp_path / "validation_list.txt").write_text("go/b_nohash_0.wav\n")
    manifest = read_manifest(tmp_path)
    assert (manifest.layout, manifest.labels.names) == ("Speech Commands", ("go", "up"))
    assert manifest.splits == ("train", "validation")
    assert ids(manifest.only(split="validation")) == ["go/b_nohash_0.wav"]
    assert {c.group for c in manifest.clips} == {"a", "b"}
    (tmp_path / "testing_list.txt").write_text("up/a_nohash_1.wav\n")
    assert ids(read_manifest(tmp_path).only(split="test")) == ["up/a_nohash_1.wav"]


def test_speech_commands_12_way(tmp_path):
    put(tmp_path, "_silence_/0.wav", "_unknown_/a_nohash_0.wav", "yes/a_nohash_1.wav", "_background_noise_/hum.wav")
    manifest = read_manifest(tmp_path)
    assert manifest.layout == "Speech Commands, 12-way test"
    assert manifest.labels.names == ("_silence_", "_unknown_", "yes")
    assert manifest.splits == ("test",)
    put(tmp_path, "marvin/a_nohash_1.wav")
    assert read_manifest(tmp_path).layout == "a folder per class"


def test_folder_per_class(tmp_path):
    put(tmp_path, "owl/x.wav", "fox/y.FLAC", "fox/._y.flac", "fox/notes.txt", ".cache/z.wav", "docs/readme.md")
    manifest = read_manifest(tmp_path)
    assert (manifest.labels.names, manifest.folds, manifest.splits) == (("fox", "owl"), (), ())
    assert ids(manifest) == ["fox/y.FLAC", "owl/x.wav"]
    (tmp_path / "durations.csv").write_text("filename,seconds\nowl/x.wav,1\n")
    (tmp_path / "info.json").write_text('{"name": "mine"}')
    assert read_manifest(tmp_path).layout == "a folder per class", "neither file has labels"


def test_a_class_may_be_called_train(tmp_path):
    put(tmp_path, "train/x.wav", "aeroplane/y.wav")
    assert read_manifest(tmp_path).labels.names == ("aeroplane", "train")


def test_folders_of_splits(tmp_path):
    put(tmp_path, "Training/dog/a.wav", "val/dog/b.wav", "test/cat/c.wav", "test/unlabelled.txt", "docs/readme.md")
    manifest = read_manifest(tmp_path)
    assert (manifest.layout, manifest.labels.names) == ("folders of classes in folders of splits", ("cat", "dog"))
    assert [(c.id, c.labels, c.split) for c in manifest.clips] == [
        ("Training/dog/a.wav", (1,), "train"),
        ("test/cat/c.wav", (0,), "test"),
        ("val/dog/b.wav", (1,), "validation"),
    ]


def test_unlabelled_splits_are_no_classes(tmp_path):
    put(tmp_path, "train/a.wav", "test/b.wav")
    with pytest.raises(DataError, match="in no known layout"):
        read_manifest(tmp_path)
    put(tmp_path, "validation/dog/c.wav")
    manifest = read_manifest(tmp_path)
    assert ids(manifest) == ["validation/dog/c.wav"]
    assert manifest.notes == ("2 recordings are in no class: test/b.wav, train/a.wav",)


@pytest.mark.parametrize("names", [(), ("only.wav",), ("audio/a.wav",), ("one/a.wav", "clips.csv")])
def test_unknown_layout_lists_the_known(tmp_path, names):
    put(tmp_path, *names)
    with pytest.raises(DataError, match="no known layout; known are: packed ") as caught:
        read_manifest(tmp_path)
    assert all(f"{layout.name} ({layout.looks})" in str(caught.value) for layout in LAYOUTS)
    assert "\n" not in str(caught.value)


def test_neither_directory_nor_table(tmp_path):
    with pytest.raises(DataError, match="found nothing"):
        read_manifest(tmp_path / "nowhere")
    put(tmp_path, "a.wav")
    with pytest.raises(DataError, match="found a file in no known layout"):
        read_manifest(tmp_path / "a.wav")


def test_relative_paths_and_the_working_directory(tmp_path, monkeypatch):
    put(tmp_path, "data/owl/x.wav", "data/fox/y.wav")
    monkeypatch.chdir(tmp_path / "data")
    assert ids(read_manifest(".")) == ids(read_manifest("../data")) == ["fox/y.wav", "owl/x.wav"]


@pytest.mark.parametrize(("name", "layout"), [("esc50", "ESC-50"), ("esc10", "ESC-10"), ("speech_commands", None)])
def test_real_ones(shared, name, layout):
    manifest = read_manifest(shared / "data" / name)
    assert manifest.layout == (layout or "Speech Commands")
    assert len(manifest) > 100
    assert not manifest.missing
    assert all(clip.group for clip in manifest.clips)


def test_reading_needs_neither_torch_nor_sklearn(tmp_path):
    put(tmp_path, "owl/x.wav", "owl/y.wav", "fox/y.wav", "fox/z.wav")
    code = (
        "import sys; from spectag.data.layouts import read_manifest; from spectag.data.splits import divide\n"
        f"divide(read_manifest({str(tmp_path)!r})); assert not {{'torch', 'sklearn'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=900)


def test_recordings_below_class_folders_belong_to_the_class(tmp_path):
    """By site or date, as field seasons lie on disks."""
    put(tmp_path, "dog/a.wav", "dog/2023/b.wav", "frog/site1/may/c.wav")
    manifest = read_manifest(tmp_path)
    assert manifest.labels.names == ("dog", "frog")
    assert [clip.id for clip in manifest.clips] == ["dog/2023/b.wav", "dog/a.wav", "frog/site1/may/c.wav"]


def test_a_stray_file_or_folder_does_not_hide_the_parts(tmp_path):
    put(
        tmp_path,
        "train/dog/a.wav",
        "train/cat/b.wav",
        "test/dog/c.wav",
        "test/cat/d.wav",
        "train/loose.wav",
        "raw/e.wav",
    )
    manifest = read_manifest(tmp_path)
    assert manifest.notes == ("2 recordings are in no class: raw/e.wav, train/loose.wav",)
    assert manifest.splits == ("test", "train")
    assert (len(manifest), manifest.labels.names) == (4, ("cat", "dog"))


def test_what_spectag_tag_wrote_is_not_what_the_clips_are(tmp_path):
    put(tmp_path, "dog/a.wav", "cat/b.wav")
    (tmp_path / "tags.csv").write_text("path,duration,rank,label,score,error\ndog/a.wav,1,1,Rain,0.9,\n")
    (tmp_path / "tags.jsonl").write_text('{"path": "dog/a.wav", "tags": [{"label": "Rain", "score": 0.9}]}\n')
    assert read_manifest(tmp_path).labels.names == ("cat", "dog")


def test_a_table_that_is_not_utf8_is_told(tmp_path):
    put(tmp_path, "dog/a.wav", "cat/b.wav")
    (tmp_path / "metadata.csv").write_bytes("file_name,label\ndog/a.wav,Grünfink\n".encode("cp1252"))
    with pytest.warns(SpectagWarning, match=r"metadata\.csv: ignored, since it is not UTF-8"):
        assert read_manifest(tmp_path).layout == "a folder per class"


def test_a_main_table_beside_one_of_a_part(tmp_path):
    put(tmp_path, "a.wav")
    for name in ("annotations.csv", "annotations_test.csv"):
        (tmp_path / name).write_text("path,label\na.wav,dog\n")
    with pytest.raises(DataError, match=r"found annotations\.csv, annotations_test\.csv: name one"):
        read_manifest(tmp_path)


def test_a_duration_beside_a_start(tmp_path):
    put(tmp_path, "a.wav")
    (tmp_path / "clips.csv").write_text("path,label,start,duration\na.wav,dog,0,1\na.wav,cat,1,0.5\n")
    assert [(clip.start, clip.end) for clip in read_manifest(tmp_path).clips] == [(0, 1), (1, 1.5)]
    (tmp_path / "clips.csv").write_text("path,label,offset,duration\na.wav,dog,5,1\na.wav,cat,7,1\n")
    assert [(clip.start, clip.end) for clip in read_manifest(tmp_path).clips] == [(5, 6), (7, 8)]


def test_a_group_holds_for_all_pieces_of_its_file(tmp_path):
    put(tmp_path, "a.wav")
    (tmp_path / "clips.csv").write_text("path,label,start,end,group\na.wav,dog,0,1,s1\na.wav,cat,1,2,\n")
    assert {clip.group for clip in read_manifest(tmp_path).clips} == {"s1"}


def test_a_quote_that_is_not_closed(tmp_path):
    put(tmp_path, "a.wav", "b.wav")
    (tmp_path / "clips.csv").write_text('path,label\na.wav,"dog\nb.wav,cat\n')
    with pytest.raises(DataError, match="a double quote above is not closed"):
        read_manifest(tmp_path)


def test_words_of_the_lists_with_spaces_and_dots(tmp_path):
    put(tmp_path, "hello world/a_nohash_0.wav", "go/b_nohash_0.wav", "go/c_nohash_0.wav")
    (tmp_path / "validation_list.txt").write_text("hello world/a_nohash_0.wav\n./go/b_nohash_0.wav\ngo/gone.wav\n")
    manifest = read_manifest(tmp_path)
    assert manifest.notes == ("1 clips of the validation and testing lists do not exist, e.g. go/gone.wav",)
    assert [clip.id for clip in manifest.only(split="train").clips] == ["go/c_nohash_0.wav"]


@pytest.mark.parametrize("name", ["_noise", "__", "-dog", "dog,rain", "[dog]", "dog|rain", "dog bark", "_dog_", "0"])
def test_any_folder_is_a_class(tmp_path, name):
    """The kind: signs that programs like to read as something else. A folder has one name, and is one class."""
    put(tmp_path, f"{name}/a.wav", "cat/b.wav")
    manifest = read_manifest(tmp_path)
    assert set(manifest.labels.names) == {name, "cat"}
    assert (len(manifest), manifest.notes) == (2, ())


def test_names_that_differ_in_case_or_spaces_only(tmp_path):
    names = ("C", "c", "dog bark", "dog_bark")
    put(tmp_path, *(f"{name}/1.wav" for name in names))
    manifest = read_manifest(tmp_path)
    assert manifest.labels.names == names
    assert [manifest.labels.names[clip.labels[0]] for clip in manifest.clips] == [
        c.path.parent.name for c in manifest.clips
    ]
    rows = "".join(f"{name}/1.wav,{name.upper()}\n" for name in names)
    (tmp_path / "t.csv").write_text(f"path,label\n{rows}{rows.lower()}")
    assert read_manifest(tmp_path / "t.csv").labels.names == ("C", "DOG BARK", "DOG_BARK", "c", "dog bark", "dog_bark")


def test_what_a_folder_layout_leaves_out_is_told(tmp_path):
    """The kind: recordings that are not trained on, and nobody says so."""
    put(tmp_path, "dog/a.wav", "cat/b.wav", "cat/c.xyz", "cat/d.XYZ", "cat/readme", "cat/.hidden.txt", "docs/readme.md")
    put(tmp_path, "loose.wav", "_background_noise_/hum.wav", "_background_noise_/README.md", ".trash/e.wav")
    manifest = read_manifest(tmp_path)
    assert manifest.labels.names == ("cat", "dog")
    assert manifest.notes == (
        "3 recordings are in no class: .trash/e.wav, _background_noise_/hum.wav, loose.wav",
        "no recordings are in docs",
        "3 files are not taken for recordings: .xyz 2, no extension 1",
    )


def test_what_tables_leave_out_is_told(tmp_path):
    put(tmp_path, "audio/a.wav", "audio/b.wav", "audio/c.wav", "elsewhere/d.wav")
    (tmp_path / "t.csv").write_text("path,label,species\naudio/a.wav,song,owl\naudio/b.wav,call,owl\n")
    assert read_manifest(tmp_path).notes == (
        "1 recording beside the others is in no table: c.wav",
        "t.csv: labels are taken from the column label; not used: species",
    )
    (tmp_path / "t.csv").write_text("path,label,target\naudio/a.wav,song,0\naudio/b.wav,call,1\naudio/c.wav,call,1\n")
    assert read_manifest(tmp_path).notes == (), "the same in other words"


def test_what_published_layouts_leave_out_is_told(tmp_path):
    esc50(tmp_path / "esc50", "1-1-A-0.wav,1,0,dog,1\n")
    assert read_manifest(tmp_path / "esc50").notes == ("1 recording beside the others is in no table: 2-2-A-1.wav",)
    put(tmp_path / "s", "go/a_nohash_0.wav", "up/a_nohash_1.wav", "_background_noise_/hum.wav", "testing_list.txt")
    assert read_manifest(tmp_path / "s").notes == ("1 recording is in no class: _background_noise_/hum.wav",)
    put(tmp_path / "a", "abcdefghijk.wav", "other.wav")
    (tmp_path / "a" / "eval_segments.csv").write_text('abcdefghijk, 30, 40, "/m/09x0r"\n')
    assert read_manifest(tmp_path / "a").notes == ("1 recording beside the others is in no table: other.wav",)


COMPOSED, DECOMPOSED = "Gr\u00fcnfink", "Gru\u0308nfink"


def test_composed_and_decomposed_folders_are_one_class(tmp_path):
    """The kind: a name that was typed on one system and stored by another is the same name to its reader."""
    put(tmp_path, f"train/{COMPOSED}/a.wav", f"test/{DECOMPOSED}/b.wav", "train/owl/c.wav")
    manifest = read_manifest(tmp_path)
    assert manifest.labels.names == (COMPOSED, "owl")
    assert [(c.id, c.labels, c.path.is_file()) for c in manifest.clips] == [
        (f"test/{COMPOSED}/b.wav", (0,), True),
        (f"train/{COMPOSED}/a.wav", (0,), True),
        ("train/owl/c.wav", (1,), True),
    ]


def test_composed_and_decomposed_files_of_one_name_stay_two(tmp_path):
    put(tmp_path, f"{COMPOSED}/a.wav", f"{DECOMPOSED}/a.wav", "owl/c.wav")
    manifest = read_manifest(tmp_path)
    assert len(set(ids(manifest))) == 3
    assert manifest.labels.names == (COMPOSED, "owl")


@pytest.mark.parametrize("on_disk", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("in_table", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("name", ["t.csv", "t.json"])
def test_tables_and_disks_of_other_forms(tmp_path, on_disk, in_table, absolute, name):
    put(tmp_path, f"{on_disk}/{on_disk}.wav", "b.wav")
    path = f"{tmp_path}/{in_table}/{in_table}.wav" if absolute else f"{in_table}/{in_table}.wav"
    if name == "t.csv":
        text = f"path,label,group,split\n{path},{in_table},{in_table},train\nb.wav,{COMPOSED},{DECOMPOSED},train\n"
    else:
        text = f'{{"data": [{{"wav": "{path}", "labels": "{in_table}"}}, {{"wav": "b.wav", "labels": "{COMPOSED}"}}]}}'
    (tmp_path / name).write_text(text, encoding="utf-8")
    manifest = read_manifest(tmp_path)
    assert (manifest.missing, manifest.labels.names) == ((), (COMPOSED,))
    assert [clip.id for clip in manifest.clips] == [f"{COMPOSED}/{COMPOSED}.wav", "b.wav"]
    assert all(clip.path.is_file() for clip in manifest.clips)
    assert len({clip.group for clip in manifest.clips}) == 1 or name == "t.json"
    assert len(manifest.excluding([f"{in_table}.wav"])) == (0 if name == "t.csv" else 1), "groups go together"


def test_lists_of_speech_commands_of_another_form(tmp_path):
    put(tmp_path, f"{DECOMPOSED}/a_nohash_0.wav", "up/b_nohash_0.wav")
    (tmp_path / "testing_list.txt").write_text(f"{COMPOSED}/a_nohash_0.wav\n", encoding="utf-8")
    manifest = read_manifest(tmp_path)
    assert ([clip.split for clip in manifest.clips], manifest.notes) == (["test", "train"], ())


def test_numbered_classes_that_are_not_esc10(tmp_path):
    put(tmp_path, "001 - Blackbird/a.wav", "002 - Robin/b.wav")
    assert read_manifest(tmp_path).layout == "a folder per class"
