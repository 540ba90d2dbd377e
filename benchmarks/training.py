"""Compare the training steps of `spectag train` and of a plain PyTorch loop over transformers' AST.

    python benchmarks/training.py [--size base|small|tiny] [--batch 2] [--frames 1024] [--stride 10] [--steps 5]
        [--precision fp32|bf16] [--device cpu|cuda] [--also patch_drop checkpoint_layers] [--threads N] [--json FILE]
    python benchmarks/training.py --pipeline --data DIR --recipe NAME [--set key=value] [--device cuda]

Both train one AST with random weights on noise in memory, with AdamW and the binary cross-entropy of 527 classes.

- The step of transformers is what its users write: ASTFeatureExtractor clip by clip in a DataLoader (with as many
  workers as ours), forward, backward, step.
- Our step is part of a whole run as the command line starts it. Only the work after the last step is not timed.
- The two take turns, step by step, so that a machine that slows down affects both. The figures are medians, and the
  ratio is the time of transformers divided by ours (above 1: spectag is faster).
- Peak memory is that of two steps in a separate process. On the CPU it is the memory of the process, libraries
  included; on a GPU it is what torch holds.
- ``--also`` adds rows in which one key of the recipe is changed. ``patch_drop`` trains on half of the patches, which is
  less work and not the same training. The other keys change only speed and memory.

On a GPU whose peak speed is known, the script also prints the fraction of it (bf16, dense) that the arithmetic of the
model uses. It counts three forward passes over all layers and all patches that are not dropped, two operations per
multiply-add, and nothing for what is computed again. On a GPU, use enough steps (for example 100) to use up the batches
that the loaders prepared before the first step. Each loader keeps working while the step of the other side is timed,
which makes the slower side look better.

``--pipeline`` compares how many clips training consumes, from memory, with how many the loader delivers, from files
(which the system may hold in memory) and from decoded waveforms. The loader runs alone in this measurement; in training
on the CPU it shares the cores with the network.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
from torch.utils.data import DataLoader

import spectag
from spectag.audio.front_end import FrontEnd
from spectag.audio.read import SAMPLE_RATE
from spectag.data.layouts import read_manifest
from spectag.data.manifest import Clip, Manifest
from spectag.errors import SpectagError
from spectag.labels import LabelSet
from spectag.model.config import ASTConfig
from spectag.runs.plan import Plan, RunOptions, make_plan
from spectag.runs.prepare import Job
from spectag.runs.run import run
from spectag.runs.watcher import Watcher
from spectag.train.examples import TrainingClips, Waveforms, collate
from spectag.train.recipe import Recipe, build
from spectag.train.recipe_files import read_recipe
from spectag.train.sampler import EpochSampler, compute_clip_weights

PEER, OURS = "transformers", "spectag"
SIZES = {"base": (768, 12), "small": (384, 6), "tiny": (192, 3)}  # width and heads of the DeiT models; 12 layers each
ALSO: dict[str, dict[str, Any]] = {
    "patch_drop": {"augment": {"patch_drop": 0.5}},
    "checkpoint_layers": {"checkpoint_layers": True},
    "compile": {"compile": True},
}
DIFFERENT = 8  # different clips of noise, which are used again and again
PEAKS = {  # dense bf16 operations per second as the makers state them; the first name that matches counts
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


def recipe_of(args: argparse.Namespace, name: str) -> Recipe:
    """Make the recipe for one of our rows."""
    width, heads = SIZES[args.size]
    plain = {
        "name": name,
        "epochs": 1,
        "batch_size": args.batch,
        "lr": 1e-5,
        "optimizer": "adamw",
        "precision": args.precision,
        "model": {"width": width, "heads": heads, "stride": args.stride},
        "front_end": {"window": "hanning", "frames": args.frames, "mean": -4.2677393, "std": 4.5689974},
    }
    return build(plain | ALSO.get(name.removeprefix(OURS).strip(), {}), name)


def noise(frames: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Make clips ``[8, N]``; 1024 frames are 10 s."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, (DIFFERENT, frames * SAMPLE_RATE // 1024 * 10)).astype("float32")


def workers(device: str) -> int:
    """Return the number of workers that a run starts if all waveforms are in memory."""
    return 0 if device == "cpu" else readers()


def readers() -> int:
    """Return the number of workers that a run starts if clips are read from files."""
    return max(1, (os.cpu_count() or 2) - 1)


def warm_up(device: str) -> int:
    """Return the number of steps before the timed ones."""
    return 1 if device == "cpu" else 5


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


class TheirClips(torch.utils.data.Dataset[Any]):
    """The inputs and targets of the clips, repeated."""

    def __init__(self, extractor: Any, waveforms: Any, labels: torch.Tensor) -> None:
        self.extractor, self.waveforms, self.labels = extractor, waveforms, labels

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        waveform = self.waveforms[index % DIFFERENT]
        inputs = self.extractor(waveform, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
        return inputs[0], self.labels[index % DIFFERENT]


def their_step(args: argparse.Namespace) -> Callable[[], object]:
    """Prepare the model and data of transformers, and return a function that takes one step."""
    import transformers

    width, heads = SIZES[args.size]
    config = transformers.ASTConfig(
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        frequency_stride=args.stride,
        time_stride=args.stride,
        max_length=args.frames,
        num_labels=len(LabelSet.audioset()),
        problem_type="multi_label_classification",
    )
    model = transformers.ASTForAudioClassification(config).to(args.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.95, 0.999), weight_decay=5e-7)
    extractor = transformers.ASTFeatureExtractor(max_length=args.frames)
    clips = TheirClips(extractor, noise(args.frames), torch.eye(config.num_labels))
    loader = DataLoader(clips, args.batch, num_workers=workers(args.device), pin_memory=args.device != "cpu")
    batches = iter(loader)

    def step() -> None:
        inputs, target = (x.to(args.device, non_blocking=True) for x in next(batches))
        with torch.autocast(args.device.split(":")[0], torch.bfloat16, enabled=args.precision == "bf16"):
            loss = model(inputs, labels=target).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        synchronise(args.device)

    return step


class Turns(Watcher):
    """Times each of our steps, from the loader to the optimiser, and runs a step of transformers after it."""

    def __init__(self, device: str, peer: Callable[[], object] | None) -> None:
        self.device, self.peer = device, peer
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self.peak = 0.0
        self.start = 0.0

    def on_start(self, job: Job) -> None:
        self.start = time.perf_counter()

    def on_step(self, job: Job, loss: float) -> None:
        synchronise(self.device)
        self.ours.append(time.perf_counter() - self.start)
        self.peak = peak(self.device)  # before the checkpoint that follows the last step
        if self.peer:
            self.theirs.append(seconds(self.peer))
        self.start = time.perf_counter()


def seconds(go: Callable[[], object]) -> float:
    start = time.perf_counter()
    go()
    return time.perf_counter() - start


def peak(device: str) -> float:
    """Return the peak memory so far in GiB: on a GPU of what torch holds, on the CPU of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**30
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    return size / (2**30 if sys.platform == "darwin" else 2**20)


