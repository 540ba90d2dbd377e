"""The engine that runs a graph in OpenVINO, on the CPU."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spectag.choices import ExportPrecision
from spectag.engines.exported import Arrays, GraphEngine
from spectag.engines.names import INPUTS
from spectag.errors import MissingExtra, SpectagWarning, UnreadableModel
from spectag.model.card import Card
from spectag.model.device import computes_bf16


class OpenVINOEngine(GraphEngine):
    """Runs a graph with as many threads as torch has.

    Args:
        card: of the model.
        graph: a file (``.xml`` or ``.onnx``), or the bytes of an ONNX graph.
        precision: of the arithmetic. What int8 leaves in float is computed in fp32.
        waveforms: let ``run`` take waveforms, if the graph has a front end; otherwise that is taken off.

    Raises:
        MissingExtra: `openvino` is not installed.
        UnreadableModel: OpenVINO cannot read the graph.

    Warns:
        SpectagWarning: bf16 on a processor that has no instructions for it.

    >>> bundle = spectag.load("esc10")
    >>> engine = spectag.make_engine(bundle, engine="openvino")
    >>> engine.scores(torch.zeros(2, 256, 128)).shape
    (2, 10)
    """

    def __init__(
        self, card: Card, graph: Path | bytes, precision: ExportPrecision = "fp32", waveforms: bool = False
    ) -> None:
        super().__init__(card)
        core = _openvino().Core()
        if precision == "bf16" and not computes_bf16(torch.device("cpu")):
            warnings.warn("this processor has no bf16 arithmetic: OpenVINO computes in fp32", SpectagWarning, 2)
        model = read_graph(graph) if waveforms else cut_front_end(read_graph(graph))
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # other processes and threads compute beside it
            # Without these two, OpenVINO computes in bf16 wherever the processor has it.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "EXECUTION_MODE_HINT": "PERFORMANCE" if precision == "bf16" else "ACCURACY",
        }
        self._compiled = core.compile_model(model, "CPU", options)
        self._names = [output.get_any_name() for output in self._compiled.outputs]
        self._requests = threading.local()  # one for each thread: they are not shared

    def run(self, inputs: NDArray[np.float32]) -> Arrays:
        """Inputs ``[B, T, F]`` -> the outputs of the graph. Several threads may call it."""
        request = getattr(self._requests, "own", None)
        if request is None:
            request = self._requests.own = self._compiled.create_infer_request()
        found = request.infer({0: inputs})
        return {name: np.array(found[place]) for place, name in enumerate(self._names)}


def read_graph(graph: Path | bytes) -> Any:
    """Read a graph as an ``openvino.Model``.

    Args:
        graph: as for :class:`OpenVINOEngine`.

    Raises:
        MissingExtra, UnreadableModel: as there.

    >>> read_graph(b"no graph")
    Traceback (most recent call last):
    spectag.errors.UnreadableModel: graph: OpenVINO cannot read it: ...
    """
    try:
        return _openvino().Core().read_model(str(graph) if isinstance(graph, Path) else graph)
    except RuntimeError as error:
        name = graph if isinstance(graph, Path) else "graph"
        raise UnreadableModel(f"{name}: OpenVINO cannot read it: {' '.join(str(error).split())[:200]}") from error


def cut_front_end(model: Any) -> Any:
    """Take the front end off an ``openvino.Model`` that has one, so that it takes inputs ``[B, T, F]``.

    >>> from spectag.engines.graph import build_graph, to_bytes
    >>> model = read_graph(to_bytes(build_graph(spectag.load("esc10"), front_end=True)))
    >>> [value.get_any_name() for value in cut_front_end(model).inputs]
    ['inputs']
    """
    if INPUTS in model.inputs[0].get_names():
        return model
    openvino = _openvino()
    [inputs] = [out for node in model.get_ordered_ops() for out in node.outputs() if INPUTS in out.get_names()]
    free = openvino.opset13.parameter([-1, -1, inputs.get_partial_shape()[2]], np.float32, name=INPUTS)
    inputs.replace(free.output(0))
    free.output(0).set_names({INPUTS})
    return openvino.Model(model.get_results(), [free], model.get_friendly_name())


def _openvino() -> Any:
    try:
        import openvino
    except ImportError:
        raise MissingExtra("openvino", "the engine openvino") from None
    return openvino
