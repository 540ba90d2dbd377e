"""Measure the time and peak memory of reading a long recording, of tagging it, and of finding its events.

    python benchmarks/memory.py [--hours 1] [--rate 96000] [--channels 2] [--frames]

Tags and events come from the bundled model. --frames: events come from a tiny network with random weights, 527 labels
and a frame head, whose timeline is the largest there is. The figures are printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile as sf

from spectag.audio.read import SAMPLE_RATE, open as open_recording

if TYPE_CHECKING:
    from spectag import Bundle


def peak() -> float:
    """Return the largest resident size of this process so far, in MiB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    return round(size / (2**20 if sys.platform == "darwin" else 2**10), 1)


def measure(hours: float, rate: int, channels: int, frames: bool) -> dict[str, float]:
    """Measure reading first: the peak of a process never falls, and torch alone is larger than what reading needs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "long.wav")
        second = np.random.default_rng(0).uniform(-0.5, 0.5, (rate, channels)).astype(np.float32)
        with sf.SoundFile(path, "w", rate, channels, "PCM_16", format="RF64") as file:
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
        figures |= {"tag_seconds": round(time.perf_counter() - start, 2), "tag_peak_mib": peak()}
        detector = spectag.Detector(spectag.Tagger(made_with_frames()) if frames else tagger)
        start = time.perf_counter()
        events = detector.detect(path, timeline=True).events
        figures |= {"events": len(events or ()), "events_seconds": round(time.perf_counter() - start, 2)}
        return figures | {"events_peak_mib": peak()}


def made_with_frames() -> Bundle:
    import spectag
    from spectag.model.network import AST

    config = spectag.ASTConfig(
        width=64, depth=2, heads=2, patch=(128, 16), stride=(128, 16), frames=1024, frame_head=True
    )
    card = spectag.Card(config, spectag.FrontEnd(), spectag.LabelSet.audioset(), "sigmoid")
    return spectag.Bundle(card, AST(config))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=1.0, help="length of the recording")
    parser.add_argument("--rate", type=int, default=96_000, help="its sampling rate in Hz")
    parser.add_argument("--channels", type=int, default=2, help="its channels")
    parser.add_argument("--frames", action="store_true", help="find events with a frame head and 527 labels")
    args = parser.parse_args()
    print(json.dumps(measure(args.hours, args.rate, args.channels, args.frames)))
