"""Tables of published sets as they lie: tiny copies of their folders, with the headers and quotes of the originals.

The kind: a user unpacks a published set and names its folder or its table. Files are apart from tables, without
extension, in folders by fold or class; times may be those of another recording; commas separate, or belong to names.
"""

from pathlib import Path

import pytest
from test_tables import names_by_clip, put, write

from spectag.data.layouts import read_manifest
from spectag.errors import DataError
from spectag.labels import LabelSet

URBAN = """slice_file_name,fsID,start,end,salience,fold,classID,class
100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark
100263-2-0-117.wav,100263,58.5,62.5,1,5,2,children_playing
180937-7-3-27.wav,180937,17.75,21.75,1,1,7,jackhammer
"""


@pytest.mark.parametrize("data", ["U", "U/metadata", "U/metadata/UrbanSound8K.csv"])
def test_urbansound8k(tmp_path, data):
    """``start`` and ``end`` are times of the recording that a file was cut from: the file is heard as a whole."""
    put(
        tmp_path,
        "U/audio/fold5/100032-3-0-0.wav",
        "U/audio/fold5/100263-2-0-117.wav",
        "U/audio/fold1/180937-7-3-27.wav",
    )
    write(tmp_path / "U/metadata/UrbanSound8K.csv", URBAN)
    manifest = read_manifest(tmp_path / data)
    assert manifest.labels.names == ("children_playing", "dog_bark", "jackhammer")
    assert [(c.path.parent.name, c.fold, c.group, c.start, c.end) for c in manifest.clips] == [
        ("fold1", 1, "180937", None, None),
        ("fold5", 5, "100032", None, None),
        ("fold5", 5, "100263", None, None),
    ]
    assert (manifest.missing, manifest.notes) == ((), ())


def test_urbansound8k_without_its_folders(tmp_path):
    """As it lies on Kaggle."""
    put(tmp_path, "fold5/100032-3-0-0.wav", "fold5/100263-2-0-117.wav", "fold1/180937-7-3-27.wav")
    write(tmp_path / "UrbanSound8K.csv", URBAN)
    assert [c.id.split("/")[0] for c in read_manifest(tmp_path).clips] == ["fold1", "fold5", "fold5"]


@pytest.mark.parametrize(
    "folders",
    [
        ("FSD50K.ground_truth", "FSD50K.dev_audio", "FSD50K.eval_audio"),
        ("labels", "clips/dev", "clips/eval"),
    ],
)
def test_fsd50k(tmp_path, folders):
    tables, dev, evaluation = folders
    put(tmp_path, f"{dev}/64760.wav", f"{dev}/16399.wav", f"{evaluation}/37199.wav")
    write(tmp_path / tables / "vocabulary.csv", "0,Electric_guitar,/m/02sgy\n1,Guitar,/m/0342h\n2,Siren,/m/03kmc9\n")
    write(
        tmp_path / tables / "dev.csv",
        'fname,labels,mids,split\n64760,"Electric_guitar,Guitar","/m/02sgy,/m/0342h",train\n16399,Siren,/m/03kmc9,val\n',
    )
    write(tmp_path / tables / "eval.csv", 'fname,labels,mids\n37199,"Electric_guitar,Guitar","/m/02sgy,/m/0342h"\n')
    manifest = read_manifest(tmp_path)
    assert manifest.layout == "FSD50K"
    assert manifest.labels == LabelSet(("Electric_guitar", "Guitar", "Siren"), ("/m/02sgy", "/m/0342h", "/m/03kmc9"))
    assert [(c.id, c.labels, c.split) for c in manifest.clips] == [
        (f"{dev}/16399.wav", (2,), "validation"),
        (f"{dev}/64760.wav", (0, 1), "train"),
        (f"{evaluation}/37199.wav", (0, 1), "test"),
    ]
    if "FSD" in tables:
        assert [len(c.labels) for c in read_manifest(tmp_path / tables / "dev.csv").clips] == [1, 2]


