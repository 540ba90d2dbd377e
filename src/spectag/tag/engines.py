"""What runs the network: inputs ``[B, T, F]`` in, scores ``[B, C]`` out, as NumPy arrays on the CPU."""

from __future__ import annotations

import copy
import warnings
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectag.errors import InputError, SpectagWarning
from spectag.model.bundle import Bundle
from spectag.model.device import find_device
from spectag.model.ensemble import Ensemble

Precision = Literal["fp32", "bf16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Engine(Protocol):
    """Anything that scores inputs."""

    def scores(self, inputs: Tensor) -> NDArray[np.float32]:
        """Inputs ``[B, T, F]`` -> scores ``[B, C]``, 0..1, by the bundle's own activation."""
        ...

    def embed(self, inputs: Tensor) -> NDArray[np.float32]:
        """Inputs ``[B, T, F]`` -> features ``[B, D]``."""
        ...


class TorchEngine:
    """PyTorch, on any device.

    Args:
        bundle: whose network and activation are used; it stays as it is (the network is copied where it must change).
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``fp32``, or ``bf16`` for weights and activations of the network; the front end stays in fp32.

    Raises:
        InputError: an unknown device or precision, or a device that this machine does not have.
    """

    def __init__(self, bundle: Bundle, device: str = "cpu", precision: Precision = "fp32") -> None:
        if precision not in DTYPES:
            raise InputError(f"precision must be one of {', '.join(get_args(Precision))}; got {precision!r}")
        self.bundle = bundle
        self.device = find_device(device)
        self.dtype = DTYPES[precision]
        if precision == "bf16" and self.device.type == "cpu" and not _cpu_has_bf16():
            warnings.warn("this processor has no bf16 arithmetic: fp32 is several times faster", SpectagWarning, 2)
        network = bundle.network
        weights = next(network.parameters())
        if network.training or (weights.device, weights.dtype) != (self.device, self.dtype):
            network = copy.deepcopy(network).to(device=self.device, dtype=self.dtype).eval()
        self.network = network

    @torch.inference_mode()
    def scores(self, inputs: Tensor) -> NDArray[np.float32]:
        """See :class:`Engine`."""
        logits = self.network(inputs.to(self.device, self.dtype))
        return _array(self.bundle.scores(logits.float()))

    @torch.inference_mode()
    def embed(self, inputs: Tensor) -> NDArray[np.float32]:
        """See :class:`Engine`."""
        return _array(self.network.embed(inputs.to(self.device, self.dtype)))


class EnsembleEngine:
    """The members of an ensemble, one after the other on the same inputs.

    Args:
        ensemble: whose networks are used.
        device, precision: of every member, see :class:`TorchEngine`, whose errors are raised.
    """

    def __init__(self, ensemble: Ensemble, device: str = "cpu", precision: Precision = "fp32") -> None:
        self.members = [TorchEngine(member, device, precision) for member in ensemble.members]

    def scores(self, inputs: Tensor) -> NDArray[np.float32]:
        """The mean of the members' scores ``[B, C]``."""
        mean: NDArray[np.float32] = np.mean([member.scores(inputs) for member in self.members], axis=0)
        return mean

    def embed(self, inputs: Tensor) -> NDArray[np.float32]:
        """The features of all members, one after the other, ``[B, sum of D]``: their directions have no common mean."""
        return np.concatenate([member.embed(inputs) for member in self.members], axis=1)


def engine(model: Bundle | Ensemble, device: str = "cpu", precision: Precision = "fp32") -> Engine:
    """The engine that runs a model. Raises as :class:`TorchEngine`."""
    if isinstance(model, Ensemble):
        return EnsembleEngine(model, device, precision)
    return TorchEngine(model, device, precision)


def _cpu_has_bf16() -> bool:
    """Also where an older torch cannot tell."""
    abilities: dict[str, object] | None = getattr(torch.cpu, "get_capabilities", lambda: None)()
    return abilities is None or bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


def _array(x: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = x.float().cpu().numpy()
    return array
