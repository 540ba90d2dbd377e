"""Everything between a plan and the first step: complete the recipe, decode the clips, build the network."""

from __future__ import annotations

import atexit
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from spectag.audio.front_end import FrontEnd
from spectag.cores import count_cores
from spectag.data.shards import reading_order
from spectag.data.statistics import measure_statistics
from spectag.errors import DataError
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.checkpoint import Checkpoint
from spectag.model.device import find_device
from spectag.model.loading import load_bundle, read_checkpoint
from spectag.model.network import AST, build_network
from spectag.runs.averaging import WeightMean
from spectag.runs.checkpoints import FORMAT, read_state
from spectag.runs.decide import Decisions, FabricPrecision, decide
from spectag.runs.heard import Heard
from spectag.runs.history import History
from spectag.runs.plan import RECIPE, Plan, RunOptions, check_directory, make_directory
from spectag.runs.processes import check_processes, leave, meet, rank
from spectag.runs.teaching import Teaching, prepare_teaching, write_taught
from spectag.runs.watcher import Watcher
from spectag.train.examples import Batch, Example, TrainingClips, Unreadable, Waveforms, collate
from spectag.train.frames import WithOutputs
from spectag.train.optimizer import build_optimizer
from spectag.train.recipe import Recipe
from spectag.train.recipe_files import read_recipe
from spectag.train.rng import Rng
from spectag.train.sampler import EpochSampler, compute_clip_weights
from spectag.train.start import build_start
from spectag.train.step import TrainingStep
from spectag.train.teachers import Teacher, teach
from spectag.version import __version__

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LAST, BEST = "checkpoints/last.ckpt", "checkpoints/best"  # in the directory of a run


