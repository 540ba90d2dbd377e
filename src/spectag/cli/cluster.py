"""spectag tag --ray: the same on a cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spectag.choices import PRECISION, ExportPrecision
from spectag.cli.jobs import JobOptions, counted, has_results, name_rule, refuse_both, report
from spectag.cli.options import find_model
from spectag.cli.output import say
from spectag.cores import choose_threads, count_cores
from spectag.errors import FileError

if TYPE_CHECKING:
    from spectag.jobs.run import Plain
    from spectag.tag.events import EventRule

RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Tag on a Ray cluster (extra ray): local, auto or ray://HEAD:10001. PATHs may also be Parquet tables with "
        "a column path, and URLs such as s3://BUCKET/FOLDER. --output is a folder for Parquet files.",
        rich_help_panel="Clusters",
    ),
]
RayWorkers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Largest number of workers, each with a model of its own.",
        show_default="local: one for each core; otherwise as many as fit",
        rich_help_panel="Clusters",
    ),
]
MOST_WORKERS = 10_000  # as many as fit


@dataclass(frozen=True)
class WorkerOptions:
    """What every worker is told; see ``spectag tag``.

    >>> WorkerOptions("esc10", 5, None, None, None, "cpu", "fp32", 16, None).model
    'esc10'
    """

    model: str
    top_k: int
    threshold: float | None
    hop: float | None
    events: EventRule | None
    device: str
    precision: ExportPrecision | None
    batch_size: int
    threads: int | None


def refuse_with_ray(context: typer.Context, options: Sequence[str]) -> None:
    """Raise an error of usage if there are options that ``--ray`` does not have.

    >>> refuse_with_ray(None, [])
    """
    if options:
        raise typer.BadParameter(f"--{options[0]} and --ray exclude each other: leave one out", context)


def tag_with_ray(
    context: typer.Context,
    address: str,
    workers: int | None,
    inputs: Sequence[str],
    output: str | Path | None,
    worker: WorkerOptions,
    options: JobOptions,
) -> bool:
    """Tag files on a cluster, write Parquet files and say how it goes.

    Returns:
        whether any file failed.

    Raises:
        SpectagError: the model, the inputs, the output or the cluster cannot be used.
    """
    if output is None:
        raise typer.BadParameter("--ray: expected a folder for Parquet files: add -o FOLDER", context)
    for name in ("verify", "retry_failed", "shard"):
        if getattr(options, name):
            refuse_with_ray(context, [name.replace("_", "-")])
    refuse_both(context, options)
    find_model(worker.model)

    from spectag.engines.artefact import open_model
    from spectag.jobs.cluster import connected, find_paths, tag_on_cluster
    from spectag.jobs.parts import Parts
    from spectag.jobs.run import Run, digest_of_model
    from spectag.jobs.worker import result_of
    from spectag.tag.writers.parquet import valid

    parts = Parts(str(output))
    before = parts.run()
    if before is not None and not options.resume and not options.overwrite:
        raise has_results(output)
    listed = list(dict.fromkeys(find_paths(inputs)))
    decisive: dict[str, Plain] = {name: getattr(worker, name) for name in ("threshold", "hop")}
    decisive |= {"top-k": worker.top_k, "precision": worker.precision or PRECISION}
    if worker.events is not None:
        decisive |= {"events": True} | name_rule(worker.events)
    run = Run(digest_of_model(open_model(worker.model)), decisive)
    if before is not None and options.resume:
        before.require_same(run, str(output), "use what it was made with, or begin again with --overwrite")
    else:
        parts.begin(run)
    done = set(parts.paths())
    files = [file for file in listed if valid(file.path or "" if isinstance(file, FileError) else file) not in done]
    if done:
        say("note", f"{len(listed) - len(files)} of {len(listed)} files are done already; {len(files)} left")
    threads = choose_threads(worker.threads) if worker.threads else 1
    count = workers or (max(1, count_cores() // threads) if address == "local" else MOST_WORKERS)
    told = {
        "model": os.path.abspath(worker.model) if os.path.exists(worker.model) else worker.model,
        "top_k": worker.top_k,
        "threshold": worker.threshold,
        "hop": worker.hop,
        "events": worker.events,
        "device": worker.device,
        "precision": worker.precision,
        "batch_size": worker.batch_size,
        "jobs": options.jobs or 2,
        "limits": options.limits,
    }
    gpus = 1.0 if worker.device.startswith("cuda") else 0.0
    with counted(len(files), len(files)) as (summary, progress):
        if files:
            with connected(address, count * threads) as ray:
                for row in tag_on_cluster(ray, files, parts, count, cpus=threads, gpus=gpus, options=told):
                    result = result_of(row)
                    summary.add(result)
                    progress.add(row["duration"] or 0.0)
                    report(result)
    return summary.failed > 0
