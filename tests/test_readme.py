"""The commands of the README and of the pages of docs/ run without an error.

Training commands get further options, which make them short. What a command gets from a pipe is a real recording. The
output is compared for two examples of the README: the demo and the Python code. All relative links must exist.
"""

import contextlib
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from spectag.audio.front_end import FrontEnd
from spectag.cli.main import main
from spectag.labels import LabelSet
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.config import ASTConfig
from spectag.model.deit import DEIT
from spectag.model.network import AST
from spectag.model.tensors import from_ours
from spectag.train.recipe_files import read_recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["README.md", "docs/jobs.md", "docs/formats.md", "docs/times.md", "docs/training.md", "docs/distillation.md"]


def blocks(page: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w*)\n(.*?)^```", page, flags=re.M | re.S)


BLOCKS = blocks(README)
LINES = [
    line.split(" #")[0].strip()
    for page in PAGES
    for _, block in blocks((ROOT / page).read_text(encoding="utf-8"))
    for line in block.splitlines()
]
# In order: later ones use what earlier ones made. No machine that runs the tests has a microphone.
COMMANDS = list(dict.fromkeys(line for line in LINES if line.startswith("spectag ") and line != "spectag listen"))
OTHERS = re.compile(r"\b(daft|dask|spark)\b")  # examples for frameworks that nothing else here needs are not run
PIPED = list(dict.fromkeys(line for line in LINES if "| spectag " in line))
# Added to training commands, so that they end.
QUICK = ["epochs=1", "batch_size=4", "steps=null", "average=null", "select=last", "cache_gb=1"]
TINY = ["model.width=16", "model.depth=1", "model.heads=2"]  # where there is no checkpoint
# What is typed instead, since the data set here is small.
SMALL = {"1,2,3,4": "1", "5": "4", "2000": "12", "400": "4"}


def test_there_are_commands():
    named = {command.split()[1] for command in COMMANDS}
    assert named == {
        *("tag", "merge-results", "info", "convert", "evaluate", "train", "recipes", "sweep", "score", "ensemble"),
        "data",
    }
    assert {line.split("| spectag ")[1].split()[0] for line in PIPED} == {"tag", "listen"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A directory with everything that the commands name: real clips, a tiny checkpoint, a tiny cached Hub model."""
    place = tmp_path_factory.mktemp("readme")
    examples = sorted((ROOT / "examples").glob("*.ogg"))
    (place / "recordings").mkdir()
    (place / "RECORDINGS").mkdir()
    for clip in examples[:2]:
        shutil.copy(clip, place / "recordings")
        shutil.copy(clip, place / "RECORDINGS")
    soundfile.write(place / "talk.wav", np.zeros(16000), 16000)
    shutil.copy(examples[0], place / "dawn.wav")
    (place / "talk.wav").rename(place / "talk.mp4")  # what a file holds counts, not its name
    for label, clip in enumerate(examples, start=1):
        folder = place / "ESC-10" / f"{label:03} - {clip.stem.replace('_', ' ').capitalize()}"
        folder.mkdir(parents=True)
        for fold in (1, 4):
            shutil.copy(clip, folder / f"{fold}-{label}{fold}-A.ogg")

    config = ASTConfig(width=64, depth=1, heads=1, frames=512, labels=527)
    card = Card(config, FrontEnd("hanning", frames=512), LabelSet.audioset(), "sigmoid")
    bundle = Bundle(card, AST(config))
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
    deit = from_ours(AST(ASTConfig(width=64, depth=1, heads=1)).state_dict(), DEIT.rows(depth=1, tokens=2))
    deit = {key: value for key, value in deit.items() if not key.startswith("head.")}
    deit["patch_embed.proj.weight"] = deit["patch_embed.proj.weight"].repeat(1, 3, 1, 1)
    deit["pos_embed"] = torch.randn(1, 2 + 24 * 24, 64)
    torch.save({"model": deit}, place / "deit_base_distilled_patch16_384-d0272ac0.pth")
    write_data_sets(place, examples)
    return place


def write_data_sets(place: Path, examples: list[Path]) -> None:
    """A few real clips in the layouts that the pages speak of."""
    mids = ("/m/0bt9lr", "/m/06mb1")  # dog, rain
    (place / "AUDIOSET" / "audio").mkdir(parents=True)
    for part, clips in (("balanced_train", examples[:2]), ("unbalanced_train", examples[2:4]), ("eval", examples[4:6])):
        rows = ["# YTID, start_seconds, end_seconds, positive_labels"]
        for number, clip in enumerate(clips):
            name = f"{part[:7]:_<7}{number:04}"
            shutil.copy(clip, place / "AUDIOSET" / "audio" / f"{name}.ogg")
            rows.append(f'{name}, 30.000, 40.000, "{",".join(mids[: number + 1])}"')
        (place / "AUDIOSET" / f"{part}_segments.csv").write_text("\n".join(rows))
    (place / "ESC-50" / "meta").mkdir(parents=True)
    (place / "ESC-50" / "audio").mkdir()
    rows = ["filename,fold,target,category"]
    for number, clip in enumerate(examples[:4]):
        name = f"{1 + number // 2}-{number}-A-{number % 2}.ogg"
        shutil.copy(clip, place / "ESC-50" / "audio" / name)
        rows.append(f"{name},{1 + number // 2},{number % 2},{'dog' if number % 2 else 'rooster'}")
    (place / "ESC-50" / "meta" / "esc50.csv").write_text("\n".join(rows))
    seconds = np.random.default_rng(0).standard_normal((12, 16000)) * 0.1
    words, own = place / "SPEECH-COMMANDS", place / "MY-SOUNDS"
    detector = place / "OWLS" / "owl", place / "QUIET-NIGHTS"
    for number, second in enumerate(seconds):
        for folder in (words / ("go", "up")[number % 2], own / ("owl", "fox")[number % 2], detector[number % 2]):
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{number:08x}_nohash_0.wav", second, 16000)
    (words / "validation_list.txt").write_text("go/00000000_nohash_0.wav\nup/00000001_nohash_0.wav\n")
    (words / "testing_list.txt").write_text("go/00000002_nohash_0.wav\nup/00000003_nohash_0.wav\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place / "hub"))
    _, *arguments = shlex.split(command)
    sets: list[str] = []
    if arguments[:2] == ["data", "mix"]:
        arguments = [SMALL.get(word, word) for word in arguments]
    if arguments[0] in ("train", "sweep"):
        starts = "--init" in arguments or (arguments[0] == "train" and read_recipe(arguments[1]).init is not None)
        tiny = [] if starts or "esc10" in arguments else TINY
        sets = [word for pair in (*QUICK, *tiny) for word in ("--set", pair)]
    assert main(arguments + sets) == 0, capsys.readouterr().err


@pytest.mark.parametrize("line", PIPED)
def test_commands_behind_a_pipe(line, place):
    """The recording comes from a file; a line that says --rate gets samples without a header."""
    command = shlex.split(line.split("|")[1])
    waveform, rate = soundfile.read(ROOT / "examples" / "rain.ogg", dtype="int16")
    sound = io.BytesIO()
    if "--rate" in command:
        sound.write(waveform.tobytes())
    else:
        soundfile.write(sound, waveform, rate, format="WAV")
    run = [sys.executable, "-m", *command]
    done = subprocess.run(run, input=sound.getvalue(), capture_output=True, cwd=place, timeout=300)
    assert done.returncode == 0, done.stderr
    assert b"Rain" in done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_python(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    for language, code in blocks((ROOT / page).read_text(encoding="utf-8")):
        if language == "python" and OTHERS.search(code):
            compile(code, page, "exec")
        elif language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(code, {})
            assert page != "README.md" or out.getvalue().startswith("Rain: ")


def test_demo_shows_what_make_demo_prints(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    shown = next(block for _, block in BLOCKS if "rooster" in block)
    assert main(["tag", "examples"]) == 0

    def cells(text: str) -> list[str]:
        """Clips and labels; scores may differ in the last digit from machine to machine."""
        return [word for word in re.findall(r"\S+", text) if not re.fullmatch(r"[\d.%]+", word)]

    assert cells(capsys.readouterr().out) == cells(shown)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        assert ((ROOT / page).parent / target).exists(), target
