"""Compare the speed of spectag and of the transformers pipeline on one 10 s clip.

    python benchmarks/speed.py [--repeats 7] [--threads 2] [--json FILE]

Both load the same directory, which holds a base-size AST with random weights. They take turns, so that a machine that
slows down affects all of them equally. Each figure is the median, and each ratio is the median of transformers divided
by ours (above 1: spectag is faster).

"spectag bf16" runs the network in bf16 and the front end in fp32. It is faster only on processors with bf16
instructions (AMX or AVX512-BF16); the output says whether the processor has them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers

import spectag
from spectag.audio.fbank import compute_inputs

EXAMPLE = Path(__file__).parents[1] / "examples" / "rain.ogg"
SECONDS = 10


def contestants(directory: str) -> dict[str, dict[str, Callable[[], object]]]:
    """For each piece of the work, the calls to compare."""
    waveform = np.resize(spectag.read(EXAMPLE), SECONDS * 16000)
    pipeline = transformers.pipeline("audio-classification", model=directory, device="cpu")
    extractor, network = pipeline.feature_extractor, pipeline.model
    ours = spectag.Tagger(directory)
    half = spectag.Tagger(directory, precision="bf16")
    front_end = ours.bundle.front_end
    inputs = compute_inputs(waveform, front_end)[None]
    clip = {"raw": waveform, "sampling_rate": 16000}

    @torch.inference_mode()
    def their_network() -> object:
        return network(inputs).logits

    # By default the pipeline applies softmax to the 527 logits. The time for that is negligible.
    return {
        "front end": {
            "transformers": lambda: extractor(waveform, sampling_rate=16000, return_tensors="pt"),
            "spectag": lambda: compute_inputs(waveform, front_end),
        },
        "network": {
            "transformers": their_network,
            "spectag": lambda: ours.engine.scores(inputs),
            "spectag bf16": lambda: half.engine.scores(inputs),
        },
        "together": {
            "transformers": lambda: pipeline(dict(clip)),
            "spectag": lambda: ours.tag(waveform),
            "spectag bf16": lambda: half.tag(waveform),
        },
    }


def measure(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    """Run all calls in turn. Returns the median seconds of each, and the ratio to transformers."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, go in runs.items():
            start = time.perf_counter()
            go()
            if turn:  # the first turn is a warm-up
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        name: {"seconds": round(median, 5), "ratio": round(medians["transformers"] / median, 3)}
        for name, median in medians.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="number of timed turns")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="number of CPU threads")
    parser.add_argument("--json", type=Path, help="file to write the figures to as JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()

    with tempfile.TemporaryDirectory() as directory:
        config = transformers.ASTConfig(num_labels=527)
        torch.manual_seed(0)
        transformers.ASTForAudioClassification(config).save_pretrained(directory)
        transformers.ASTFeatureExtractor().save_pretrained(directory)
        results = {part: measure(runs, args.repeats) for part, runs in contestants(directory).items()}

    abilities = torch.cpu.get_capabilities()
    environment = {
        "processor": torch.backends.cpu.get_cpu_capability(),
        "bf16 arithmetic": bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16")),
        "threads": args.threads,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "spectag": spectag.__version__,
    }
    print(", ".join(f"{key} {value}" for key, value in environment.items()))
    print(f"{'':10} {'':14} {'seconds':>9} {'ratio':>7}")
    for part, rows in results.items():
        for name, row in rows.items():
            print(f"{part:10} {name:14} {row['seconds']:9.4f} {row['ratio']:7.2f}")
    if args.json:
        args.json.write_text(json.dumps({"environment": environment, "results": results}, indent=1))


if __name__ == "__main__":
    main()
