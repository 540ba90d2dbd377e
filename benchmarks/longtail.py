"""Measure what each piece of the paper's AudioSet method contributes on a small multi-label set with a long tail.

    spectag data mix ESC-50 --out SOUNDSCAPES/train --count 1500 --ratio 50 --folds 1,2,3,4
    spectag data mix ESC-50 --out SOUNDSCAPES/test --count 400 --folds 5
    python benchmarks/longtail.py SOUNDSCAPES OUT [--seeds 3] [--set epochs=20]

This script trains ``longtail.yaml`` from scratch, which is the method of audioset-full at a tiny size. It trains with
all pieces, without balanced sampling, and without mixing, each with several seeds, and with the patch strides of
Ensemble-M, each with one seed. Then it prints the mAP of each variant, with and without weight averaging, and of
Ensemble-S and Ensemble-M. Runs that are already finished are not repeated.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean, stdev

from spectag.cli.main import main as spectag
from spectag.score.npz import read_scores
from spectag.score.table import average_tables

RECIPE = Path(__file__).with_name("longtail.yaml")
VARIANTS = {"full": [], "unbalanced": ["balanced=false"], "unmixed": ["augment.mix_rate=0"]}
STRIDES = (12, 14, 16)


def train(data: str, out: Path, seeds: int, overrides: list[str]) -> None:
    words = [word for pair in overrides for word in ("--set", pair)]
    resume = ["--resume"] if out.exists() else []
    series = ["--seeds", str(seeds)] if seeds > 1 else []
    code = spectag(["train", str(RECIPE), "--data", data, "--out", str(out), *series, *words, *resume])
    if code:
        sys.exit(code)


def figures(run: Path) -> tuple[float, float]:
    """Read the mAP of the last epoch and of the averaged weights from a run's report."""
    results = json.loads((run / "report.json").read_text())["results"]
    return results["last"]["mean_ap"], results["averaged"]["mean_ap"]


def text(values: list[float]) -> str:
    return f"{fmean(values):.3f}" + (f" +- {stdev(values):.3f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="data set made by spectag data mix")
    parser.add_argument("out", type=Path, help="directory for the runs")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds per variant")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", help="key=value to change in the recipe"
    )
    options = parser.parse_args()
    rows: list[tuple[str, str, str]] = []
    for name, overrides in VARIANTS.items():
        train(options.data, options.out / name, options.seeds, overrides + options.overrides)
        runs = sorted((options.out / name).glob("seed*")) or [options.out / name]
        last, averaged = zip(*map(figures, runs), strict=True)
        rows.append((f"{name} ({len(runs)} seeds)", text(list(last)), text(list(averaged))))
    for stride in STRIDES:
        run = options.out / f"stride{stride}"
        train(options.data, run, 1, [f"model.stride=[128,{stride}]", *options.overrides])
        last, averaged = figures(run)
        rows.append((f"full, stride {stride}", f"{last:.3f}", f"{averaged:.3f}"))
    small = [read_scores(path) for path in sorted((options.out / "full").glob("**/scores.npz"))]
    medium = small + [read_scores(options.out / f"stride{stride}" / "scores.npz") for stride in STRIDES]
    for name, tables in (("ensemble S", small), ("ensemble M", medium)):
        rows.append((f"{name} ({len(tables)} models)", "", f"{average_tables(tables).compute_metrics().mean_ap:.3f}"))
    print(f"{'mAP':<24}  {'last epoch':<16}  averaged weights")
    for name, last_text, averaged_text in rows:
        print(f"{name:<24}  {last_text:<16}  {averaged_text}")


if __name__ == "__main__":
    main()
