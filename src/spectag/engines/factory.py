"""The engine for a model."""

from __future__ import annotations

from typing import get_args

from spectag.choices import DEVICE, ENGINE, PRECISION, EngineName, Precision
from spectag.engines.base import Engine
from spectag.engines.ensemble import EnsembleEngine
from spectag.engines.pytorch import TorchEngine
from spectag.errors import InputError
from spectag.model.bundle import Bundle
from spectag.model.ensemble import Ensemble


def make_engine(
    model: Bundle | Ensemble, device: str = DEVICE, precision: Precision = PRECISION, engine: EngineName = ENGINE
) -> Engine:
    """Make the engine that runs a model.

    Args:
        model: what :func:`spectag.load` returns.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. Only ``torch`` knows others than the CPU.
        precision: of the networks, ``fp32`` or ``bf16``. ``onnx`` has only fp32.
        engine: ``torch``, ``openvino`` or ``onnx``: the library that computes.

    Raises:
        InputError: an unknown engine, device or precision, one that the engine lacks, or a device that this machine
            does not have.
        MissingExtra: the engine is not installed.

    Warns:
        SpectagWarning: bf16 on a processor that has no instructions for it.

    >>> engine = make_engine(spectag.load("esc10"))
    >>> engine.scores(torch.zeros(1, 512, 128)).shape
    (1, 10)
    """
    if engine not in get_args(EngineName):
        raise InputError(f"engine must be one of {', '.join(get_args(EngineName))}; got {engine!r}")
    if precision == "int8":
        raise InputError("precision int8: scores change, so it has to be checked: spectag export ... --precision int8")
    if engine == "torch":
        if isinstance(model, Ensemble):
            return EnsembleEngine(TorchEngine(member, device, precision) for member in model.members)
        return TorchEngine(model, device, precision)

    from spectag.engines.artefact import make_graph_engine
    from spectag.engines.graph import build_graph, to_bytes

    if device != DEVICE:
        raise InputError(f"device must be {DEVICE} for the engine {engine}; got {device!r}: use the engine torch")
    if precision not in get_args(Precision):
        raise InputError(f"precision must be one of {', '.join(get_args(Precision))}; got {precision!r}")
    return make_graph_engine(engine, model.card, to_bytes(build_graph(model)), precision)
