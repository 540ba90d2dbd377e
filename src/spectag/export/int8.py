"""Graphs in int8: weights and activations of the matrix products are rounded to 8 bits."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spectag.engines.names import FRONT_END
from spectag.errors import MissingExtra

if TYPE_CHECKING:
    from onnx import ModelProto


def quantise_onnx(model: ModelProto, path: Path, kept: Collection[str] = ()) -> None:
    """Write an ONNX graph in int8: weights have a scale for each output, activations one that is measured in each run.

    Args:
        model: the graph.
        path: of the file to write.
        kept: layers that stay in float.

    Raises:
        MissingExtra: `onnxruntime` is not installed.

    >>> from spectag.engines.graph import build_graph
    >>> quantise_onnx(build_graph(spectag.load("esc10")), Path("model.onnx"))
    >>> Path("model.onnx").stat().st_size < 2_000_000
    True
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError:
        raise MissingExtra("onnx", "int8") from None
    products = [node.name for node in model.graph.node if node.op_type == "MatMul"]
    with _quiet():
        quantize_dynamic(
            model,
            str(path),
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[name for name in products if stays_in_float(name, kept)],
            extra_options={"MatMulConstBOnly": True},
        )


def quantise_openvino(model: Any, samples: Sequence[NDArray[np.float32]], kept: Collection[str] = ()) -> Any:
    """Make a graph of OpenVINO into one in int8, with NNCF. Activations have scales that are measured on samples.

    Args:
        model: an ``openvino.Model``.
        samples: what the graph takes, each a batch of one.
        kept: layers that stay in float.

    Returns:
        an ``openvino.Model``.

    Raises:
        MissingExtra: `nncf` is not installed.
    """
    try:
        with _quiet():
            import nncf
    except ImportError:
        raise MissingExtra("nncf", "int8 for openvino") from None
    floats = [node.get_friendly_name() for node in model.get_ordered_ops()]
    ignored = nncf.IgnoredScope(names=[name for name in floats if stays_in_float(name, kept)], validate=False)
    with _quiet():
        return nncf.quantize(
            model,
            nncf.Dataset(list(samples)),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(samples),
            ignored_scope=ignored,
        )


def stays_in_float(node: str, kept: Collection[str]) -> bool:
    """Whether a node belongs to the front end, or to a layer that is kept in float.

    >>> stays_in_float("blocks.1.attn.qkv.rest", ["blocks.1.attn.qkv"]), stays_in_float("blocks.10", ["blocks.1"])
    (True, False)
    """
    return node.startswith(FRONT_END) or any(node == name or node.startswith((f"{name}.", f"{name}/")) for name in kept)


@contextlib.contextmanager
def _quiet() -> Any:
    """Both libraries print what they do."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    nowhere = io.StringIO()
    try:
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            yield
    finally:
        logging.disable(level)
