"""One training run, from a plan to a bundle and a report; resumable after a kill, and spread over processes."""

from __future__ import annotations

import atexit
import json
import logging
import os
import platform
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch.utils.data import DataLoader

from spectag.audio.front_end import FrontEnd
from spectag.choices import Activation
from spectag.data.shards import reading_order
from spectag.errors import InputError, RecipeError, RunFailed, RunInterrupted
from spectag.model.bundle import Bundle
from spectag.model.card import Card
from spectag.model.device import find_device, trains_faster_in_bf16
from spectag.model.loading import load_bundle
from spectag.model.network import AST, build_network
from spectag.score.evaluate import Evaluation
from spectag.score.npz import write_scores
from spectag.score.report import write_report
from spectag.train.augment import Rng
from spectag.train.examples import TrainingClips, Waveforms, statistics, targets
from spectag.train.files import AtomicCheckpoints, Checkpoints, position, write_text
from spectag.train.history import Averaging, History, Skipped
from spectag.train.judge import Judge, Scorer
from spectag.train.plan import Plan, check_directory, prepare
from spectag.train.processes import gathered, leave, meet
from spectag.train.recipe import Recipe
from spectag.train.sampler import EpochSampler, balancing_weights
from spectag.train.start import fill, start
from spectag.train.task import TrainingTask
from spectag.version import __version__

