"""The processor cores that this process may use, and the threads that compute on them. Needs no torch."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

SPINS = 300  # about 20 us on present processors, 3 us on old ones


def count_cores(root: Path = Path("/")) -> int:
    """Count the cores that this process may use.

    They are those of its affinity (``taskset``, ``docker --cpuset-cpus``), and no more than the quota of its control
    group allows (``docker --cpus``, Kubernetes, systemd); a quota of 1.5 cores counts as 2.

    Args:
        root: where ``/proc`` and ``/sys`` are found.

    Returns:
        at least 1.

    >>> 1 <= count_cores() <= os.cpu_count()
    True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min([cores, *_quotas(root)])))


def _quotas(root: Path) -> Iterator[float]:
    """Quotas of the process's control groups in cores, versions 1 and 2; a group is bound by those above it, too."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Within a container the path may be the host's, which is not there; the folder above is the container's own.
        group = PurePosixPath("/" if ".." in path else path)
        for place in (group, *group.parents):
            folder = root / ("sys/fs/cgroup/cpu" if controllers else "sys/fs/cgroup") / place.relative_to("/")
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
            try:
                quota, period = (float(word) for name in names for word in (folder / name).read_text().split())
            except (OSError, ValueError):  # no such file, or "max": no quota
                continue
            if quota > 0 and period > 0:  # -1 is no quota
                yield quota / period


def choose_threads(asked: int | None = None, processes: int = 1) -> int:
    """Choose the number of threads to compute with: what was asked for, or one for each core.

    Args:
        asked: by the option ``--threads``; next comes the environment variable ``OMP_NUM_THREADS``.
        processes: how many processes share the cores.

    >>> choose_threads(3)
    3
    """
    if asked is not None:
        return asked
    environment = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if environment.isdecimal() and int(environment) > 0:
        return int(environment)
    return max(1, count_cores() // processes)


def describe_threads(threads: int, processes: int = 1) -> str:
    """Say how many threads compute, on how many of the machine's cores.

    >>> describe_threads(1, processes=2)
    '1 thread in each of 2 processes, on ... of ... cores'
    """
    each = f" in each of {processes} processes," if processes > 1 else ""
    cores = count_cores()
    return f"{threads} thread{'s' * (threads > 1)}{each} on {cores} of {max(cores, os.cpu_count() or 1)} cores"


def wait_asleep() -> None:
    """Let threads that wait for others soon sleep, instead of spinning. Must be called before torch is loaded.

    A loop is shared among threads, and ends when the last of them has done its part. Where another program needs the
    same cores, a thread that spins while it waits keeps them from the very thread that it waits for. GNU OpenMP (Linux)
    lets threads spin for up to 20 ms; here they spin about as long as falling asleep and waking up takes. LLVM's and
    Intel's (macOS, Windows) let them sleep at once. If the environment decides any of this, all of it stays as it is.

    >>> wait_asleep()
    >>> os.environ["OMP_WAIT_POLICY"]
    'PASSIVE'
    """
    if os.environ.keys().isdisjoint({"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
