"""Training steps of one AST with random weights: `spectag train` beside a plain PyTorch loop over transformers' AST.

    python benchmarks/training.py [--size base|small|tiny] [--batch 2] [--frames 1024] [--stride 10] [--steps 5]
        [--precision fp32|bf16] [--device cpu|cuda] [--also patch_drop checkpoint_layers] [--threads N] [--json FILE]
    python benchmarks/training.py --pipeline --data DIR --recipe NAME [--set key=value] [--device cuda]

Both train on noise in memory, by AdamW, with the binary cross-entropy of 527 classes. The peer's step is what its users
write: ASTFeatureExtractor clip by clip in a DataLoader (of as many workers as ours), forward, backward, step. Ours is a
whole run as the command line starts it; only what follows its last step is left out. Each row of ours takes turns with
the peer, step by step, so that a machine that slows down slows both; figures are medians, the ratio is the peer's over
ours (above 1: spectag is faster). Peak memory is that of two steps in a process of its own: on the CPU all of it,
libraries included, on a GPU what torch holds. ``--also`` adds rows with a key of the recipe changed: ``patch_drop``
learns from half the patches, less work and not the same training; the others change nothing but speed and memory.

On a GPU of known peak the share of it (bf16, dense) that the model's arithmetic takes is shown: three times a forward
pass over all layers and the patches seen, 2 per multiplication with addition, nothing for what is computed again.
There, take enough steps (100, say) to use up what the loaders prepared before the first; and each loader works on while
the other side's step is timed, which flatters the slower one.

``--pipeline`` compares what training consumes, in memory, with what the loader delivers, from files (which the system
may hold in memory) and from decoded waveforms. The loader is alone then; on the CPU it shares the cores with training.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
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

import lightning
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
from spectag.train.examples import TrainingClips, Waveforms, targets
from spectag.train.plan import Plan, plan
from spectag.train.recipe import Recipe, build, read_recipe
from spectag.train.run import run
from spectag.train.sampler import EpochSampler, balancing_weights

PEER, OURS = "transformers", "spectag"
SIZES = {"base": (768, 12), "small": (384, 6), "tiny": (192, 3)}  # width and heads of DeiT's; 12 layers each
ALSO: dict[str, dict[str, Any]] = {
    "patch_drop": {"augment": {"patch_drop": 0.5}},
    "checkpoint_layers": {"checkpoint_layers": True},
    "compile": {"compile": True},
}
DIFFERENT = 8  # clips of noise, which go round
PEAKS = {  # bf16 operations per second, dense, as the makers state them; the first name that fits counts
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
    """What a row of ours trains by."""
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
    """Clips ``[8, N]``, 10 s for 1024 frames."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, (DIFFERENT, frames * SAMPLE_RATE // 1024 * 10)).astype("float32")


def workers(device: str) -> int:
    """As many as a run starts where all waveforms are in memory."""
    return 0 if device == "cpu" else readers()


def readers() -> int:
    """As many as a run starts where clips are read from files."""
    return max(1, (os.cpu_count() or 2) - 1)


def warm_up(device: str) -> int:
    """Steps before those that are timed."""
    return 1 if device == "cpu" else 5


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


