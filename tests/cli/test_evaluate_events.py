"""spectag evaluate --events, as typed, from soundscapes that spectag data mix makes."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from test_score import call, make

from spectag.score.events import EVENT_FIGURES

pytest.importorskip("sed_eval")


@pytest.fixture(scope="module")
def soundscapes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("soundscapes")
    rng = np.random.default_rng(0)
    for name in ("dog", "rain"):
        (root / "clips" / name).mkdir(parents=True)
        for n in range(2):
            soundfile.write(root / "clips" / name / f"{n}.wav", rng.uniform(-0.5, 0.5, 8000), 16_000)
    assert call("data", "mix", root / "clips", "--out", root / "mix", "--count", "4", "--seconds", "3") == 0
    return root / "mix"


def test_figures(soundscapes, tmp_path, capsys):
    model = make(tmp_path / "model", 0, frame_head=True)
    assert call("evaluate", model, "--data", soundscapes, "--events") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "on 4 clips, 0.00 h, " in lines[0]
    assert "events by change, scores every 0.1 s" in lines[0]
    assert [line.split("  ")[0] for line in lines[1:9]] == list(EVENT_FIGURES.values())
    assert [line.split()[0] for line in lines[9:]] == ["dog", "rain"]


@pytest.mark.parametrize("framed", [True, False], ids=["frames", "windows"])
def test_figures_as_json(soundscapes, tmp_path, capsys, framed):
    model = make(tmp_path / "model", 0, frame_head=framed)
    words = ["--json", "--event-method", "threshold", "--event-threshold", "0.2", "--hop", "0.5"]
    assert call("evaluate", model, "--data", soundscapes, "--events", *words) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["clips"], figures["method"], figures["step"]) == (4, "threshold", 0.1 if framed else 0.5)
    assert all(0 <= figures[name] <= 1 for name in EVENT_FIGURES)
    assert set(figures["best_thresholds"]) == {"dog", "rain"}
    assert figures["psds1"] == figures["timeline_psds1"], "the events follow from the timeline and a threshold"


def test_a_file_that_cannot_be_read(soundscapes, tmp_path, capsys):
    table = tmp_path / "events.tsv"
    row = (soundscapes / "events.tsv").read_text().splitlines()[1].replace("audio/", f"{soundscapes}/audio/")
    table.write_text(f"filename\tonset\toffset\tevent_label\n{row}\nbad.wav\t0\t1\tdog\n")
    (tmp_path / "bad.wav").write_text("text")
    assert call("evaluate", make(tmp_path / "model", 0), "--data", table, "--events") == 1
    out, err = capsys.readouterr()
    assert "on 1 clips" in out
    assert "bad.wav" in err


def test_data_without_times(soundscapes, tmp_path, capsys):
    model = make(tmp_path / "model", 0)
    assert call("evaluate", model, "--data", soundscapes.parent / "clips", "--events") == 1
    assert "expected times of events, got none in the data set (a folder per class)" in capsys.readouterr().err


def test_a_model_that_learned_from_events_is_evaluated_on_whole_clips(soundscapes, tmp_path, capsys):
    """Also without --events: as its recipe says, rows with times are no clips of their own."""
    model = make(tmp_path / "model", 0)
    capsys.readouterr()
    assert call("evaluate", model, "--data", soundscapes, "--json", "--resamples", "0") == 0
    cut = json.loads(capsys.readouterr().out)["clips"]
    facts = json.loads((model / "spectag.json").read_text())
    facts["provenance"] = {"recipe": {"labels": {"events": True}}}
    (model / "spectag.json").write_text(json.dumps(facts))
    assert call("evaluate", model, "--data", soundscapes, "--json", "--resamples", "0") == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 4 < cut
    assert torch.get_num_threads() >= 1
