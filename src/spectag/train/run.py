"""One training run, from a plan to a bundle and a report; resumable after a kill, and spread over processes."""

from __future__ import annotations

import atexit
import json
import logging
import os
import platform
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch.utils.data import DataLoader

from spectag.audio.front_end import FrontEnd
from spectag.data.shards import reading_order
from spectag.data.statistics import measure_statistics
from spectag.errors import DataError, InputError, RunFailed, RunInterrupted
from spectag.files import write_text
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.device import find_device
from spectag.model.loading import load_bundle, read_checkpoint
from spectag.model.network import AST, build_network
from spectag.score.evaluate import Evaluation
from spectag.score.npz import write_scores
from spectag.score.report import write_report
from spectag.train.decide import Decisions, decide
from spectag.train.examples import TrainingClips, Waveforms, collate
from spectag.train.files import AtomicCheckpoints, Checkpoints, position
from spectag.train.history import Averaging, History, Skipped
from spectag.train.judge import Judge, Scorer
from spectag.train.plan import RECIPE, REPORT, Plan, check_directory, make_directory
from spectag.train.processes import check_processes, gathered, leave, meet, rank
from spectag.train.recipe import read_recipe
from spectag.train.rng import Rng
from spectag.train.sampler import EpochSampler, compute_clip_weights
from spectag.train.start import build_start
from spectag.train.task import TrainingTask
from spectag.version import __version__

BUNDLE, PAGE, SCORES = "bundle", "report.html", "scores.npz"
CHOSEN = {
    "last": "weights of the last epoch",
    "averaged": "mean of the weights after epochs {0} to {1}",
    "best": "weights of the epoch with the highest {2} on the validation clips (epoch {3})",
}


def run(plan: Plan, scorer: Scorer, callbacks: Sequence[Callback] = ()) -> dict[str, Any]:
    """Train as planned.

    ``out`` then holds ``bundle/`` (the chosen weights), ``bundle-last/`` and ``bundle-averaged/`` (the others),
    ``report.json``, ``report.html``, ``metrics.csv``, ``scores.npz`` (of the clips reported on), ``tensorboard/``,
    ``recipe.yaml``, ``plan.json``, and ``checkpoints/`` with the last state and, if one is chosen, the best weights.

    Args:
        plan: what to do.
        scorer: scores held-out clips, see :data:`spectag.train.judge.Scorer`.
        callbacks: further Lightning callbacks, a progress bar for instance.

    Returns:
        The report, as written to ``report.json``. Of several processes all return it, the first writes it.

    Raises:
        InputError: the device is not there, or nobody is logged in to Weights & Biases.
        ModelError: the initial checkpoint cannot be used.
        RecipeError: the directory holds another run, or the recipe does not go with the checkpoint or the device.
        DataError: no training clip can be read.
        AudioError: one cannot, and the plan is strict.
        RunFailed: the loss is not finite, or a worker process died.
        RunInterrupted: by SIGTERM; what was done is kept.
        SaveError: a checkpoint, the bundle or the report could not be written; the last checkpoint is intact.
    """
    job = prepare(plan)
    judge = Judge(scorer, plan.recipe.cache_gb * 1e9, rank(), plan.options.processes)
    fit(job, judge, callbacks)
    candidates = job.candidates()
    results = judge_candidates(plan, judge, candidates)
    return write_results(job, candidates, results)


@dataclass
class Job:
    """A run that is ready to train: everything that was decided, read or built for it."""

    plan: Plan
    decisions: Decisions
    device: torch.device
    waveforms: Waveforms
    sampler: EpochSampler
    loader: DataLoader[Any]
    task: TrainingTask
    history: History
    skipped: Skipped
    averaging: Averaging | None

    @property
    def last(self) -> Path:
        """The checkpoint to continue from."""
        return self.plan.out / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """The bundle of the best epoch so far."""
        return self.plan.out / "checkpoints" / "best"

    @property
    def data(self) -> dict[str, Any]:
        """What was learned from, for the report and the bundle."""
        train = self.plan.train
        return {"layout": train.layout, "clips": len(train), "held_out": self.plan.description}

    def bundle(self, network: AST) -> Bundle:
        """A bundle around a network of this run."""
        decided = self.decisions
        provenance = {
            "source": "trained by spectag",
            "recipe": decided.recipe.model_dump(mode="json"),
            "data": self.data,
            "spectag": __version__,
        }
        card = Card(network.config, decided.front_end, self.plan.train.labels, decided.activation, provenance)
        return Bundle(card, network)

    def candidates(self) -> dict[str, Bundle]:
        """The weights that the recipe may choose, by the names of its key ``select``."""
        found = {"last": self.bundle(self.task.scored_network)}
        if self.averaging is not None:
            found["averaged"] = self.bundle(build_network(self.decisions.config, self.averaging.weights.mean()))
        if self.decisions.recipe.select == "best":
            meet()  # the first process has written it
            found["best"] = load_bundle(self.best)
        return found


