"""Options of the caller that complete or replace what the files of a checkpoint say."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args

from spectag.choices import Activation, Channels, Statistics, WindowFunction
from spectag.errors import InputError, SpectagWarning
from spectag.labels import LabelSet


@dataclass(frozen=True)
class Given:
    """The options of :func:`spectag.load`, where each is explained. None leaves an option open.

    Raises:
        InputError: a value of the wrong type or out of its range; the message names the option.

    >>> Given(stride=(12, 12), frames=512).names()
    ['stride', 'frames']
    """

    stride: tuple[int, int] | None = None
    frames: int | None = None
    heads: int | None = None
    statistics: Statistics | None = None
    labels: LabelSet | None = None
    num_labels: int | None = None
    channels: Channels | None = None
    window: WindowFunction | None = None
    activation: Activation | None = None

    def __post_init__(self) -> None:
        if self.stride is not None:
            whole = isinstance(self.stride, (tuple, list)) and all(isinstance(n, int) and n > 0 for n in self.stride)
            if not whole or len(self.stride) != 2:
                raise InputError(f"stride: expected two positive whole numbers (frequency, time), got {self.stride!r}")
            object.__setattr__(self, "stride", tuple(self.stride))
        for name in ("frames", "heads", "num_labels"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InputError(f"{name}: expected a positive whole number, got {value!r}")
        choices = {
            "statistics": Statistics,
            "channels": Channels,
            "window": WindowFunction,
            "activation": Activation,
        }
        for name, choice in choices.items():
            value = getattr(self, name)
            if value is not None and value not in get_args(choice):
                raise InputError(f"{name}: expected one of {', '.join(get_args(choice))}; got {value!r}")
        if self.labels is not None and self.num_labels not in (None, len(self.labels)):
            raise InputError(f"num_labels is {self.num_labels}, but {len(self.labels)} labels are given")

    def names(self) -> list[str]:
        """The options that are not left open, by name."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]


def fresh_labels(given: Given, source: Path) -> LabelSet:
    """The labels of a head that is freshly drawn: those that are given, else AudioSet's or as many as are asked for.

    Args:
        given: what the caller says.
        source: the file, for messages.

    Warns:
        SpectagWarning: names are guessed from their number.

    >>> len(fresh_labels(Given(), Path("deit.pth"))), fresh_labels(Given(num_labels=2), Path("deit.pth")).names
    (527, ('LABEL_0', 'LABEL_1'))
    """
    if given.labels is not None:
        return given.labels
    if given.num_labels is None:
        return LabelSet.audioset()
    labels = LabelSet.for_outputs(given.num_labels)
    if labels.is_published and labels != LabelSet.audioset():
        warnings.warn(
            f"{source}: the labels {labels.names[0]}, ... are a guess from num_labels={len(labels)}: give labels=",
            SpectagWarning,
            stacklevel=3,
        )
    return labels
