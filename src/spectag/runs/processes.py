"""The processes that share a run: which of them this one is, and what they tell each other.

Torch is imported when it is first needed, so that whatever only asks for the rank answers at once.
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
    return int(os.environ.get("LOCAL_RANK", 0))  # set for each process where several are started


def gathered(own: T) -> list[T]:
    """What each process passes, in order of rank. All must call this; a single process gets its own value back.

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
    """Wait until all processes are here.

    >>> meet()
    """
    gathered(None)


def leave() -> None:
    """Part from the other processes. A process that ends without doing so is sometimes aborted, its work done.

    >>> leave()
    """
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def check_processes(processes: int, device: torch.device) -> None:
    """Make sure that each process has a device of its own, where they need one.

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
