"""One training run, from a recipe and a manifest to a bundle and a report; resumable after a kill."""

from __future__ import annotations

import json
import logging
import os
import platform
import warnings
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

import spectag
from spectag.audio.fbank import FrontEnd
from spectag.errors import RunInterrupted
from spectag.model import initial
from spectag.model.bundle import Bundle
from spectag.model.device import find_device
from spectag.model.directory import Activation
from spectag.model.network import AST
from spectag.train.evaluate import Evaluation, Scorer, evaluate
from spectag.train.examples import EpochSampler, TrainingClips, Waveforms, statistics, targets
from spectag.train.files import AtomicCheckpoints, write_text
from spectag.train.history import History
from spectag.train.plan import Plan, prepare
from spectag.train.recipe import Recipe, build
from spectag.train.task import TrainingTask

CHECKPOINTS, LAST = "checkpoints", "last"


def run(plan: Plan, scorer: Scorer, callbacks: Sequence[Callback] = ()) -> dict[str, Any]:
    """Train as planned.

    Args:
        plan: what to do.
        scorer: scores held-out clips, see :data:`spectag.train.evaluate.Scorer`.
        callbacks: further Lightning callbacks, a progress bar for instance.

    Returns:
        The report, as written to ``report.json``.

    Raises:
        InputError: the device is not there.
        RecipeError: the directory holds another run, or one with another recipe.
        AudioError: a training clip cannot be read.
        RunInterrupted: by SIGTERM; the last whole epoch is kept.
        SaveError: a checkpoint, the bundle or the report could not be written; the last checkpoint is intact.
    """
    device = find_device(plan.device)
    prepare(plan)
    waveforms = Waveforms(plan.train.clips, plan.recipe.cache_gb * 1e9)
    for error in waveforms.preload():
        raise error
    front_end, recipe = _front_end(plan.recipe, waveforms)

    _quieten_lightning()
    lightning.seed_everything(recipe.seed, verbose=False)
    network = _network(recipe, len(plan.train.labels))
    examples = TrainingClips(waveforms, targets(plan.train), front_end, recipe.augment)
    workers = 0 if waveforms.complete and device.type == "cpu" else max(1, (os.cpu_count() or 2) - 1)
    loader = DataLoader(
        examples,
        batch_size=recipe.batch_size,
        sampler=EpochSampler(len(examples), recipe.seed),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    task = TrainingTask(network, front_end, recipe, steps_per_epoch=len(loader))
    data = {"layout": plan.train.layout, "clips": len(plan.train), "held_out": plan.description}
    provenance = {
        "source": "trained by spectag",
        "recipe": recipe.model_dump(mode="json"),
        "data": data,
        "spectag": spectag.__version__,
    }

    def bundle() -> Bundle:
        activation: Activation = "sigmoid" if recipe.loss == "bce" else "softmax"
        return Bundle(task.scored_network, front_end, plan.train.labels, activation, provenance)

    score = None
    if plan.held_out is not None:
        held_out = plan.held_out
        heard = Waveforms(held_out.clips, recipe.cache_gb * 1e9)
        heard.preload()  # what cannot be read is reported with the figures

        def score() -> Evaluation:
            present = bundle()
            return evaluate(held_out, scorer(present, heard.sources()), present.labels)

    history = History(recipe, plan.out / "metrics.csv", score)
    checkpoints = ModelCheckpoint(
        plan.out / CHECKPOINTS, LAST, save_on_train_epoch_end=True, enable_version_counter=False
    )
    last = plan.out / CHECKPOINTS / f"{LAST}.ckpt"
    trainer = lightning.Trainer(
        max_epochs=recipe.epochs,
        accelerator={"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[device.type],
        devices=[device.index] if device.index is not None else 1,
        precision="bf16-mixed" if _use_bf16(recipe, device.type) else "32-true",
        gradient_clip_val=recipe.clip_norm or None,
        logger=TensorBoardLogger(plan.out, name="", version="tensorboard"),
        callbacks=[history, *callbacks, checkpoints],
        plugins=[AtomicCheckpoints()],
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    try:
        trainer.fit(task, loader, ckpt_path=last if last.is_file() else None, weights_only=True)
    except SystemExit as stop:  # what Lightning makes of SIGTERM and Ctrl-C, with exit code 0 for the former
        done = f"{len(history.rows)} of {recipe.epochs} epochs"
        raise RunInterrupted(f"{plan.out}: stopped after {done}; the same command with --resume goes on") from stop

    bundle().save(plan.out / "bundle")
    report = {
        "recipe": recipe.model_dump(mode="json"),
        "data": {**data, "labels": list(plan.train.labels.names)},
        "chosen": "last epoch" + (", moving average of the weights" if recipe.ema else ""),
        "parameters": sum(p.numel() for p in network.parameters()),
        "precision": trainer.precision,
        "seconds": round(history.seconds, 1),
        "versions": {"spectag": spectag.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": plan.device,
        "threads": torch.get_num_threads(),
        "epochs": history.rows,
        "result": history.result,
    }
    write_text(plan.out / "report.json", json.dumps(report, indent=1, ensure_ascii=False))
    return report


def _front_end(recipe: Recipe, waveforms: Waveforms) -> tuple[FrontEnd, Recipe]:
    """The front end with its statistics, measured where the recipe leaves them open, and the recipe that says so."""
    fields = recipe.front_end
    if fields.mean is None or fields.std is None:
        bare = FrontEnd(fields.window, fields.mel_bins, frames=fields.frames)
        mean, std = statistics(waveforms, bare)
        fields = fields.model_copy(update={"mean": mean, "std": std})
    return FrontEnd(**fields.model_dump()), build(
        {**recipe.model_dump(), "front_end": fields.model_dump()}, recipe.name
    )


def _network(recipe: Recipe, labels: int) -> AST:
    network = AST(recipe.network_config(labels))
    if recipe.model.initial == "structured":
        state = initial.sinusoidal_positions(network.state_dict(), network.config.grid)
        generator = torch.Generator().manual_seed(recipe.seed)
        network.load_state_dict(initial.mimetic_attention(state, network.config.heads, generator))
    return network


def _use_bf16(recipe: Recipe, device: str) -> bool:
    if recipe.precision != "auto":
        return recipe.precision == "bf16"
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    abilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # not in older versions
    return device == "cpu" and bool(abilities.get("amx_bf16"))


def _quieten_lightning() -> None:
    """Lightning's advice is for its users; ours get our own messages."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
