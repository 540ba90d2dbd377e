"""The bundle: a checkpoint that describes itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spectag.audio.front_end import FrontEnd
from spectag.choices import Activation
from spectag.errors import ShapeMismatch
from spectag.labels import LabelSet
from spectag.model.card import Card
from spectag.model.network import AST
from spectag.model.saving import write_bundle


@dataclass(frozen=True, eq=False)
class Bundle:
    """A network and everything that is needed to use it as it was trained.

    Args:
        card: the facts: front end, labels, activation, provenance.
        network: the weights. It is put into eval mode.

    Raises:
        ShapeMismatch: the network's geometry is not the card's.

    >>> config = spectag.ASTConfig(width=16, depth=1, heads=1, frames=100, labels=2)
    >>> card = Card(config, FrontEnd(frames=100), LabelSet(("owl", "fox")), "softmax")
    >>> bundle = Bundle(card, AST(config))
    >>> bundle.labels.names
    ('owl', 'fox')
    """

    card: Card
    network: AST

    def __post_init__(self) -> None:
        if self.network.config != self.card.config:
            raise ShapeMismatch(
                f"the card describes {self.card.config}, but the network is {self.network.config}: make them equal"
            )
        self.network.eval()

    @property
    def front_end(self) -> FrontEnd:
        """Turns waveforms into the network's inputs."""
        return self.card.front_end

    @property
    def labels(self) -> LabelSet:
        """Names of the outputs, in order."""
        return self.card.labels

    @property
    def activation(self) -> Activation:
        """Turns logits into scores."""
        return self.card.activation

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the weights come from, as plain values."""
        return self.card.provenance

    def scores(self, logits: Tensor) -> Tensor:
        """Turn logits ``[B, C]`` into scores ``[B, C]``, float32, 0..1, by the model's activation.

        >>> spectag.load("esc10").scores(torch.zeros(1, 10))[0, :2]
        tensor([0.1000, 0.1000])
        """
        logits = widen(logits)
        return (logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(-1)).float()

    def save(self, directory: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32) -> Path:
        """Write a bundle directory, which ``transformers`` reads as well (see :mod:`spectag.model.directory`).

        Other files in the directory stay. All files are written before the first is replaced.

        Args:
            directory: created where it does not exist.
            dtype: of the weights in the file. float16 halves it; loading always gives float32.

        Raises:
            SaveError: writing failed, or dtype cannot hold the weights. What was there before is intact, unless the
                message says that files were replaced already.
            NonFiniteWeights: NaN or infinite weights are not saved.

        >>> spectag.load("esc10").save("copy", dtype=torch.float16).name
        'copy'
        """
        path = Path(directory)
        write_bundle(path, self.card, self.network.state_dict(), dtype)
        return path

    def describe(self) -> dict[str, Any]:
        """All facts as plain data, see :meth:`spectag.model.card.Card.describe`.

        >>> spectag.load("esc10").describe()["activation"]["name"]
        'softmax'
        """
        return self.card.describe()


def widen(logits: Tensor) -> Tensor:
    """Logits in float64, to compute scores that do not depend on the place of a window in its batch.

    A processor computes a vector of numbers at once, and what is left over one by one. In float32 the two differ in the
    last bit now and then; rounded from float64 they do not. MPS has no float64, so there it is float32.

    >>> widen(torch.zeros(1)).dtype
    torch.float64
    """
    return logits.float() if logits.device.type == "mps" else logits.double()
