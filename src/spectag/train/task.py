"""One training step: waveforms and targets to a loss, as a Lightning module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spectag.audio.fbank import FrontEnd
from spectag.model.network import AST
from spectag.train import augment
from spectag.train.examples import Example
from spectag.train.muon import Muon
from spectag.train.recipe import Recipe
from spectag.train.schedule import lr_factor


class TrainingTask(lightning.LightningModule):
    """``fbank -> mask -> normalise -> noise and roll -> network -> loss``, all on the training device.

    Args:
        network: trained in place.
        front_end: the bundle's.
        recipe: the resolved recipe.
        steps_per_epoch: optimiser steps in an epoch.
    """

    def __init__(self, network: AST, front_end: FrontEnd, recipe: Recipe, steps_per_epoch: int) -> None:
        super().__init__()
        self.network = network
        self.front_end = front_end
        self.recipe = recipe
        self.steps_per_epoch = steps_per_epoch
        self.loss = loss_function(recipe)
        self.averaged: AveragedModel | None = None
        if recipe.ema:
            self.averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))  # type: ignore[no-untyped-call]
        network.set_drop_path(recipe.model.drop_path)

    @property
    def scored_network(self) -> AST:
        """The network to score and save: the moving average where the recipe asks for one."""
        network = self.network if self.averaged is None else self.averaged.module
        assert isinstance(network, AST)
        return network

    def training_step(self, batch: Example, batch_index: int) -> Tensor:
        """Loss of one batch, a scalar."""
        # Everything random in a step follows from its number, so that a resumed run repeats it exactly.
        rng = augment.rng(self.recipe.seed, self.recipe.epochs, self.global_step)
        torch.manual_seed(int(rng.integers(2**62)))  # for drop path, which draws on the device
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            inputs = self.inputs(batch, rng)
        keep = augment.patches_to_keep(len(inputs), self.network.config.grid, self.recipe.augment.patch_drop, rng)
        logits = self.network(inputs, keep=None if keep is None else keep.to(inputs.device))
        loss = self.loss(logits.float(), batch.target)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(inputs))
        return loss

    def inputs(self, batch: Example, rng: augment.Rng) -> Tensor:
        """Waveforms ``[B, N]`` -> augmented, normalised inputs ``[B, T, F]``."""
        recipe = self.recipe.augment
        x = self.front_end.fbank(batch.waveform)
        if recipe.equalise_db:
            x = augment.equalise(x, recipe.equalise_db, rng)
        padding = torch.arange(x.shape[1], device=x.device) >= batch.frames[:, None]
        x = x.masked_fill(padding[..., None], 0)  # what ``fit`` pads with
        x = augment.mask(x, recipe.time_mask, recipe.freq_mask, rng)
        x = self.front_end.normalise(x)
        return augment.noise_and_roll(x, rng) if recipe.noise_and_roll else x

    def on_train_batch_end(self, outputs: Any, batch: Example, batch_idx: int) -> None:
        """The moving average follows every step."""
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)

    def configure_optimizers(self) -> Any:
        """The recipe's optimiser, and its schedule by steps.

        Adam decays all weights, as the released code; AdamW and Muon spare biases, norms, tokens and positions, as ViT
        recipes do.
        """
        recipe = self.recipe
        named = dict(self.network.named_parameters())
        if recipe.optimizer == "adam":
            everything = [{"params": list(named.values()), "weight_decay": recipe.weight_decay}]
            optimizer = torch.optim.Adam(everything, lr=recipe.lr, betas=recipe.betas)
        else:
            matrices = [name for name, p in named.items() if p.ndim == 2 and name.startswith("blocks.")]
            spared = [name for name, p in named.items() if p.ndim < 2 or name in ("tokens", "pos_embed")]
            others = [name for name in named if name not in {*matrices, *spared}]
            groups = [
                {"params": [named[name] for name in names], "weight_decay": decay, "muon": names is matrices}
                for names, decay in ((matrices, recipe.weight_decay), (others, recipe.weight_decay), (spared, 0.0))
            ]
            kind = torch.optim.AdamW if recipe.optimizer == "adamw" else Muon
            optimizer = kind(groups, lr=recipe.lr, betas=recipe.betas)
        total = self.steps_per_epoch * recipe.epochs
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: lr_factor(step, self.steps_per_epoch, total, recipe.schedule)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def loss_function(recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    """The recipe's loss of logits ``[B, C]`` and targets ``[B, C]`` in 0..1, mixed ones included."""
    if recipe.loss == "bce":
        return functional.binary_cross_entropy_with_logits
    # cross_entropy takes class probabilities: a mixed target stays the mixture it is.
    return lambda logits, target: functional.cross_entropy(logits, target, label_smoothing=recipe.label_smoothing)
