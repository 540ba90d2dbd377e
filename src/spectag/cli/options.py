"""Options that several commands share, checked as far as that needs no torch."""

from __future__ import annotations

import re
from typing import Annotated

import typer


def device(value: str) -> str:
    """Only the form: whether it is there needs torch."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", value):
        raise typer.BadParameter(f"expected cpu, cuda, cuda:N or mps; got {value!r}")
    return value


def pair(value: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*),([1-9]\d*)", value)
    if match is None:
        raise typer.BadParameter(f"expected two whole numbers F,T (mel bins, frames) such as 10,10; got {value!r}")
    return int(match[1]), int(match[2])


def find_model(name: str) -> None:
    """Raise what is wrong with the name of a model, before torch is imported for it."""
    from spectag.model.source import resolve

    resolve(name)


MODEL = "A bundle, ensemble or AST directory, a .pth file, a known name (esc10, audioset, speech-commands) or a Hub id."
Device = Annotated[str, typer.Option(callback=device, help="Where the network runs: cpu, cuda, cuda:N or mps.")]
BatchSize = Annotated[
    int, typer.Option(min=1, help="Windows that the network computes at once; more need more memory.")
]
