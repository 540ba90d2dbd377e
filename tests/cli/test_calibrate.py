"""spectag calibrate, as typed: a small network that knows three colours of noise, and is too sure."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spectag.cli.main import main

CLASSES = ("high", "low", "white")
CLIPS = 24  # of each class


def call(*args: str | Path) -> int:
    return main([str(arg) for arg in args])


def colour(label: str, rng: np.random.Generator, blur: float = 0.75) -> np.ndarray:
    """Noise whose colour lies between that of its class and white."""
    white = rng.standard_normal(12_000)
    other = {"high": np.diff(white, prepend=0), "low": np.cumsum(white) / 20, "white": white}[label]
    share = blur * rng.random()
    return (0.05 * (share * white + (1 - share) * other)).astype(np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of clips: fold 1 to learn from, fold 2 to calibrate on. Three clips of the same group have one label."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = []
    for label in CLASSES:
        for number in range(2 * CLIPS):
            name, fold = f"{label}-{number}.wav", 1 + number // CLIPS
            soundfile.write(folder / name, colour(label, rng), 16_000)
            rows.append([name, label, fold, f"{label}-{number // 3}"])
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "fold", "group"])
        writer.writerows(rows)
    return folder / "clips.csv"


@pytest.fixture(scope="module", params=[False, True], ids=["clips", "frames"])
def model(request, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn weights, and a head that knows the mean features of each class; its logits are four times too large."""
    import torch

    from spectag.audio.front_end import FrontEnd
    from spectag.data.layouts import read_manifest
    from spectag.labels import LabelSet
    from spectag.model.bundle import Bundle
    from spectag.model.card import Card
    from spectag.model.config import ASTConfig
    from spectag.model.network import AST
    from spectag.tag.tagger import Tagger

    torch.manual_seed(0)
    network = AST(ASTConfig(width=32, depth=1, heads=2, frames=50, labels=4, frame_head=request.param))
    card = Card(network.config, FrontEnd(frames=50), LabelSet((*CLASSES, "other")), "softmax")
    tagger = Tagger(Bundle(card, network))
    manifest = read_manifest(data).only(fold=1)
    features = np.stack([tagger.embed(clip.source) for clip in manifest.clips])
    with torch.no_grad():
        normal = network.head.norm(torch.from_numpy(features))
        labels = torch.tensor([clip.labels[0] for clip in manifest.clips])
        means = torch.stack([normal[labels == label].mean(0) for label in range(3)])
        spread = torch.cat([normal[labels == label] - means[label] for label in range(3)])
        inverse = torch.linalg.pinv(spread.T @ spread / len(spread) + 1e-3 * torch.eye(32))
        for head in [network.head] + ([network.frame_head] if request.param else []):
            head.linear.weight[:3] = 4 * means @ inverse
            head.linear.bias[:3] = -2 * ((means @ inverse) * means).sum(1)
            head.linear.bias[3] = -50.0
    provenance = {"data": {"layout": "a table of clips", "held_out": "fold 2"}}
    return Bundle(replace(card, provenance=provenance), network).save(tmp_path_factory.mktemp("model") / "bundle")


def test_scores_are_mended_and_everything_is_stored(model, data, tmp_path, capsys):
    out, plot = tmp_path / "out", tmp_path / "reliability.svg"
    options = ("--data", data, "--fold", 2, "--unknown", 0.1)
    assert call("calibrate", model, *options, "--out", out, "--plot", plot, "--json") == 0
    shown = capsys.readouterr()
    figures = json.loads(shown.out)
    assert "held out: fold 2" in shown.err
    assert figures["clips"] == 3 * CLIPS
    assert figures["groups"] == CLIPS
    assert figures["ece"]["after"] < figures["ece"]["before"]
    assert figures["log_loss"]["after"] < figures["log_loss"]["before"]
    assert figures["unknown"]["known_rejected"] <= 0.1 * 3 * CLIPS
    assert [row["clips"] for row in figures["classes"]] == [CLIPS] * 3
    assert "<svg" in plot.read_text("utf-8")

    from spectag.data.layouts import read_manifest
    from spectag.model.loading import load
    from spectag.tag.tagger import Tagger

    card = load(out).card
    assert len(card.thresholds) == 4
    assert [round(value, 9) for value in card.thresholds[:3]] == [round(r["threshold"], 9) for r in figures["classes"]]
    assert card.provenance["calibration"]["positives"] == [CLIPS] * 3 + [0]
    assert card.provenance["data"]["held_out"] == "fold 2"
    assert ("frames" in card.provenance["calibration"]) == card.config.frame_head
    # The bundle was fitted on these clips, so their loss is not above the cross-validated one.
    clips = read_manifest(data).only(fold=2)
    scores = np.stack([Tagger(load(out)).scores(clip.source) for clip in clips.clips])
    loss = -np.log(scores[np.arange(len(scores)), [clip.labels[0] for clip in clips.clips]]).mean()
    assert loss <= figures["log_loss"]["after"]

    loud = tmp_path / "click.wav"
    soundfile.write(loud, np.sign(np.sin(np.arange(12_000) / 40)) * 0.9, 16_000)
    assert call("tag", "-m", out, loud, "--format", "json") == 0
    [row] = json.loads(capsys.readouterr().out)
    assert row["unknown"] is True
    assert row["tags"] == []
    assert call("info", out) == 0
    lines = capsys.readouterr().out
    assert "thresholds.for" in lines
    assert "unknown.rate" in lines