def test_vggsound(tmp_path):
    """No header; a name may hold commas."""
    put(tmp_path, "video/---g-f_I2yQ_000001.mp4", "video/--0PQM4-hqg_000030.wav", "x/AbCdEfGhIjK_12.wav")
    table = write(
        tmp_path / "vggsound.csv",
        "---g-f_I2yQ,1,people marching,test\n--0PQM4-hqg,30,waterfall burbling,train\n"
        'AbCdEfGhIjK,12,"railroad car, train wagon",train\nAAAAAAAAAAA,7,people marching,train\n',
    )
    for data in (tmp_path, table):
        manifest = read_manifest(data)
        assert manifest.layout == "VGGSound"
        assert manifest.labels.names == ("people marching", "railroad car, train wagon", "waterfall burbling")
        assert {c.path.name: (c.split, c.group) for c in manifest.clips} == {
            "---g-f_I2yQ_000001.mp4": ("test", "---g-f_I2yQ"),
            "--0PQM4-hqg_000030.wav": ("train", "--0PQM4-hqg"),
            "AbCdEfGhIjK_12.wav": ("train", "AbCdEfGhIjK"),
        }
        assert manifest.missing == ("AAAAAAAAAAA_000007",)
    write(table, table.read_text() + "AAAAAAAAAAA,seven,a,train\n")
    with pytest.raises(
        DataError, match=r'vggsound\.csv, line 5: expected YTID,START,"label",SPLIT; got AAAAAAAAAAA,seven'
    ):
        read_manifest(table)


def test_birdclef(tmp_path):
    """Birds in the background are heard, too; the empty list is that there are none."""
    put(tmp_path, "train_audio/asbfly/XC134896.ogg", "train_audio/asbfly/XC164848.ogg", "train_audio/ashdro1/XC34.ogg")
    write(
        tmp_path / "train_metadata.csv",
        "primary_label,secondary_labels,type,latitude,longitude,scientific_name,common_name,author,license,rating,url,"
        "filename\n"
        "asbfly,[],['call'],39.2297,118.1987,Muscicapa dauurica,Asian Brown Flycatcher,M,CC,5.0,u,asbfly/XC134896.ogg\n"
        "asbfly,\"['ashdro1', 'barswa']\",['song'],1,1,Muscicapa,Asian,M,CC,2.5,u,asbfly/XC164848.ogg\n"
        "ashdro1,[''],[''],1,1,Dicrurus,Ashy Drongo,M,CC,2.5,u,ashdro1/XC34.ogg\n",
    )
    manifest = read_manifest(tmp_path)
    assert names_by_clip(manifest) == {
        "train_audio/asbfly/XC134896.ogg": ("asbfly",),
        "train_audio/asbfly/XC164848.ogg": ("asbfly", "ashdro1", "barswa"),
        "train_audio/ashdro1/XC34.ogg": ("ashdro1",),
    }


def test_birdset(tmp_path):
    """Windows of a soundscape, as ``to_csv`` and ``to_json`` of ``datasets`` write them; some are silent."""
    put(tmp_path, "HSN_001.ogg")
    rows = (
        "filepath,start_time,end_time,ebird_code,ebird_code_multilabel,ebird_code_secondary,length\n"
        "HSN_001.ogg,0,5,,[],,\nHSN_001.ogg,5,10,,['amepip' 'dusfly'],,\nHSN_001.ogg,10,15,,['gcrfin'],,\n"
    )
    manifest = read_manifest(write(tmp_path / "test_5s.csv", rows))
    assert names_by_clip(manifest) == {
        "HSN_001.ogg#0-5": (),
        "HSN_001.ogg#5-10": ("amepip", "dusfly"),
        "HSN_001.ogg#10-15": ("gcrfin",),
    }
    assert manifest.negatives == 1


STRONG = "filename\tonset\toffset\tevent_label\n"


def test_desed(tmp_path):
    """A table per part, named by folders; the same file name in two parts; a file without events."""
    put(tmp_path, "audio/train/weak/Ya_0.000_10.000.wav", "audio/validation/validation/Yb_350.000_360.000.wav")
    put(
        tmp_path,
        *(f"audio/{a}/{b}/soundscapes/1001.wav" for a, b in (("train", "syn_train"), ("validation", "syn_val"))),
    )
    put(tmp_path, "audio/validation/validation/Yc_1.000_11.000.wav", "audio/train/unlabel_in_domain/Yd.wav")
    write(tmp_path / "metadata/train/weak.tsv", "filename\tevent_labels\nYa_0.000_10.000.wav\tSpeech,Dishes\n")
    write(tmp_path / "metadata/train/unlabel_in_domain.tsv", "filename\nYd.wav\n")
    for part in ("train/syn_train", "validation/syn_val"):
        write(tmp_path / f"metadata/{part}/soundscapes.tsv", f"{STRONG}1001.wav\t0.5\t1.25\tDog\n")
    table = write(
        tmp_path / "metadata/validation/validation.tsv",
        f"{STRONG}Yb_350.000_360.000.wav\t0.0\t9.971\tFrying\nYb_350.000_360.000.wav\t0.0\t9.971\tSpeech\n"
        "Yb_350.000_360.000.wav\t1.2\t3.4\tSpeech\nYc_1.000_11.000.wav\t\t\t\n",
    )
    manifest = read_manifest(tmp_path)
    assert [(c.id, c.split) for c in manifest.clips] == [
        ("audio/train/syn_train/soundscapes/1001.wav#0.5-1.25", "train"),
        ("audio/train/weak/Ya_0.000_10.000.wav", "train"),
        ("audio/validation/syn_val/soundscapes/1001.wav#0.5-1.25", "validation"),
        ("audio/validation/validation/Yb_350.000_360.000.wav#0-9.971", "validation"),
        ("audio/validation/validation/Yb_350.000_360.000.wav#1.2-3.4", "validation"),
        ("audio/validation/validation/Yc_1.000_11.000.wav", "validation"),
    ]
    names = list(names_by_clip(manifest).values())
    assert names == [("Dog",), ("Dishes", "Speech"), ("Dog",), ("Frying", "Speech"), ("Speech",), ()]
    alone = read_manifest(table)
    assert [c.path.name for c in alone.clips] == ["Yb_350.000_360.000.wav"] * 2 + ["Yc_1.000_11.000.wav"]


