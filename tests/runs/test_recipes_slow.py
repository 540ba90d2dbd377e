"""The bundled model's recipe, shortened, on real recordings it has not seen."""

import json

import pytest

from spectag.cli.main import main


@pytest.mark.slow
def test_esc10_learns(shared, tmp_path):
    data, out = shared / "data" / "esc10", tmp_path / "run"
    short = ["--set", "epochs=40", "--set", "evaluate_every=40", "--set", "schedule.warmup_steps=30"]
    assert main(["train", "esc10", "--data", str(data), "--out", str(out), "--fold", "5", *short]) == 0
    result = json.loads((out / "report.json").read_text())["result"]
    assert result["accuracy"] > 0.65
    assert main(["evaluate", str(out / "bundle"), "--data", str(data), "--fold", "5"]) == 0
