"""Options that say how the times of sounds are found, for all commands that find them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from spectag.choices import EventMethod

TIMES: dict[str, Any] = {"rich_help_panel": "Times"}

Hop = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Time from one window to the next. A smaller one finds onsets more exactly and takes longer.",
        show_default="half a window; 1 s at most, if the model has no frame scores",
        **TIMES,
    ),
]
Method = Annotated[
    EventMethod,
    typer.Option(
        help="Where events begin and end: where scores change most, or where they pass the threshold.", **TIMES
    ),
]
EventThreshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Score that an event needs.",
        show_default="the model's own thresholds of events, otherwise 0.5",
        **TIMES,
    ),
]
Gap = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="Join events of a label that are no further apart.", **TIMES)
]
Shortest = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Leave out events that are shorter.", **TIMES)]