def prepare(plan: Plan) -> Job:
    """Everything before the first step: decide what is open, decode the clips, build network, optimiser and loader."""
    options = plan.options
    device = find_device(options.device)
    check_processes(options.processes, device)
    if rank() == 0:
        check_directory(plan)
    _quieten_lightning()
    if options.processes > 1 and device.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // options.processes))
    if options.processes > 1:
        atexit.register(leave)  # not here: a series of runs shares its processes
    checkpoint = None if plan.recipe.init is None else read_checkpoint(plan.recipe.init)
    waveforms = Waveforms(plan.train.clips, plan.recipe.cache_gb * 1e9)
    waveforms.preload()
    skipped = Skipped(waveforms, options.strict)
    decisions = decide(plan, checkpoint, device, partial(_measure, plan, waveforms))
    recipe, front_end = decisions.recipe, decisions.front_end
    network = build_start(recipe, decisions.config, plan.train.labels, checkpoint)

    targets = plan.train.targets()
    weights = compute_clip_weights(targets) if recipe.balanced else None
    sampler = EpochSampler(len(waveforms), recipe.seed, weights, rank(), options.processes, _order(plan))
    workers = 0 if waveforms.complete and device.type == "cpu" else max(1, (os.cpu_count() or 2) - 1)
    loader = DataLoader(
        TrainingClips(waveforms, targets, front_end, recipe.augment),
        batch_size=recipe.batch_size // (recipe.accumulate * options.processes),
        sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=_ignore_sigterm,
        pin_memory=device.type == "cuda",
    )
    steps = -(-len(loader) // recipe.accumulate)
    names = [clip.id for clip in plan.train.clips]
    task = TrainingTask(network, front_end, recipe, steps, names, len(sampler))
    history = History(recipe, plan.out / "metrics.csv")
    averaging = Averaging(*recipe.average) if recipe.average else None
    if rank() == 0:
        make_directory(plan, recipe)  # not before it is sure that the run can begin
    return Job(plan, decisions, device, waveforms, sampler, loader, task, history, skipped, averaging)


def _measure(plan: Plan, waveforms: Waveforms, front_end: FrontEnd) -> tuple[float, float]:
    """Mean and standard deviation of the training clips; a run that is continued keeps those that it began with."""
    recorded = plan.out / RECIPE
    if plan.options.resume and recorded.is_file():
        before = read_recipe(str(recorded)).front_end
        if before.mean is not None and before.std is not None:
            return before.mean, before.std
    found = measure_statistics(waveforms.sources(), front_end, os.cpu_count() or 1, frames=front_end.frames)
    if not found.std:
        raise DataError(
            f"expected sound to learn from, but all {len(waveforms)} training clips are constant (digital silence?)"
        )
    return found.mean, found.std


def fit(job: Job, judge: Judge, callbacks: Sequence[Callback]) -> None:
    """Train to the end of the last epoch, from the last checkpoint on if there is one."""
    plan, recipe, history = job.plan, job.decisions.recipe, job.history
    first = rank() == 0
    watched = plan.validation or plan.test

    def score() -> Evaluation:
        assert watched is not None
        return judge(job.bundle(job.task.scored_network), watched)

    def keep_best() -> None:
        if first:
            job.bundle(job.task.scored_network).save(job.best)

    history.score = score if watched else None
    history.keep_best = keep_best if recipe.select == "best" else None
    device, processes = job.device, plan.options.processes
    trainer = lightning.Trainer(
        max_epochs=recipe.epochs,
        accelerator={"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[device.type],
        devices=processes if processes > 1 else [device.index] if device.index is not None else 1,
        strategy="ddp" if processes > 1 else "auto",
        precision=job.decisions.precision,
        gradient_clip_val=recipe.clip_norm or None,
        accumulate_grad_batches=recipe.accumulate,
        logger=_loggers(plan) if first else False,
        callbacks=[
            history,
            job.skipped,
            *([job.averaging] if job.averaging else []),
            *callbacks,
            Checkpoints(job.last),
        ],
        plugins=[AtomicCheckpoints()],
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    resuming = job.last.is_file()
    if resuming:
        epoch, batches = position(job.last)
        if batches < len(job.loader):
            job.sampler.begun = (epoch, batches * (job.loader.batch_size or 1))
    with _explained(plan, history):
        _begin_logs(trainer.loggers, plan)
        trainer.fit(job.task, job.loader, ckpt_path=job.last if resuming else None, weights_only=True)


@dataclass(frozen=True)
class Results:
    """Figures of the candidates: on the clips reported on, and on those that chose, where these are others."""

    reported: dict[str, Evaluation]
    chosen_by: dict[str, Evaluation]


def judge_candidates(plan: Plan, judge: Judge, candidates: Mapping[str, Bundle]) -> Results:
    """Score every candidate on the clips that the run reports on, and on the clips that chose among them."""
    reported, chosen_by = {}, {}
    for name, bundle in candidates.items():
        if plan.scored is not None:
            reported[name] = judge(bundle, plan.scored)
        if plan.validation is not None and plan.test is not None:
            chosen_by[name] = judge(bundle, plan.validation)
    return Results(reported, chosen_by)


def write_results(job: Job, candidates: Mapping[str, Bundle], results: Results) -> dict[str, Any]:
    """Write the bundles, the scores and the report; the report comes last, since it marks the run as finished."""
    plan, recipe, history = job.plan, job.decisions.recipe, job.history
    chosen = results.reported.get(recipe.select)
    report = {
        "command": plan.options.command,
        "recipe": recipe.model_dump(mode="json"),
        "data": {**job.data, "labels": list(plan.train.labels.names), "missing": len(plan.train.missing)},
        "chosen": CHOSEN[recipe.select].format(*(recipe.average or (0, 0)), recipe.metric, history.best_epoch)
        + (", moving average within the epochs" if recipe.ema else ""),
        "parameters": sum(p.numel() for p in job.task.network.parameters()),
        "precision": job.decisions.precision,
        "seconds": round(history.seconds, 1),
        "versions": {"spectag": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": plan.options.device,
        "processes": plan.options.processes,
        "threads": torch.get_num_threads(),
        "epochs": history.rows,
        "results": {name: evaluation.to_dict() for name, evaluation in results.reported.items()},
        "validation": {name: evaluation.to_dict() for name, evaluation in results.chosen_by.items()},
        "result": chosen and chosen.to_dict(),
        "skipped": [{"id": name, "reason": reason} for name, reason in _united(job.skipped.reasons).items()],
    }
    if rank() == 0:
        for name, bundle in candidates.items():
            bundle.save(plan.out / (BUNDLE if name == recipe.select else f"{BUNDLE}-{name}"))
        if chosen is not None:
            write_scores(plan.out / SCORES, replace(chosen.table, model=str(plan.out / BUNDLE)))
        write_report(plan.out / PAGE, report, chosen.table if chosen else None)
        write_text(plan.out / REPORT, json.dumps(report, indent=1, ensure_ascii=False))
    meet()  # no process begins another run before that
    return report


def _order(plan: Plan) -> Callable[[Rng], Sequence[int]] | None:
    """Packed clips are read shard by shard."""
    clips = plan.train.clips
    return (lambda rng: reading_order(clips, rng)) if clips[0].place is not None else None


def _loggers(plan: Plan) -> list[Logger]:
    loggers: list[Logger] = [TensorBoardLogger(plan.out, name="", version="tensorboard")]
    if plan.options.wandb is not None:
        from lightning.pytorch.loggers import WandbLogger

        loggers.append(WandbLogger(project=plan.options.wandb, name=plan.recipe.name, save_dir=plan.out))
    return loggers


def _begin_logs(loggers: Sequence[Any], plan: Plan) -> None:
    """Weights & Biases first asks who is there, which may fail; better now than after an epoch."""
    if plan.options.wandb is None:
        return
    from wandb.errors import Error

    try:
        for logger in loggers:
            logger.experiment  # noqa: B018  # made when it is first asked for
    except Error as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"--wandb {plan.options.wandb}: {reason} (WANDB_MODE=offline works without login and network)"
        ) from error


@contextmanager
def _explained(plan: Plan, history: History) -> Iterator[None]:
    """What stops Lightning, in our own words."""
    try:
        yield
    except SystemExit as stop:  # what Lightning makes of SIGTERM and Ctrl-C, with exit code 0 for the former
        done = f"{len(history.rows)} of {plan.recipe.epochs} epochs"
        raise RunInterrupted(f"{plan.out}: stopped after {done}; the same command with --resume goes on") from stop
    except torch.OutOfMemoryError as error:
        raise RunFailed(
            f"the device's memory is too small ({str(error).splitlines()[0][:150]}): lower batch_size, or set "
            "accumulate, checkpoint_layers or precision=bf16, and begin anew"
        ) from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        if "DataLoader worker" in reason:
            who = "a process that reads clips"
        elif plan.options.processes > 1 and any(word in reason for word in ("Connection", "gloo", "NCCL")):
            who = f"one of {plan.options.processes} processes"
        else:
            raise
        raise RunFailed(
            f"{who} died ({reason}): often for want of memory; lower cache_gb or batch_size and go on with --resume"
        ) from error
    finally:
        if plan.options.wandb is not None:
            import wandb

            wandb.finish()  # the next run of a series is another one


def _united(own: dict[str, str]) -> dict[str, str]:
    """The entries of all processes."""
    return {name: reason for entries in gathered(own) for name, reason in entries.items()}


def _ignore_sigterm(_: int) -> None:
    """For processes that read clips: a signal to all of a group must leave the run the time to save."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _quieten_lightning() -> None:
    """Lightning's advice is for its users; ours get our own messages."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