@dataclass
class Job:
    """A run while it trains: everything that was decided, read and built for it, and its progress.

    Args:
        plan: what to do.
        decisions: the values that the recipe left open.
        fabric: devices, precision and processes.
        network: the weights.
        model: the network as Fabric wraps it for the precision and the processes.
        step: computes the loss of a batch with the model.
        optimizer: updates the weights.
        ema: their moving average, if the recipe asks for one.
        sampler: draws the examples of an epoch.
        loader: batches of this process.
        history: the figures of the epochs.
        heard: which clips were heard, and why others could not be.
        mean: the mean of the weights after some epochs, if the recipe asks for one.
        epoch: the current epoch, from 0.
        batches: number of its batches that are done in this process.
    """

    plan: Plan
    decisions: Decisions
    fabric: Fabric
    network: AST
    model: Any
    step: TrainingStep
    optimizer: Any
    ema: AveragedModel | None
    sampler: EpochSampler
    loader: DataLoader[Any]
    history: History
    heard: Heard
    mean: WeightMean | None
    epoch: int = 0
    batches: int = 0

    @property
    def recipe(self) -> Recipe:
        """The complete recipe."""
        return self.decisions.recipe

    @property
    def batch_size(self) -> int:
        """Examples in a batch of this process."""
        return self.recipe.batch_size // (self.recipe.accumulate * self.fabric.world_size)

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps in an epoch. The last step may have fewer examples."""
        return -(-len(self.loader) // self.recipe.accumulate)

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole run."""
        return self.steps_per_epoch * self.recipe.epochs

    @property
    def steps(self) -> int:
        """Number of steps taken since the run began."""
        ended = self.batches == len(self.loader)
        return self.epoch * self.steps_per_epoch + (
            self.steps_per_epoch if ended else self.batches // self.recipe.accumulate
        )

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.plan.out / LAST

    @property
    def best(self) -> Path:
        """The bundle of the best epoch so far."""
        return self.plan.out / BEST

    @property
    def scored_network(self) -> AST:
        """The network to score and save: the moving average if there is one."""
        network = self.network if self.ema is None else self.ema.module
        assert isinstance(network, AST)
        return network

    @property
    def data(self) -> dict[str, Any]:
        """Facts about the training clips, for the report and the bundles."""
        train = self.plan.train
        return {"layout": train.layout, "clips": len(train), "held_out": self.plan.description}

    def bundle(self, network: AST) -> Bundle:
        """Make a bundle of a network of this run."""
        provenance = {
            "source": "trained by spectag",
            "recipe": self.recipe.model_dump(mode="json"),
            "data": self.data,
            "spectag": __version__,
        }
        decided = self.decisions
        card = Card(network.config, decided.front_end, self.plan.train.labels, decided.activation, provenance)
        return Bundle(card, network)

    def candidates(self) -> dict[str, Bundle]:
        """The weights that a recipe may choose at the end, by the value of its key ``select``."""
        found = {"last": self.bundle(self.scored_network)}
        if self.mean is not None:
            found["averaged"] = self.bundle(build_network(self.decisions.config, self.mean.compute()))
        if self.recipe.select == "best":
            meet()  # afterwards the first process has written it
            found["best"] = load_bundle(self.best)
        return found

    def state_dict(self) -> dict[str, Any]:
        """The state to resume from, see :mod:`spectag.runs.checkpoints`; all processes must call this."""
        names = self._parameter_names()
        state = {
            "format": FORMAT,
            "epoch": self.epoch,
            "batches": self.batches,
            "network": self.network.state_dict(),
            "ema": self.ema and self.ema.state_dict(),
            "optimizer": {names[i]: values for i, values in self.optimizer.state_dict()["state"].items()},
            "precision": self.fabric.strategy.precision.state_dict(),
            "history": self.history.state_dict(),
            "mean": self.mean and self.mean.state_dict(),
            **self.heard.state_dict(),
        }
        return {name: value for name, value in state.items() if value is not None}

    def resume(self) -> None:
        """Continue from the last checkpoint, if there is one.

        Raises:
            RunFailed: it cannot be read.
        """
        if not self.last.is_file():
            return
        names = self._parameter_names()
        state = read_state(self.last, names)
        self.network.load_state_dict(state["network"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        numbered = {names.index(name): values for name, values in state["optimizer"].items()}
        groups = self.optimizer.state_dict()["param_groups"]  # these follow from the recipe
        self.optimizer.load_state_dict({"state": numbered, "param_groups": groups})
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.history.load_state_dict(state["history"])
        if self.mean is not None:
            self.mean.load_state_dict(state["mean"])
        self.heard.load_state_dict(state, self.plan.train)
        self.epoch, self.batches = state["epoch"], state["batches"]
        if self.batches == len(self.loader):
            self.epoch, self.batches = self.epoch + 1, 0

    def _parameter_names(self) -> list[str]:
        """Names of the parameters in the optimiser's order."""
        names = {id(parameter): name for name, parameter in self.network.named_parameters()}
        return [names[id(parameter)] for group in self.optimizer.param_groups for parameter in group["params"]]


@dataclass(frozen=True)
class Materials:
    """What a job is built from: read and decided once, before any weights are drawn.

    Args:
        plan: what to do.
        decisions: what the recipe left open.
        fabric: devices, precision and processes.
        device: that trains.
        checkpoint: initial weights, if the recipe names any.
        waveforms: the training clips.
        teaching: what they teach.
        heard: which clips were heard, and why others could not be.
    """

    plan: Plan
    decisions: Decisions
    fabric: Fabric
    device: torch.device
    checkpoint: Checkpoint | None
    waveforms: Waveforms
    teaching: Teaching
    heard: Heard

    def replaced(self, keys: Mapping[str, Any]) -> Materials:
        """The same with other values of some keys of the recipe, none of which anything here depends on."""
        recipe = self.decisions.recipe.replace(**keys)
        return replace(self, decisions=replace(self.decisions, recipe=recipe))


def prepare(plan: Plan) -> Job:
    """Make everything that a run needs before its first step, and start its other processes.

    Raises:
        InputError: the device is not available.
        ModelError: the initial checkpoint cannot be used.
        RecipeError: the directory holds another run, or the recipe does not fit the checkpoint or the device.
        DataError: no training clip can be read.
        AudioError: a training clip cannot be read, and the run is strict.
        RunFailed: the run's own checkpoint cannot be read.
        SaveError: the directory cannot be made.
    """
    return build_job(gather(plan, Watcher()))


def gather(plan: Plan, watcher: Watcher) -> Materials:
    """Read what a run learns from, and decide what its recipe leaves open. Raises as :func:`prepare`."""
    options = plan.options
    device = find_device(options.device)
    check_processes(options.processes, device)
    if rank() == 0:
        check_directory(plan)
    checkpoint = None if plan.recipe.init is None else read_checkpoint(plan.recipe.init)
    waveforms = Waveforms(plan.train.clips, plan.recipe.cache_gb * 1e9)
    heard = Heard(len(waveforms), options.strict)

    def measure(front_end: FrontEnd) -> tuple[float, float]:
        recorded = _recorded_statistics(plan)
        if recorded is None:
            watcher.on_stage("measuring mean and deviation of the spectrograms")
        return recorded or _measure_statistics(waveforms, front_end)

    watcher.on_stage(f"reading {len(waveforms)} clips")
    waveforms.preload()
    heard.add((), (Unreadable(waveforms.clips[index].id, error) for index, error in waveforms.failed.items()))
    decisions = decide(plan, checkpoint, device, measure)
    if plan.recipe.teacher.model is not None:
        watcher.on_stage(f"asking the teacher, {plan.recipe.teacher.model}")
    teaching = prepare_teaching(plan, waveforms, decisions.front_end, device)
    fabric = _launch(device, options, decisions.precision)
    return Materials(teaching.plan, decisions, fabric, device, checkpoint, waveforms, teaching, heard)


def build_job(materials: Materials) -> Job:
    """Build the network and what trains it, and continue from the run's last checkpoint if there is one.

    The directory of the run is made here, not before it is sure that the run can begin. Raises as :func:`prepare`.
    """
    plan, decisions, fabric, device = materials.plan, materials.decisions, materials.fabric, materials.device
    waveforms, processes = materials.waveforms, plan.options.processes
    recipe, front_end = decisions.recipe, decisions.front_end
    network = build_start(recipe, decisions.config, plan.train.labels, materials.checkpoint)

    ema = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema)) if recipe.ema else None  # type: ignore[no-untyped-call]
    network.set_drop_path(recipe.model.drop_path)
    network.recompute = recipe.checkpoint_layers
    whole = WithOutputs(network) if decisions.config.frame_head or recipe.teacher.features else network
    if recipe.compile:
        whole.compile()
    model = fabric.setup_module(whole)
    if ema is not None:
        fabric.to_device(ema.requires_grad_(False))
    bf16 = decisions.precision == "bf16-mixed"
    optimizer = fabric.setup_optimizers(build_optimizer(network, recipe, torch.bfloat16 if bf16 else torch.float32))
    geometry = decisions.config if decisions.config.frame_head else None
    on_cpu = device.type == "cpu"
    teacher, targets = materials.teaching.teacher, materials.teaching.targets
    in_step = None if on_cpu else teacher
    step = TrainingStep(model, decisions.config.grid, front_end, recipe, rank(), processes, geometry, in_step)

    weights = compute_clip_weights(targets) if recipe.balanced else None
    order, draws = _order(plan), recipe.epoch_clips
    sampler = EpochSampler(len(waveforms), recipe.seed, weights, rank(), processes, order, draws)
    # What is in memory is cheap to make an example of; what is not, and what a teacher has to say, is not.
    workers = 0 if on_cpu and waveforms.complete and teacher is None else max(1, count_cores() - 1)
    loader = DataLoader(
        TrainingClips(waveforms, targets, front_end, recipe.augment),
        batch_size=recipe.batch_size // (recipe.accumulate * processes),
        sampler=sampler,
        collate_fn=partial(_collate_taught, teacher=teacher) if on_cpu and teacher is not None else collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=_ignore_sigterm,
        pin_memory=device.type == "cuda",
    )
    history = History(plan.out / "metrics.csv")
    mean = WeightMean() if recipe.average else None
    if rank() == 0:
        make_directory(plan, recipe)
        if recipe.teacher.model is not None and teacher is None:
            write_taught(plan, targets)
    heard = materials.heard
    job = Job(plan, decisions, fabric, network, model, step, optimizer, ema, sampler, loader, history, heard, mean)
    job.resume()
    return job


