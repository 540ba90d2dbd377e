"""The nodes of an ONNX graph, written down one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spectag.errors import MissingExtra

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20  # of ONNX, the first with GELU; ONNX Runtime reads it since 1.17
IR_VERSION = 10  # of the file, which ONNX Runtime reads since 1.20


def require_onnx() -> Any:
    """Import `onnx`.

    Raises:
        MissingExtra: it is not installed.

    >>> require_onnx().__name__
    'onnx'
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtra("onnx", "writing or changing an ONNX graph") from None
    return onnx


class Nodes:
    """Collects the nodes and constants of a graph. Call it to add a node; the result is the name of its output.

    Node and output have the same name, by which layers can be told to stay in float.

    Raises:
        MissingExtra: `onnx` is not installed.

    >>> nodes = Nodes()
    >>> nodes("Add", "a", np.float32(1), name="sum")
    'sum'
    >>> [node.op_type for node in nodes.nodes]
    ['Add']
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        onnx = require_onnx()
        self._make, self._from_array = onnx.helper.make_node, onnx.numpy_helper.from_array

    def __call__(self, op: str, *inputs: str | NDArray[Any] | np.generic, name: str = "", **attributes: Any) -> str:
        """Add a node.

        Args:
            op: name of the operator.
            inputs: names of outputs, or constants.
            name: of the node and its output; by default it is made from the operator.
            attributes: of the node.
        """
        name = name or f"{op.lower()}_{len(self.nodes)}"
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self.nodes.append(self._make(op, names, [name], name=name, **attributes))
        return name

    def constant(self, value: NDArray[Any] | np.generic) -> str:
        """Add a constant and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(self._from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name))
        return name

    def split(self, value: str, sizes: list[int], axis: int) -> list[str]:
        """Divide an array along an axis."""
        names = [f"{value}.{part}" for part in range(len(sizes))]
        inputs = [value, self.constant(np.array(sizes))]
        self.nodes.append(self._make("Split", inputs, names, name=f"{value}.split", axis=axis))
        return names

    def model(
        self,
        inputs: dict[str, list[str | int]],
        outputs: dict[str, list[str | int]],
        facts: dict[str, str] | None = None,
    ) -> ModelProto:
        """Make a model of all nodes.

        Args:
            inputs, outputs: float32 arrays by name, and their axes: a size, or the name of one that may change.
            facts: the metadata of the file.

        >>> nodes = Nodes()
        >>> _ = nodes("Add", "a", np.float32(1), name="sum")
        >>> nodes.model({"a": ["batch"]}, {"sum": ["batch"]}).graph.output[0].name
        'sum'
        """
        from onnx import TensorProto, helper

        from spectag.version import __version__

        def declare(arrays: dict[str, list[str | int]]) -> list[Any]:
            return [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes) for name, axes in arrays.items()]

        graph = helper.make_graph(self.nodes, "spectag", declare(inputs), declare(outputs), self.constants)
        model = helper.make_model(
            graph,
            producer_name="spectag",
            producer_version=__version__,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, facts or {})
        return model
