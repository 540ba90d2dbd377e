"""A checkpoint as a file holds it: before anything is adapted or drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spectag.model.card import Card

if TYPE_CHECKING:
    from spectag.model.adapt import Grid, State


@dataclass(frozen=True)
class Checkpoint:
    """Weights under this package's names, and what is known about them.

    Args:
        card: describes the weights. Weights learned from images are described as the network that they become when
            :func:`spectag.load` adapts them.
        state: the tensors by name. Some have no head. Weights learned from images have none, a kernel of up to three
            channels, and a positional embedding for ``image_grid``.
        image_grid: patches along the two axes of the images; None for an Audio Spectrogram Transformer.

    >>> checkpoint = spectag.read_checkpoint("esc10")
    >>> checkpoint.grid == checkpoint.card.config.grid
    True
    """

    card: Card
    state: State
    image_grid: Grid | None = None

    @property
    def grid(self) -> Grid:
        """The grid of patches that the positional embedding is laid out for."""
        return self.card.config.grid if self.image_grid is None else self.image_grid

    @property
    def headless(self) -> bool:
        """Whether there is no classification head among the weights."""
        return "head.linear.weight" not in self.state
