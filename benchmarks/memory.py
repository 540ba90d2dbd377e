"""Measure the time and peak memory of reading and of tagging an hour of 96 kHz stereo with the bundled model.

    python benchmarks/memory.py [--hours HOURS]

The figures are printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf

from spectag.audio.read import SAMPLE_RATE, open as open_recording

RATE = 96_000  # Hz


def peak() -> float:
    """Return the largest resident size of this process so far, in MiB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    return round(size / (2**20 if sys.platform == "darwin" else 2**10), 1)


def measure(hours: float) -> dict[str, float]:
    """Measure reading first: the peak of a process never falls, and torch alone is larger than what reading needs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "long.wav")
        second = np.random.default_rng(0).uniform(-0.5, 0.5, (RATE, 2)).astype(np.float32)
        with sf.SoundFile(path, "w", RATE, 2, "PCM_24") as file:
            for _ in range(round(hours * 3600)):
                file.write(second)
        figures = {"file_mib": round(path.stat().st_size / 2**20, 1), "peak_mib_before": peak()}
        start = time.perf_counter()
        samples = sum(len(block) for block in open_recording(path).blocks())
        figures |= {"hours": samples / SAMPLE_RATE / 3600, "read_seconds": round(time.perf_counter() - start, 2)}
        figures |= {"read_peak_mib": peak()}

        import spectag

        tagger = spectag.Tagger("esc10")
        figures |= {"torch_peak_mib": peak()}
        start = time.perf_counter()
        tagger.tag(path)
        return figures | {"tag_seconds": round(time.perf_counter() - start, 2), "tag_peak_mib": peak()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=1.0, help="Length of the recording. Default: 1.")
    print(json.dumps(measure(parser.parse_args().hours)))
