"""Network files are read as `onnx` reads them, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from engine.errors import InvalidArgumentError
from engine.untrusted import onnx_network
from engine.untrusted.onnx_network import read_network


def _model() -> onnx.ModelProto:
    """Every field that builds write, at least once."""
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1], auto_pad="NOTSET"),
        helper.make_node("LeakyRelu", ["c"], ["a"], alpha=0.1, doc_string="text"),
        helper.make_node("Resize", ["a", "", "s"], ["r"], mode="nearest", antialias=0),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 3, 32, "width"]) for n in ("images", "r")]
    constants = [
        numpy_helper.from_array(np.arange(81, dtype=np.float32).reshape(3, 3, 3, 3), "w"),
        helper.make_tensor("b", TensorProto.FLOAT16, [3], np.arange(3, dtype=np.float16)),
        helper.make_tensor("s", TensorProto.INT8, [], np.array([-3], np.int8)),
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], producer_name="p")
    model.producer_version = "1"
    helper.set_model_props(model, {"retinaface-trt": "{}", "other": "ä"})
    return model


MODEL = _model()
CONTENT = MODEL.SerializeToString()


def _agrees(content: bytes) -> None:
    """Compare what is read with what `onnx` reads."""
    ours, theirs = read_network(content), onnx.load_model_from_string(content)
    graph = theirs.graph
    assert ours.opset == theirs.opset_import[0].version
    assert list(ours.metadata.items()) == [(entry.key, entry.value) for entry in theirs.metadata_props]
    for read, wanted in ((ours.inputs, graph.input), (ours.outputs, graph.output)):
        assert [*read] == [value.name for value in wanted]
        for value in wanted:
            tensor = value.type.tensor_type
            sides = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim]
            assert (read[value.name].type, list(read[value.name].shape)) == (tensor.elem_type, sides)
    for node, other in zip(ours.nodes, graph.node, strict=True):
        assert (node.name, node.operator) == (other.name, other.op_type)
        assert ([*node.inputs], [*node.outputs]) == ([*other.input], [*other.output])
        assert node.attributes == {a.name: _plain(helper.get_attribute_value(a)) for a in other.attribute}
    assert [*ours.constants] == [tensor.name for tensor in graph.initializer]
    for tensor in graph.initializer:
        constant = ours.constants[tensor.name]
        assert (constant.type, [*constant.shape], constant.raw) == (tensor.data_type, [*tensor.dims], tensor.raw_data)
        assert bool(constant.packed) == bool(tensor.int32_data)


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else tuple(value) if isinstance(value, list) else value


def test_every_field_of_a_build_is_read() -> None:
    _agrees(CONTENT)
    assert len(read_network(CONTENT).nodes) == 3
    assert bytes(read_network(CONTENT).constants["b"].packed) == b"\x00\x80\x78\x80\x80\x01"  # 0, 0x3c00 and 0x4000


@given(st.binary(max_size=8), st.integers(0, len(CONTENT)), st.integers(0, 8))
def test_damaged_files_are_refused_or_read_as_onnx_reads_them(junk: bytes, at: int, removed: int) -> None:
    content = CONTENT[:at] + junk + CONTENT[at + removed :]
    try:
        read_network(content)
    except InvalidArgumentError:
        return
    try:
        onnx.load_model_from_string(content)
    except DecodeError:
        return  # it is stricter about integers that are too long
    _agrees(content)


def _edited(edit: Callable[[onnx.ModelProto], object]) -> bytes:
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    edit(model)
    return bytes(model.SerializeToString())


def _sparse(model: onnx.ModelProto) -> None:
    values, indices = (numpy_helper.from_array(np.ones(1, kind), "x") for kind in (np.float32, np.int64))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [9]))


def _attribute(**attribute: Any) -> Any:
    ((name, value),) = attribute.items()
    return lambda model: model.graph.node[0].attribute.append(helper.make_attribute(name, value))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_attribute(body=helper.make_graph([], "g", [], [])), "a subgraph in its attribute"),
        (_attribute(bodies=[helper.make_graph([], "g", [], [])]), "subgraphs in its attribute"),
        (_attribute(value=numpy_helper.from_array(np.ones(1))), "a constant in its attribute"),
        (_attribute(values=[1.0, 2.0]), "field 7 in its attribute"),
        (_attribute(auto_pad="VALID"), "two attributes called 'auto_pad'"),
        (_attribute(alpha=float("nan")), "an attribute that is not finite"),
        (_attribute(axis=-1), "a negative integer"),
        (lambda m: setattr(m.graph.node[0].attribute[0], "f", 1.0), "of a kind that no build writes"),
        (lambda m: setattr(m.graph.node[0].attribute[0], "type", 5), "of a kind that no build writes"),
        (lambda m: setattr(m.graph.node[0], "domain", "own"), "an operator of another domain in its node"),
        (lambda m: m.functions.add(), "functions in its model"),
        (lambda m: m.training_info.add(), "training in its model"),
        (_sparse, "sparse constants in its graph"),
        (lambda m: m.graph.initializer[0].external_data.add(), "ONNX external data"),
        (lambda m: setattr(m.graph.initializer[0], "data_location", 1), "ONNX external data"),
        (lambda m: m.graph.initializer[0].float_data.append(1.0), "field 4 in its tensor"),
        (lambda m: m.graph.initializer.add(name="w"), "two constants called 'w'"),
        (lambda m: m.graph.input.add(name="images"), "two inputs called 'images'"),
        (lambda m: m.graph.value_info.add(), "field 13 in its graph"),
        (lambda m: m.metadata_props.add(key="other"), "two values called 'other'"),
        (lambda m: m.opset_import.add(domain="own", version=1), "does not use the operators of ONNX alone"),
        (lambda m: setattr(m.opset_import[0], "domain", "own"), "does not use the operators of ONNX alone"),
        (lambda m: m.ClearField("opset_import"), "does not use the operators of ONNX alone"),
    ],
)
def test_what_no_build_writes_is_refused(edit: Any, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^has .*{said}|^{said}"):
        read_network(_edited(edit))


def _field(number: int, value: bytes) -> bytes:
    assert len(value) < 0x80
    return bytes([number << 3 | 2, len(value)]) + value


@pytest.mark.parametrize("side", [b"\x08\x20", b"\x12\x01x"])
def test_an_axis_has_one_length(side: bytes) -> None:
    """Protocol Buffers has fields of which the last one counts."""

    def content(side: bytes) -> bytes:
        tensor = b"\x08\x01" + _field(2, _field(1, side))
        return _field(7, _field(11, _field(1, b"images") + _field(2, _field(1, tensor)))) + _field(8, b"\x10\x13")

    _agrees(content(side))
    with pytest.raises(InvalidArgumentError, match="an axis with two lengths"):
        read_network(content(b"\x08\x20\x12\x01x"))


def test_a_second_graph_which_readers_would_merge_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="two values of"):
        read_network(CONTENT + CONTENT)


@pytest.mark.parametrize("content", [b"\x38\x01", b"\x3d\0\0\0\0", b"\x0a\x01x", b"\x3a\x02\x08\x01"])
def test_a_field_of_another_wire_type_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match="which no build writes"):
        read_network(content)


def test_names_are_text() -> None:
    with pytest.raises(InvalidArgumentError, match="not UTF-8"):
        read_network(CONTENT.replace("ä".encode(), b"\xff\xff"))


def test_the_number_of_fields_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_network, "MAX_ONNX_FIELDS", 50)
    with pytest.raises(InvalidArgumentError, match="more than 50 fields"):
        read_network(CONTENT)
