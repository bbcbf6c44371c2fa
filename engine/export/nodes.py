"""Standard ONNX nodes, appended to a graph one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

Operand = str | bool | int | float | Sequence[int] | Sequence[float] | NDArray[Any]


class Nodes:
    """Appends nodes to a graph. A tensor is its name; a number or an array becomes a constant."""

    def __init__(self, graph: onnx.GraphProto, prefix: str, outer: Nodes | None = None) -> None:
        """Append to `graph`, with names that begin with `prefix`; a subgraph keeps its constants in the outer graph."""
        self._graph, self._prefix = graph, prefix
        self._constants: onnx.GraphProto = graph if outer is None else outer._constants

    def __call__(self, operator: str, *inputs: Operand, output: str | None = None, **attributes: Any) -> str:
        """Append a node with one output and return the output's name.

        Args:
            operator: of the standard.
            inputs: names of tensors ("" leaves an optional one out), numbers or arrays; float32 or int64 if they have
                no other type.
            output: its name; None is one that is not used yet.
            attributes: of the node.
        """
        return self.several(operator, *inputs, outputs=[output or self._name(operator)], **attributes)[0]

    def several(self, operator: str, *inputs: Operand, outputs: list[str] | int, **attributes: Any) -> list[str]:
        """Append a node with several outputs, of given names or a number of new ones; return their names."""
        from onnx import helper

        name = self._name(operator)
        names = outputs if isinstance(outputs, list) else [f"{name}_{i}" for i in range(outputs)]
        given = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        self._graph.node.append(helper.make_node(operator, given, names, name=name, **attributes))
        return names

    def split(self, value: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Split a tensor into parts of these sizes."""
        return self.several("Split", value, sizes, outputs=len(sizes), axis=axis) if len(sizes) > 1 else [value]

    def _name(self, operator: str) -> str:
        return f"{self._prefix}_{len(self._graph.node)}_{operator}"

    def _constant(self, value: Operand) -> str:
        from onnx import numpy_helper

        array = np.asarray(value)
        if not isinstance(value, np.ndarray):
            array = array.astype({"f": np.float32, "i": np.int64}.get(array.dtype.kind, array.dtype))
        name = f"{self._prefix}_constant_{len(self._constants.initializer)}"
        self._constants.initializer.append(numpy_helper.from_array(array, name))
        return name
