"""Every command of the README runs as it stands there, and says what it says there."""

import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from spectag.audio.fbank import FrontEnd
from spectag.cli.main import main
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.network import AST, ASTConfig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.M | re.S)
COMMANDS = [
    line.split("#")[0].strip() for _, block in BLOCKS for line in block.splitlines() if line.startswith("spectag ")
]
QUICK = ["--set", "epochs=1", "--set", "batch_size=4"]  # added to training commands, so that they end


def test_there_are_commands():
    assert {command.split()[1] for command in COMMANDS} == {"tag", "info", "convert", "evaluate", "train"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A directory with everything that the commands name: real clips, a tiny checkpoint, a tiny model as the Hub's."""
    place = tmp_path_factory.mktemp("readme")
    examples = sorted((ROOT / "examples").glob("*.ogg"))
    (place / "recordings").mkdir()
    for clip in examples[:2]:
        shutil.copy(clip, place / "recordings")
    soundfile.write(place / "talk.wav", np.zeros(16000), 16000)
    (place / "talk.wav").rename(place / "talk.mp4")  # what a file holds counts, not its name
    for label, clip in enumerate(examples, start=1):
        folder = place / "ESC-10" / f"{label:03} - {clip.stem.replace('_', ' ').capitalize()}"
        folder.mkdir(parents=True)
        for fold in (1, 4):
            shutil.copy(clip, folder / f"{fold}-{label}{fold}-A.ogg")

    config = ASTConfig(width=64, depth=1, heads=1, frames=128, labels=527)
    bundle = Bundle(AST(config), FrontEnd("hanning", frames=128), LabelSet.audioset(), "sigmoid")
    hub = place / "hub" / "models--MIT--ast-finetuned-audioset-10-10-0.4593"
    bundle.save(hub / "snapshots" / "0123abcd")
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("0123abcd")
    published = {
        key.replace("head.norm", "mlp_head.0").replace("head.linear", "mlp_head.1")
        if key.startswith("head.")
        else f"v.{key}": value
        for key, value in bundle.network.state_dict().items()
    }
    tokens = published.pop("v.tokens")
    published |= {"v.cls_token": tokens[:, :1].clone(), "v.dist_token": tokens[:, 1:].clone()}
    torch.save({f"module.{key}": value for key, value in published.items()}, place / "ast_audioset.pth")
    return place


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place / "hub"))
    _, *arguments = shlex.split(command)
    assert main(arguments + (QUICK if arguments[0] == "train" else [])) == 0, capsys.readouterr().err


def test_python(monkeypatch):
    monkeypatch.chdir(ROOT)
    [code] = [block for language, block in BLOCKS if language == "python"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    assert out.getvalue().startswith("Rain: ")


def test_demo_shows_what_make_demo_prints(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    shown = next(block for _, block in BLOCKS if "rooster" in block)
    assert main(["tag", "examples"]) == 0

    def cells(text: str) -> list[str]:
        """Clips and labels; scores may differ in the last digit from machine to machine."""
        return [word for word in re.findall(r"\S+", text) if not re.fullmatch(r"[\d.%]+", word)]

    assert cells(capsys.readouterr().out) == cells(shown)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
