"""spectag data pack, as typed."""

import re

import numpy as np
import pytest
import soundfile
import typer

from spectag.cli.pack import pack
from spectag.data.shards import read_packed
from spectag.errors import SaveError


@pytest.fixture
def data(tmp_path):
    for name in ("fox", "owl"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for n in range(3):
            soundfile.write(tmp_path / "data" / name / f"{n}.wav", np.full(1600, 0.1 * n), 16_000)
    return tmp_path / "data"


def test_pack(data, tmp_path, capsys):
    pack(data, tmp_path / "out", workers=1)
    assert re.fullmatch(
        r".*out: 6 clips \(a folder per class\), 0\.00 h, in 1 shard of 0\.0 MB in all\n", capsys.readouterr().out
    )
    packed = read_packed(tmp_path / "out")
    assert packed.labels.names == ("fox", "owl")
    assert [clip.id for clip in packed.clips][:2] == ["fox/0.wav", "fox/1.wav"]
    with pytest.raises(SaveError):
        pack(data, tmp_path / "out", workers=1)


def test_a_clip_that_cannot_be_read_costs_the_exit_code_only(data, tmp_path, capsys):
    (data / "owl" / "1.wav").write_text("text")
    with pytest.raises(typer.Exit) as caught:
        pack(data, tmp_path / "out", workers=1)
    assert caught.value.exit_code == 1
    captured = capsys.readouterr()
    assert "5 clips" in captured.out
    [line] = captured.err.splitlines()
    assert re.match(r"spectag: error: .*owl/1\.wav: expected an audio or video file", line)
    assert len(read_packed(tmp_path / "out")) == 5
