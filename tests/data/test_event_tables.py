"""Tables with onsets and offsets: clips that are cut out of a file, or events of one clip."""

from pathlib import Path

import pytest

from spectag.data.events import join_events
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Heard
from spectag.errors import DataError

HEADER = "filename\tonset\toffset\tevent_label\n"


def write(folder: Path, rows: str, header: str = HEADER) -> Path:
    for name in ("a.wav", "b.wav", "c.wav"):
        (folder / name).touch()
    (folder / "events.tsv").write_text(header + rows)
    return folder


def test_rows_of_a_file_become_one_clip(tmp_path):
    """DCASE's strong labels. Events of one label that touch are one; a file without events is a negative."""
    rows = "b.wav\t1.5\t2\tdog\na.wav\t0\t1\tdog\na.wav\t3\t4\tcat\na.wav\t0.5\t2\tdog\nc.wav\t\t\t\n"
    manifest = read_manifest(write(tmp_path, rows))
    assert [clip.id for clip in manifest.clips] == ["a.wav#0-1", "a.wav#0.5-2", "a.wav#3-4", "b.wav#1.5-2", "c.wav"]
    joined = read_manifest(tmp_path, events=True)
    assert joined == join_events(manifest)
    assert joined.labels.names == ("cat", "dog")
    a, b, c = joined.clips
    assert (a.id, a.labels, a.start, a.end, a.source) == ("a.wav", (0, 1), None, None, tmp_path / "a.wav")
    assert a.events == (Heard(1, 0.0, 2.0), Heard(0, 3.0, 4.0))
    assert (b.id, b.events) == ("b.wav", (Heard(1, 1.5, 2.0),))
    assert (c.labels, c.events) == ((), ())


def test_splits_and_groups_stay(tmp_path):
    header = "path,start,end,label,split,group\n"
    (tmp_path / "a.wav").touch()
    (tmp_path / "t.csv").write_text(
        header + "a.wav,0,1,dog,train,yard\na.wav,2,3,cat,train,yard\nz.wav,0,1,dog,train,x\n"
    )
    joined = join_events(read_manifest(tmp_path))
    assert [(clip.split, clip.group) for clip in joined.clips] == [("train", "yard")]
    assert joined.missing == ("z.wav",)


def test_a_file_whose_times_are_not_known_stays_weak(tmp_path):
    weak, strong = join_events(read_manifest(write(tmp_path, "a.wav\t\t\tdog\nb.wav\t0\t1\tdog\n"))).clips
    assert (weak.labels, weak.events) == ((0,), None)
    assert strong.events is not None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.wav\t\t\tdog\n", r"expected times of events, got none in the data set \(a table of clips\)"),
        ("a.wav\t0\t1\tdog\na.wav\t\t\tcat\n", "a.wav: has a label without times beside others with times"),
        ("a.wav\t0\t\tdog\n", "a.wav#0-: expected an event with an end"),
    ],
)
def test_what_is_no_table_of_events(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        join_events(read_manifest(write(tmp_path, rows)))


def test_a_file_is_in_one_split(tmp_path):
    header = "filename\tonset\toffset\tevent_label\tsplit\n"
    manifest = read_manifest(write(tmp_path, "a.wav\t0\t1\tdog\ttrain\na.wav\t2\t3\tdog\ttest\n", header))
    with pytest.raises(DataError, match=r"a\.wav: its events belong to the splits test and train: expected one"):
        join_events(manifest)
