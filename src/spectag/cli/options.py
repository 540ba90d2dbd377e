"""Options that several commands share, checked as far as that is possible without torch."""

from __future__ import annotations

import re
from typing import Annotated

import typer


def device(value: str) -> str:
    """Check the form of a device's name. Whether this machine has it is checked where torch is loaded."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", value):
        raise typer.BadParameter(f"expected cpu, cuda, cuda:N or mps; got {value!r}")
    return value


def pair(value: str) -> tuple[int, int]:
    """Read two positive whole numbers, such as ``10,10``."""
    match = re.fullmatch(r"([1-9]\d*),([1-9]\d*)", value)
    if match is None:
        raise typer.BadParameter(f"expected two whole numbers F,T (mel bins, frames) such as 10,10; got {value!r}")
    return int(match[1]), int(match[2])


def find_model(name: str) -> None:
    """Raise what is wrong with the name of a model, before torch is imported for it."""
    from spectag.model.source import resolve

    resolve(name)


MODEL = (
    "A model by name (esc10, audioset, speech-commands), a bundle or ensemble directory, a .pth file, or a Hub id "
    "such as MIT/ast-finetuned-audioset-10-10-0.4593."
)
Device = Annotated[
    str,
    typer.Option(
        callback=device, help="Where the network runs: cpu, cuda (the first NVIDIA GPU), cuda:N, or mps (Apple)."
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        min=1, help="Number of windows to compute at once. Lower it if memory runs out, raise it to keep a GPU busy."
    ),
]
