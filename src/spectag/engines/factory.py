"""The engine for a model."""

from __future__ import annotations

from typing import get_args

from spectag.choices import DEVICE, ENGINE, PRECISION, EngineName, ExportPrecision
from spectag.engines.artefact import Artefact, make_graph_engine
from spectag.engines.base import Engine
from spectag.engines.ensemble import EnsembleEngine
from spectag.engines.graph import build_graph, to_bytes
from spectag.engines.pytorch import TorchEngine
from spectag.errors import InputError
from spectag.model.bundle import Bundle
from spectag.model.ensemble import Ensemble


def make_engine(
    model: Bundle | Ensemble | Artefact,
    device: str = DEVICE,
    precision: ExportPrecision | None = None,
    engine: EngineName | None = None,
) -> Engine:
    """Make the engine that runs a model.

    Args:
        model: what :func:`spectag.load` returns, or an exported model.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. Only ``torch`` knows others than the CPU.
        precision: of the networks, ``fp32`` or ``bf16``; ``onnx`` has only fp32. None for fp32. An exported model has
            its own precision, the only one that may have int8.
        engine: ``torch``, ``openvino`` or ``onnx``, the library that computes; None for torch. An exported model has
            its own.

    Raises:
        InputError: an unknown engine, device or precision, one that the engine or the exported model lacks, or a device
            that this machine does not have.
        MissingExtra: the engine is not installed.

    Warns:
        SpectagWarning: bf16 on a processor that has no instructions for it.

    >>> engine = make_engine(spectag.load("esc10"))
    >>> engine.scores(torch.zeros(1, 512, 128)).shape
    (1, 10)
    """
    known = {"engine": (engine, get_args(EngineName)), "precision": (precision, get_args(ExportPrecision))}
    for name, (value, values) in known.items():
        if value is not None and value not in values:
            raise InputError(f"{name} must be one of {', '.join(values)}; got {value!r}")
    if isinstance(model, Artefact):
        for name, value in (("engine", engine), ("precision", precision)):
            if value is not None and value != (own := getattr(model, name)):
                raise InputError(f"{model.folder}: was exported with {name} {own}, not {value}: export it again")
        _require_cpu(device, model.engine)
        return model.make_engine()
    engine, precision = engine or ENGINE, precision or PRECISION
    if precision == "int8":
        raise InputError("precision int8 changes scores, so it has to be checked first: spectag export ... int8")
    if engine != "torch":
        _require_cpu(device, engine)
        return make_graph_engine(engine, model.card, to_bytes(build_graph(model)), precision)
    if isinstance(model, Ensemble):
        return EnsembleEngine(TorchEngine(member, device, precision) for member in model.members)
    return TorchEngine(model, device, precision)


def _require_cpu(device: str, engine: str) -> None:
    if device != "cpu":
        raise InputError(f"device must be cpu for the engine {engine}; got {device!r}: use the engine torch")
