"""One training run, from a plan to bundles and a report."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from spectag.errors import RunFailed
from spectag.files import write_text
from spectag.model.bundle import Bundle
from spectag.runs.budget import fit_to_minutes
from spectag.runs.curves import open_curves
from spectag.runs.heard import count_heard
from spectag.runs.judge import Judge, Scorer
from spectag.runs.loop import fit, interrupted
from spectag.runs.plan import BUNDLE, REPORT, Plan, recorded_length
from spectag.runs.prepare import Job, build_job, gather
from spectag.runs.processes import meet, rank
from spectag.runs.watcher import Watcher
from spectag.score.evaluate import Evaluation
from spectag.score.npz import write_scores
from spectag.version import __version__

PAGE, SCORES = "report.html", "scores.npz"
CHOSEN = {
    "last": "weights of the last epoch",
    "averaged": "mean of the weights after epochs {0} to {1}",
    "best": "weights of the epoch with the highest {2} on the validation clips (epoch {3})",
}


def run(plan: Plan, scorer: Scorer, watcher: Watcher | None = None) -> dict[str, Any]:
    """Train as planned.

    ``out`` then holds ``bundle/`` (the chosen weights), ``bundle-last/`` and ``bundle-averaged/`` (the others),
    ``report.json``, ``report.html``, ``metrics.csv``, ``scores.npz`` (of the clips reported on), ``tensorboard/``,
    ``recipe.yaml``, ``plan.json``, and ``checkpoints/`` with the last state and, if one is chosen, the best weights.

    Args:
        plan: what to do.
        scorer: scores held-out clips, see :data:`spectag.runs.judge.Scorer`.
        watcher: is told what happens, to show the progress for instance.

    Returns:
        The report, as written to ``report.json``. If several processes share the run all of them return it, and the
        first writes it.

    Raises:
        InputError: the device is not available, or nobody is logged in to Weights & Biases.
        ModelError: the initial checkpoint cannot be used.
        RecipeError: the directory holds another run, or the recipe does not fit the checkpoint or the device.
        DataError: no training clip can be read.
        AudioError: one cannot be read, and the plan is strict.
        RunFailed: the loss is not finite, a process died, or memory ran out.
        RunInterrupted: SIGTERM or Ctrl-C came; the run can be resumed.
        SaveError: a checkpoint, a bundle or the report could not be written; the last checkpoint is intact.
    """
    watcher = watcher or Watcher()
    judge = Judge(scorer, plan.recipe.cache_gb * 1e9, rank(), plan.options.processes)
    materials = gather(plan, watcher)
    plan = materials.plan
    if (length := recorded_length(plan)) is not None:
        materials = materials.replaced(length)
    elif plan.options.minutes is not None:
        with _explained(plan):
            materials = fit_to_minutes(materials, judge, watcher)
    job = build_job(materials)
    with _explained(plan, job), open_curves(plan) as log:
        fit(job, judge, log, watcher)
    if plan.scored is not None:
        watcher.on_stage(f"scoring {len(plan.scored)} held-out clips")
    candidates = job.candidates()
    results = judge_candidates(plan, judge, candidates)
    watcher.on_stage("writing the report")
    return write_results(job, candidates, results)


@dataclass(frozen=True)
class Results:
    """The figures of the candidates, by name.

    Args:
        reported: on the clips that the run reports on.
        chosen_by: on the clips that an epoch was chosen by, if these are other clips.

    >>> judge_candidates(plan, judge=None, candidates={})
    Results(reported={}, chosen_by={})
    """

    reported: dict[str, Evaluation]
    chosen_by: dict[str, Evaluation]


def judge_candidates(plan: Plan, judge: Judge, candidates: Mapping[str, Bundle]) -> Results:
    """Score every candidate on the clips that the run reports on, and on the clips that a candidate was chosen by.

    >>> judge_candidates(plan, lambda bundle, clips: f"figures of {len(clips)} clips", {"last": "a bundle"}).reported
    {'last': 'figures of 2 clips'}
    """
    reported, chosen_by = {}, {}
    for name, bundle in candidates.items():
        if plan.scored is not None:
            reported[name] = judge(bundle, plan.scored)
        if plan.validation is not None and plan.test is not None:
            chosen_by[name] = judge(bundle, plan.validation)
    return Results(reported, chosen_by)


def write_results(job: Job, candidates: Mapping[str, Bundle], results: Results) -> dict[str, Any]:
    """Write the bundles, the scores and the report; the report comes last, since it marks the run as finished."""
    plan, recipe, history = job.plan, job.recipe, job.history
    heard = job.heard.state_dict()
    chosen = results.reported.get(recipe.select)
    report = {
        "command": plan.options.command,
        "recipe": recipe.model_dump(mode="json"),
        "data": {**job.data, "labels": list(plan.train.labels.names), "missing": len(plan.train.missing)},
        "chosen": CHOSEN[recipe.select].format(*(recipe.average or (0, 0)), recipe.metric, history.best_epoch)
        + (", moving average within the epochs" if recipe.ema else ""),
        "parameters": sum(p.numel() for p in job.network.parameters()),
        "precision": job.decisions.precision,
        "seconds": round(history.seconds, 1),
        "versions": {"spectag": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": plan.options.device,
        "processes": plan.options.processes,
        "threads": torch.get_num_threads(),
        "epochs": history.rows,
        "results": {name: evaluation.to_dict() for name, evaluation in results.reported.items()},
        "validation": {name: evaluation.to_dict() for name, evaluation in results.chosen_by.items()},
        "result": chosen and chosen.to_dict(chosen.table.compute_intervals(chosen.metrics)),
        "heard": count_heard(heard, plan.train),
        "skipped": [{"id": name, "reason": reason} for name, reason in heard["skipped"].items()],
    }
    if rank() == 0:
        for name, bundle in candidates.items():
            bundle.save(plan.out / (BUNDLE if name == recipe.select else f"{BUNDLE}-{name}"))
        if chosen is not None:
            write_scores(plan.out / SCORES, replace(chosen.table, model=str(plan.out / BUNDLE)))
        from spectag.score.report import write_report  # only now, since it loads Matplotlib and scikit-learn

        write_report(plan.out / PAGE, report, chosen.table if chosen else None)
        write_text(plan.out / REPORT, json.dumps(report, indent=1, ensure_ascii=False))
    meet()  # no process begins another run before that
    return report


@contextmanager
def _explained(plan: Plan, job: Job | None = None) -> Iterator[None]:
    """Turn the error that ended the loop into a message that tells the user what to do.

    Without a job, only the speed was being measured.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        if job is None:
            raise
        raise interrupted(job) from stop
    except torch.OutOfMemoryError as error:
        raise RunFailed(
            f"the device ran out of memory ({str(error).splitlines()[0][:150]}): lower batch_size, or set accumulate, "
            "checkpoint_layers or precision=bf16, and start again with another --out"
        ) from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        processes = plan.options.processes
        if "DataLoader worker" in reason:
            who = "a process that reads clips"
        elif processes > 1 and any(word in reason for word in ("Connection", "gloo", "NCCL")):
            who = f"one of {processes} processes"
        else:
            raise
        raise RunFailed(
            f"{who} was killed ({reason}), probably because memory ran out: continue with --resume and a lower "
            "cache_gb, for example --set cache_gb=0; or start again with a lower batch_size and another --out"
        ) from error