BUNDLE, REPORT, PAGE, SCORES = "bundle", "report.json", "report.html", "scores.npz"
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
    device = find_device(plan.device)
    _check_processes(plan.processes, device)
    precision = _precision(plan.recipe, device.type)
    rank = int(os.environ.get("LOCAL_RANK", 0))  # of the processes that Lightning starts
    first = rank == 0
    if first:
        check_directory(plan)
    _quieten_lightning()
    if plan.processes > 1 and device.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // plan.processes))
    if plan.processes > 1:
        atexit.register(leave)  # not here: a series of runs shares its processes
    lightning.seed_everything(plan.recipe.seed, verbose=False)
    network, recipe = start(plan.recipe, plan.train.labels)
    waveforms = Waveforms(plan.train.clips, recipe.cache_gb * 1e9)
    waveforms.preload()
    skipped = Skipped(waveforms, plan.strict)
    if recipe.front_end.mean is None:
        mean, std = statistics(waveforms, _front_end(fill(recipe, "front_end", {"mean": 0.0, "std": 1.0})))
        recipe = fill(recipe, "front_end", {"mean": mean, "std": std})
    front_end = _front_end(recipe)

    last, best = (plan.out / "checkpoints" / name for name in ("last.ckpt", "best"))
    truth = targets(plan.train)
    sampler = EpochSampler(
        len(waveforms),
        recipe.seed,
        balancing_weights(truth.numpy()) if recipe.balanced else None,
        rank,
        plan.processes,
        _order(plan),
    )
    workers = 0 if waveforms.complete and device.type == "cpu" else max(1, (os.cpu_count() or 2) - 1)
    loader = DataLoader(
        TrainingClips(waveforms, truth, front_end, recipe.augment),
        batch_size=recipe.batch_size // (recipe.accumulate * plan.processes),
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=_ignore_sigterm,
        pin_memory=device.type == "cuda",
    )
    steps = -(-len(loader) // recipe.accumulate)
    names = [clip.id for clip in plan.train.clips]
    task = TrainingTask(network, front_end, recipe, steps, names, len(sampler))
    data = {"layout": plan.train.layout, "clips": len(plan.train), "held_out": plan.description}
    provenance = {
        "source": "trained by spectag",
        "recipe": recipe.model_dump(mode="json"),
        "data": data,
        "spectag": __version__,
    }
    activation: Activation = "sigmoid" if recipe.loss == "bce" else "softmax"

    def bundle(network: AST) -> Bundle:
        return Bundle(Card(network.config, front_end, plan.train.labels, activation, provenance), network)

    judge = Judge(scorer, recipe.cache_gb * 1e9, rank, plan.processes)
    watched = plan.validation or plan.test

    def score() -> Evaluation:
        assert watched is not None
        return judge(bundle(task.scored_network), watched)

    def keep_best() -> None:
        if first:
            bundle(task.scored_network).save(best)

    history = History(
        recipe, plan.out / "metrics.csv", score if watched else None, keep_best if recipe.select == "best" else None
    )
    averaging = Averaging(*recipe.average) if recipe.average else None
    trainer = lightning.Trainer(
        max_epochs=recipe.epochs,
        accelerator={"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[device.type],
        devices=plan.processes if plan.processes > 1 else [device.index] if device.index is not None else 1,
        strategy="ddp" if plan.processes > 1 else "auto",
        precision=precision,
        gradient_clip_val=recipe.clip_norm or None,
        accumulate_grad_batches=recipe.accumulate,
        logger=_loggers(plan) if first else False,
        callbacks=[history, skipped, *([averaging] if averaging else []), *callbacks, Checkpoints(last)],
        plugins=[AtomicCheckpoints()],
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    if first:
        prepare(plan, recipe)  # not before it is sure that the run can begin
    resuming = last.is_file()
    if resuming:
        epoch, batches = position(last)
        if batches < len(loader):
            sampler.begun = (epoch, batches * (loader.batch_size or 1))
    with _explained(plan, history):
        _begin_logs(trainer.loggers, plan)
        trainer.fit(task, loader, ckpt_path=last if resuming else None, weights_only=True)

    candidates = {"last": bundle(task.scored_network)}
    if averaging is not None:
        candidates["averaged"] = bundle(build_network(network.config, averaging.weights.mean()))
    if recipe.select == "best":
        trainer.strategy.barrier()
        candidates["best"] = load_bundle(best)
    evaluations: dict[str, Evaluation] = {}
    chosen_by: dict[str, Evaluation] = {}
    for name, candidate in candidates.items():
        if first:
            candidate.save(plan.out / (BUNDLE if name == recipe.select else f"{BUNDLE}-{name}"))
        if plan.scored is not None:
            evaluations[name] = judge(candidate, plan.scored)
        if plan.validation is not None and plan.test is not None:
            chosen_by[name] = judge(candidate, plan.validation)
    chosen = evaluations.get(recipe.select)
    report = {
        "command": plan.command,
        "recipe": recipe.model_dump(mode="json"),
        "data": {**data, "labels": list(plan.train.labels.names), "missing": len(plan.train.missing)},
        "chosen": CHOSEN[recipe.select].format(*(recipe.average or (0, 0)), recipe.metric, history.best_epoch)
        + (", moving average within the epochs" if recipe.ema else ""),
        "parameters": sum(p.numel() for p in network.parameters()),
        "precision": trainer.precision,
        "seconds": round(history.seconds, 1),
        "versions": {"spectag": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": plan.device,
        "processes": plan.processes,
        "threads": torch.get_num_threads(),
        "epochs": history.rows,
        "results": {name: evaluation.to_dict() for name, evaluation in evaluations.items()},
        "validation": {name: evaluation.to_dict() for name, evaluation in chosen_by.items()},
        "result": chosen and chosen.to_dict(),
        "skipped": [{"id": name, "reason": reason} for name, reason in _united(skipped.reasons).items()],
    }
    if first:
        if chosen is not None:
            write_scores(plan.out / SCORES, replace(chosen.table, model=str(plan.out / BUNDLE)))
        write_report(plan.out / PAGE, report, chosen.table if chosen else None)
        write_text(plan.out / REPORT, json.dumps(report, indent=1, ensure_ascii=False))  # last: the run is finished
    meet()  # none goes on to another run before that
    return report


def _order(plan: Plan) -> Callable[[Rng], Sequence[int]] | None:
    """Packed clips are read shard by shard."""
    clips = plan.train.clips
    return (lambda rng: reading_order(clips, rng)) if clips[0].place is not None else None


def _front_end(recipe: Recipe) -> FrontEnd:
    return FrontEnd(**recipe.front_end.model_dump())


def _precision(recipe: Recipe, device: str) -> Any:
    """What Lightning calls the recipe's precision."""
    if recipe.precision == "fp16" and device != "cuda":
        raise RecipeError(f"recipe {recipe.name}: precision fp16 needs a CUDA device, got {device}: set bf16 or fp32")
    if recipe.precision == "auto":
        return "bf16-mixed" if trains_faster_in_bf16(torch.device(device)) else "32-true"
    return {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[recipe.precision]


def _loggers(plan: Plan) -> list[Logger]:
    loggers: list[Logger] = [TensorBoardLogger(plan.out, name="", version="tensorboard")]
    if plan.wandb is not None:
        from lightning.pytorch.loggers import WandbLogger

        loggers.append(WandbLogger(project=plan.wandb, name=plan.recipe.name, save_dir=plan.out))
    return loggers


def _begin_logs(loggers: Sequence[Any], plan: Plan) -> None:
    """Weights & Biases first asks who is there, which may fail; better now than after an epoch."""
    if plan.wandb is None:
        return
    from wandb.errors import Error

    try:
        for logger in loggers:
            logger.experiment  # noqa: B018  # made when it is first asked for
    except Error as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"--wandb {plan.wandb}: {reason} (WANDB_MODE=offline works without login and network)"
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
        elif plan.processes > 1 and any(word in reason for word in ("Connection", "gloo", "NCCL")):
            who = f"one of {plan.processes} processes"
        else:
            raise
        raise RunFailed(
            f"{who} died ({reason}): often for want of memory; lower cache_gb or batch_size and go on with --resume"
        ) from error
    finally:
        if plan.wandb is not None:
            import wandb

            wandb.finish()  # the next run of a series is another one


def _united(own: dict[str, str]) -> dict[str, str]:
    """The entries of all processes."""
    return {name: reason for entries in gathered(own) for name, reason in entries.items()}


def _ignore_sigterm(_: int) -> None:
    """For processes that read clips: a signal to all of a group must leave the run the time to save."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _check_processes(processes: int, device: torch.device) -> None:
    if processes == 1 or device.type == "cpu":
        return
    have = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.index is not None or processes > have:
        raise InputError(
            f"--devices {processes} with --device {device}: expected plain cuda and at most as many processes as GPUs; "
            f"this machine has {have}"
        )


def _quieten_lightning() -> None:
    """Lightning's advice is for its users; ours get our own messages."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
