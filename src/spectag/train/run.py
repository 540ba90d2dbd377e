"""One training run, from a recipe and a manifest to a bundle and a report; resumable after a kill."""

from __future__ import annotations

import csv
import json
import logging
import os
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.utils.data import DataLoader

import spectag
from spectag.audio.fbank import FrontEnd
from spectag.errors import DataError, RecipeError, RunInterrupted, SaveError
from spectag.model import initial
from spectag.model.bundle import Bundle
from spectag.model.directory import Activation
from spectag.model.network import AST
from spectag.train.data import EpochSampler, TrainingClips, Waveforms, statistics, targets
from spectag.train.evaluate import Evaluation, Scorer, evaluate
from spectag.train.manifest import Manifest
from spectag.train.recipe import Recipe, build
from spectag.train.task import TrainingTask

CHECKPOINTS = "checkpoints"
RECIPE = "recipe.yaml"


@dataclass(frozen=True)
class Plan:
    """What one run does.

    Args:
        recipe: the recipe as given; its statistics are filled in from the training clips where they are null.
        train, held_out: the clips to learn from; the clips to score on, if any.
        out: the run's directory: ``bundle/``, ``report.json``, ``metrics.csv``, ``recipe.yaml``, ``checkpoints/``.
        description: what was held out, in words, for the report.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        resume: go on from the last checkpoint in ``out``, if there is one.
    """

    recipe: Recipe
    train: Manifest
    held_out: Manifest | None
    out: Path
    description: str
    device: str = "cpu"
    resume: bool = False


def plan(
    recipe: Recipe, manifest: Manifest, out: Path, *, fold: int | None = None, device: str = "cpu", resume: bool = False
) -> Plan:
    """Divide a data set as asked: without one fold, without its held-out parts, or all of it for training.

    Raises:
        DataError: no such fold, or nothing left to train on.
    """
    clips = manifest.excluding(recipe.exclude)
    held_out: Manifest | None = None
    if fold is not None:
        held_out = clips.only(fold=fold)
        train, description = clips.without(held_out), f"fold {fold}"
    elif "train" in clips.splits:
        train, description = clips.only(split="train"), "nothing"
        if "validation" in clips.splits:
            held_out, description = clips.only(split="validation"), "split validation"
    else:
        train, description = clips, "nothing"
    if not train.clips:
        raise DataError(f"no clips left to train on after holding out {description}")
    return Plan(recipe, train, held_out, out, description, device, resume)


