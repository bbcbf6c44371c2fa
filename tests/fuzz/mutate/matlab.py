"""Changes of MATLAB files of version 5: elements inside elements, packed or not, whose lengths stay right."""

from __future__ import annotations

import struct
import zlib
from random import Random

from tests.fuzz.mutate.content import edge, few, mutated

Element = tuple[int, bytes]
"""Type and data."""

HEADER_BYTES = 128
_MATRIX, _PACKED = 14, 15
_SMALL = 4  # bytes that fit into a tag
_TYPES = (*range(1, 20), 255, 65535)


def elements_of(content: bytes) -> list[Element]:
    """Return the elements of well-formed data."""
    elements: list[Element] = []
    at = 0
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<II", content, at)
        if kind >> 16:  # a small one: length and type share four bytes
            elements.append((kind & 0xFFFF, content[at + 4 : at + 4 + min(_SMALL, kind >> 16)]))
            at += 8
            continue
        elements.append((kind, content[at + 8 : at + 8 + length]))
        at += 8 + length + (0 if kind == _PACKED else -length % 8)
    return elements


def content_of(elements: list[Element], small: bool = True) -> bytes:
    """Return the bytes of elements; with `small` short ones are written into their tags."""
    parts = []
    for kind, data in elements:
        if small and 0 < len(data) <= _SMALL and kind not in (_MATRIX, _PACKED) and kind < 1 << 16:
            parts.append(struct.pack("<HH", kind, len(data)) + data.ljust(_SMALL, b"\0"))
        else:
            padding = 0 if kind == _PACKED else -len(data) % 8
            parts.append(struct.pack("<II", kind, len(data)) + data + bytes(padding))
    return b"".join(parts)


def mutated_matlab(content: bytes, random: Random) -> bytes:
    """Return a file with a few changes."""
    if random.random() < 0.15:
        return mutated(content, random)
    header, data = content[:HEADER_BYTES], content[HEADER_BYTES:]
    for _ in range(few(random, 4)):
        data = _changed(data, random)
    return (mutated(header, random) if random.random() < 0.05 else header) + data


def _changed(data: bytes, random: Random) -> bytes:
    """Change one element, somewhere inside."""
    elements = elements_of(data)
    if not elements:
        return mutated(data, random)
    at = random.randrange(len(elements))
    kind, inner = elements[at]
    if kind == _PACKED and random.random() < 0.9:
        try:
            elements[at] = (kind, zlib.compress(_changed(zlib.decompress(inner), random), 1))
        except zlib.error:  # an earlier change
            elements[at] = (kind, mutated(inner, random))
    elif kind == _MATRIX and random.random() < 0.85:
        elements[at] = (kind, _changed(inner, random))
    else:
        _change(elements, at, random)
    return content_of(elements, random.random() < 0.9)


def _change(elements: list[Element], at: int, random: Random) -> None:
    kind, data = elements[at]
    choice = random.randrange(9)
    if choice == 0:
        del elements[at]
    elif choice == 1:
        elements[at:at] = [elements[at]] * random.choice((1, 2, 100))
    elif choice == 2:
        elements[at] = (random.choice(_TYPES), data)
    elif choice == 3:
        other = random.randrange(len(elements))
        elements[at], elements[other] = elements[other], elements[at]
    elif choice == 4:
        elements.insert(at, (random.choice(_TYPES), data))
    elif choice == 5 and len(data) >= 4:  # dimensions, flags, numbers
        place = random.randrange(0, len(data) - 3, 4)
        elements[at] = (kind, data[:place] + edge(random, 32).to_bytes(4, "little") + data[place + 4 :])
    else:
        elements[at] = (kind, mutated(data, random))
