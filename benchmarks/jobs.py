"""Kill a job of many files at random moments, and check that nothing is lost and nothing is there twice.

    python benchmarks/jobs.py [--files 20000] [--broken 200] [--kills 20] [--readers 2]

The files are links to a few short clips; the broken ones are broken in ten ways, three of which kill, hang or bloat the
process that decodes them. The job runs once without being disturbed, and once killed with SIGKILL again and again and
resumed. Both outputs must have the same bytes. The figures are printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile as sf

TIMEOUT, MEMORY = 5.0, 400  # s and MiB that the job allows for one file
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096

# Stands in for the resampler in the processes that read: it crashes at 8001 Hz, hangs at 8002 Hz, and at 8003 Hz takes
# more and more memory.
DECODER = """
import ctypes, os, sys, time
here = os.path.dirname(__file__)
sys.path.remove(here); del sys.modules["soxr"]
import soxr
sys.path.insert(0, here)
make = soxr.ResampleStream
def misbehaving(rate, *args, **options):
    if rate == 8001:
        ctypes.string_at(0)
    if rate == 8002:
        time.sleep(3600)
    if rate == 8003:
        kept = []
        for _ in range(128):
            kept.append(b"x" * 2**24)
            time.sleep(0.002)
        time.sleep(3600)
    return make(rate, *args, **options)
