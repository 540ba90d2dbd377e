"""Measure training and tagging beside programs that keep the cores busy, and what the way of waiting costs.

    python benchmarks/busy.py [--busy 0 1 2] [--repeats 3] [--ways spectag spinning] [--data ESC-10] [--json FILE]

A loop is shared among threads, and a thread that has done its part waits for the others. It may spin, which torch's
library of threads (GNU OpenMP) does for up to 20 ms, or sleep, which spectag makes it do soon. The ways take turns, so
that a machine that slows down affects all of them equally. The figures are medians, and the ratios are to the first
way. The busy programs are started here, and are endless loops in Python.

Training is the recipe esc10 for a few epochs, without the first, which is a warm-up. Tagging is that of the same clips
with the bundled model. Without --data, the clips are made: ten classes of noise. Times above --limit are cut off there.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile as sf

from spectag.cores import count_cores

WAYS: dict[str, dict[str, str]] = {
    "spectag": {},  # spins a little, then sleeps
    "spinning": {"GOMP_SPINCOUNT": "300000"},  # what GNU OpenMP does by itself
    "asleep": {"GOMP_SPINCOUNT": "0"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "spin 10000": {"GOMP_SPINCOUNT": "10000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
SPECTAG = [sys.executable, "-m", "spectag"]
TAG = """
import sys, time
from pathlib import Path
from spectag.cores import choose_threads, wait_asleep
wait_asleep()
import torch
from spectag.tag.tagger import Tagger
torch.set_num_threads(choose_threads())
clips = sorted(path for path in Path(sys.argv[1]).rglob("*") if path.is_file())
tagger = Tagger("esc10")
for _ in range(2):  # the first turn is a warm-up
    start = time.perf_counter()
    list(tagger.tag_many(clips))
    print(time.perf_counter() - start, flush=True)
"""


def make_clips(root: Path, classes: int = 10, each: int = 20) -> Path:
    """Write clips of five seconds of noise in ESC-10's layout, in folds 1 and 2."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        folder = root / f"{label + 1:03} - Noise {label}"
        folder.mkdir(parents=True)
        for i in range(each):
            noise = np.convolve(rng.standard_normal(80_000), np.ones(1 + 4 * label) / (1 + 4 * label), "same")
            sf.write(folder / f"{1 + i % 2}-{label}{i:04}-A.wav", 0.1 * noise, 16_000)
    return root


@contextmanager
def busy(programs: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keep some cores busy until the block ends."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(programs)]
    try:
        yield started
    finally:
        for program in started:
            program.kill()
            program.wait()


def train(data: Path, way: str, epochs: int, limit: float) -> list[float]:
    """Return the seconds of each epoch but the first; the limit where one took longer."""
    with tempfile.TemporaryDirectory() as out:
        run = Path(out, "run")
        sets = [f"epochs={epochs + 1}", f"evaluate_every={epochs + 1}", "exclude=[]"]
        command = [*SPECTAG, "train", "esc10", "--data", str(data), "--out", str(run)]
        command += [word for value in sets for word in ("--set", value)]
        process = subprocess.Popen(command, env=environment(way), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        table, rows, last = run / "metrics.csv", 0, time.monotonic()
        while process.poll() is None and time.monotonic() - last < limit:
            time.sleep(0.2)
            now = len(table.read_text().splitlines()) if table.is_file() else 0
            if now != rows or not run.is_dir():  # an epoch ended, or the clips are still being read
                rows, last = now, time.monotonic()
        if process.poll() is None:
            process.kill()
            process.wait()
            return [limit]
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
        with table.open() as file:
            return [float(row["seconds"]) for row in csv.DictReader(file)][1:]


def tag(data: Path, way: str, limit: float) -> list[float]:
    """Return the seconds to tag all clips; the limit where it took longer."""
    command = [sys.executable, "-c", TAG, str(data)]
    try:
        done = subprocess.run(
            command, env=environment(way), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=limit, check=True
        )
    except subprocess.TimeoutExpired:
        return [limit]
    return [float(line) for line in done.stdout.split()][1:]


def environment(way: str) -> dict[str, str]:
    """The environment of a program that waits in some way."""
    decided = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    return {key: value for key, value in os.environ.items() if key not in decided} | WAYS[way]


def measure(args: argparse.Namespace, data: Path) -> list[dict[str, object]]:
    """A row for each kind of work, number of busy programs and way of waiting, printed as soon as it is known."""
    rows: list[dict[str, object]] = []
    for work in args.work:
        for programs in args.busy:
            seconds: dict[str, list[float]] = {way: [] for way in args.ways}
            with busy(programs):
                for _ in range(args.repeats):
                    for way in args.ways:
                        if args.limit in seconds[way]:  # once is enough
                            continue
                        seconds[way] += (
                            train(data, way, args.epochs, args.limit) if work == "train" else tag(data, way, args.limit)
                        )
            medians = {way: statistics.median(values) for way, values in seconds.items()}
            first = next(iter(medians.values()))
            for way, median in medians.items():
                row = {"work": work, "busy": programs, "way": way, "seconds": median, "ratio": median / first}
                rows.append(row | {"times": seconds[way]})
                over = ">" if args.limit in seconds[way] else " "
                print(f"{work:6} {programs:4}  {way:11} {over}{median:8.2f} {median / first:7.2f}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", nargs="+", choices=("train", "tag"), default=["train", "tag"], help="what to measure")
    parser.add_argument("--busy", nargs="+", type=int, default=[0, 1, 2], help="numbers of busy programs beside it")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["spectag", "spinning"], help="ways of waiting")
    parser.add_argument("--repeats", type=int, default=3, help="number of turns")
    parser.add_argument("--epochs", type=int, default=3, help="timed epochs per turn")
    parser.add_argument("--limit", type=float, default=120, help="longest time to wait for an epoch, in seconds")
    parser.add_argument("--data", type=Path, help="ESC-10, or another data set")
    parser.add_argument("--json", type=Path, help="file to write the figures to as JSON")
    args = parser.parse_args()
    print(f"{count_cores()} cores, load {os.getloadavg()[0]:.2f} before")
    print(f"{'work':6} {'busy':4}  {'way':11} {'seconds':>9} {'ratio':>7}")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(args, args.data or make_clips(Path(folder, "clips")))
    if args.json:
        args.json.write_text(json.dumps({"cores": count_cores(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
