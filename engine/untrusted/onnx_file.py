"""ONNX files, looked through before a library loads them. Needs no package: engines load without `onnx`."""

from __future__ import annotations

from engine.errors import InvalidArgumentError
from engine.untrusted.limits import MAX_ONNX_FIELDS
from engine.untrusted.protobuf import fields

_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _FUNCTION, _TRAINING, _SPARSE, _TENSOR = range(8)
# Where messages of onnx.proto hold others, down to tensors: the message, the number of the field, what it holds.
_CHILDREN: dict[int, dict[int, int]] = {
    _MODEL: {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {},
}
_TENSOR_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14


def refuse_external_data(content: bytes) -> None:
    """Refuse an ONNX file that keeps a tensor's values in another file, which no digest would cover.

    Raises:
        InvalidArgumentError: it does, or is not an ONNX file; the message does not contain its name.
    """
    messages, budget = [(_MODEL, memoryview(content))], MAX_ONNX_FIELDS
    while messages:  # not recursive: a file may nest as deep as it likes
        kind, message = messages.pop()
        external, name = False, b""
        for number, _, value in fields(message):
            budget -= 1
            if budget < 0:
                raise InvalidArgumentError(f"has more than {MAX_ONNX_FIELDS:,} fields, expected a detector's network")
            if isinstance(value, int):
                external |= kind == _TENSOR and number == _DATA_LOCATION and value != 0
                continue
            if number in _CHILDREN[kind]:
                messages.append((_CHILDREN[kind][number], value))
            elif kind == _TENSOR and number == _TENSOR_NAME:
                name = bytes(value)
            external |= kind == _TENSOR and number == _EXTERNAL_DATA
        if external:
            raise InvalidArgumentError(
                f"keeps the values of {name.decode(errors='replace')[:80]!r} in another file (ONNX external data), "
                "expected one file that holds all of them: save it with onnx.save(onnx.load(FILE), FILE)"
            )