soxr.ResampleStream = misbehaving
"""


def make_files(folder: Path, count: int, broken: int, seed: int = 0) -> set[str]:
    """Fill a folder with ``count`` files, ``broken`` of them broken in ten ways, spread among the others.

    Returns:
        the paths of the broken ones.
    """
    rng = np.random.default_rng(seed)
    clips, kinds = folder / ".clips", []
    clips.mkdir(parents=True)
    for n in range(8):
        kinds.append(clips / f"{n}.wav")
        sf.write(kinds[-1], 0.1 * rng.standard_normal(int(rng.integers(2_000, 12_000))), 8_000)
    ways = list(_broken(clips, rng))
    chosen = set(rng.choice(count, broken, replace=False).tolist())
    paths = set()
    for n, way in zip(sorted(chosen), (ways[k % len(ways)] for k in range(broken)), strict=True):
        paths.add(str(_link(way, folder, n)))
    for n in range(count):
        if n not in chosen:
            _link(kinds[n % len(kinds)], folder, n)
    return paths


def _link(source: Path, folder: Path, n: int) -> Path:
    target = folder / f"{n // 1000:03}" / f"{n % 1000:03}{source.suffix}"
    target.parent.mkdir(exist_ok=True)
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
    else:
        os.link(source, target)
    return target


def _broken(clips: Path, rng: np.random.Generator) -> Iterator[Path]:
    """Files that cannot be tagged, in ten ways."""
    noise = 0.1 * rng.standard_normal(4_000)
    contents = {
        "empty.wav": b"",
        "text.mp3": b"this is text\n" * 100,
        "random.flac": rng.bytes(5_000),
        "picture.ogg": b"\x89PNG\r\n\x1a\n" + rng.bytes(1_000),
    }
    for name, content in contents.items():
        (clips / name).write_bytes(content)
        yield clips / name
    sf.write(clips / "no_samples.wav", np.zeros(0), 16_000)
    sf.write(clips / "nan.wav", np.full(1_000, np.nan), 16_000, subtype="FLOAT")
    (clips / "missing.wav").symlink_to("/no/such/recording.wav")
    for name in ("no_samples.wav", "nan.wav", "missing.wav"):
        yield clips / name
    for rate in (8_001, 8_002, 8_003):
        sf.write(clips / f"rate{rate}.wav", noise, rate)
        yield clips / f"rate{rate}.wav"


class Job:
    """``spectag tag`` on a folder, in a process that can be killed.

    Args:
        folder: holds the files.
        output: of the results.
        options: more options.
    """

    def __init__(self, folder: Path, output: Path, options: Sequence[str] = ()) -> None:
        shim = output.parent / "path"
        shim.mkdir(exist_ok=True)
        (shim / "soxr.py").write_text(DECODER)
        path = os.pathsep.join([str(shim), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.environment = os.environ | {"PYTHONPATH": path}
        limits = ["--file-timeout", str(TIMEOUT), "--file-memory", str(MEMORY)]
        self.command = [sys.executable, "-m", "spectag", "tag", str(folder), "-o", str(output), *limits, *options]
        self.output = output

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start it; it says nothing."""
        null = subprocess.DEVNULL
        return subprocess.Popen([*self.command, *options], env=self.environment, stdout=null, stderr=null)

    def run(self, *options: str) -> dict[str, float]:
        """Run it to its end: seconds, and the resident size of its main process in MiB over time."""
        began, sizes = time.perf_counter(), []
        with self.start(*options) as process:
            while process.poll() is None:
                sizes.append(_resident(process.pid))
                time.sleep(0.1)
        if process.returncode not in (0, 1):
            raise RuntimeError(f"the job ended with {process.returncode}")
        quarter = max(1, len(sizes) // 4)
        return {
            "seconds": round(time.perf_counter() - began, 1),
            "mib_second_quarter": max(sizes[quarter : 2 * quarter] or sizes),
            "mib_last_quarter": max(sizes[-quarter:]),
        }

    def records(self) -> int:
        """Lines in the journal."""
        journal = self.output.with_name(self.output.name + ".journal")
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    def run_killed(self, kills: int, total: int, rng: random.Random) -> None:
        """Kill it at random moments, spread over all of its work, and resume it to the end.

        Args:
            kills: how often.
            total: files.
        """
        for kill in range(kills):
            # Some moments are in the start of the program, all others in its work.
            until = 0 if kill % 5 == 4 else total * (kill + rng.random()) / kills
            process = self.start("--resume")
            pause = rng.uniform(0, 3)
            while process.poll() is None and self.records() < until:
                time.sleep(0.02)
            time.sleep(pause if until == 0 else rng.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.run("--resume")


def check(output: Path, broken: set[str], total: int) -> dict[str, int]:
    """Count what is in a JSON Lines output; raises ValueError where anything is lost, twice or wrong."""
    results = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    paths = [result["path"] for result in results]
    failed = {result["path"] for result in results if "error" in result}
    if len(paths) != total or len(set(paths)) != total or failed != broken or paths != sorted(paths):
        raise ValueError(
            f"expected {total} files, {len(broken)} of them broken; got {len(paths)} results of "
            f"{len(set(paths))} files with {len(failed)} failures"
        )
    return {"results": len(paths), "failed": len(failed)}


def measure(files: int, broken: int, kills: int, readers: int, model: str = "esc10") -> dict[str, float]:
    """Run it once undisturbed and once killed, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        bad = make_files(root / "site", files, broken)
        options = ["--jobs", str(readers), "--model", model]
        whole = Job(root / "site", root / "whole.jsonl", options)
        figures = whole.run()
        torn = Job(root / "site", root / "torn.jsonl", options)
        torn.run_killed(kills, files, random.Random(0))
        counts = check(torn.output, bad, files)
        if whole.output.read_bytes() != torn.output.read_bytes():
            raise ValueError("the outputs differ")
        size = whole.output.with_name("whole.jsonl.journal").stat().st_size
        return {
            "files": files,
            "kills": kills,
            **counts,
            **figures,
            "files_per_second": round(files / figures["seconds"], 1),
            "journal_mb": round(size / 1e6, 2),
            "output_mb": round(whole.output.stat().st_size / 1e6, 2),
        }


def _resident(process: int) -> float:
    try:
        return round(int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE / 2**20, 1)
    except (OSError, IndexError):
        return 0.0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--broken", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--readers", type=int, default=2)
    given = parser.parse_args()
    print(json.dumps(measure(given.files, given.broken, given.kills, given.readers)))
