"""The option --threads, and what it does."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from spectag.cli.output import say
from spectag.cores import choose_threads, describe_threads

Threads = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Number of processor threads that the network computes with.",
        show_default="one for each core that this process may use",
    ),
]


def use_threads(asked: int | None) -> None:
    """Let torch compute with as many threads as were asked for, or as there are cores.

    What was chosen is said where somebody asked for it, and on a terminal where the machine has more or fewer cores.

    >>> use_threads(None)
    >>> 1 <= torch.get_num_threads()
    True
    """
    import torch

    chosen = choose_threads(asked)
    torch.set_num_threads(chosen)
    if asked is not None or (sys.stderr is not None and sys.stderr.isatty() and chosen != os.cpu_count()):
        say("note", describe_threads(chosen))
