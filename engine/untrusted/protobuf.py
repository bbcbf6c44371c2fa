"""The wire format of Protocol Buffers, in which ONNX files are written."""

from __future__ import annotations

from collections.abc import Iterator

from engine.errors import InvalidArgumentError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
_TAG_BITS = 0xFFFF_FFFF  # what readers keep of a field's tag


def fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Read the fields of a message: number, wire type, and the integer of a VARINT or the bytes of another.

    Raises:
        InvalidArgumentError: it is cut off, or no message.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire_type = (tag & _TAG_BITS) >> 3, tag & 7
        if wire_type == VARINT:
            value, at = _varint(message, at)
            yield number, wire_type, value
            continue
        if wire_type == BYTES:
            length, at = _varint(message, at)
        elif wire_type in (FIXED64, FIXED32):
            length = 8 if wire_type == FIXED64 else 4
        else:
            raise InvalidArgumentError(f"is damaged or not an ONNX file: a field has wire type {wire_type}")
        if length > len(message) - at:
            raise InvalidArgumentError("is damaged or not an ONNX file: it ends within a field")
        yield number, wire_type, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the integer at a position, and the position behind it."""
    value = 0
    for shift, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at + shift + 1
    raise InvalidArgumentError("is damaged or not an ONNX file: an integer has no end")
