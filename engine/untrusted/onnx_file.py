"""ONNX files, looked through before a library loads them. Needs no package: engines load without `onnx`."""

from __future__ import annotations

from collections.abc import Iterator

from engine.errors import InvalidArgumentError
from engine.untrusted.limits import MAX_ONNX_FIELDS

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
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of Protocol Buffers
_LONGEST_VARINT = 10
_TAG_BITS = 0xFFFF_FFFF  # what readers keep of a field's tag

Value = int | memoryview


def refuse_external_data(content: bytes) -> None:
    """Refuse an ONNX file that keeps a tensor's values in another file, which no digest would cover.

    Raises:
        InvalidArgumentError: it does, or is not an ONNX file; the message does not contain its name.
    """
    messages, budget = [(_MODEL, memoryview(content))], MAX_ONNX_FIELDS
    while messages:  # not recursive: a file may nest as deep as it likes
        kind, message = messages.pop()
        external, name = False, b""
        for number, value in _fields(message):
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


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Read the fields of a Protocol Buffers message: number, and the integer or the bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire_type = (tag & _TAG_BITS) >> 3, tag & 7
        if wire_type == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire_type == _BYTES:
            length, at = _varint(message, at)
        elif wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        else:
            raise InvalidArgumentError(f"is damaged or not an ONNX file: a field has wire type {wire_type}")
        if length > len(message) - at:
            raise InvalidArgumentError("is damaged or not an ONNX file: it ends within a field")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the integer at a position, and the position behind it."""
    value = 0
    for shift, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at + shift + 1
    raise InvalidArgumentError("is damaged or not an ONNX file: an integer has no end")
