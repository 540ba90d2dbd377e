from pathlib import Path

import pytest
from writing import BAD, NASTY, clip, lines, nasty_clip, plain, write

from spectag.tag.results import Event


def test_crowsetta_reads_them(tmp_path: Path) -> None:
    crowsetta = pytest.importorskip("crowsetta", reason="it needs Python 3.11")
    path = tmp_path / "labels.txt"
    path.write_bytes(
        write("audacity", clip("a.wav", Event("Käuzchen, 梟", 1 / 3, 2, 0.75), Event("fox", 1.5, 11, 0.5)))
    )
    track = crowsetta.formats.seq.AudSeq.from_file(path)
    assert track.start_times.tolist() == [0.333333, 1.5]
    assert track.end_times.tolist() == [2, 10]  # the recording has ended
    assert track.labels.tolist() == ["Käuzchen, 梟", "fox"]


def test_each_event_is_one_line_of_three_cells() -> None:
    cells = [line.split("\t") for line in lines("audacity", nasty_clip())]
    assert [len(row) for row in cells] == [3] * len(NASTY)
    assert [label for *_, label in cells] == [plain(label) for label in NASTY]


def test_no_event_is_an_empty_track() -> None:
    assert write("audacity", clip("a.wav")) == b""
    assert write("audacity", BAD) == b""
