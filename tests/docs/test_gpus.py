"""The table of docs/gpus.md, against targets and number formats of the builder, and TensorRT-RTX's compiler."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.backend import targets
from engine.backend.tensorrt import Backend
from engine.config.formats import FORMATS, NumberFormat
from tests.docs.conftest import ROOT
from tests.support.engines import rtx

# The number formats of each column.
COLUMNS = {
    column: [number_format for number_format in FORMATS if number_format.name.upper() in column.split(", ")]
    for column in ("FP32, FP16, INT8", "BF16", "FP8")
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


def test_every_number_format_has_a_column() -> None:
    assert sorted(map(str, FORMATS)) == sorted(str(kind) for kinds in COLUMNS.values() for kind in kinds)


@pytest.mark.parametrize("row", table(), ids=lambda row: row["compute capability"])
def test_the_columns_of_precisions_are_the_number_formats(row: dict[str, str]) -> None:
    for capability in row["compute capability"].split(", "):
        major, minor = map(int, capability.split("."))
        for column, kinds in COLUMNS.items():
            for kind in kinds:
                assert (row[column] == "yes") == ((major, minor) >= (kind.capability or (0, 0))), kind


def test_portable_covers_what_the_table_says() -> None:
    covered = [row for row in with_target() if row["in `portable`"] == "yes"]
    for kind in FORMATS:
        everywhere = all(targets.has_format((target(row),), kind) for row in covered)
        assert targets.has_format((targets.PORTABLE,), kind) == everywhere


@pytest.mark.parametrize("row", with_target(), ids=target)
def test_the_compiler_takes_these_precisions_and_no_others(row: dict[str, str]) -> None:
    backend = rtx()
    for column, kinds in COLUMNS.items():
        for kind in kinds:
            assert _compiles(backend, kind, target(row)) == (row[column] == "yes"), kind


def _compiles(backend: Backend, kind: NumberFormat, target: str) -> bool:
    """Whether TensorRT-RTX builds a convolution in a number format for a target."""
    trt = backend.module
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    assert trt.OnnxParser(network, logger).parse(_convolution(kind).SerializeToString())
    config = builder.create_builder_config()
    targets.set_targets(config, backend, [target])
    return builder.build_serialized_network(network, config) is not None


def _convolution(kind: NumberFormat) -> onnx.ModelProto:
    """A convolution of 32 channels; behind Q/DQ nodes in the 8-bit formats, which FP16 surrounds."""
    element_type = TensorProto.DataType.Value(kind.onnx_type)
    outside = TensorProto.FLOAT16 if kind.quantised else element_type
    weights = np.random.default_rng(0).normal(size=(32, 32, 3, 3)).astype(np.float32)
    initializers = [helper.make_tensor("w", outside, weights.shape, weights.ravel())]
    nodes, operands = [], []
    for name, channels in (("x", 1), ("w", 32)):
        if not kind.quantised:
            operands.append(name)
            continue
        shape = [] if channels == 1 else [channels]
        initializers += [
            numpy_helper.from_array(np.full(shape, 0.05, np.float16), f"{name}_scale"),
            helper.make_tensor(f"{name}_zero", element_type, shape, [0] * channels),
        ]
        scaled = [f"{name}_scale", f"{name}_zero"]
        nodes += [
            helper.make_node("QuantizeLinear", [name, *scaled], [f"{name}_q"], axis=0),
            helper.make_node("DequantizeLinear", [f"{name}_q", *scaled], [f"{name}_dq"], axis=0),
        ]
        operands.append(f"{name}_dq")
    nodes.append(helper.make_node("Conv", operands, ["y"], pads=[1] * 4))
    ends = [helper.make_tensor_value_info(name, outside, [1, 32, 16, 16]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, kind.name, ends[:1], ends[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
