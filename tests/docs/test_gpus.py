"""The table of docs/gpus.md, against engine.backend.targets and against TensorRT-RTX's compiler."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.backend import targets
from engine.backend.tensorrt import Backend
from tests.docs.conftest import ROOT
from tests.support.engines import rtx

# Precisions of each column, and the element type of weights and activations in ONNX.
COLUMNS = {"FP32, FP16, INT8": ("fp32", "fp16", "int8"), "BF16": ("bf16",), "FP8": ("fp8",)}
TYPES = {
    "fp32": TensorProto.FLOAT,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "int8": TensorProto.INT8,
    "fp8": TensorProto.FLOAT8E4M3FN,
}


def table() -> list[dict[str, str]]:
    """The rows of the page's table, by the names of the columns."""
    lines = [line for line in (ROOT / "docs" / "gpus.md").read_text().splitlines() if line.startswith("|")]
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [dict(zip(header, row, strict=True)) for row in rows]


def with_target() -> list[dict[str, str]]:
    """The rows of GPUs that TensorRT-RTX builds for."""
    return [row for row in table() if row["`--target` (TensorRT-RTX)"] != "none"]


def target(row: dict[str, str]) -> str:
    """The value of --target."""
    return row["`--target` (TensorRT-RTX)"].strip("`")


def test_the_targets_are_those_of_the_builder() -> None:
    assert tuple(target(row) for row in with_target()) == targets.TARGETS
    for row in with_target():
        assert target(row) == "sm" + row["compute capability"].replace(".", "")


def test_fp8_is_where_the_builder_allows_it() -> None:
    assert tuple(target(row) for row in with_target() if row["FP8"] == "yes") == targets.FP8_TARGETS
    for row in table():
        for capability in row["compute capability"].split(", "):
            major, minor = map(int, capability.split("."))
            assert (row["FP8"] == "yes") == ((major, minor) >= (8, 9))


@pytest.mark.parametrize("row", with_target(), ids=target)
def test_the_compiler_takes_these_precisions_and_no_others(row: dict[str, str]) -> None:
    backend = rtx()
    for column, precisions in COLUMNS.items():
        for precision in precisions:
            assert _compiles(backend, precision, target(row)) == (row[column] == "yes"), precision


def _compiles(backend: Backend, precision: str, target: str) -> bool:
    """Whether TensorRT-RTX builds a convolution in a precision for a target."""
    trt = backend.module
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    assert trt.OnnxParser(network, logger).parse(_convolution(precision).SerializeToString())
    config = builder.create_builder_config()
    targets.set_targets(config, backend, [target])
    return builder.build_serialized_network(network, config) is not None


def _convolution(precision: str) -> onnx.ModelProto:
    """A convolution of 32 channels; behind Q/DQ nodes in the 8-bit formats, which FP16 surrounds."""
    quantised = precision in ("int8", "fp8")
    outside = TensorProto.FLOAT16 if quantised else TYPES[precision]
    weights = np.random.default_rng(0).normal(size=(32, 32, 3, 3)).astype(np.float32)
    initializers = [helper.make_tensor("w", outside, weights.shape, weights.ravel())]
    nodes, operands = [], []
    for name, channels in (("x", 1), ("w", 32)):
        if not quantised:
            operands.append(name)
            continue
        shape = [] if channels == 1 else [channels]
        initializers += [
            numpy_helper.from_array(np.full(shape, 0.05, np.float16), f"{name}_scale"),
            helper.make_tensor(f"{name}_zero", TYPES[precision], shape, [0] * channels),
        ]
        axis = {} if channels == 1 else {"axis": 0}
        scaled = [f"{name}_scale", f"{name}_zero"]
        nodes += [
            helper.make_node("QuantizeLinear", [name, *scaled], [f"{name}_q"], **axis),
            helper.make_node("DequantizeLinear", [f"{name}_q", *scaled], [f"{name}_dq"], **axis),
        ]
        operands.append(f"{name}_dq")
    nodes.append(helper.make_node("Conv", operands, ["y"], pads=[1] * 4))
    ends = [helper.make_tensor_value_info(name, outside, [1, 32, 16, 16]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, precision, ends[:1], ends[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
