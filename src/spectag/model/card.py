"""The card: everything that is known about a model except its weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, get_args

from spectag.audio.front_end import FRAMES_PER_SECOND, FrontEnd
from spectag.choices import Activation, EventMethod
from spectag.errors import InputError, LabelMismatch, ShapeMismatch, SpectagWarning
from spectag.labels import LabelSet
from spectag.model.config import ASTConfig
from spectag.model.shapes import network_shapes
from spectag.model.unknown import Unknown

FIRST_LABELS = 5  # shown by describe
IN_MEMORY = "built in memory"
ONE_OUTPUT = "the only one for a single output, whose softmax is always 1"
UNTRAINED = {"head": "untrained"}  # in the provenance of a freshly drawn head, until training writes its own


@dataclass(frozen=True)
class Card:
    """The facts of a model: what goes in, what comes out, what the outputs mean, and where the weights come from.

    A card needs no torch, so that a model can be described, or run by another engine, without a torch network.

    Args:
        config: geometry of the network.
        front_end: turns waveforms into the network's inputs.
        labels: names of the outputs, in order.
        activation: turns logits into scores: ``sigmoid`` (any number of labels applies) or ``softmax`` (one applies).
            A single output is a sigmoid whatever is said here, since its softmax is always 1.
        provenance: where the weights come from, as plain values; saved with the model.
        thresholds: the score from which on each label is taken for present, 0..1; None where they are not known.
        event_thresholds: the same of events, for each method of finding them; None where they are not known.
        unknown: tells sounds that are none of the labels; None where the model cannot.
        activation_from: where the activation was found, or why it was chosen. Not saved.
        format: what kind of file the card was read from. Not saved.
        source: the path or name that the model was loaded by. Not saved.

    Raises:
        LabelMismatch: the labels do not fit the head.
        ShapeMismatch: front end and network differ in mel bins or frames.
        InputError: an unknown activation, or thresholds that are not one number of 0 to 1 for each label.

    >>> config = spectag.ASTConfig(frames=100, labels=2)
    >>> card = Card(config, FrontEnd(frames=100), LabelSet(("owl", "fox")), "softmax")
    >>> card.front_end.seconds
    1.0
    """

    config: ASTConfig
    front_end: FrontEnd
    labels: LabelSet
    activation: Activation
    provenance: dict[str, Any] = field(default_factory=dict)
    thresholds: tuple[float, ...] | None = None
    event_thresholds: Mapping[EventMethod, tuple[float, ...]] | None = None
    unknown: Unknown | None = None
    activation_from: str = IN_MEMORY
    format: str = IN_MEMORY
    source: str = IN_MEMORY

    def __post_init__(self) -> None:
        if len(self.labels) != self.config.labels:
            raise LabelMismatch(f"{len(self.labels)} labels do not fit a head of {self.config.labels} outputs")
        for name in ("mel_bins", "frames"):
            ours, theirs = getattr(self.front_end, name), getattr(self.config, name)
            if ours != theirs:
                raise ShapeMismatch(f"{name} of the front end is {ours}, of the network {theirs}: make them equal")
        if self.activation not in get_args(Activation):
            raise InputError(f"activation must be one of {', '.join(get_args(Activation))}; got {self.activation!r}")
        if self.thresholds is not None:
            object.__setattr__(self, "thresholds", check_thresholds(self.thresholds, len(self.labels)))
        if self.event_thresholds is not None:
            if unknown := self.event_thresholds.keys() - set(get_args(EventMethod)):
                raise InputError(
                    f"event_thresholds: expected {' or '.join(get_args(EventMethod))}, got {min(unknown)!r}"
                )
            checked = {
                method: check_thresholds(values, len(self.labels), f"event_thresholds: {method}")
                for method, values in self.event_thresholds.items()
            }
            object.__setattr__(self, "event_thresholds", checked)
        if len(self.labels) == 1 and self.activation == "softmax":
            object.__setattr__(self, "activation", "sigmoid")
            object.__setattr__(self, "activation_from", ONE_OUTPUT)

    @property
    def untrained(self) -> bool:
        """Whether the classification head is freshly drawn, so that its scores mean nothing yet."""
        return self.provenance.get("head") == UNTRAINED["head"]

    @property
    def frame_step(self) -> float | None:
        """Seconds from one frame score to the next; None where the model has no frame head.

        >>> spectag.load("esc10").card.frame_step is None
        True
        """
        return self.config.stride[1] / FRAMES_PER_SECOND if self.config.frame_head else None

    def describe(self) -> dict[str, Any]:
        """All facts as plain data, for ``spectag info``.

        >>> config = spectag.ASTConfig(frames=100, labels=2)
        >>> card = Card(config, FrontEnd(frames=100), LabelSet(("owl", "fox")), "softmax")
        >>> card.describe()["labels"]
        {'count': 2, 'first': ['owl', 'fox'], 'ids': False}
        """
        return {
            "source": self.source,
            "format": self.format,
            "parameters": sum(prod(shape) for shape in network_shapes(self.config).values()),
            "network": {**self.config.to_dict(), "grid": self.config.grid},
            "frame_step": self.frame_step,
            "front_end": {**self.front_end.to_dict(), "seconds": self.front_end.seconds},
            "labels": {
                "count": len(self.labels),
                "first": list(self.labels.names[:FIRST_LABELS]),
                "ids": self.labels.ids is not None,
            },
            "activation": {"name": self.activation, "from": self.activation_from},
            "thresholds": None if self.thresholds is None else self._describe_thresholds(self.thresholds),
            "event_thresholds": None
            if self.event_thresholds is None
            else {method: _span(values) for method, values in self.event_thresholds.items()},
            "unknown": None if self.unknown is None else self.unknown.describe(),
            "provenance": self.provenance,
        }

    def _describe_thresholds(self, values: tuple[float, ...]) -> dict[str, Any]:
        found = self.provenance.get("calibration")
        return {**_span(values), "for": found.get("thresholds") if isinstance(found, dict) else None}


def _span(values: tuple[float, ...]) -> dict[str, Any]:
    return {"count": len(values), "lowest": round(min(values), 4), "highest": round(max(values), 4)}


def check_thresholds(values: Iterable[Any], labels: int, name: str = "thresholds") -> tuple[float, ...]:
    """Check that there is a threshold of 0 to 1 for each label.

    Raises:
        InputError: there is not.

    >>> check_thresholds([0, 0.5], labels=2)
    (0.0, 0.5)
    """
    checked = tuple(values)
    for value in checked:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
            raise InputError(f"{name}: expected numbers from 0 to 1, got {str(value)[:40]}")
    if len(checked) != labels:
        raise InputError(f"{name}: expected one for each of {labels} labels, got {len(checked)}")
    return tuple(float(value) for value in checked)


def default_activation(labels: int) -> tuple[Activation, str]:
    """The activation of a checkpoint that does not name one, and why it is this one.

    >>> default_activation(527)
    ('sigmoid', "default for AudioSet's 527 labels")
    """
    if labels == 527:
        return "sigmoid", "default for AudioSet's 527 labels"
    if labels == 1:
        return "sigmoid", ONE_OUTPUT
    return "softmax", f"default for {labels} labels"


def warn_of_softmax(activation: Activation, outputs: int, where: str) -> None:
    """Warn where softmax is said for a single output, since its sigmoid is taken.

    Args:
        activation: what is said.
        outputs: of the model.
        where: file and field that say it.

    >>> warn_of_softmax("softmax", 2, "spectag.json: activation")
    """
    if activation == "softmax" and outputs == 1:
        message = f"{where}: the softmax of a single output is always 1, so its sigmoid is taken"
        warnings.warn(message, SpectagWarning, stacklevel=3)
