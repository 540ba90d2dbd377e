"""The processes that share a run: the number of each, and how they exchange values and wait for each other.

Torch is imported only when it is needed, so that :func:`rank` answers at once.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from spectag.errors import InputError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def rank() -> int:
    """This process's number, from 0; only the first prints and writes.

    >>> rank()
    0
    """
    return int(os.environ.get("LOCAL_RANK", 0))  # Fabric sets this variable if it starts several processes


def gathered(own: T) -> list[T]:
    """Collect one value from each process, in order of rank. Every process must call this.

    If there is only one process, it gets a list of its own value.

    >>> gathered(5)
    [5]
    """
    from torch import distributed

    if not distributed.is_initialized():
        return [own]
    everyone: list[T] = [own] * distributed.get_world_size()
    distributed.all_gather_object(everyone, own)
    return everyone


def meet() -> None:
    """Wait until every process has called this function.

    >>> meet()
    """
    gathered(None)


def leave() -> None:
    """Close the connection to the other processes. A process that exits without this call is sometimes aborted.

    >>> leave()
    """
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def check_processes(processes: int, device: torch.device) -> None:
    """Make sure that each process has a GPU of its own, if the run uses GPUs.

    Raises:
        InputError: there are fewer GPUs than processes, or one GPU is named for several processes.

    >>> check_processes(4, torch.device("cpu"))
    """
    import torch

    if processes == 1 or device.type == "cpu":
        return
    have = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.index is not None or processes > have:
        raise InputError(
            f"--devices {processes} with --device {device}: expected plain cuda and at most as many processes as GPUs; "
            f"this machine has {have}"
        )