def test_audioset_strong(tmp_path):
    """Segments by video and start in milliseconds; labels by id."""
    put(tmp_path, "wav/Yb0RFKhbpFJA_30.000.wav", "wav/-0eVbLUxl4c_40000.wav")
    rows = (
        "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
        "b0RFKhbpFJA_30000\t0.000\t10.000\t/m/03m9d0z\nb0RFKhbpFJA_30000\t4.753\t5.720\t/m/09x0r\n"
        "-0eVbLUxl4c_40000\t0.000\t1.000\t/t/dd99999\n"
    )
    write(tmp_path / "audioset_train_strong.tsv", rows)
    manifest = read_manifest(tmp_path)
    assert not manifest.missing
    assert manifest.labels.names == ("/m/03m9d0z", "/m/09x0r", "/t/dd99999"), "one is not of the 527"
    assert [c.id for c in manifest.clips] == [
        "wav/-0eVbLUxl4c_40000.wav#0-1",
        "wav/Yb0RFKhbpFJA_30.000.wav#0-10",
        "wav/Yb0RFKhbpFJA_30.000.wav#4.753-5.72",
    ]
    write(
        tmp_path / "mid_to_display_name.tsv", "/m/03m9d0z\tWind\n/m/09x0r\tSpeech\n/t/dd99999\tHiss, fizz\n/m/x\tNo\n"
    )
    labels = read_manifest(tmp_path).labels
    assert (labels.names, labels.ids[0]) == (("Hiss, fizz", "Speech", "Wind"), "/t/dd99999")
    write(tmp_path / "audioset_train_strong.tsv", rows.replace("/t/dd99999", "/m/04rlf"))
    (tmp_path / "mid_to_display_name.tsv").unlink()
    assert read_manifest(tmp_path).labels == LabelSet.audioset()


def test_freefield1010(tmp_path):
    """One column of 0 and 1: a detector with negatives."""
    put(tmp_path, "wav/64486.wav", "wav/2525.wav")
    write(tmp_path / "ff1010bird_metadata.csv", "itemid,hasbird\n64486,0\n2525,1\n")
    manifest = read_manifest(tmp_path)
    assert names_by_clip(manifest) == {"wav/2525.wav": ("hasbird",), "wav/64486.wav": ()}


def test_a_name_that_could_be_two_files_is_refused(tmp_path):
    put(tmp_path, "a/1.wav", "b/1.wav", "a/2.mp3", "a/2.wav")
    with pytest.raises(
        DataError, match=r"t\.csv, line 2, fname: 1 may be .*a/1\.wav or .*b/1\.wav: write its folder, too"
    ):
        read_manifest(write(tmp_path / "t.csv", "fname,label\n1,dog\na/2.wav,cat\n"))
    manifest = read_manifest(write(tmp_path / "t.csv", "fname,label\na/1,dog\nb/1,dog\na/2.wav,cat\n"))
    assert len(manifest) == 3


def test_a_file_elsewhere_is_not_taken_for_a_missing_one_in_another_folder(tmp_path):
    put(tmp_path, "fold2/a.wav", "fold1/b.wav")
    manifest = read_manifest(write(tmp_path / "t.csv", "path,label\nfold1/a.wav,dog\nfold1/b.wav,cat\n"))
    assert manifest.missing == ("fold1/a.wav",)


def test_paths_of_other_systems_do_not_leave_the_data_set(tmp_path):
    put(tmp_path, "set/sub/a.wav", "secret/b.wav")
    manifest = read_manifest(write(tmp_path / "set/t.csv", "path,label\na.wav,dog\nsecret/b.wav,cat\n"))
    assert ([c.id for c in manifest.clips], manifest.missing) == (["sub/a.wav"], ("secret/b.wav",))
    assert Path(manifest.clips[0].path).is_file()
