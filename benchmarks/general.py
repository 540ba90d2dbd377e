"""Compare a general model with its teacher on sounds that it was never trained on: ESC-50.

    TEACHER=mn04_as_mAP_432.safetensors python benchmarks/general.py MODEL --data ESC-50 [--esc10 ESC-10] [--json FILE]

The model, the teacher and the model's network before training run over the same clips. The table has

- agreement with the teacher: mean average precision against the teacher's labels (a score of at least 0.5), over the
  classes that have some, and the correlation of all logits;
- zero-shot accuracy: a class of ESC-50 gets the highest score of the labels that ``esc50_audioset.csv`` gives it. Top 5
  are the five best of the 50 classes;
- a linear probe: logistic regression on standardised features, C = 0.01, chosen beforehand, in turn on all folds but
  one; and on 5 or 10 clips per class, drawn from the other folds, the mean of five draws;
- size, and the time of one core for a clip of 5 s, of the network and of everything from the waveform on.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler
from teacher import mn04, network

import spectag
from spectag import AST, Bundle, Tagger
from spectag.audio.read import read
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Manifest

MAP = Path(__file__).with_name("esc50_audioset.csv")
C = 0.01
SHOTS, DRAWS = (5, 10), 5

Listen = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]


class Heard(NamedTuple):
    """Scores ``[N, 527]`` and features ``[N, D]`` of N clips, and the seconds of each, on one core."""

    scores: NDArray[np.float32]
    features: NDArray[np.float32]
    seconds: float


def hear(listen: Listen, waveforms: list[NDArray[np.float32]]) -> Heard:
    """Let a model hear every clip."""
    listen(waveforms[0])
    rows, seconds = [], []
    for waveform in waveforms:
        start = time.perf_counter()
        rows.append(listen(waveform))
        seconds.append(time.perf_counter() - start)
    return Heard(np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows]), float(np.median(seconds)))


def listener(bundle: Bundle) -> Listen:
    """What a model says of a waveform, in one pass."""
    tagger = Tagger(bundle, batch_size=1)

    def listen(waveform: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return tagger.scores(waveform), tagger.embed(waveform)

    return listen


def logits(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    p = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


def agree(student: Heard, teacher: Heard) -> dict[str, float]:
    """How far the student says what the teacher says."""
    targets = teacher.scores >= 0.5
    classes = np.flatnonzero(targets.any(0))
    precision = [average_precision_score(targets[:, n], student.scores[:, n]) for n in classes]
    correlation = np.corrcoef(logits(student.scores).ravel(), logits(teacher.scores).ravel())[0, 1]
    return {
        "mAP": float(np.mean(precision)),
        "chance": float(targets[:, classes].mean()),
        "classes": len(classes),
        "correlation": float(correlation),
    }


def zero_shot(heard: Heard, truth: NDArray[np.int64], names: tuple[str, ...]) -> dict[str, float]:
    """Accuracy without any training on ESC-50."""
    labels = spectag.LabelSet.audioset()
    with MAP.open(encoding="utf-8", newline="") as file:
        places = {
            row["esc50"]: [labels.index(name) for name in row["audioset"].split("|")] for row in csv.DictReader(file)
        }
    scores = np.stack([heard.scores[:, places[name]].max(1) for name in names], axis=1)
    order = np.argsort(-scores, axis=1)
    return {f"top {k}": float((order[:, :k] == truth[:, None]).any(1).mean()) for k in (1, 5)}


def probe(features: NDArray[np.float32], truth: NDArray[np.int64], folds: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy of a linear classifier on features, over folds in turn."""

    def accuracy(train: NDArray[Any], test: NDArray[Any]) -> float:
        scale = StandardScaler().fit(features[train])
        model = LogisticRegression(C=C, max_iter=2000).fit(scale.transform(features[train]), truth[train])
        return float(model.score(scale.transform(features[test]), truth[test]))

    found = {"probe": np.mean([accuracy(folds != fold, folds == fold) for fold in np.unique(folds)])}
    for shots in SHOTS:
        rates = []
        for fold in np.unique(folds):
            for draw in range(DRAWS):
                rng = np.random.default_rng([draw, fold, shots])
                classes = [np.flatnonzero((truth == n) & (folds != fold)) for n in np.unique(truth)]
                some = np.concatenate([rng.choice(clips, min(shots, len(clips)), replace=False) for clips in classes])
                rates.append(accuracy(some, folds == fold))
        found[f"{shots} shots"] = np.mean(rates)
    return {name: float(value) for name, value in found.items()}


def truth_of(manifest: Manifest) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.array([clip.labels[0] for clip in manifest.clips]), np.array([clip.fold for clip in manifest.clips])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="bundle with AudioSet's 527 labels")
    parser.add_argument("--data", type=Path, required=True, help="ESC-50")
    parser.add_argument("--esc10", type=Path, help="ESC-10: also probe on it")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    torch.set_num_threads(1)
    bundle = spectag.load(args.model)
    torch.manual_seed(0)
    untrained = Bundle(bundle.card, AST(bundle.card.config).eval())
    models: dict[str, tuple[Listen, int]] = {
        "student": (listener(bundle), sum(p.numel() for p in bundle.network.parameters())),
        "teacher": (lambda waveform: mn04(waveform, 16_000), sum(p.numel() for p in network().parameters())),
        "untrained": (listener(untrained), 0),
    }
    table: dict[str, dict[str, float]] = {name: {"parameters": size} for name, (_, size) in models.items()}
    sets = {"ESC-50": args.data} | ({"ESC-10": args.esc10} if args.esc10 else {})
    for title, data in sets.items():
        manifest = read_manifest(data)
        truth, folds = truth_of(manifest)
        waveforms = [read(clip.source) for clip in manifest.clips]
        heard = {name: hear(listen, waveforms) for name, (listen, _) in models.items()}
        for name, found in heard.items():
            row = table[name]
            if title == "ESC-50":
                row["ms per clip"] = 1000 * found.seconds
                row |= agree(found, heard["teacher"]) if name != "teacher" else {}
                row |= zero_shot(found, truth, manifest.labels.names)
            row |= {f"{title} {key}": value for key, value in probe(found.features, truth, folds).items()}
    for key in dict.fromkeys(key for row in table.values() for key in row):
        cells = [f"{row[key]:.4g}" if key in row else "" for row in table.values()]
        print("| " + " | ".join([f"{key:<16}", *(f"{cell:>10}" for cell in cells)]) + " |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
