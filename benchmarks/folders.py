"""Compare the speed of spectag with what a user writes with the transformers pipeline: on a folder, and on a long file.

    python benchmarks/folders.py [--size tiny small base] [--files 200] [--minutes 60] [--threads 2] [--json FILE]

Both load the same directory, which holds an AST with random weights of the given size, and both look at windows of
10.24 s, 5.12 s apart. The folder holds recordings of mixed lengths, rates, channels and formats, made from examples/.
Times go from the paths to the scores of each recording, without the loading of the model. The ways take turns.

- "pipeline": reads with soundfile, resamples with soxr, cuts the windows, and gives them to the pipeline in batches.
- "spectag": ``Tagger.tag_many`` by PyTorch and, where it is installed, by OpenVINO, in fp32 and in bf16. Recordings
  shorter than a window are padded to it, as the pipeline does, or computed at their exact lengths.
- "network": the network alone, on as many windows of these lengths: the limit of any program in the same precision.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import numpy as np
import soundfile as sf
import soxr
import torch
import transformers

import spectag
from spectag.audio.front_end import num_frames
from spectag.choices import Length
from spectag.tag.stream import fit_length
from spectag.tag.tagger import UNIT
from spectag.tag.windows import default_hop

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.ogg"))
SIZES = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}  # width and heads of DeiT
FORMATS = [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]
RATE = 16_000
BATCH = 16


def make_folder(folder: Path, files: int) -> list[Path]:
    """Recordings of 1 to 30 s, most of them shorter than a window, as collections of clips are."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(files):
        rate = int(rng.choice([16_000, 22_050, 44_100, 48_000]))
        seconds = float(rng.choice([1, 3, 5, 10, 30], p=[0.1, 0.2, 0.3, 0.3, 0.1]))
        sound = soxr.resample(spectag.read(EXAMPLES[number % len(EXAMPLES)]), RATE, rate)
        sound = np.resize(sound, round(seconds * rate))
        sound = np.stack([sound, 0.5 * sound], axis=1) if rng.random() < 0.5 else sound
        kind, subtype = FORMATS[number % len(FORMATS)]
        paths.append(folder / f"{number:04}.{kind.lower()}")
        sf.write(paths[-1], sound, rate, format=kind, subtype=subtype)
    return paths


def make_long(folder: Path, minutes: float) -> list[Path]:
    sound = np.concatenate([spectag.read(path) for path in EXAMPLES])
    path = folder / "long.wav"
    sf.write(path, np.resize(sound, round(minutes * 60 * RATE)), RATE)
    return [path]


def windows_of(path: Path, frames: int) -> Iterator[np.ndarray]:
    """What a user writes: the whole file, then its windows. The last one ends with the file."""
    sound, rate = sf.read(path, dtype="float32", always_2d=True)
    sound = soxr.resample(sound.mean(1), rate, RATE)
    length, hop = frames * RATE // 100, default_hop(frames) * RATE // 100
    last = max(0, len(sound) - length)
    for start in [*range(0, last, hop), last]:
        yield sound[start : start + length]


def by_pipeline(pipeline: transformers.Pipeline, paths: Sequence[Path], frames: int) -> int:
    count = 0
    for path in paths:
        windows = [{"raw": window, "sampling_rate": RATE} for window in windows_of(path, frames)]
        count += len(pipeline(windows, batch_size=min(BATCH, len(windows)), top_k=None))
    return count


def by_spectag(tagger: spectag.Tagger, paths: Sequence[Path]) -> int:
    return sum(isinstance(result, spectag.ClipTags) for result in tagger.tag_many(paths))


def by_network(tagger: spectag.Tagger, windows: Sequence[int]) -> int:
    for frames, count in Counter(windows).items():
        inputs = torch.zeros(BATCH, frames, 128)
        for at in range(0, count, BATCH):
            tagger.engine.scores(inputs[: min(BATCH, count - at)])
    return len(windows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=SIZES, default=["small"], help="sizes of the network")
    parser.add_argument("--files", type=int, default=200, help="recordings in the folder; 0 for no folder")
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the long file; 0 for none")
    parser.add_argument("--repeats", type=int, default=1, help="times that each way is measured; the best counts")
    parser.add_argument("--threads", type=int, help="threads of the network; default: as PyTorch chooses")
    parser.add_argument("--json", type=Path, help="file to write the figures to as JSON")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    rows = []
    for size in args.size:
        with tempfile.TemporaryDirectory() as name:
            rows += list(measured(size, Path(name), args.files, args.minutes, args.repeats))
    environment = {
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "spectag": spectag.__version__,
    }
    print(", ".join(f"{key} {value}" for key, value in environment.items()))
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    if args.json:
        args.json.write_text(json.dumps({"environment": environment, "results": rows}, indent=1))


def measured(size: str, folder: Path, files: int, minutes: float, repeats: int) -> Iterator[dict[str, object]]:
    width, heads = SIZES[size]
    config = spectag.ASTConfig(width=width, heads=heads)
    card = spectag.Card(config, spectag.FrontEnd("hanning"), spectag.LabelSet.audioset(), "sigmoid")
    torch.manual_seed(0)
    model = spectag.Bundle(card, spectag.model.network.AST(config)).save(folder / "model")
    pipeline = transformers.pipeline(
        "audio-classification", model=str(model), device="cpu", function_to_apply="sigmoid"
    )
    engines = ["torch", *(["openvino"] if find_spec("openvino") else [])]
    taggers = {
        (f"{engine} {precision}", length): spectag.Tagger(model, engine=engine, precision=precision, length=length)
        for engine in engines
        for precision in ("fp32", "bf16")
        for length in get_args(Length)
    }
    sets = {
        "folder": make_folder(folder, files) if files else [],
        "long": make_long(folder, minutes) if minutes else [],
    }
    for name, paths in sets.items():
        if not paths:
            continue
        lengths = [num_frames(len(window)) for path in paths for window in windows_of(path, config.frames)]
        units = {"pad": None, "exact": UNIT}
        windows = {key: [fit_length(n, config.frames, unit) for n in lengths] for key, unit in units.items()}
        seconds = sum(sf.info(path).duration for path in paths)
        some = {key: tagger for key, tagger in taggers.items() if name == "folder" or key[1] == "pad"}
        ways: dict[str, Callable[[], int]] = {
            "pipeline": lambda paths=paths: by_pipeline(pipeline, paths, config.frames),
            **{f"spectag {p} {n}": lambda t=t, paths=paths: by_spectag(t, paths) for (p, n), t in some.items()},
            **{f"network {p} {n}": lambda t=t, n=windows[n]: by_network(t, n) for (p, n), t in some.items()},
        }
        best = dict.fromkeys(ways, float("inf"))
        for turn in range(repeats):
            for way in list(ways)[:: (1, -1)[turn % 2]]:
                start = time.perf_counter()
                ways[way]()
                best[way] = min(best[way], time.perf_counter() - start)
        for way, taken in best.items():
            yield {
                "size": size,
                "set": name,
                "way": way,
                "recordings": len(paths),
                "windows": len(lengths),
                "seconds": round(taken, 2),
                "times_real_time": round(seconds / taken, 1),
                "times_the_pipeline": round(best["pipeline"] / taken, 2),
            }


if __name__ == "__main__":
    main()
