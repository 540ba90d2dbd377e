"""One training step, from waveforms and targets to the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spectag.audio.front_end import FrontEnd
from spectag.model.config import ASTConfig
from spectag.train.distill import DistillLoss, compare_features
from spectag.train.examples import Batch
from spectag.train.frames import FrameLoss, Outputs
from spectag.train.inputs import build_inputs
from spectag.train.patches import draw_patches
from spectag.train.recipe import Recipe
from spectag.train.rng import Rows, make_rng
from spectag.train.teachers import Teacher, teach


class TrainingStep:
    """``fbank -> augment -> normalise -> network -> loss``, all on the training device.

    Args:
        network: takes inputs ``[B, T, F]`` and the patches to keep, and returns logits ``[B, C]``, or all of its
            outputs (:class:`spectag.train.frames.WithOutputs`). It computes in any precision.
        grid: patches of the network along (frequency, time).
        front_end: of the run.
        recipe: the complete recipe.
        rank: number of this process, from 0.
        world: number of processes.
        geometry: of a network with a frame head; None for one without.
        teacher: scores the batches; None if they come with what is to be learned.

    >>> config = spectag.ASTConfig(width=16, depth=1, heads=1, frames=16, labels=2)
    >>> recipe = Recipe(name="mine", epochs=1, batch_size=1, lr=1e-3)
    >>> step = TrainingStep(spectag.AST(config), config.grid, FrontEnd(frames=16), recipe)
    >>> batch = Batch(torch.zeros(1, 2800), torch.tensor([16]), torch.zeros(1, 2), torch.tensor([0]), [])
    >>> step(batch, number=0).shape
    torch.Size([])
    """

    def __init__(
        self,
        network: Callable[..., Any],
        grid: tuple[int, int],
        front_end: FrontEnd,
        recipe: Recipe,
        rank: int = 0,
        world: int = 1,
        geometry: ASTConfig | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        self.network = network
        self.grid = grid
        self.front_end = front_end
        self.recipe = recipe
        self.rank = rank
        self.world = world
        self.compute_loss = make_loss(recipe)
        self.compute_frame_loss = None if geometry is None else FrameLoss(geometry)
        self.teacher = teacher

    def __call__(self, batch: Batch, number: int) -> Tensor:
        """Compute the mean loss of a batch, a scalar that gradients can be taken of.

        Args:
            batch: on the training device.
            number: of the batch, counted over the whole run from 0. All random numbers depend only on it and the
                recipe's seed, so a resumed run repeats the step exactly.
        """
        rng = make_rng(self.recipe.seed, self.recipe.epochs, number)
        torch.manual_seed(int(rng.integers(2**62)) + self.rank)  # for drop path, which draws its numbers on the device
        rows = Rows(rng, self.rank, self.world)
        if self.teacher is not None:
            batch = teach(batch, self.teacher)
        with torch.no_grad():
            inputs, shifts = build_inputs(batch.waveform, batch.frames, self.front_end, self.recipe.augment, rows)
        keep = draw_patches(len(inputs), self.grid, self.recipe.augment, rows)
        keep = None if keep is None else keep.to(inputs.device)
        found = self.network(inputs, keep=keep)
        outputs = found if isinstance(found, Outputs) else Outputs(found)
        loss = self.compute_loss(outputs.logits.float(), batch.target)
        if self.compute_frame_loss is not None and outputs.frames is not None:
            loss = loss + self.compute_frame_loss(outputs.frames.float(), batch, shifts, keep)
        if outputs.features is not None and batch.features is not None:
            loss = loss + self.recipe.teacher.features * compare_features(outputs.features, batch.features)
        return loss


def make_loss(recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    """Make the recipe's loss of logits ``[B, C]`` and targets ``[B, C]`` in 0..1, which may be mixtures.

    >>> recipe = spectag.train.recipe.Recipe(name="x", epochs=1, batch_size=1, lr=1e-3, loss="bce")
    >>> make_loss(recipe)(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """
    if recipe.teacher.model is not None:
        return DistillLoss(recipe.teacher, exclusive=recipe.loss == "ce")
    if recipe.loss == "bce":
        return functional.binary_cross_entropy_with_logits
    # cross_entropy takes class probabilities, so a mixed target stays the mixture that it is.
    return lambda logits, target: functional.cross_entropy(logits, target, label_smoothing=recipe.label_smoothing)
