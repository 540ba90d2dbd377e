"""One training step: waveforms and targets to a loss, as a Lightning module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spectag.audio.front_end import FrontEnd
from spectag.errors import RunFailed
from spectag.model.network import AST
from spectag.train import augment
from spectag.train.examples import Batch
from spectag.train.optimizer import build_optimizer
from spectag.train.recipe import Recipe
from spectag.train.rng import BatchRng, Rows, make_rng
from spectag.train.schedule import compute_lr_factor


class TrainingTask(lightning.LightningModule):
    """``fbank -> mask -> normalise -> noise and roll -> network -> loss``, all on the training device.

    Args:
        network: trained in place.
        front_end: the bundle's.
        recipe: the resolved recipe.
        steps_per_epoch: optimiser steps in an epoch.
        names: what the training clips are called, for messages.
        draws: examples of an epoch, of this process.
    """

    def __init__(
        self, network: AST, front_end: FrontEnd, recipe: Recipe, steps_per_epoch: int, names: Sequence[str], draws: int
    ) -> None:
        super().__init__()
        self.network = network
        self.front_end = front_end
        self.recipe = recipe
        self.steps_per_epoch = steps_per_epoch
        self.names = names
        self.draws = draws
        self.loss = loss_function(recipe)
        self.averaged: AveragedModel | None = None
        if recipe.ema:
            self.averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))  # type: ignore[no-untyped-call]
            self.averaged.requires_grad_(False)
        network.set_drop_path(recipe.model.drop_path)
        network.recompute = recipe.checkpoint_layers
        if recipe.compile:
            network.compile()

    @property
    def scored_network(self) -> AST:
        """The network to score and save: the moving average where the recipe asks for one."""
        network = self.network if self.averaged is None else self.averaged.module
        assert isinstance(network, AST)
        return network

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Loss of one batch, a scalar.

        Raises:
            RunFailed: it is NaN or infinite.
        """
        # Everything random in a batch follows from its number, so that a resumed run repeats it exactly.
        number = self.current_epoch * self.steps_per_epoch * self.recipe.accumulate + batch_index
        rng = make_rng(self.recipe.seed, self.recipe.epochs, number)
        torch.manual_seed(int(rng.integers(2**62)) + self.global_rank)  # for drop path, which draws on the device
        rows = Rows(rng, self.global_rank, self.trainer.world_size)
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            inputs = self.inputs(batch, rows)
        keep = augment.draw_patches(len(inputs), self.network.config.grid, self.recipe.augment, rows)
        logits = self.network(inputs, keep=None if keep is None else keep.to(inputs.device))
        loss = self.loss(logits.float(), batch.target)
        if not torch.isfinite(loss):
            clips = ", ".join(self.names[i] for i in batch.clip.tolist())
            raise RunFailed(
                f"step {self.global_step + 1}: loss is {float(loss.detach())} with the clips {clips}: lower lr, set "
                "clip_norm or precision=fp32; if it is always the same clips, look at them with `spectag data check`"
            )
        self.latest_loss = loss.detach()
        return loss * self._share(len(batch.clip), batch_index)

    def _share(self, examples: int, batch_index: int) -> float:
        """What a part of a step weighs, beside the 1 / accumulate of Lightning: as much as it holds of its examples.

        Only an epoch's last step has parts of different sizes, or fewer of them.
        """
        recipe = self.recipe
        whole = recipe.batch_size // self.trainer.world_size
        step = batch_index // recipe.accumulate
        return examples * recipe.accumulate / min(whole, self.draws - step * whole)

    def inputs(self, batch: Batch, rng: BatchRng) -> Tensor:
        """Waveforms ``[B, N]`` -> augmented, normalised inputs ``[B, T, F]``."""
        return augment.build_inputs(batch.waveform, batch.frames, self.front_end, self.recipe.augment, rng)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """The learning rate is a function of the step's number; the moving average follows every step."""
        total = self.steps_per_epoch * self.recipe.epochs
        factor = compute_lr_factor(self.global_step, self.steps_per_epoch, total, self.recipe.schedule)
        for group in optimizer.param_groups:
            group["lr"] = group["highest_lr"] * factor
        super().optimizer_step(epoch, batch_idx, optimizer, *args, **kwargs)
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's optimiser."""
        mixed = self.trainer.precision == "bf16-mixed"
        return build_optimizer(self.network, self.recipe, torch.bfloat16 if mixed else torch.float32)


def loss_function(recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    """The recipe's loss of logits ``[B, C]`` and targets ``[B, C]`` in 0..1, mixed ones included."""
    if recipe.loss == "bce":
        return functional.binary_cross_entropy_with_logits
    # cross_entropy takes class probabilities: a mixed target stays the mixture it is.
    return lambda logits, target: functional.cross_entropy(logits, target, label_smoothing=recipe.label_smoothing)
