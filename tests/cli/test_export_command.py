"""spectag export, and exported models and engines as options of other commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.model.small import make_bundle

from spectag.cli.main import main
from spectag.model.device import computes_int8

pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_bundle().save(tmp_path / "model")
    for number in range(4):
        folder = tmp_path / "set" / f"class {number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        sound = np.random.default_rng(number).standard_normal(16_000) * 0.1
        soundfile.write(folder / f"{number}.wav", sound, 16_000)
    return tmp_path


def test_export_and_use(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "model", "-o", "out", "--to", "onnx", "--data", "set"]) == 0
    printed = capsys.readouterr().out
    assert "accuracy of model, of graph" in printed
    assert "out: onnx, fp32, 0.1 MB" in printed
    for command in (["tag", "set", "-f", "json"], ["tag", "set", "--events", "-f", "json"]):
        assert main([*command, "-m", "model"]) == 0
        ours = json.loads(capsys.readouterr().out)
        assert main([*command, "-m", "out"]) == 0
        theirs = json.loads(capsys.readouterr().out)
        for a, b in zip(ours, theirs, strict=True):
            assert [tag["label"] for tag in a["tags"]] == [tag["label"] for tag in b["tags"]]
            np.testing.assert_allclose(*([tag["score"] for tag in x["tags"]] for x in (a, b)), atol=1e-5)
    figures = []
    for arguments in (["model"], ["out"], ["model", "--engine", "onnx"]):
        assert main(["evaluate", *arguments, "--data", "set", "--json", "--resamples", "0"]) == 0
        figures.append(json.loads(capsys.readouterr().out)["mean_ap"])
    assert figures[0] == pytest.approx(figures[1]) == pytest.approx(figures[2])
    assert main(["info", "out", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["engine"]["name"] == "onnx"


def test_a_job_belongs_to_its_graph(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "model", "-o", "out", "--to", "onnx", "--calibrate", "set"]) == 0
    assert main(["tag", "set", "-m", "out", "-o", "tags.jsonl"]) == 0
    first = Path("tags.jsonl").read_bytes()
    assert main(["tag", "set", "-m", "out", "-o", "tags.jsonl", "--resume"]) == 0
    assert Path("tags.jsonl").read_bytes() == first
    assert main(["tag", "set", "-m", "model", "-o", "tags.jsonl", "--resume"]) == 1
    assert "was made with the model" in capsys.readouterr().err
    assert main(["tag", "set", "-m", "model", "--engine", "onnx", "-o", "two.jsonl"]) == 0
    assert main(["tag", "set", "-m", "model", "-o", "two.jsonl", "--resume"]) == 1
    assert "--engine onnx" in capsys.readouterr().err


def test_json_and_broken_recordings(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("set/broken.wav").write_bytes(b"no sound")
    assert main(["export", "model", "-o", "out", "--to", "onnx", "--calibrate", "set", "--json", "--front-end"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["clips"] == 4
    assert json.loads(Path("out/agreement.json").read_text())["clips"] == 4
    assert "broken.wav" in printed.err
    assert main(["export", "model", "-o", "two", "--to", "onnx", "--data", "set", "--clips", "2", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["clips"] == 2
    assert "2 of 4 clips are used" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "onnx", "--precision", "bf16"], "use openvino"),
        (["--to", "onnx", "--calibrate", "nothing"], "nothing"),
        (["--to", "openvino", "--precision", "bf16", "--front-end"], "too coarse"),
    ],
)
def test_what_cannot_be_exported(
    place: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "model", "-o", "out", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.skipif(not computes_int8(), reason="this processor computes int8 wrongly")
def test_a_loss_that_is_not_allowed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", "model", "-o", "out", "--to", "onnx", "--precision", "int8", "--calibrate", "set"]
    assert main([*command, "--max-loss", "1e-7"]) == 1
    printed = capsys.readouterr()
    assert "loss" in printed.out
    assert "--keep-float" in printed.err
    assert not Path("out").exists()
    assert main([*command, "--max-loss", "1e-5", "--keep-float"]) == 0
    assert json.loads(Path("out/engine.json").read_text())["layers_in_float"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "model", "--precision", "int8"], "spectag export"),
        (["-m", "model", "--engine", "onnx", "--precision", "bf16"], "use openvino"),
        (["-m", "model", "--engine", "onnx", "--device", "cuda"], "device must be cpu"),
    ],
)
def test_engines_that_cannot(
    place: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tag", "set", *arguments]) == 1
    assert message in capsys.readouterr().err
