"""Measure ways of finding events on soundscapes: by windows, by a frame head, by changes of its scores.

    python benchmarks/events.py --data ESC-10 --out DIR [--seeds 3] [--epochs 50] [--train 1,2,3] [--test 5]

Soundscapes of 10 s with known onsets are mixed from clips of the training folds, a network with a frame head is trained
on them from scratch (recipe esc10), and it is judged on soundscapes from clips of the test folds. Nothing is tuned on
these. What lies in DIR already is used again, so the script can be stopped and started. The ways:

- "windows": the scores of the clip head in windows 1 s apart, and the method "threshold".
- "frames": the scores of the frame head, and the method "threshold".
- "frames, median": the same, but PSDS is of the scores after the median of half a second that the method uses.
- "frames, change": the scores of the frame head, and the method "change".
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path

from scipy.ndimage import median_filter

import spectag
from spectag.cli.main import main as run
from spectag.cli.score import _detections as detections
from spectag.data.layouts import read_manifest
from spectag.score.events import EVENT_FIGURES, Detected, evaluate_events

SETTINGS = ["labels.events=true", "model.frames=true", "loss=bce", "label_smoothing=0", "metric=mean_ap"]
SHOWN = ("psds1", "psds2", "event_f1", "best_event_f1", "segment_f1")


def without_frames(bundle: spectag.Bundle) -> spectag.Bundle:
    config = replace(bundle.card.config, frame_head=False)
    network = spectag.model.network.AST(config)
    state = bundle.network.state_dict()
    network.load_state_dict({name: value for name, value in state.items() if not name.startswith("frame_head.")})
    return spectag.Bundle(replace(bundle.card, config=config), network)


def smoothed(found: Detected | spectag.FileError) -> Detected | spectag.FileError:
    if isinstance(found, spectag.FileError):
        return found
    rows = 2 * (round(spectag.EventRule().smooth / found.timeline.step) // 2) + 1
    scores = median_filter(found.timeline.scores, (rows, 1), mode="nearest")
    return replace(found, timeline=spectag.Timeline(found.timeline.labels, found.timeline.step, scores))


def prepare(data: Path, out: Path, train: str, test: str, count: int) -> None:
    for split, folds, number, seed in (("train", train, count, 1), ("test", test, count // 4, 2)):
        if not (out / "sc" / split).exists():
            mix = ["--folds", folds, "--count", str(number), "--seed", str(seed), "--out", str(out / "sc" / split)]
            assert run(["data", "mix", str(data), *mix]) == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="labelled clips with folds")
    parser.add_argument("--out", type=Path, required=True, help="folder for soundscapes, runs and results")
    parser.add_argument("--train", default="1,2,3", help="folds that the training soundscapes are made from")
    parser.add_argument("--test", default="5", help="folds that the judged soundscapes are made from")
    parser.add_argument("--count", type=int, default=800, help="training soundscapes; a quarter of it is judged on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=50)
    args = parser.parse_args()
    prepare(args.data, args.out, args.train, args.test, args.count)
    manifest = read_manifest(args.out / "sc", events=True).only(split="test").timed()
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in range(args.seeds):
        folder = args.out / f"run{seed}"
        if not (folder / "bundle").exists():
            sets = [*SETTINGS, f"seed={seed}", f"epochs={args.epochs}", "exclude=[]", "evaluate_every=25"]
            resume = ["--resume"] if folder.exists() else []
            options = [word for setting in sets for word in ("--set", setting)]
            assert run(["train", "esc10", "--data", str(args.out / "sc"), "--out", str(folder), *resume, *options]) == 0
        bundle = spectag.load(folder)
        ways = {
            "windows": spectag.Detector(
                spectag.Tagger(without_frames(bundle)), spectag.EventRule("threshold"), hop=1.0
            ),
            "frames": spectag.Detector(spectag.Tagger(bundle), spectag.EventRule("threshold")),
            "frames, median": spectag.Detector(spectag.Tagger(bundle), spectag.EventRule("threshold")),
            "frames, change": spectag.Detector(spectag.Tagger(bundle), spectag.EventRule("change")),
        }
        for way, detector in ways.items():
            found = detections(detector, manifest)
            if way == "frames, median":
                found = map(smoothed, found)
            metrics, failed = evaluate_events(manifest, found, bundle.labels)
            assert not failed, failed
            rows.setdefault(way, []).append({name: getattr(metrics, name) for name in SHOWN})
            print(seed, way, {name: round(value, 3) for name, value in rows[way][-1].items()}, flush=True)
    (args.out / "events.json").write_text(json.dumps(rows, indent=1))
    print("| |", " | ".join(EVENT_FIGURES[name] for name in SHOWN), "|")
    for way, measured in rows.items():
        cells = [[row[name] for row in measured] for name in SHOWN]
        spread = [statistics.stdev(cell) if len(cell) > 1 else 0.0 for cell in cells]
        means = [statistics.mean(cell) for cell in cells]
        print(f"| {way} |", " | ".join(f"{m:.3f} ± {s:.3f}" for m, s in zip(means, spread, strict=True)), "|")


if __name__ == "__main__":
    main()