def our_steps(recipe: Recipe, args: argparse.Namespace, steps: int, peer: Callable[[], object] | None = None) -> Turns:
    """Run our training for a number of steps on noise in memory."""
    turns = Turns(args.device, peer)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{n}.wav") for n in range(DIFFERENT)]
        for path, clip in zip(paths, noise(recipe.front_end.frames or 1024), strict=True):
            sf.write(path, clip, SAMPLE_RATE, "FLOAT")
        clips = (Clip(f"{n:06}", paths[n % DIFFERENT], (n % DIFFERENT,)) for n in range(steps * recipe.batch_size))
        train = Manifest(tuple(clips), LabelSet.audioset(), "noise")
        in_memory = build(recipe.model_dump() | {"cache_gb": 1e6}, recipe.name)
        options = RunOptions(device=args.device)
        run(Plan(in_memory, train, None, None, "nothing", Path(folder, "out"), options), _nothing, turns)
    return turns


def _nothing(*_: Any) -> list[object]:
    raise AssertionError("no clips are held out, so none are scored")


def operations(config: ASTConfig, patch_drop: float, batch: int) -> float:
    """Count the operations of one step: 2 per multiply-add, and twice as many backward as forward."""
    patches = round((1 - patch_drop) * config.grid[0] * config.grid[1])
    n, d = patches + config.tokens, config.width
    layer = 2 * n * d * d * (4 + 2 * config.mlp_ratio) + 4 * n * n * d
    return 3 * batch * (config.depth * layer + 2 * patches * d * config.patch[0] * config.patch[1])


def alone(args: argparse.Namespace) -> None:
    """Run two steps of one side in this process and print its peak memory as JSON."""
    if args.alone == PEER:
        step = their_step(args)
        for _ in range(2):
            step()
        print(json.dumps(peak(args.device)))
    else:
        print(json.dumps(our_steps(recipe_of(args, args.alone), args, 2).peak))


def peak_of(name: str, arguments: Sequence[str]) -> float:
    """Measure the peak memory in a separate process, because the peak of a process never falls."""
    command = [sys.executable, __file__, *arguments, "--alone", name]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def compare(args: argparse.Namespace, arguments: Sequence[str]) -> list[dict[str, Any]]:
    """Make a row for transformers next to each of our rows."""
    kind = torch.cuda.get_device_name(args.device) if args.device.startswith("cuda") else ""
    most = next((most for name, most in PEAKS.items() if name in kind), None)
    names = [OURS, *(f"{OURS} {key}" for key in args.also)]
    peaks = {
        name: peak_of(name, arguments) for name in (PEER, *names)
    }  # first, because a child starts at its parent's size
    peer, rows = their_step(args), []
    for name in names:
        recipe = recipe_of(args, name)
        turns = our_steps(recipe, args, warm_up(args.device) + args.steps, peer)
        network = recipe.network_config(len(LabelSet.audioset()))
        theirs = statistics.median(turns.theirs[-args.steps :])
        for who, times, drop in ((PEER, turns.theirs, 0.0), (name, turns.ours, recipe.augment.patch_drop)):
            median = statistics.median(times[-args.steps :])
            row = {"name": who, "seconds": median, "steps/s": 1 / median, "clips/s": args.batch / median}
            row |= {"peak_gib": peaks[who], "ratio": theirs / median}
            rows.append(row | ({"of_peak": operations(network, drop, args.batch) / median / most} if most else {}))
    return rows