def _collate_taught(examples: Sequence[Example], teacher: Teacher) -> Batch:
    """Make a batch that a teacher has scored, in the process that makes its examples."""
    return teach(collate(examples), teacher)


def _recorded_statistics(plan: Plan) -> tuple[float, float] | None:
    """The statistics that the run started with, if it is resumed."""
    path = plan.out / RECIPE
    if not (plan.options.resume and path.is_file()):
        return None
    before = read_recipe(str(path)).front_end
    return None if before.mean is None or before.std is None else (before.mean, before.std)


def _measure_statistics(waveforms: Waveforms, front_end: FrontEnd) -> tuple[float, float]:
    """The mean and standard deviation of the training clips, up to the length that the network sees."""
    found = measure_statistics(waveforms.sources(), front_end, count_cores(), frames=front_end.frames)
    if not found.std:
        raise DataError(f"expected sounds, got {len(waveforms)} training clips of digital silence: check the data")
    return found.mean, found.std


def _launch(device: torch.device, options: RunOptions, precision: FabricPrecision) -> Fabric:
    """Start the other processes, which run the same command, and wait for them."""
    from lightning_fabric import Fabric  # takes seconds to load, so not before the data are known to be good

    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)  # its hints are meant for users of Lightning
    processes = options.processes
    if options.threads is not None:
        torch.set_num_threads(options.threads)
        if processes > 1:  # otherwise Fabric would decide
            os.environ["OMP_NUM_THREADS"] = str(options.threads)
    fabric = Fabric(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=processes if device.index is None else [device.index],
        strategy="ddp" if processes > 1 else "auto",
        precision=precision,
    )
    if processes > 1:
        atexit.register(leave)  # not at the end of a run: the runs of a series share their processes
    fabric.launch()
    return fabric


def _order(plan: Plan) -> Callable[[Rng], Sequence[int]] | None:
    """Packed clips are read shard by shard."""
    clips = plan.train.clips
    return None if clips[0].place is None else lambda rng: reading_order(clips, rng)


def _ignore_sigterm(_: int) -> None:
    """For the processes that read clips: a signal to the whole group must leave the run time to save."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