class TheirClips(torch.utils.data.Dataset[Any]):
    """Inputs and targets of the clips, again and again."""

    def __init__(self, extractor: Any, waveforms: Any, labels: torch.Tensor) -> None:
        self.extractor, self.waveforms, self.labels = extractor, waveforms, labels

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        waveform = self.waveforms[index % DIFFERENT]
        inputs = self.extractor(waveform, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
        return inputs[0], self.labels[index % DIFFERENT]


def their_step(args: argparse.Namespace) -> Callable[[], object]:
    """The peer, ready to take steps."""
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


class Turns(lightning.Callback):
    """Times each step of ours, from the loader to the optimiser, and lets the peer take one after it."""

    def __init__(self, device: str, peer: Callable[[], object] | None) -> None:
        self.device, self.peer = device, peer
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self.peak = 0.0
        self.start = 0.0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.start = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        synchronise(self.device)
        self.ours.append(time.perf_counter() - self.start)
        self.peak = peak(self.device)  # the checkpoint that follows the last step is left out
        if self.peer:
            self.theirs.append(seconds(self.peer))
        self.start = time.perf_counter()


def seconds(go: Callable[[], object]) -> float:
    start = time.perf_counter()
    go()
    return time.perf_counter() - start


def peak(device: str) -> float:
    """Largest size so far, GiB: of what torch holds on a GPU, else of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**30
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    return size / (2**30 if sys.platform == "darwin" else 2**20)


def our_steps(recipe: Recipe, args: argparse.Namespace, steps: int, peer: Callable[[], object] | None = None) -> Turns:
    """A run of so many steps on noise in memory."""
    turns = Turns(args.device, peer)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{n}.wav") for n in range(DIFFERENT)]
        for path, clip in zip(paths, noise(recipe.front_end.frames or 1024), strict=True):
            sf.write(path, clip, SAMPLE_RATE, "FLOAT")
        clips = (Clip(f"{n:06}", paths[n % DIFFERENT], (n % DIFFERENT,)) for n in range(steps * recipe.batch_size))
        train = Manifest(tuple(clips), LabelSet.audioset(), "noise")
        in_memory = build(recipe.model_dump() | {"cache_gb": 1e6}, recipe.name)
        run(Plan(in_memory, train, None, None, Path(folder, "out"), "nothing", args.device), _nothing, [turns])
    return turns


def _nothing(*_: Any) -> list[object]:
    raise AssertionError("nothing is held out, so nothing is scored")


def operations(config: ASTConfig, patch_drop: float, batch: int) -> float:
    """Arithmetic of the model in one step: 2 per multiplication with addition, backward twice forward."""
    patches = round((1 - patch_drop) * config.grid[0] * config.grid[1])
    n, d = patches + config.tokens, config.width
    layer = 2 * n * d * d * (4 + 2 * config.mlp_ratio) + 4 * n * n * d
    return 3 * batch * (config.depth * layer + 2 * patches * d * config.patch[0] * config.patch[1])


def alone(args: argparse.Namespace) -> None:
    """Two steps of one contestant in this process, and its peak memory as JSON."""
    if args.alone == PEER:
        step = their_step(args)
        for _ in range(2):
            step()
        print(json.dumps(peak(args.device)))
    else:
        print(json.dumps(our_steps(recipe_of(args, args.alone), args, 2).peak))


def peak_of(name: str, arguments: Sequence[str]) -> float:
    """The same in a process of its own, since the peak of a process never falls."""
    command = [sys.executable, __file__, *arguments, "--alone", name]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def compare(args: argparse.Namespace, arguments: Sequence[str]) -> list[dict[str, Any]]:
    """A row for the peer beside each row of ours."""
    kind = torch.cuda.get_device_name(args.device) if args.device.startswith("cuda") else ""
    most = next((most for name, most in PEAKS.items() if name in kind), None)
    names = [OURS, *(f"{OURS} {key}" for key in args.also)]
    peaks = {name: peak_of(name, arguments) for name in (PEER, *names)}  # first: a child's begins at its parent's size
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
    """Clips per second of the loader that a run makes, over ``limit`` seconds from the second batch on."""
    waveforms = Waveforms(manifest.clips, cache_gb * 1e9)
    if cache_gb:
        waveforms.preload()
        if not waveforms.complete:
            print(f"(not all of {len(manifest)} clips fit into --memory {cache_gb:g})")
    truth = targets(manifest)
    examples = TrainingClips(waveforms, truth, FrontEnd(frames=recipe.front_end.frames or 1024), recipe.augment)
    weights = balancing_weights(truth.numpy()) if recipe.balanced else None
    number = workers(device) if waveforms.complete else readers()
    loader = DataLoader(
        examples,
        recipe.batch_size // recipe.accumulate,
        sampler=EpochSampler(len(examples), recipe.seed, weights),
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
    """Clips per second that training consumes, and that the loader delivers from files and from memory."""
    planned = plan(read_recipe(args.recipe, args.set), read_manifest(args.data), Path("nowhere"))
    recipe = planned.recipe
    measured = recipe.front_end.model_dump() | {"mean": -4.2677393, "std": 4.5689974}
    # A step's cost depends on the sizes only, not on where the weights come from or what becomes of them.
    changes = {"init": None, "epochs": 1, "steps": None, "average": None, "select": "last", "front_end": measured}
    changes |= {"loss": "bce", "label_smoothing": 0.0}  # the noise has AudioSet's labels
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
        "with torchaudio": is_speech_available(),  # else its extractor computes in NumPy
        "spectag": spectag.__version__,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--frames", type=int, default=1024)
    parser.add_argument("--stride", type=int, default=10)
    parser.add_argument("--steps", type=int, default=5, help="timed ones; others warm up")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--also", nargs="*", choices=list(ALSO), default=["patch_drop"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--pipeline", action="store_true", help="loader against training")
    parser.add_argument("--data", type=Path, help="a data set, for --pipeline")
    parser.add_argument("--recipe", default="audioset-full", help="for --pipeline")
    parser.add_argument("--set", action="append", default=[], help="key=value of the recipe, for --pipeline")
    parser.add_argument("--seconds", type=float, default=20, help="how long each loader is watched")
    parser.add_argument("--memory", type=float, default=4, help="GB for waveforms, for --pipeline")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.pipeline and args.data is None:
        parser.error("--pipeline needs --data")
    torch.set_num_threads(args.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
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
