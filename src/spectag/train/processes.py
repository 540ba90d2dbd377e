"""What the processes of a run tell each other."""

from __future__ import annotations

from typing import TypeVar

from torch import distributed

T = TypeVar("T")


def gathered(own: T) -> list[T]:
    """What every process gives, in order of rank; just this one's where there is but one."""
    if not distributed.is_initialized():
        return [own]
    everyone: list[T] = [own] * distributed.get_world_size()
    distributed.all_gather_object(everyone, own)
    return everyone


def rank() -> int:
    """This process's number, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def meet() -> None:
    """Wait until all processes are here."""
    gathered(None)


def leave() -> None:
    """Part from the others; a process that ends without it is aborted at times, its work done."""
    if distributed.is_initialized():
        distributed.destroy_process_group()
