"""Changes of messages of Protocol Buffers, whose lengths stay right at every level."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from tests.fuzz.mutate.content import edge, few, mutated

Field = tuple[int, int, int | bytes]
"""Number, wire type, and an integer or bytes."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_TEXTS = (
    b"", b"Loop", b"If", b"Scan", b"ConstantOfShape", b"Conv", b"Identity", b"com.microsoft", b"images",
    b"\xff\xfe", b"\x1b[31m", b"../../w.bin", b"location", b"a" * 5000
)  # fmt: skip


def fields_of(message: bytes) -> list[Field]:
    """Return the fields of a message that is well formed."""
    fields: list[Field] = []
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == _VARINT:
            value, at = _read_varint(message, at)
        else:
            size, at = _read_varint(message, at) if kind == _BYTES else (_SIZES[kind], at)
            value, at = message[at : at + size], at + size
        fields.append((number, kind, value))
    return fields


def message_of(fields: Sequence[Field]) -> bytes:
    """Return the bytes of a message."""
    parts: list[bytes] = []
    for number, kind, value in fields:
        parts.append(_varint(number << 3 | kind))
        if isinstance(value, int):
            parts.append(_varint(value))
        else:
            parts += [_varint(len(value)), value] if kind == _BYTES else [value]
    return b"".join(parts)


def mutated_message(message: bytes, descriptor: Any, random: Random) -> bytes:
    """Return a message with a few changes.

    Args:
        message: well formed.
        descriptor: Protocol Buffers' description of its kind, which says what fields hold messages.
        random: decides.
    """
    for _ in range(few(random, 4)):
        message = _changed(message, descriptor, random)
    return message


def _changed(message: bytes, descriptor: Any, random: Random) -> bytes:
    """Change one field, somewhere inside."""
    try:
        fields = fields_of(message)
    except (IndexError, KeyError):  # an earlier change
        return mutated(message, random)
    if not fields:
        return message_of([_any_field(descriptor, random)])
    # Of each kind of field alike: a network has hundreds of nodes and one version.
    number = random.choice(sorted({field[0] for field in fields}))
    at = random.choice([i for i, field in enumerate(fields) if field[0] == number])
    known = descriptor.fields_by_number.get(number)
    inner = known.message_type if known is not None else None
    _, kind, value = fields[at]
    if inner is not None and isinstance(value, bytes) and random.random() < 0.85:
        fields[at] = (number, kind, _changed(value, inner, random))
    else:
        random.choice(_CHANGES)(fields, at, descriptor, random)
    return message_of(fields)


def _value(fields: list[Field], at: int, descriptor: Any, random: Random) -> None:
    number, kind, value = fields[at]
    if isinstance(value, int):
        fields[at] = (number, kind, edge(random, 64))
    else:
        changed = random.choice((mutated(value, random), random.choice(_TEXTS)))
        fields[at] = (number, kind, changed if kind == _BYTES else changed.ljust(8, b"\0")[: _SIZES[kind]])


def _remove(fields: list[Field], at: int, descriptor: Any, random: Random) -> None:
    del fields[at]


def _repeat(fields: list[Field], at: int, descriptor: Any, random: Random) -> None:
    fields[at:at] = [fields[at]] * random.choice((1, 1, 2, 100))


def _swap(fields: list[Field], at: int, descriptor: Any, random: Random) -> None:
    other = random.randrange(len(fields))
    fields[at], fields[other] = fields[other], fields[at]


def _exchange(fields: list[Field], at: int, descriptor: Any, random: Random) -> None:
    """Give a field the value of another one."""
    other = random.randrange(len(fields))
    fields[at] = (fields[at][0], *fields[other][1:])


def _renumber(fields: list[Field], at: int, descriptor: Any, random: Random) -> None:
    number = random.choice((*descriptor.fields_by_number, 0, edge(random, 29)))
    fields[at] = (number, *fields[at][1:])


def _add(fields: list[Field], at: int, descriptor: Any, random: Random) -> None:
    fields.insert(at, _any_field(descriptor, random))


def _nest(fields: list[Field], at: int, descriptor: Any, random: Random) -> None:
    """Put the message into itself, where a field can hold one of its kind, else into any."""
    number, _, value = fields[at]
    content = value if isinstance(value, bytes) else message_of(fields)
    for _ in range(random.choice((1, 2, 30, 200))):
        content = message_of([(number, _BYTES, content)])
    fields[at] = (number, _BYTES, content)


def _any_field(descriptor: Any, random: Random) -> Field:
    number = random.choice((*descriptor.fields_by_number, edge(random, 29)))
    if random.random() < 0.5:
        return number, _VARINT, edge(random, 64)
    return number, _BYTES, random.choice((*_TEXTS, random.randbytes(few(random))))


_CHANGES = (_value, _value, _value, _remove, _repeat, _swap, _exchange, _renumber, _add, _nest)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
