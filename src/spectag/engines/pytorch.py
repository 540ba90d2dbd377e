"""The engine that runs a network in PyTorch, on any device."""

from __future__ import annotations

import copy
import warnings
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectag.choices import DEVICE, PRECISION, Precision
from spectag.errors import InputError, SpectagWarning
from spectag.model.bundle import Bundle, widen
from spectag.model.device import computes_bf16, find_device

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class TorchEngine:
    """Runs one network in PyTorch.

    Args:
        bundle: the network and its activation. It is left as it is: the network is copied where it has to change.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: of the network's weights and activations, ``fp32`` or ``bf16``. The front end is always fp32.

    Raises:
        InputError: an unknown device or precision, or a device that this machine does not have.

    Warns:
        SpectagWarning: bf16 on a processor that has no instructions for it.

    >>> engine = TorchEngine(spectag.load("esc10"))
    >>> engine.scores(torch.zeros(2, engine.bundle.front_end.frames, 128)).shape
    (2, 10)
    """

    def __init__(self, bundle: Bundle, device: str = DEVICE, precision: Precision = PRECISION) -> None:
        if precision not in DTYPES:
            raise InputError(f"precision must be one of {', '.join(get_args(Precision))}; got {precision!r}")
        self.bundle = bundle
        self.device = find_device(device)
        self.dtype = DTYPES[precision]
        if precision == "bf16" and not computes_bf16(self.device):
            warnings.warn("this processor has no bf16 arithmetic: fp32 is several times faster", SpectagWarning, 2)
        network = bundle.network
        weights = next(network.parameters())
        if network.training or (weights.device, weights.dtype) != (self.device, self.dtype):
            network = copy.deepcopy(network).to(device=self.device, dtype=self.dtype).eval()
        self.network = network

    @torch.inference_mode()
    def scores(self, inputs: Tensor) -> NDArray[np.float32]:
        """Inputs ``[B, T, F]`` -> scores ``[B, C]``, see :class:`spectag.engines.base.Engine`."""
        return _to_array(self.bundle.scores(self.network(inputs.to(self.device, self.dtype))))

    @torch.inference_mode()
    def score_frames(self, inputs: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Inputs ``[B, T, F]`` -> scores ``[B, C]``, ``[B, n, C]``, see :class:`spectag.engines.base.FrameEngine`."""
        clips, frames = self.network.forward_frames(inputs.to(self.device, self.dtype))
        return _to_array(self.bundle.scores(clips)), _to_array(widen(frames).sigmoid())

    @torch.inference_mode()
    def score_features(self, inputs: Tensor, frames: bool = False) -> tuple[NDArray[np.float32], ...]:
        """Inputs -> scores, features, and frame scores, see :class:`spectag.engines.base.FeatureEngine`."""
        inputs = inputs.to(self.device, self.dtype)
        if not frames:
            features = self.network.embed(inputs)
            return _to_array(self.bundle.scores(self.network.head(features))), _to_array(features)
        features, columns = self.network.embed_frames(inputs)
        assert self.network.frame_head is not None  # embed_frames checks it
        moments = widen(self.network.frame_head(columns)).sigmoid()
        return _to_array(self.bundle.scores(self.network.head(features))), _to_array(features), _to_array(moments)

    @torch.inference_mode()
    def embed(self, inputs: Tensor) -> NDArray[np.float32]:
        """Inputs ``[B, T, F]`` -> features ``[B, D]``, see :class:`spectag.engines.base.Engine`."""
        return _to_array(self.network.embed(inputs.to(self.device, self.dtype)))


def _to_array(x: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = x.float().cpu().numpy()
    return array