def test_text(model, data, tmp_path, capsys):
    assert call("calibrate", model, "--data", data, "--fold", 2, "--precision", 0.9) == 0
    shown = capsys.readouterr()
    assert "nothing was written" in shown.err
    assert "thresholds for precision 0.9" in shown.out
    assert "1 other classes, which the data set lacks" in shown.out
    for name in CLASSES:
        assert f"  {name}" in shown.out


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A folder of one class, of two clips."""
    rng = np.random.default_rng(1)
    (tmp_path / "one/high").mkdir(parents=True)
    for number in range(2):
        soundfile.write(tmp_path / f"one/high/{number}.wav", colour("high", rng), 16_000)
    return tmp_path / "one"


def test_bad_input(model, data, folders, tmp_path, capsys):
    for args, code, message in [
        (("scores.npz", "--data", data), 1, "is a score file, and the model itself is needed"),
        ((model, "--data", folders), 1, "every clip has the same labels"),
        ((model, "--data", data, "--fold", 7), 1, "fold"),
        ((model, "--data", data, "--fold", 2, "--out", tmp_path), 1, "already exists"),
        ((model, "--data", data, "--fold", 2, "--precision", 1.5), 2, "more than 0 and less than 1"),
        ((model, "--data", data, "--fold", 2, "--unknown", 0), 2, "more than 0 and less than 1"),
        ((model, "--data", data, "--fold", 2, "--unknown", 0.001), 1, "at least 999 clips"),
        ((model, "--data", data, "--fold", 2, "--plot", "a.pdf"), 2, "ends in .svg or .png"),
        ((model, "--data", data, "--fold", 2, "--plot", tmp_path / "no/a.svg"), 1, "does not exist"),
    ]:
        assert call("calibrate", *args) == code, args
        assert message in capsys.readouterr().err, args


def test_a_clip_that_cannot_be_read_costs_only_itself(model, data, tmp_path, capsys):
    rows = [row for row in csv.reader(data.open()) if row[2] in ("fold", "2")]
    (tmp_path / "broken.wav").write_text("not sound")
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[str(data.parent / row[0]), *row[1:]] if row[2] == "2" else row for row in rows])
        csv.writer(file).writerow([tmp_path / "broken.wav", "high", "2", ""])
    assert call("calibrate", model, "--data", tmp_path / "clips.csv", "--out", tmp_path / "out") == 1
    shown = capsys.readouterr()
    assert "broken.wav" in shown.err
    assert f"on {3 * CLIPS} clips" in shown.out
    assert (tmp_path / "out/spectag.json").exists()


def test_negatives_are_counted(model, data, tmp_path, capsys):
    folder = tmp_path / "else"
    folder.mkdir()
    for number in range(4):
        tone = np.sign(np.sin(np.arange(12_000) / (30 + 10 * number))) * 0.9
        soundfile.write(folder / f"{number}.wav", tone, 16_000)
    assert call("calibrate", model, "--data", data, "--unknown", 0.1, "--negatives", folder) == 0
    assert "called unknown, and 4 of 4 without" in capsys.readouterr().out


@pytest.fixture(scope="module")
def soundscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of 3 s with a burst of one colour of noise in faint noise, and a table of when it is heard."""
    folder = tmp_path_factory.mktemp("soundscapes")
    rng = np.random.default_rng(3)
    rows = []
    for number in range(12):
        label, name = CLASSES[number % 3], f"{number}.wav"
        waveform = 1e-4 * rng.standard_normal(48_000)
        waveform[16_000:32_000] += np.tile(colour(label, rng, blur=0.0), 2)[:16_000]
        soundfile.write(folder / name, waveform, 16_000)
        rows += [[name, "1.0", "1.5", label], [name, "1.5", "2.0", label]]  # one after the other: one event
    with (folder / "events.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["filename", "onset", "offset", "event_label"])
        writer.writerows(rows)
    return folder / "events.tsv"


def test_events_get_thresholds_of_their_own(model, soundscapes, tmp_path, capsys):
    from spectag.model.loading import load
    from spectag.tag.detector import Detector
    from spectag.tag.tagger import Tagger

    out = tmp_path / "out"
    assert call("calibrate", model, "--data", soundscapes, "--events", "--out", out, "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["clips"] == 12  # whole recordings, not the stretches of events
    assert set(figures["events"]) == {"change", "threshold"}
    assert figures["events"]["change"]["events"] == [4, 4, 4, 0]
    card = load(out).card
    assert set(card.event_thresholds) == {"change", "threshold"}
    assert card.provenance["calibration"]["events"] == figures["events"]
    detector = Detector(Tagger(load(out)))
    assert tuple(detector.thresholds.values()) == card.event_thresholds["change"]
    assert call("info", out) == 0
    assert "event_thresholds.change.count" in capsys.readouterr().out
    assert call("calibrate", out, "--data", soundscapes, "--events") == 0
    assert "events by change: event F1 " in capsys.readouterr().out
    again = tmp_path / "again"
    assert call("calibrate", out, "--data", soundscapes, "--out", again) == 0
    assert load(again).card.event_thresholds is None  # they were those of other scores


def test_events_need_times(model, data, capsys):
    assert call("calibrate", model, "--data", data, "--fold", 2, "--events") == 1
    assert "give its tables the columns onset and offset" in capsys.readouterr().err


def test_rows_mean_what_they_meant_in_training(model, soundscapes, tmp_path, capsys):
    """As for evaluate: a model that learned when its labels are heard is calibrated on whole recordings."""
    copy = shutil.copytree(model, tmp_path / "copy")
    facts = json.loads((copy / "spectag.json").read_text())
    facts["provenance"]["recipe"] = {"labels": {"events": True}}
    (copy / "spectag.json").write_text(json.dumps(facts))
    found = []
    for each in (model, copy):
        assert call("calibrate", each, "--data", soundscapes, "--json") == 0
        found.append(json.loads(capsys.readouterr().out)["clips"])
    assert found == [24, 12]
