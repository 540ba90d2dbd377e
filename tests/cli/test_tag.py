"""spectag tag, info, convert: from the command line, with recordings and models of every sorry kind."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spectag.cli.main import main

Captured = pytest.CaptureFixture[str]


def call(*args: str | Path) -> int:
    return main([str(arg) for arg in args])


def test_the_program_itself(model: Path, good: dict[str, Path], bad: dict[str, Path]) -> None:
    """In a process of its own: broken recordings among good ones."""
    paths = [path for pair in zip(bad.values(), good.values(), strict=False) for path in pair]
    command = [sys.executable, "-m", "spectag", "tag", *map(str, paths), "-m", str(model), "-f", "jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=900)
    assert done.returncode == 1
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["path"] for result in results] == list(map(str, paths))
    assert ["error" in result for result in results] == [True, False] * 4
    lines = done.stderr.splitlines()
    assert len(lines) == 4, done.stderr
    for line, result in zip(lines, results[::2], strict=True):
        assert line == f"spectag: error: {result['path']}: {result['error']}"


@pytest.mark.parametrize("kind", ["no audio", "empty.wav", "text.wav", "no samples.wav", "nan.wav", "missing.wav"])
def test_one_line_for_what_cannot_be_tagged(model: Path, bad: dict[str, Path], kind: str, capsys: Captured) -> None:
    assert call("tag", bad[kind], "-m", model, "-f", "json") == 1
    out, err = capsys.readouterr()
    [result] = json.loads(out)
    assert result["path"] == str(bad[kind])
    assert err == f"spectag: error: {bad[kind]}: {result['error']}\n"


def test_odd_recordings_work(model: Path, good: dict[str, Path], capsys: Captured) -> None:
    assert call("tag", *good.values(), "-m", model, "-f", "jsonl", "--top-k", 2) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for line, path in zip(out.splitlines(), good.values(), strict=True):
        result = json.loads(line)
        assert result["path"] == str(path)
        assert result["duration"] == pytest.approx(float(path.stem), abs=1e-3)
        first, second = result["tags"]
        assert 1 >= first["score"] >= second["score"] >= 0


def test_a_folder_with_a_broken_file(
    model: Path, good: dict[str, Path], bad: dict[str, Path], capsys: Captured
) -> None:
    root = bad["text.wav"].parent.parent
    assert call("tag", root, "-m", model, "-f", "csv", "--threshold", 0.2) == 1
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    failed = {row["path"] for row in rows if row["error"]}
    assert failed == {str(bad[name]) for name in ("empty.wav", "text.wav", "no samples.wav", "nan.wav")}
    assert {row["path"] for row in rows} - failed == set(map(str, good.values()))
    assert all(float(row["score"]) >= 0.2 for row in rows if row["score"])
    assert err.count("\n") == 4


def test_text_is_for_people(model: Path, good: dict[str, Path], capsys: Captured) -> None:
    assert call("tag", *good.values(), "-m", model, "--top-k", 1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["clip", "tags"]
    assert len({line.index("  ") for line in lines[1:2]}) == 1
    assert all(line.startswith(str(path)) for line, path in zip(lines[1:], good.values(), strict=True))


def test_a_truncated_recording_is_a_warning(model: Path, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(32_000), 16_000)
    path.write_bytes(path.read_bytes()[:20_000])
    for _ in range(2):
        assert call("tag", path, "-m", model, "-f", "jsonl") == 0
        out, err = capsys.readouterr()
        [warning] = json.loads(out)["warnings"]
        assert err == f"spectag: warning: {warning}\n"


def test_output_file(model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured) -> None:
    target = tmp_path / "tags.json"
    target.write_text("old")
    assert call("tag", *good.values(), "-m", model, "-f", "json", "-o", target) == 0
    assert capsys.readouterr() == ("", "")
    assert len(json.loads(target.read_text("utf-8"))) == len(good)


def test_output_that_cannot_be(model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured) -> None:
    first = good["1.0.wav"]
    before = first.read_bytes()
    for output, message in (
        (first, "one of the inputs"),
        (tmp_path / "no" / "tags.json", "does not exist"),
        (tmp_path, "is a folder"),
    ):
        assert call("tag", first.parent, "-m", model, "-o", output) == 1
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
    assert first.read_bytes() == before


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_a_name_that_is_not_utf8(model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    with open(odd, "wb") as file:
        file.write(good["1.0.wav"].read_bytes())
    for format in ("text", "jsonl", "csv"):
        assert call("tag", os.fsdecode(odd), os.fsdecode(odd) + "?", "-m", model, "-f", format) == 1
        out, err = capsys.readouterr()
        assert "caf" in out
        assert err.count("\n") == 1
        if format == "jsonl":
            assert os.fsencode(json.loads(out.splitlines()[0])["path"]) == odd


@pytest.mark.parametrize("command", ["tag", "info", "convert"])
def test_models_that_cannot_be_used(
    command: str, model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in model.iterdir():
        data = file.read_bytes()
        (broken / file.name).write_bytes(data[:-1] if file.suffix == ".safetensors" else data)
    for source, message in (
        (tmp_path / "nowhere", "no such file"),
        ("someone/something", "offline"),
        (broken, "model.safetensors"),
        (good["1.0.wav"].parent, "config.json"),
    ):
        args = {"tag": [good["1.0.wav"], "-m", source], "info": [source], "convert": [source, tmp_path / "out"]}[
            command
        ]
        assert call(command, *args) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("spectag: error: ")
        assert err.count("\n") == 1
        assert message in err
    assert not (tmp_path / "out").exists()


def test_offline_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "spectag", "info", "someone/something"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("spectag: error: someone/something: ")
    assert done.stderr.count("\n") == 1


def test_info(model: Path, capsys: Captured) -> None:
    assert call("info", model) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts["network.width"] == "32"
    assert facts["labels.first"] == "dog, rain, sea"
    assert facts["activation.name"] == "softmax"
    assert call("info", model, "--json") == 0
    assert json.loads(capsys.readouterr().out)["front_end"]["frames"] == 50
