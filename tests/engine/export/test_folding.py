"""Folding batch normalisations into the convolutions before them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from engine.errors import BuildError
from engine.export.folding import fold_batch_normalisations


def _model(shared: bool, output: str = "y") -> onnx.ModelProto:
    """Two normalised convolutions with one weight, and their sum; if `shared`, the first one is added unnormalised."""
    rng = np.random.default_rng(4)
    constants = {"w": rng.normal(size=(3, 2, 3, 3))}
    nodes = []
    for i in range(2):
        constants |= {f"{name}{i}": rng.uniform(0.5, 2, 3) for name in ("gamma", "beta", "mean", "variance")}
        norm = [f"{name}{i}" for name in ("gamma", "beta", "mean", "variance")]
        nodes += [
            helper.make_node("Conv", ["x", "w"], [f"c{i}"], pads=[1] * 4),
            helper.make_node("BatchNormalization", [f"c{i}", *norm], [f"n{i}"], epsilon=1e-3),
        ]
    nodes.append(helper.make_node("Sum", ["n0", "n1", *(["c0"] if shared else [])], ["y"]))
    values = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("x", output))
    graph = helper.make_graph(nodes, "graph", [x], [y], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)


def test_folding_changes_no_result() -> None:
    model = _model(shared=False)
    x = np.random.default_rng(5).normal(size=(1, 2, 5, 6)).astype(np.float32)

    def run() -> np.ndarray:
        return np.asarray(onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0])

    before = run()
    fold_batch_normalisations(model.graph)
    assert [node.op_type for node in model.graph.node] == ["Conv", "Conv", "Sum"]
    assert "w" not in {tensor.name for tensor in model.graph.initializer}
    np.testing.assert_allclose(run(), before, atol=1e-5)


@pytest.mark.parametrize("model", [_model(shared=True), _model(shared=False, output="c0")], ids=["node", "output"])
def test_a_second_reader_of_the_convolution_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(BuildError, match="has readers beside its batch normalisation"):
        fold_batch_normalisations(model.graph)
