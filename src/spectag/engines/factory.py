"""The engine for a model."""

from __future__ import annotations

from spectag.choices import DEVICE, PRECISION, Precision
from spectag.engines.base import Engine
from spectag.engines.ensemble import EnsembleEngine
from spectag.engines.pytorch import TorchEngine
from spectag.model.bundle import Bundle
from spectag.model.ensemble import Ensemble


def make_engine(model: Bundle | Ensemble, device: str = DEVICE, precision: Precision = PRECISION) -> Engine:
    """Make the engine that runs a model.

    Args:
        model: what :func:`spectag.load` returns.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: of the networks, ``fp32`` or ``bf16``.

    Raises:
        InputError: an unknown device or precision, or a device that this machine does not have.

    >>> engine = make_engine(spectag.load("esc10"))
    >>> engine.scores(torch.zeros(1, 512, 128)).shape
    (1, 10)
    """
    if isinstance(model, Ensemble):
        return EnsembleEngine(TorchEngine(member, device, precision) for member in model.members)
    return TorchEngine(model, device, precision)
