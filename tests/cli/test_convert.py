"""spectag convert, and what is said of the bundles that commands write."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from spectag.audio.front_end import FrontEnd
from spectag.choices import WindowFunction
from spectag.cli.main import main
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.config import ASTConfig
from spectag.model.directory import documents, read_card
from spectag.model.network import AST
from spectag.model.official import OFFICIAL
from spectag.model.source import find_bundled
from spectag.model.tensors import from_ours

Captured = pytest.CaptureFixture[str]


def call(*args: str | Path) -> int:
    return main([str(arg) for arg in args])


def test_convert(model: Path, tmp_path: Path, capsys: Captured) -> None:
    target = tmp_path / "half"
    table = tmp_path / "labels.csv"
    table.write_text("index,display_name\n0,Hund\n1,Regen\n2,Meer\n", encoding="utf-8")
    assert call("convert", model, target, "--fp16", "--labels", table, "--activation", "sigmoid") == 0
    assert "3 labels" in capsys.readouterr().out
    assert (target / "model.safetensors").stat().st_size < 0.7 * (model / "model.safetensors").stat().st_size
    assert call("info", target, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["labels"]["first"] == ["Hund", "Regen", "Meer"]
    assert facts["activation"]["name"] == "sigmoid"


def test_convert_never_overwrites(model: Path, good: dict[str, Path], tmp_path: Path, capsys: Captured) -> None:
    """The kind: a command whose result was there before replaced it, with whatever it had cost.

    A bundle, a folder of something else, a file, and the source itself: all stay as they are.
    """
    bundle = shutil.copytree(model, tmp_path / "bundle")
    run = tmp_path / "run"
    shutil.copytree(model, run / "bundle")
    file = good["1.0.wav"]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for target in (bundle, run, run / "bundle", file, file.parent, bundle / "config.json"):
        assert call("convert", bundle, target) == 1
        err = capsys.readouterr().err
        assert f"{target}: already exists: choose a new or an empty folder" in err
        assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    (tmp_path / "empty").mkdir()
    assert call("convert", bundle, tmp_path / "empty") == 0
    assert call("convert", bundle, tmp_path / "a" / "new") == 0


COMMANDS = {
    "convert": lambda model, target: ["convert", model, target],
    "ensemble": lambda model, target: ["ensemble", model, model, "-o", target],
    "train": lambda _, target: ["train", "esc10", "--data", target.parent, "--out", target],
    "sweep": lambda _, target: ["sweep", "esc10", "--data", target.parent, "--out", target, "--over", "lr=1e-4,1e-5"],
    "data pack": lambda _, target: ["data", "pack", target.parent, target],
    "download": lambda _, target: ["download", "esc50", target],
}
NAMES = ["x.onnx", "x.ONNX", "x.pth", "x.safetensors", "x.tflite", "x.ckpt", "model.bin", "x.wav", "x.json", "x.zip"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_directory_is_named_as_a_file(
    model: Path, tmp_path: Path, capsys: Captured, command: str, name: str
) -> None:
    """The kind: a format is asked for by the name of the output, and another one is written under this name."""
    target = tmp_path / name
    assert call(*COMMANDS[command](model, target)) == 1
    assert f"is the ending of a file: leave it out, for example {target.with_suffix('')}" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize("name", ["ast-0.4593", "v1.2", "rooster.onnx-like", "my.model"])
def test_dots_in_the_names_of_directories(model: Path, tmp_path: Path, name: str) -> None:
    assert call("convert", model, tmp_path / name) == 0
    assert (tmp_path / name / "config.json").is_file()


GEOMETRIES = {
    "Hann": ({}, "hanning", None),
    "Hamming": (
        {},
        "hamming",
        "transformers opens it, but its scores differ: it knows no Hamming window",
    ),
    "patches": (
        {"patch": (128, 8), "stride": (128, 8)},
        "hanning",
        "cannot open it: its patches of 128x8 are not",
    ),
    "both": ({"patch": (128, 8), "tokens": 1}, "hamming", "are not square and it has one class token, not two"),
}


@pytest.mark.parametrize(("geometry", "window", "note"), GEOMETRIES.values(), ids=GEOMETRIES)
def test_what_transformers_makes_of_a_bundle_is_said_when_it_is_written(
    tmp_path: Path, capsys: Captured, geometry: dict[str, Any], window: WindowFunction, note: str | None
) -> None:
    """The kind: a property of what was written shows only in another program, later."""
    config = ASTConfig(width=32, depth=1, heads=2, frames=50, labels=3, **geometry)
    front_end, labels = FrontEnd(window, frames=50), LabelSet(("dog", "rain", "sea"))
    source = Bundle(Card(config, front_end, labels, "softmax"), AST(config)).save(tmp_path / "source")
    capsys.readouterr()
    assert call("convert", source, tmp_path / "bundle") == 0
    err = capsys.readouterr().err
    assert err.startswith(f"spectag: note: {tmp_path / 'bundle'}: ") if note else err == ""
    assert (note or "") in err


def test_the_help_of_convert_says_what_transformers_can_open(capsys: Captured) -> None:
    assert call("convert", "--help") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "transformers reads it, too, unless patches are not square or there is one class token" in out


def test_the_bundled_models_have_no_field_that_nothing_reads() -> None:
    """Every field of ``spectag.json`` is one that is written today."""
    for path in find_bundled().values():
        assert json.loads((path / "spectag.json").read_text()).keys() == (
            documents(read_card(path))["spectag.json"].keys() | {"weights_sha256"}
        )


def test_convert_says_what_an_option_is_for(model: Path, tmp_path: Path, capsys: Captured) -> None:
    assert call("convert", model, tmp_path / "out", "--stride", "10,10") == 1
    assert "stride" in capsys.readouterr().err


def test_a_guess_says_which_command_settles_it(tmp_path: Path, capsys: Captured) -> None:
    """The kind: advice that only Python users can follow. ``spectag info`` and ``spectag train`` have no --heads."""
    torch.manual_seed(0)
    network = AST(ASTConfig(width=32, depth=1, heads=2, stride=(16, 16), frames=1200, labels=3))
    torch.save(from_ours(network.state_dict(), OFFICIAL.rows(depth=1, tokens=2)), tmp_path / "a.pth")
    assert call("info", tmp_path / "a.pth") == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.endswith("; see spectag convert --help") for line in lines)
    given = [
        "--stride",
        "16,16",
        "--frames",
        "1200",
        "--heads",
        "2",
        "--statistics",
        "esc50",
        "--activation",
        "sigmoid",
    ]
    assert call("convert", tmp_path / "a.pth", tmp_path / "bundle", *given) == 0
    assert call("info", tmp_path / "bundle", "--json") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out.split("\n", 1)[1])["network"]["grid"] == [8, 75]