def run(plan: Plan, scorer: Scorer, callbacks: Sequence[Callback] = ()) -> dict[str, Any]:
    """Train as planned.

    Args:
        plan: what to do.
        scorer: scores held-out clips, see :data:`spectag.train.evaluate.Scorer`.
        callbacks: further Lightning callbacks, a progress bar for instance.

    Returns:
        The report, as written to ``report.json``.

    Raises:
        RecipeError: the directory holds another run, or one with another recipe.
        AudioError: a training clip cannot be read.
        RunInterrupted: by SIGTERM; the last whole epoch is kept.
        SaveError: a checkpoint, the bundle or the report could not be written; the last checkpoint is intact.
    """
    started = time.monotonic()
    last = _prepare(plan)
    waveforms = Waveforms(plan.train.clips, plan.recipe.cache_gb * 1e9)
    waveforms.preload()
    front_end, recipe = _front_end(plan.recipe, waveforms)

    _quieten_lightning()
    lightning.seed_everything(recipe.seed, verbose=False)
    network = _network(recipe, len(plan.train.labels))
    examples = TrainingClips(waveforms, targets(plan.train), front_end, recipe.augment)
    workers = 0 if waveforms.complete and plan.device == "cpu" else max(1, (os.cpu_count() or 2) - 1)
    loader = DataLoader(
        examples,
        batch_size=recipe.batch_size,
        sampler=EpochSampler(len(examples), recipe.seed),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=plan.device.startswith("cuda"),
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

    history = History(plan, bundle, scorer)
    trainer = lightning.Trainer(
        max_epochs=recipe.epochs,
        accelerator={"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[plan.device.split(":")[0]],
        devices=[int(plan.device.split(":")[1])] if ":" in plan.device else 1,
        precision="bf16-mixed" if _use_bf16(recipe, plan.device) else "32-true",
        gradient_clip_val=recipe.clip_norm or None,
        logger=TensorBoardLogger(plan.out, name="", version="tensorboard"),
        callbacks=[history, *callbacks, ModelCheckpoint(plan.out / CHECKPOINTS, "last", save_on_train_epoch_end=True)],
        plugins=[AtomicCheckpoints()],
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    try:
        trainer.fit(task, loader, ckpt_path=last, weights_only=True)
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
        "seconds_preparing": round(time.monotonic() - started - history.seconds_here, 1),
        "versions": {"spectag": spectag.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": plan.device,
        "threads": torch.get_num_threads(),
        "epochs": history.rows,
        "result": history.last.to_dict() if history.last else None,
    }
    _write(plan.out / "report.json", json.dumps(report, indent=1, ensure_ascii=False))
    return report


class History(Callback):
    """The figures of each epoch; kept in the checkpoint, so that a resumed run goes on with them."""

    def __init__(self, plan: Plan, bundle: Callable[[], Bundle], scorer: Scorer) -> None:
        self.rows: list[dict[str, float]] = []
        self.last: Evaluation | None = None
        self.seconds_here = 0.0
        self._plan, self._bundle, self._scorer = plan, bundle, scorer
        clips = plan.held_out.clips if plan.held_out else ()
        self._waveforms = Waveforms(clips, plan.recipe.cache_gb * 1e9)
        self._before = 0.0

    @property
    def seconds(self) -> float:
        """Time spent training and scoring, earlier sittings included."""
        return self._before + self.seconds_here

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self._before = state_dict["rows"], state_dict["seconds"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        row = {"epoch": epoch, "loss": float(trainer.callback_metrics["loss"])}
        due = epoch % self._plan.recipe.evaluate_every == 0 or epoch == self._plan.recipe.epochs
        if self._plan.held_out is not None and due:
            training = pl_module.training
            self.last = self._evaluate(self._plan.held_out)
            pl_module.train(training)
            figures = self.last.metrics
            row |= {"accuracy": figures.accuracy}
            row |= {k: v for k in ("mean_ap", "mean_auc", "d_prime") if (v := getattr(figures, k)) is not None}
            pl_module.log_dict({k: v for k, v in row.items() if k not in ("epoch", "loss")})
        row |= {"lr": float(trainer.optimizers[0].param_groups[0]["lr"])}
        self.seconds_here = time.monotonic() - self._started
        self.rows.append(row | {"seconds": round(self.seconds, 2)})
        _write_table(self._plan.out / "metrics.csv", self.rows)

    def _evaluate(self, manifest: Manifest) -> Evaluation:
        bundle = self._bundle()
        scores = self._scorer(bundle, [waveform.numpy() for waveform in self._waveforms])
        return evaluate(manifest, scores, bundle.labels)


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that are whole or not there: a full disk leaves the last good one in place."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write beside the target, then rename.

        Raises:
            SaveError: the file could not be written.
        """
        target = Path(path)
        partial = target.with_name(target.name + ".partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)
        except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
            partial.unlink(missing_ok=True)
            raise SaveError(
                f"{target}: the checkpoint could not be written ({error}); the one before it is intact: "
                "free some space and go on with --resume"
            ) from error


def _prepare(plan: Plan) -> Path | None:
    """Make the run's directory, or check that it holds this very run; the checkpoint to go on from, if any."""
    out, text = plan.out, plan.recipe.to_yaml()
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out}: expected a directory, found a file")
    if out.is_dir() and any(out.iterdir()):
        if not plan.resume:
            raise RecipeError(f"--out {out}: not empty; go on with that run by --resume, or choose another directory")
        if not (out / RECIPE).is_file():
            raise RecipeError(f"--out {out}: not empty, and holds no {RECIPE} to resume from")
        if (out / RECIPE).read_text(encoding="utf-8") != text:
            raise RecipeError(f"--resume: {out / RECIPE} differs from the recipe given now; resume with the same one")
    else:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SaveError(f"--out {out}: cannot be made ({error.strerror})") from error
        _write(out / RECIPE, text)
    last = out / CHECKPOINTS / "last.ckpt"
    return last if last.is_file() else None


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
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise SaveError(f"{path}: could not be written ({error.strerror}); free some space and try again") from error


def _write_table(path: Path, rows: list[dict[str, float]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(partial, path)


def _quieten_lightning() -> None:
    """Lightning's advice is for its users; ours get our own messages."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
