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
from spectag.data.statistics import measure_statistics


@pytest.fixture
def clips(tmp_path) -> Path:
    """Twelve clips of two classes, each a second and another noise."""
    rng = np.random.default_rng(0)
    for name in ("fox", "owl"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for i in range(6):
            soundfile.write(tmp_path / "clips" / name / f"{name}{i}.wav", 0.1 * rng.standard_normal(16000), 16000)
    return tmp_path / "clips"


def expected(clips, window="hamming", frames=None):
    sources = [clip.source for clip in read_manifest(clips).clips]
    return measure_statistics(sources, FrontEnd(window), frames=frames)


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
    assert lines[start + 7 :] == ["  and 3 more", "warning: silent (1)", "  fox/silent.wav: all samples are zero"]

    code, out, err = run(capsys, "check", clips, "--json")
    report = json.loads(out)
    assert (code, err, set(report)) == (1, "", {"data", "summary", "classes", "findings"})
    assert (report["summary"]["errors"], len(report["findings"])) == (8, 9)
    assert report["findings"][-1] == {
        "level": "warning",
        "kind": "silent",
        "message": "fox/silent.wav: all samples are zero",
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
        f"front_end: {{mean: {result.mean:.7f}, std: {result.std:.7f}}}",
    ]
    pasted = yaml.safe_load(out.splitlines()[1])
    assert pasted == {"front_end": {"mean": round(result.mean, 7), "std": round(result.std, 7)}}


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


def test_stats_are_of_the_training_split(clips, capsys):
    (clips / "testing_list.txt").write_text("".join(f"fox/fox{i}.wav\n" for i in range(4)))
    facts = json.loads(run(capsys, "stats", clips, "--json")[1])
    assert (facts["over"], facts["clips"]) == ("train", 8)
    facts = json.loads(run(capsys, "stats", clips, "--json", "--split", "test")[1])
    assert (facts["over"], facts["clips"]) == ("test", 4)
    code, out, err = run(capsys, "stats", clips, "--split", "dev")
    assert (code, out) == (1, "")
    assert "no such split; it has: test, train" in err
