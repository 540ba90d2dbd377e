"""The option --threads, and what it does."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from spectag.cli.output import say
from spectag.cores import choose_threads

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

    What was chosen is said where somebody asked for it, and on a terminal where not all cores may be used.
    """
    import torch

    chosen = choose_threads(asked)
    torch.set_num_threads(chosen.number)
    if asked is not None or (sys.stderr is not None and sys.stderr.isatty() and chosen.cores < chosen.machine):
        say("threads", str(chosen))
