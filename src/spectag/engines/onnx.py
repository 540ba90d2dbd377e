"""The engine that runs a graph in ONNX Runtime, on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spectag.choices import ExportPrecision
from spectag.engines.exported import Arrays, GraphEngine
from spectag.engines.names import INPUTS
from spectag.engines.nodes import require_onnx
from spectag.errors import MissingExtra, UnreadableModel
from spectag.model.card import Card

LOG_ERRORS = 3  # severity
ATTENTION = 2**28  # bytes that the similarities of all tokens of a batch may take, since they are all kept at once


class OnnxEngine(GraphEngine):
    """Runs an ONNX graph with as many threads as torch has.

    Args:
        card: of the model.
        graph: a file, or its bytes.
        precision: of the graph. In int8, activations have one scale for a whole batch, so clips are computed one by
            one: otherwise scores would depend on the neighbours of a clip.
        waveforms: let ``run`` take waveforms, if the graph has a front end; otherwise that is taken off.

    Raises:
        MissingExtra: `onnxruntime` is not installed.
        UnreadableModel: ONNX Runtime cannot read the graph.

    >>> bundle = spectag.load("esc10")
    >>> engine = spectag.make_engine(bundle, engine="onnx")
    >>> engine.scores(torch.zeros(2, 256, 128)).shape
    (2, 10)
    """

    def __init__(
        self, card: Card, graph: Path | bytes, precision: ExportPrecision = "fp32", waveforms: bool = False
    ) -> None:
        super().__init__(card)
        self._one_by_one = precision == "int8"
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtra("onnx", "the engine onnx") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = LOG_ERRORS
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch computes beside it

        def start(source: str | bytes) -> onnxruntime.InferenceSession:
            return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

        try:
            self._session = start(str(graph) if isinstance(graph, Path) else graph)
            if not waveforms and self._session.get_inputs()[0].name != INPUTS:
                self._session = start(cut_front_end(graph))
        except Exception as error:  # its classes of errors are not public
            name = graph if isinstance(graph, Path) else "graph"
            raise UnreadableModel(
                f"{name}: ONNX Runtime cannot read it: {' '.join(str(error).split())[:200]}"
            ) from error
        self._takes = self._session.get_inputs()[0].name
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: NDArray[np.float32]) -> Arrays:
        """Inputs ``[B, T, F]`` -> the outputs of the graph. Several threads may call it.

        Batches of many tokens are computed clip by clip, too: this takes as long, and needs less memory.
        """
        one_by_one = self._one_by_one or (self._takes == INPUTS and self._need(inputs) > ATTENTION)
        batches = np.split(inputs, len(inputs)) if one_by_one else [inputs]
        rows = [self._session.run(None, {self._takes: batch}) for batch in batches]
        return {name: np.concatenate(parts) for name, *parts in zip(self._names, *rows, strict=True)}

    def _need(self, inputs: NDArray[np.float32]) -> int:
        """Bytes of the similarities of all tokens of a batch."""
        config = self.card.config
        f, t = config.grid_for(inputs.shape[1])
        return 4 * len(inputs) * config.heads * (config.tokens + f * t) ** 2


def cut_front_end(graph: Path | bytes) -> bytes:
    """Take the front end off a graph that has one, so that it takes inputs ``[B, T, F]``.

    Raises:
        MissingExtra: `onnx` is not installed.

    >>> from spectag.engines.graph import build_graph, to_bytes
    >>> from spectag.engines.nodes import require_onnx
    >>> cut = cut_front_end(to_bytes(build_graph(spectag.load("esc10"), front_end=True)))
    >>> [value.name for value in require_onnx().load_from_string(cut).graph.input]
    ['inputs']
    """
    onnx = require_onnx()
    model = onnx.load_from_string(graph.read_bytes() if isinstance(graph, Path) else graph)
    needed = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):  # they are in the order in which they can be computed
        if not needed.isdisjoint(node.output):
            kept.append(node)
            needed |= set(node.input) - {INPUTS}
    axes = ["batch", "frames", "bins"]
    cut = onnx.helper.make_graph(
        kept[::-1],
        model.graph.name,
        [onnx.helper.make_tensor_value_info(INPUTS, onnx.TensorProto.FLOAT, axes)],
        list(model.graph.output),
        [constant for constant in model.graph.initializer if constant.name in needed],
    )
    model.graph.CopyFrom(cut)
    content: bytes = model.SerializeToString()
    return content