def deliveries(manifest: Manifest, recipe: Recipe, cache_gb: float, device: str, limit: float) -> float:
    """Measure the clips per second of a run's loader for ``limit`` seconds, from the second batch on."""
    waveforms = Waveforms(manifest.clips, cache_gb * 1e9)
    if cache_gb:
        waveforms.preload()
        if not waveforms.complete:
            print(f"(not all of {len(manifest)} clips fit into --memory {cache_gb:g})")
    targets = manifest.targets()
    examples = TrainingClips(waveforms, targets, FrontEnd(frames=recipe.front_end.frames or 1024), recipe.augment)
    weights = compute_clip_weights(targets) if recipe.balanced else None
    number = workers(device) if waveforms.complete else readers()
    loader = DataLoader(
        examples,
        recipe.batch_size // recipe.accumulate,
        sampler=EpochSampler(len(examples), recipe.seed, weights),
        collate_fn=collate,
        num_workers=number,
        persistent_workers=number > 0,
        pin_memory=device != "cpu",
    )
    batches: Iterator[Any] = itertools.chain.from_iterable(itertools.repeat(loader))
    next(batches)
    clips, start = 0, time.perf_counter()
    while time.perf_counter() - start < limit:
        clips += len(next(batches).waveform)
    return clips / (time.perf_counter() - start)


def pipeline(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the clips per second that training consumes, and that the loader delivers from files and from memory."""
    planned = make_plan(read_recipe(args.recipe, args.set), read_manifest(args.data), Path("nowhere"))
    recipe = planned.recipe
    measured = recipe.front_end.model_dump() | {"mean": -4.2677393, "std": 4.5689974}
    # The cost of a step depends only on the sizes, not on where the weights come from or how they are used.
    changes = {"init": None, "epochs": 1, "steps": None, "average": None, "select": "last", "front_end": measured}
    changes |= {"loss": "bce", "label_smoothing": 0.0}  # because the noise has AudioSet's labels
    steps = our_steps(build(recipe.model_dump() | changes, recipe.name), args, warm_up(args.device) + args.steps).ours
    consumed = recipe.batch_size / statistics.median(steps[-args.steps :])
    rows = [{"name": "training consumes", "clips/s": consumed, "ratio": 1.0}]
    for name, cache_gb in (("loader, from files", 0.0), ("loader, from memory", args.memory)):
        delivered = deliveries(planned.train, recipe, cache_gb, args.device, args.seconds)
        rows.append({"name": name, "clips/s": delivered, "ratio": delivered / consumed})
    return rows


def environment(args: argparse.Namespace) -> dict[str, Any]:
    import transformers
    from transformers.utils import is_speech_available

    on_gpu = args.device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name(args.device) if on_gpu else torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "loader workers": workers(args.device),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "with torchaudio": is_speech_available(),  # otherwise its extractor uses NumPy
        "spectag": spectag.__version__,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="base", help="size of the network")
    parser.add_argument("--batch", type=int, default=2, help="clips per step")
    parser.add_argument("--frames", type=int, default=1024, help="length of the input in frames of 10 ms")
    parser.add_argument("--stride", type=int, default=10, help="stride of the patches")
    parser.add_argument("--steps", type=int, default=5, help="number of timed steps, after the warm-up")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="precision of both sides")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--also", nargs="*", choices=list(ALSO), default=["patch_drop"], help="keys to add a row for")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="number of CPU threads")
    parser.add_argument("--json", type=Path, help="file to write the figures to as JSON")
    parser.add_argument("--pipeline", action="store_true", help="compare the loader with training")
    parser.add_argument("--data", type=Path, help="data set for --pipeline")
    parser.add_argument("--recipe", default="audioset-full", help="recipe for --pipeline")
    parser.add_argument("--set", action="append", default=[], help="key=value to change in the recipe, for --pipeline")
    parser.add_argument("--seconds", type=float, default=20, help="seconds to measure each loader for, with --pipeline")
    parser.add_argument("--memory", type=float, default=4, help="GB of memory for decoded waveforms, for --pipeline")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.pipeline and args.data is None:
        parser.error("--pipeline needs --data")
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    if args.alone:
        return alone(args)

    about = environment(args)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    try:
        rows = pipeline(args) if args.pipeline else compare(args, arguments)
    except SpectagError as error:
        sys.exit(str(error))
    columns = [key for key in rows[-1] if key != "name"]
    print(f"{'':26}" + "".join(f"{column:>10}" for column in columns))
    for row in rows:
        print(f"{row['name']:26}" + "".join(f"{row[column]:10.3f}" for column in columns))
    if args.json:
        args.json.write_text(json.dumps({"environment": about, "rows": rows}, indent=1))
    return None


if __name__ == "__main__":
    main()
