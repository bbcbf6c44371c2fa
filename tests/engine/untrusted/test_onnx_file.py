"""External data is found wherever a tensor may be, with `onnx` as the oracle of the format."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from engine.errors import InvalidArgumentError
from engine.untrusted import onnx_file
from engine.untrusted.onnx_file import refuse_external_data


def _tensor(external: bool, name: str = "far away") -> TensorProto:
    tensor = numpy_helper.from_array(np.arange(6, dtype=np.float32), name)
    if external:
        onnx.external_data_helper.set_external_data(tensor, "w.bin")
    return tensor


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def _initializer(tensor: TensorProto) -> onnx.ModelProto:
    return _model(helper.make_graph([], "g", [], [], [_tensor(False, "near"), tensor, _tensor(False, "near2")]))


def _sparse(tensor: TensorProto) -> onnx.ModelProto:
    indices = numpy_helper.from_array(np.arange(6, dtype=np.int64), "indices")
    sparse = helper.make_sparse_tensor(tensor, indices, [9])
    return _model(helper.make_graph([], "g", [], [], sparse_initializer=[sparse]))


def _attribute(tensor: TensorProto) -> onnx.ModelProto:
    return _model(helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "g", [], []))


def _list(tensor: TensorProto) -> onnx.ModelProto:
    node = helper.make_node("Own", [], ["c"], domain="own", values=[_tensor(False, "near"), tensor])
    return _model(helper.make_graph([node], "g", [], []))


def _branches(tensor: TensorProto, depth: int = 3) -> onnx.ModelProto:
    graph = _attribute(tensor).graph
    for level in range(depth):
        graphs = {"then_branch": graph} if level % 2 else {"bodies": [helper.make_graph([], "e", [], []), graph]}
        graph = helper.make_graph([helper.make_node("If", [], [], **graphs)], "g", [], [])
    return _model(graph)


def _function(tensor: TensorProto) -> onnx.ModelProto:
    model, node = _initializer(_tensor(False)), helper.make_node("Constant", [], ["c"], value=tensor)
    model.functions.append(helper.make_function("own", "F", [], ["c"], [node], [helper.make_opsetid("", 20)]))
    return model


def _training(tensor: TensorProto) -> onnx.ModelProto:
    model = _initializer(_tensor(False))
    model.training_info.add().algorithm.CopyFrom(_initializer(tensor).graph)
    return model


@pytest.mark.parametrize("make", [_initializer, _sparse, _attribute, _list, _branches, _function, _training])
def test_external_data_is_refused_wherever_it_is(make: Callable[[TensorProto], onnx.ModelProto]) -> None:
    refuse_external_data(make(_tensor(False)).SerializeToString())
    with pytest.raises(InvalidArgumentError, match=r"keeps the values of 'far away' in another file"):
        refuse_external_data(make(_tensor(True)).SerializeToString())


def test_either_mark_of_external_data_is_enough() -> None:
    located, named = _tensor(True), _tensor(True)
    located.ClearField("external_data")
    named.ClearField("data_location")
    for tensor in (located, named):
        with pytest.raises(InvalidArgumentError, match="in another file"):
            refuse_external_data(_initializer(tensor).SerializeToString())


def test_a_second_graph_is_merged_by_readers_and_looked_through_too() -> None:
    content = _initializer(_tensor(False)).SerializeToString() + _initializer(_tensor(True)).SerializeToString()
    assert len(onnx.load_model_from_string(content).graph.initializer) == 6
    with pytest.raises(InvalidArgumentError, match="in another file"):
        refuse_external_data(content)


def test_deep_nesting_needs_no_deep_stack() -> None:
    content = _attribute(_tensor(True)).graph.SerializeToString()

    def field(number: int, value: bytes) -> bytes:
        length, size = b"", len(value)
        while size >= 0x80:
            length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + value

    for _ in range(3000):  # a graph in an attribute of a node of a graph
        content = field(1, field(5, field(6, content)))
    with pytest.raises(InvalidArgumentError, match="in another file"):
        refuse_external_data(field(7, content))


def test_the_number_of_fields_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MAX_ONNX_FIELDS", 50)
    refuse_external_data(b"\x08\x08" * 50)
    with pytest.raises(InvalidArgumentError, match="more than 50 fields"):
        refuse_external_data(b"\x08\x08" * 51)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x3a\x05\x0a", "ends within a field"),
        (b"\x3a", "an integer has no end"),
        (b"\x08" + b"\xff" * 20, "an integer has no end"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x09\x00", "ends within a field"),
    ],
)
def test_damaged_files_are_refused(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"is damaged or not an ONNX file: .*{reason}"):
        refuse_external_data(content)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_any_bytes_are_refused_or_looked_through(junk: bytes, at: int) -> None:
    """Nothing but InvalidArgumentError leaves the reader, and what `onnx` reads as external is found."""
    content = _branches(_tensor(True)).SerializeToString()
    changed = content[:at] + junk + content[at:]
    try:
        refuse_external_data(changed)
    except InvalidArgumentError:
        return
    try:
        model = onnx.load_model_from_string(changed)
    except Exception:  # no reader's file
        return
    found = list(onnx.external_data_helper._get_all_tensors(model))
    assert not any(onnx.external_data_helper.uses_external_data(tensor) for tensor in found)
