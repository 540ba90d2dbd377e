"""The loss of a frame head: when it is known when labels are heard, and when only that they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from spectag.model.config import ASTConfig
from spectag.model.frames import pool_frames
from spectag.model.network import AST, find_seen_frames
from spectag.train.examples import Batch


class Outputs(NamedTuple):
    """Outputs of a network.

    Args:
        logits: of the clip, ``[B, C]``.
        features: of the clip, ``[B, D]``; None if they are not asked for.
        frames: logits of its frames, ``[B, n, C]``; None without a frame head.

    >>> Outputs(torch.zeros(1, 2)).frames is None
    True
    """

    logits: Tensor
    features: Tensor | None = None
    frames: Tensor | None = None


class WithOutputs(nn.Module):
    """A network that returns all of its outputs, not only the logits of the clip.

    >>> network = AST(ASTConfig(width=16, depth=1, heads=1, frames=64, labels=2, frame_head=True))
    >>> [output.shape for output in WithOutputs(network)(torch.zeros(1, 64, 128))]
    [torch.Size([1, 2]), torch.Size([1, 16]), torch.Size([1, 5, 2])]
    """

    def __init__(self, network: AST) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, *, keep: Tensor | None = None) -> Outputs:
        network = self.network
        if network.frame_head is None:
            features = network.embed(inputs, keep=keep)
            return Outputs(network.head(features), features)
        features, columns = network.embed_frames(inputs, keep=keep)
        return Outputs(network.head(features), features, network.frame_head(columns))


class FrameLoss:
    """The loss of the frames' logits, averaged over the examples of a batch.

    Where the events of an example are known, it is the binary cross entropy of every frame; the target of a frame is
    the fraction of it in which the label is heard. Otherwise it is the cross entropy of the pooled scores
    (:func:`spectag.model.frames.pool_frames`), against the target of the whole example; padding does not count then.
    Frames of which patch dropout left nothing never count.

    Args:
        config: geometry of the network.

    >>> loss = FrameLoss(ASTConfig(frames=16, labels=1))
    >>> batch = Batch(torch.zeros(1, 2800), torch.tensor([16]), torch.ones(1, 1), [(0,)], [])
    >>> loss(torch.zeros(1, 1, 1), batch, shifts=np.array([0]), keep=None)  # one frame with a score of 0.5
    tensor(0.6931)
    """

    def __init__(self, config: ASTConfig) -> None:
        self.config = config

    def __call__(self, logits: Tensor, batch: Batch, shifts: NDArray[np.int64], keep: Tensor | None) -> Tensor:
        """Compute the loss.

        Args:
            logits: of the frames, ``[B, n, C]``.
            batch: on the device of the logits.
            shifts: number of frames of 10 ms that the inputs of each example were rolled by, ``[B]``.
            keep: patches that were kept, ``[B, K]``; None for all.
        """
        size, n, _ = logits.shape
        shift = torch.from_numpy(shifts).to(logits.device)
        seen = logits.new_ones(size, n) if keep is None else find_seen_frames(keep, n)
        sound = self._cover(torch.zeros_like(batch.frames), batch.frames, shift, n) * seen
        pooled = pool_frames(logits.sigmoid(), sound)
        losses = functional.binary_cross_entropy(pooled, batch.target, reduction="none").mean(1) * (sound.sum(1) > 0)
        if batch.events is not None and batch.timed is not None:
            target = self._spread(batch.events, shift, logits.shape)
            each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(2)
            losses = torch.where(batch.timed, (each * seen).sum(1) / seen.sum(1), losses)
        return losses.mean()

    def _spread(self, events: Tensor, shift: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Targets ``[B, n, C]`` of events ``[E, 5]``: the fraction of each frame that they cover, times their share."""
        example, label = events[:, 0].long(), events[:, 1].long()
        covered = self._cover(events[:, 2], events[:, 3], shift[example], shape[1]) * events[:, 4:]
        target = events.new_zeros(shape[0], shape[2], shape[1])
        return target.index_put_((example, label), covered, accumulate=True).mT.clamp(max=1)

    def _cover(self, onset: Tensor, offset: Tensor, shift: Tensor, n: int) -> Tensor:
        """The fraction of each frame ``[K, n]`` between K onsets and offsets, rolled as the inputs were."""
        length, step = self.config.frames, self.config.stride[1]
        start = self.config.frame_start + step * torch.arange(n, device=shift.device)
        rolled = torch.stack([shift - length, shift, shift + length])[..., None]  # what leaves at one end enters again
        first, last = onset[:, None] + rolled, offset[:, None] + rolled
        covered = (torch.minimum(last, start + step) - torch.maximum(first, start)).clamp(min=0) / step
        return covered.sum(0).clamp(max=1)
