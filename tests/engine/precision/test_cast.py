"""Casts to float16 and bfloat16."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from torch.nn import functional

from engine.errors import BuildError
from engine.precision.bf16 import round_to_bf16
from engine.precision.cast import bf16_on_float32, inner_name, to_bf16, to_fp16
from engine.precision.convert import to_precision
from engine.precision.options import Conversion, QuantisationOptions, Techniques
from tests.support import graphs


def _weights(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


@pytest.mark.parametrize(
    ("cast", "dtype", "onnx_type"),
    [(to_fp16, np.float16, TensorProto.FLOAT16), (to_bf16, ml_dtypes.bfloat16, TensorProto.BFLOAT16)],
)
def test_types(cast: Any, dtype: Any, onnx_type: int) -> None:
    model = graphs.tiny_detector()
    before = model.SerializeToString()
    typed = cast(model)
    assert model.SerializeToString() == before
    exact = _weights(model)
    for name, values in _weights(typed).items():
        if name == "doubled_scales":
            assert values.dtype == np.float32
        else:
            np.testing.assert_array_equal(values.astype(np.float32), exact[name].astype(dtype).astype(np.float32))
    for value in (*typed.graph.input, *typed.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    inferred = onnx.shape_inference.infer_shapes(typed, strict_mode=True).graph
    outer = {value.name for value in (*typed.graph.input, *typed.graph.output)}
    assert {v.type.tensor_type.elem_type for v in inferred.value_info if v.name not in outer} == {onnx_type}
    assert [node.op_type for node in typed.graph.node].count("Cast") == 1 + len(model.graph.output)


def test_fp16_computes_nearly_the_same() -> None:
    model = graphs.tiny_detector()
    batch = graphs.images(1)
    wanted, given = graphs.run(model, batch), graphs.run(to_fp16(model), batch)
    for name, head in wanted.items():
        assert graphs.relative_rms(given[name], head) < 2e-3  # ten layers of 2^-11 each
        assert not np.array_equal(given[name], head)


@pytest.mark.parametrize("value", [65505.0, -1e6])
def test_weights_beyond_float16(value: float) -> None:
    model = graphs.tiny_detector()
    for tensor in model.graph.initializer:
        if tensor.name == "left_weight":
            weight = numpy_helper.to_array(tensor).copy()
            weight[0, 0, 0, 0] = value
            tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    with pytest.raises(BuildError, match=r"weight left_weight reaches .*, beyond float16: use bf16 or fp32"):
        to_fp16(model)
    to_bf16(model)


def test_names_behind_inputs_and_outputs() -> None:
    model = graphs.tiny_detector()
    typed = to_fp16(model)
    made = {name for node in typed.graph.node for name in node.output}
    for name in ("images", "logits_8", "both"):
        assert inner_name(model, name) in made
    assert inner_name(model, "both") == "both"
    assert inner_name(model, "images") != "images"


def _bf16(x: torch.Tensor) -> torch.Tensor:
    return x.bfloat16().float()


def test_bfloat16_against_torch(rng: np.random.Generator) -> None:
    """Against PyTorch's bfloat16; convolutions accumulate in float32 and are rounded after, as on GPUs."""
    b = graphs.Builder(rng)
    first = b.op("LeakyRelu", "act", b.conv("first", "images", 8), alpha=0.1)
    model = b.model(b.op("Relu", "out", b.op("Add", "sum", b.conv("second", first, 8), first)))
    batch = graphs.images(1)
    names = ("first", "act", "second", "sum")
    given = {n: torch.from_numpy(v) for n, v in graphs.run(bf16_on_float32(model), batch, extra=names).items()}
    weights = {n: _bf16(torch.from_numpy(v.copy())) for n, v in _weights(model).items()}

    def conv(name: str, x: torch.Tensor) -> torch.Tensor:
        return _bf16(functional.conv2d(x, weights[f"{name}_weight"], weights[f"{name}_bias"], padding=1))

    # Each step from the given input. Another order of summation may change the rounding of a few values.
    for name, x in (("first", _bf16(torch.from_numpy(batch))), ("second", given["act"])):
        wanted = conv(name, x)
        assert float((given[name] != wanted).float().mean()) < 0.01
        torch.testing.assert_close(given[name], wanted, rtol=2.0**-7, atol=1e-4)
    act = functional.leaky_relu(given["first"].bfloat16(), 0.1).float()
    torch.testing.assert_close(given["act"], act, rtol=0, atol=0)
    assert torch.equal(given["sum"], (given["second"].bfloat16() + given["act"].bfloat16()).float())
    assert torch.equal(given["out"], given["sum"].relu())
    exact = graphs.run(model, batch)["out"]
    assert 1e-4 < graphs.relative_rms(given["out"].numpy(), exact) < 1e-2


def test_bfloat16_rounds_where_the_typed_network_does() -> None:
    """All tensors that are bfloat16 in to_bf16's network, and all weights, have bfloat16 values."""
    model = graphs.tiny_detector()
    rounded = bf16_on_float32(model)
    inner = tuple(n.output[0] for n in model.graph.node if n.output[0] not in {v.name for v in model.graph.output})
    for name, value in {**graphs.run(rounded, graphs.images(1), extra=inner), **_weights(rounded)}.items():
        np.testing.assert_array_equal(value.astype(ml_dtypes.bfloat16).astype(np.float32), value, err_msg=name)


@pytest.mark.parametrize(
    ("precision", "round_weights"), [("fp32", True), ("fp16", True), ("bf16", True), ("bf16", False)]
)
def test_plain_precisions(precision: str, round_weights: bool) -> None:
    model = graphs.tiny_detector(stem_stride=8)
    stages: list[str] = []
    options = QuantisationOptions(techniques=Techniques(round_weights=round_weights))
    typed = to_precision(Conversion(model, graphs.CONFIG, precision, graphs.SIZE, options, on_stage=stages.append))
    recorded = {"round_weights": round_weights} if precision == "bf16" else {}
    assert typed.evidence == {"kept_higher": [], **recorded}
    assert typed.calibration is None
    assert bool(stages) == (precision != "fp32")
    if precision == "bf16":
        assert any(stage.startswith("Rounding weights") for stage in stages) == round_weights
        rounded = round_to_bf16(model, graphs.CONFIG, graphs.SIZE) if round_weights else model
        wanted = to_bf16(rounded)
        assert np.array_equal(_weights(rounded)["left_weight"], _weights(typed.on_cpu)["left_weight"]) == round_weights
    else:
        wanted = {"fp32": model, "fp16": to_fp16(model)}[precision]
    assert typed.network.SerializeToString(deterministic=True) == wanted.SerializeToString(deterministic=True)
    assert set(graphs.run(typed.on_cpu, graphs.images(1))) == {v.name for v in model.graph.output}
