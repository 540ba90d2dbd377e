"""spectag data mix, as typed."""

import json

import numpy as np
import pytest
import soundfile

from spectag.cli.main import main


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("fox", "owl"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for n in range(3):
            soundfile.write(tmp_path / "data" / name / f"{n}.wav", rng.uniform(-0.5, 0.5, 4000), 16_000)
    return tmp_path / "data"


def test_mix(data, tmp_path, capsys):
    out = tmp_path / "mix"
    words = ["--seconds", "2", "--seed", "5", "--events", "1,2", "--snr", "10", "--polyphony", "1", "--format", "wav"]
    assert main(["data", "mix", str(data), "--out", str(out), "--count", "3", *words]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{out}: 3 soundscapes, 0.00 h, with ")
    assert said.endswith(" events of 6 clips (a folder per class)\n")
    assert sorted(path.name for path in (out / "audio").iterdir()) == ["000000.wav", "000001.wav", "000002.wav"]
    options = json.loads((out / "mix.json").read_text())["options"]
    assert (options["events"], options["snr"], options["polyphony"], options["seed"]) == ([1, 2], [10.0, 10.0], 1, 5)
    assert main(["data", "mix", str(data), "--out", str(out), "--count", "3"]) == 1
    assert "already exists" in capsys.readouterr().err


def test_a_clip_that_cannot_be_read_costs_the_exit_code_only(data, tmp_path, capsys):
    (data / "owl" / "1.wav").write_text("text")
    assert main(["data", "mix", str(data), "--out", str(tmp_path / "mix"), "--count", "20"]) == 1
    assert "1.wav: " in capsys.readouterr().err
    assert len(list((tmp_path / "mix" / "audio").iterdir())) == 20


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--snr", "loud"], 2, "expected one number or two"),
        (["--snr", "30,6"], 1, "snr: expected lowest and highest"),
        (["--events", "1.5,2"], 1, "--events: expected whole numbers, got 1.5,2"),
        (["--folds", "1,x"], 2, "expected all, or numbers such as 1,2,3"),
        (["--folds", "7"], 1, "no such fold"),
    ],
)
def test_options(data, tmp_path, capsys, words, code, message):
    assert main(["data", "mix", str(data), "--out", str(tmp_path / "mix"), "--count", "2", *words]) == code
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "mix").exists()
