"""spectag data check and stats, as typed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from spectag.audio.front_end import FrontEnd
from spectag.cli.main import main
from spectag.data.layouts import read_manifest
from spectag.data.statistics import statistics
from spectag.errors import RecipeError
from spectag.train.amend import amended

RECIPE = """\
# What this is for.
name: owls  # and foxes
epochs: 1
batch_size: 2
lr: 1.0e-3
exclude: [fox0.wav]   # too loud
{front_end}
augment: {{excerpt: {excerpt}}}
"""


@pytest.fixture
def clips(tmp_path) -> Path:
    """Twelve clips of two classes, each a second and another noise."""
    rng = np.random.default_rng(0)
    for name in ("fox", "owl"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for i in range(6):
            soundfile.write(tmp_path / "clips" / name / f"{name}{i}.wav", 0.1 * rng.standard_normal(16000), 16000)
    return tmp_path / "clips"


def write_recipe(folder: Path, front_end="front_end: {window: hanning, frames: 30}", excerpt="false") -> Path:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(front_end=front_end, excerpt=excerpt))
    return path


def expected(clips, window="hamming", frames=None, but=()):
    sources = [clip.source for clip in read_manifest(clips).clips if clip.path.name not in but]
    return statistics(sources, FrontEnd(window), frames=frames)


def run(capsys, *words):
    code = main(["data", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_check_all_well(clips, capsys):
    code, out, err = run(capsys, "check", clips)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{clips} (a folder per class): 12 clips, 2 classes, 0.00 hours",
        "durations  min 1 s, median 1 s, max 1 s",
        "rates      16000 Hz: 12",
        "channels   1: 12",
        "",
        "class  clips  minutes",
        "fox        6      0.1",
        "owl        6      0.1",
        "",
        "0 errors, 0 warnings",
    ]


def test_check_cuts_long_lists_but_not_in_json(clips, capsys):
    for i in range(8):
        (clips / "owl" / f"text{i}.wav").write_text("text\n" * 50)
    soundfile.write(clips / "fox" / "silent.wav", np.zeros(16000), 16000)
    code, out, err = run(capsys, "check", clips, "--jobs", 2)
    assert (code, err) == (1, "")
    lines = out.splitlines()
    start = lines.index("8 errors, 1 warnings")
    assert lines[start + 1] == "error: unreadable (8)"
    assert lines[start + 2].startswith("  owl/text0.wav: expected an audio or video file")
    assert lines[start + 7 :] == ["  and 3 more", "warning: silent (1)", "  fox/silent.wav: nothing but zeros"]

    code, out, err = run(capsys, "check", clips, "--json")
    report = json.loads(out)
    assert (code, err, set(report)) == (1, "", {"data", "summary", "classes", "findings"})
    assert (report["summary"]["errors"], len(report["findings"])) == (8, 9)
    assert report["findings"][-1] == {
        "level": "warning",
        "kind": "silent",
        "message": "fox/silent.wav: nothing but zeros",
        "clips": ["fox/silent.wav"],
        "label": None,
    }


def test_check_starts_without_torch(clips):
    code = (
        "import sys; from spectag.cli.main import main\n"
        f"main(['data', 'check', {str(clips)!r}]); main(['data', 'stats', '--help'])\n"
        "assert 'torch' not in sys.modules and 'yaml' not in sys.modules and 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=900)


def test_usage(tmp_path, capsys):
    for words, code, message in (
        ([], 2, "Missing command"),
        (["check", tmp_path / "none"], 1, "expected a directory"),
        (["check", tmp_path, "--jobs", 0], 2, "--jobs"),
        (["stats", tmp_path, "--window", "kaiser"], 2, "--window"),
    ):
        got, out, err = run(capsys, *words)
        assert (got, out) == (code, "")
        assert message in err
        assert len(err.splitlines()) == 1


def test_stats(clips, capsys):
    result = expected(clips)
    code, out, err = run(capsys, "stats", clips, "--jobs", 2)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{clips} (a folder per class): 12 clips (all), all frames, hamming",
        f"mean  {result.mean:.7f}",
        f"std   {result.std:.7f}",
    ]


def test_stats_as_json_of_clips_some_of_which_are_broken(clips, capsys):
    (clips / "owl" / "text.wav").write_text("text\n" * 50)
    result = expected(clips, "hanning", 20)
    code, out, err = run(capsys, "stats", clips, "--json", "--window", "hanning", "--frames", 20)
    facts = json.loads(out)
    assert code == 0
    assert err.startswith(f"spectag: warning: left out: {clips}/owl/text.wav: expected an audio")
    assert (facts["mean"], facts["std"], facts["frames"], facts["clips"]) == (result.mean, result.std, 240, 12)
    assert (facts["over"], facts["window"], facts["frames_per_clip"]) == ("all", "hanning", 20)
    assert len(facts["failed"]) == 1


def test_stats_are_of_the_training_part(clips, capsys):
    (clips / "testing_list.txt").write_text("".join(f"fox/fox{i}.wav\n" for i in range(4)))
    facts = json.loads(run(capsys, "stats", clips, "--json")[1])
    assert (facts["over"], facts["clips"]) == ("train", 8)
    facts = json.loads(run(capsys, "stats", clips, "--json", "--split", "test")[1])
    assert (facts["over"], facts["clips"]) == ("test", 4)
    code, out, err = run(capsys, "stats", clips, "--split", "dev")
    assert (code, out) == (1, "")
    assert "no such part; it has: test, train" in err


@pytest.mark.parametrize("excerpt", ["false", "true"])
def test_stats_into_a_recipe(clips, tmp_path, capsys, excerpt):
    recipe = write_recipe(tmp_path, excerpt=excerpt)
    recipe.chmod(0o640)
    before = recipe.read_text()
    result = expected(clips, "hanning", 30, but=("fox0.wav",))
    mean, std = float(f"{result.mean:.8g}"), float(f"{result.std:.8g}")
    code, out, err = run(capsys, "stats", clips, "--recipe", recipe)
    assert (code, err) == (0, f"spectag: written: {recipe}: front_end.mean and front_end.std\n")
    assert "11 clips (all)" in out
    assert recipe.read_text() == before.replace("frames: 30", f"frames: 30, mean: {mean}, std: {std}")
    assert recipe.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".partial"] == []
    once = recipe.read_text()
    assert run(capsys, "stats", clips, "--recipe", recipe)[0] == 0
    assert recipe.read_text() == once, "and again, in the same place"


def test_recipes_that_cannot_be_written_into(clips, tmp_path, capsys):
    wrong = write_recipe(tmp_path, "front_ent: {window: hanning}")
    anchored = tmp_path / "anchored.yaml"
    anchored.write_text(write_recipe(tmp_path, "front_end: &same {}\nmodel: *same").read_text())
    left = tmp_path / "left.yaml"
    left.write_text(write_recipe(tmp_path, "init: audioset\nfront_end: {frames: 100}").read_text())
    hanning = tmp_path / "hanning.yaml"
    hanning.write_text(write_recipe(tmp_path).read_text())
    wrong.write_text(RECIPE.format(front_end="front_ent: {window: hanning}", excerpt="false"))
    for words, code, message in (
        ([wrong], 1, "did you mean front_end"),
        ([anchored], 1, "cannot be changed alone"),
        ([left], 1, "leaves front_end.window or frames to audioset"),
        ([hanning, "--window", "hamming"], 2, "the recipe says hanning"),
        ([Path("esc10")], 1, "expected a YAML file to write into, found none"),
    ):
        before = words[0].read_text() if words[0].exists() else ""
        got, out, err = run(capsys, "stats", clips, "--recipe", *words)
        assert (got, out) == (code, ""), err
        assert message in err
        assert len(err.splitlines()) == 1
        assert not before or words[0].read_text() == before


def test_a_failed_write_leaves_the_recipe(clips, tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    recipe = write_recipe(tmp_path)
    before = recipe.read_text()
    monkeypatch.setattr("os.replace", fail)
    code, out, err = run(capsys, "stats", clips, "--recipe", recipe)
    assert code == 1
    assert "mean" in out, "what was measured is not lost"
    assert err.endswith("could not be written (No space left on device); it is as it was\n")
    assert recipe.read_text() == before
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a: 1\n", "a: 1\nfront_end: {mean: -6.5, std: 5.25}\n"),
        ("a: 1", "a: 1\nfront_end: {mean: -6.5, std: 5.25}\n"),
        ("{a: 1}\n", "{a: 1, front_end: {mean: -6.5, std: 5.25}}\n"),
        ("front_end: {}\nb: 2\n", "front_end: {mean: -6.5, std: 5.25}\nb: 2\n"),
        ("front_end: {mean: null, std: ~}\n", "front_end: {mean: -6.5, std: 5.25}\n"),
        ("front_end: {std: 1, mean: 2,}\n", "front_end: {std: 5.25, mean: -6.5,}\n"),
        ("front_end:\n  frames: 9 # x\nb: 2\n", "front_end:\n  frames: 9 # x\n  mean: -6.5\n  std: 5.25\nb: 2\n"),
        ("front_end:\n  frames: 9", "front_end:\n  frames: 9\n  mean: -6.5\n  std: 5.25"),
        ("front_end:\n  mean: # x\n  std:\nb: 2\n", "front_end:\n  mean: -6.5 # x\n  std: 5.25\nb: 2\n"),
        ("front_end:\r\n  frames: 9\r\n", "front_end:\r\n  frames: 9\r\n  mean: -6.5\r\n  std: 5.25\r\n"),
        ("front_end:\n  mean: 1 # älter 🦉\n  std: 2\n", "front_end:\n  mean: -6.5 # älter 🦉\n  std: 5.25\n"),
    ],
)
def test_every_other_character_stays(text, wanted):
    assert amended(text, -6.5, 5.25) == wanted


def test_small_numbers_stay_numbers():
    assert yaml.safe_load(amended("a: 1\n", -1e-7, 1e-12))["front_end"] == {"mean": -1e-7, "std": 1e-12}


def test_an_end_of_document_is_seen():
    with pytest.raises(RecipeError, match=r"write into it mean: -6\.5 and std: 5\.25"):
        amended("a: 1\n...\n", -6.5, 5.25)
