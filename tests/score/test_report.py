"""A run's page and a sweep's: whole, safe to open, and true to the figures."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from test_plots import HOSTILE

from spectag.score import plots
from spectag.score.evaluate import describe_table
from spectag.score.report import write_report, write_sweep
from spectag.score.table import ScoreTable

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Parses a page strictly: every tag closed in order, every image whole and described, nothing fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source, self.open, self.tags, self.words = text, [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag not in ("script", "iframe", "link", "object", "embed", "base", "form", "svg")
        self.tags.append(tag)
        values = dict(attrs)
        assert not [name for name in values if name.startswith("on") or name in ("href", "action", "data", "style")]
        assert "id" not in values
        if tag == "img":
            assert values["alt"]
            kind, _, data = values["src"].partition(",")
            assert kind == "data:image/svg+xml;base64"
            assert ElementTree.fromstring(base64.b64decode(data)).tag == "{http://www.w3.org/2000/svg}svg"
            self.words.append(values["alt"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def __contains__(self, text: str) -> bool:
        return text in " ".join(" ".join(self.words).split())


def single(classes: int, clips: int, names: list[str] = ()) -> ScoreTable:
    rng = np.random.default_rng(0)
    targets = np.eye(classes)[np.arange(clips) % classes]
    logits = np.exp(3 * targets + 1.3 * rng.standard_normal((clips, classes)))
    labels = [*names, *(f"class {n}" for n in range(classes))][:classes]
    ids = [*names, *(f"audio/{n:05}.wav" for n in range(clips))][:clips]
    return ScoreTable(ids, targets, (logits / logits.sum(1, keepdims=True)).astype(np.float32), labels, "softmax")


def multi(classes: int, clips: int, names: list[str] = ()) -> ScoreTable:
    rng = np.random.default_rng(0)
    table = single(classes, clips, names)
    targets = (rng.random((clips, classes)) < 0.15).astype(int)
    targets[0], targets[:, -1] = 0, 0  # a clip without a class, a class without a clip
    scores = np.clip(0.4 * targets + 0.7 * rng.random((clips, classes)) - 0.05, 0, 1)
    return ScoreTable(table.ids, targets, scores, table.labels, "sigmoid")


def report_of(scores: ScoreTable, epochs: int = 8) -> dict:
    metrics = scores.compute_metrics()
    result = describe_table(scores, metrics, scores.compute_intervals(metrics, resamples=50) if scores.ids else None)
    rows = [
        {"epoch": n, "loss": 2 / n, "lr": 1e-3 / n, "seconds": 3.0 * n, "accuracy": 1 - 1 / n, "mean_ap": 1 - 0.9 / n}
        for n in range(1, epochs + 1)
    ]
    return {
        "recipe": {"name": "meadow", "seed": 42, "loss": "ce", "model": {"patch": [16, 16]}},
        "data": {"layout": "folders", "clips": 900, "held_out": "fold 1", "labels": list(scores.labels)},
        "chosen": "last epoch",
        "parameters": 1327242,
        "precision": "32-true",
        "seconds": 7260.0,
        "versions": {"spectag": "0.1.0", "torch": "2.13"},
        "device": "cpu",
        "threads": 2,
        "epochs": rows,
        "result": result | {"failed": ["a.wav: not audio"]},
        "results": {"last": result, "averaged": result, "best": {**result, "accuracy": 0.987}},
        "skipped": [{"id": "b.wav", "reason": "no such file"}],
        "command": "spectag train meadow --fold 1",
    }


def page(path: Path, report: dict, scores: ScoreTable | None) -> Page:
    write_report(path / "report.html", report, scores)
    return Page((path / "report.html").read_text("utf-8"))


def test_single_label(tmp_path):
    scores = single(10, 80)
    shown = page(tmp_path, report_of(scores), scores)
    accuracy = 100 * (scores.targets.argmax(1) == scores.scores.argmax(1)).mean()
    for text in (
        "Training run meadow",
        "Chosen: last epoch. Scored on fold 1 (80 clips).",
        f"accuracy {accuracy:.1f} % 95 % interval for 80 clips",
        "98.7 %",
        "Confusion matrix of 10 classes",
        "Most frequent confusions",
        "recall precision",
        "seed 42",
        "time 2.0 h",
        "device cpu threads 2",
        "spectag 0.1.0, torch 2.13",
        "spectag train meadow --fold 1",
        "patch: - 16 - 16",
        "a.wav: not audio",
        "b.wav no such file",
        "Line chart over epochs: loss 2 at epoch 1, 0.25 at epoch 8",
    ):
        assert text in shown, text
    assert "Average precision" not in shown
    assert shown.source.isascii() is False  # a dash: written as UTF-8, and declared as such
    assert '<meta charset="utf-8">' in shown.source


def test_confusions_and_worst_clips_are_the_true_ones(tmp_path):
    targets = np.eye(3)[[0, 0, 0, 1, 2]]
    scores = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.05, 0.9, 0.05], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]])
    table = ScoreTable(["a", "b", "c", "d", "e"], targets, scores, ["cat", "dog", "owl"], "softmax")
    shown = page(tmp_path, report_of(table), table)
    assert "cat dog 2 66.7 %" in shown
    assert "c cat 0.05 dog 0.90; cat 0.05; owl 0.05 3.00 b cat 0.30 dog 0.60; cat 0.30; owl 0.10 1.20 e" in shown
    cat = report_of(table)["result"]
    assert f"cat 3 {cat['ap']['cat']:.3f} {cat['auc']['cat']:.3f} 33.3 % 100.0 %" in shown


def test_a_confusion_is_a_share_of_the_true_class(tmp_path):
    targets, guesses = np.eye(2)[[0, 0, 0, 1, 1, 1]], np.eye(2)[[0, 1, 1, 1, 1, 1]]
    table = ScoreTable(list("abcdef"), targets, 0.25 + 0.5 * guesses, ["cat", "dog"], "softmax")
    assert "share of the true class cat dog 2 66.7 %" in page(tmp_path, report_of(table), table)


def test_the_numbers_of_the_worst_clips_say_what_they_are(tmp_path):
    """The kind: numbers without a heading, names that commas run together, and a dash for what has no label."""
    names, scores = ["Male speech, man speaking", "dog"], np.array([[0.5, 0.25], [0.1, 0.9]])
    table = ScoreTable(["a", "b"], np.array([[1, 1], [0, 0]]), scores, names, "sigmoid")
    shown = page(tmp_path, report_of(table), table)
    assert "clip true classes and their scores highest scores loss" in shown
    assert "b no label dog 0.90; Male speech, man speaking 0.10" in shown
    assert "a Male speech, man speaking 0.50; dog 0.25 Male" in shown


def test_worst_clips_with_several_labels_have_the_highest_loss(tmp_path):
    targets = np.array([[1, 1], [1, 1], [0, 1]])
    scores = np.array([[0.5, 0.5], [0.1, 0.5], [0.1, 0.9]])
    table = ScoreTable(["even", "bad", "good"], targets, scores, ["cat", "dog"], "sigmoid")
    losses = [f"{-np.log(parts).mean():.2f}" for parts in ([0.1, 0.5], [0.5, 0.5], [0.9, 0.9])]
    shown = page(tmp_path, report_of(table), table)
    assert f"bad dog 0.50; cat 0.10 dog 0.50; cat 0.10 {losses[0]} even cat 0.50; dog 0.50" in shown
    assert f"{losses[1]} good dog 0.90 dog 0.90; cat 0.10 {losses[2]}" in shown


def test_multi_label(tmp_path):
    scores = multi(12, 90)
    assert not scores.single_label
    report = report_of(scores)
    shown = page(tmp_path, report, scores)
    known = sorted(v for v in report["result"]["ap"].values() if v is not None)
    for text in ("Average precision", "Precision over recall", f"average precision {known[0]:.2f}", "Worst clips", "–"):
        assert text in shown, text
    negatives, f1 = int((scores.targets.sum(1) == 0).sum()), report["result"]["f1"]["class 0"]
    low, high = report["result"]["intervals"]["mean_ap"]
    for text in (
        f"(90 clips, {negatives} of them without a label)",
        f"mAP {report['result']['mean_ap']:.3f} over 11 classes; 95 % interval for 90 clips: {low:.3f} to {high:.3f}",
        "micro F1",
        "at threshold 0.5",
        "AP AUC F1",
        f" {f1:.3f}",
    ):
        assert text in shown, text
    for text in ("accuracy", "Confusion", "recall precision"):
        assert text not in shown, text
    assert "class 11 0 – –" in shown  # nothing is claimed of a class without clips


@pytest.mark.parametrize(("make", "text"), [(single, "Most frequent confusions"), (multi, "The 25 classes with the")])
def test_many_classes_are_not_squeezed_into_a_figure(tmp_path, make, text):
    scores = make(70, 300)
    shown = page(tmp_path, report_of(scores), scores)
    assert text in shown
    assert "Confusion matrix" not in shown
    assert "70 classes, lowest average precision first" in shown


def test_the_best_epoch_is_optimistic_only_where_the_held_out_clips_chose_it(tmp_path):
    report = report_of(single(3, 9))
    report["validation"] = report["results"]
    shown = page(tmp_path, report, None)
    assert "The weights of this run on the validation clips" in shown
    assert "mAP on the validation clips" in shown
    assert "optimistic" not in shown
    del report["validation"]
    assert "optimistic" in page(tmp_path, report, None)
    del report["results"]["best"]
    assert "optimistic" not in page(tmp_path, report, None)


def test_nothing_held_out(tmp_path):
    report = report_of(single(3, 9)) | {"result": None, "results": {}, "skipped": []}
    report["epochs"] = [{"epoch": 1, "loss": float("nan"), "lr": 0.1, "seconds": 1.0}]
    shown = page(tmp_path, report, None)
    assert "No clips were held out, so these weights have not been scored" in shown
    assert "Worst clips" not in shown


def test_every_key_may_be_missing(tmp_path, monkeypatch):
    scores = single(4, 12)
    whole = report_of(scores)
    page(tmp_path, {}, None)
    page(tmp_path, {}, scores)
    page(tmp_path, whole | {"epochs": [{"loss": 1.0}], "skipped": [{}], "result": {"clips": 3, "accuracy": 1.0}}, None)
    none = ScoreTable([], np.zeros((0, 4)), np.zeros((0, 4)), scores.labels, "softmax")
    page(tmp_path, whole, none)
    empty = plots.Plot("<svg xmlns='http://www.w3.org/2000/svg'/>", "empty")
    for figure in ("plot_curves", "plot_confusion"):  # drawn above; thirty more times would take long
        monkeypatch.setattr(plots, figure, lambda *_: empty)
    for key in whole:
        page(tmp_path, {k: v for k, v in whole.items() if k != key}, scores)
        page(tmp_path, whole | {key: None}, None)


@pytest.mark.parametrize("make", [single, multi])
def test_hostile_names(tmp_path, make):
    scores = make(8, 30, HOSTILE)
    report = report_of(scores)
    for key in ("chosen", "command", "device", "precision"):
        report[key] = HOSTILE[1]
    report["recipe"] |= {"name": HOSTILE[0], "exclude": HOSTILE}
    report["data"] |= {"held_out": HOSTILE[1], "layout": HOSTILE[4]}
    report["versions"] = {HOSTILE[0]: HOSTILE[1]}
    report["skipped"] = [{"id": name, "reason": name} for name in HOSTILE]
    report["result"]["failed"] = HOSTILE
    shown = page(tmp_path, report, scores)
    for name in HOSTILE[:4]:
        assert name in shown, name
    assert "49" not in re.findall(r"\$ (\d+) &", shown.source)
    assert not re.search("[\x00\x1b\u202e\udcff]", shown.source)


def test_a_page_is_small_and_always_the_same(tmp_path):
    scores = single(50, 400)
    report = report_of(scores, epochs=200)
    first, second = page(tmp_path, report, scores), page(tmp_path, report, scores)
    assert first.source == second.source
    assert len(first.source.encode()) < 500_000


def test_sweep(tmp_path):
    rows = [
        {"setting": "stride=8", "runs": 3, "accuracy": 0.8125, "accuracy std": 0.01, "mean_ap": None},
        {"setting": HOSTILE[0], "runs": 1, "accuracy": 0.83333333, "accuracy std": None, "mean_ap": None},
        {"setting": "stride=16", "runs": 0},
    ]
    means, stds = ([row.get(key) for row in rows] for key in ("accuracy", "accuracy std"))
    plot = plots.plot_sweep([row["setting"] for row in rows], means, stds, "accuracy")
    write_sweep(tmp_path / "sweep.html", "Sweep of model.stride", rows, plot)
    shown = Page((tmp_path / "sweep.html").read_text("utf-8"))
    assert "Sweep of model.stride" in shown
    assert "accuracy for each setting: stride=8 0.8125 ± 0.01; <script>alert(1)</script> 0.8333" in shown
    assert "setting runs accuracy stride=8 3 0.812 ± 0.010 <script>alert(1)</script> 1 0.833 stride=16 0 –" in shown
    write_sweep(tmp_path / "sweep.html", "Sweep", rows, None)
    assert "img" not in Page((tmp_path / "sweep.html").read_text("utf-8")).tags
