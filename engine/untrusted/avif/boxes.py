"""Where an AVIF file holds coded pictures: its boxes are those of ISO/IEC 14496-12 and 23008-12.

A file is refused where a decoder may see it otherwise. What no decoder takes can only claim more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from struct import Struct

from engine.untrusted.avif.sequence_header import largest_frame

_BE16, _BE32, _BE64, _BOX = map(Struct, (">H", ">I", ">Q", ">I4s"))
# Boxes that hold boxes, and how many bytes come before these.
_HOLDERS = {b"meta": 4, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0}
_MOST_BOXES = 10_000
_MOST_ITEMS = 10_000
_MOST_UNITS = 30_000  # a tile of a picture has three
_TO_THE_END = 1 << 64

_Box = tuple[bytes, memoryview]
_Size = tuple[int, int]


def coded_sizes(content: bytes) -> tuple[list[_Size], list[_Size], list[_Size]]:
    """Return the width and height, in pixels, of the coded pictures that a file's places name.

    Returns:
        Those of the items, of the first picture of each track, and of the configurations that have some.

    Raises:
        ValueError, struct.error: the file is damaged, or holds a picture without a size, or none.
    """
    file = memoryview(content)
    budget = [_MOST_BOXES]
    items: list[_Size] = []
    samples: list[_Size] = []
    units = iter(range(_MOST_UNITS))
    waiting = [file]
    while waiting:
        boxes = list(_boxes(waiting.pop(), budget))
        waiting += [inner[_HOLDERS[kind] :] for kind, inner in boxes if kind in _HOLDERS]
        items += _items(file, boxes, units)
        samples += _first_samples(file, boxes, units)
    if not items and not samples:
        raise ValueError("no coded picture")
    return items, samples, list(_configurations(content, units))


def _boxes(inside: memoryview, budget: list[int]) -> Iterator[_Box]:
    at = 0
    while at + _BOX.size <= len(inside):
        budget[0] -= 1
        length, kind = _BOX.unpack_from(inside, at)
        start = at + _BOX.size
        if length == 1:
            (length,) = _BE64.unpack_from(inside, start)
            start += _BE64.size
        elif length == 0:
            length = len(inside) - at
        if at + length < start or budget[0] < 0:
            raise ValueError("a box smaller than its header, or more boxes than a picture has")
        yield kind, inside[start : at + length]
        at += length


def _items(file: memoryview, boxes: list[_Box], units: Iterator[int]) -> Iterator[_Size]:
    """Read the sizes of the items whose places and kinds are in one list of boxes."""
    kinds = [inner for kind, inner in boxes if kind == b"iinf"]
    places = [inner for kind, inner in boxes if kind == b"iloc"]
    data = [inner for kind, inner in boxes if kind == b"idat"]
    if max(len(kinds), len(places), len(data)) > 1:
        raise ValueError("two boxes of which there may be one")
    if not kinds or not places:
        return
    coded, left = _coded_items(kinds[0]), 2 * len(file)
    known: dict[tuple[object, ...], _Size] = {}  # tiles of one place are read once
    for item, method, extents in _places(places[0]):
        if item not in coded:
            continue
        if method > 1 or (method and not data):
            raise ValueError("an item that lies where OpenCV reads none")
        source = data[0] if method else file
        place = (method, *extents)
        if place not in known:
            parts = [source[start : start + length] for start, length in extents]
            left -= sum(map(len, parts))
            if left < 0:
                raise ValueError("items larger than the file")
            known[place] = largest_frame(parts[0] if len(parts) == 1 else memoryview(b"".join(parts)), units)
        yield known[place]


def _coded_items(inside: memoryview) -> set[int]:
    """Return the numbers of the items that are AV1 streams."""
    found: set[int] = set()
    for kind, inner in _boxes(inside[8 if any(inside[:1]) else 6 :], [_MOST_ITEMS]):
        if kind == b"infe":
            wide = inner[:1].tobytes() == b"\3"
            (item,) = (_BE32 if wide else _BE16).unpack_from(inner, 4)
            if inner[10 if wide else 8 :][:4].tobytes() == b"av01":
                found.add(item)
    return found


def _places(inside: memoryview) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Read the number of each item, how it is placed, and the start and length of its parts."""
    at = 0

    def number(size: int) -> int:
        nonlocal at
        at += size
        if at > len(inside):
            raise ValueError("places that are cut off")
        return int.from_bytes(inside[at - size : at], "big")

    version = number(4) >> 24
    sizes = number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version > 1 else 2
    total = 0
    for _ in range(number(wide)):
        item = number(wide)
        method = number(2) & 15 if version else 0
        number(2)
        base = number(base_size)
        count = number(2)
        total += 1 + count
        if total > _MOST_ITEMS:
            raise ValueError("more items than a picture has")
        extents = []
        for _ in range(count):
            number(index_size if version else 0)
            start = base + number(offset_size)
            extents.append((start, number(length_size) or _TO_THE_END))
        yield item, method, extents


def _first_samples(file: memoryview, boxes: list[_Box], units: Iterator[int]) -> Iterator[_Size]:
    """Read the size of the first picture of a track, whose tables are in one list of boxes."""
    if not any(kind == b"stsd" and b"av01" in bytes(inner) for kind, inner in boxes):
        return  # of sound, say
    starts = [
        (_BE32 if kind == b"stco" else _BE64).unpack_from(inner, 8)[0]
        for kind, inner in boxes
        if kind in (b"stco", b"co64")
    ]
    lengths = [
        _BE32.unpack_from(inner, 4)[0] or _BE32.unpack_from(inner, 12)[0] for kind, inner in boxes if kind == b"stsz"
    ]
    if max(len(starts), len(lengths)) > 1:
        raise ValueError("two tables of which there may be one")
    for start, length in zip(starts, lengths, strict=True):
        yield largest_frame(file[start : start + length], units)


def _configurations(content: bytes, units: Iterator[int]) -> Iterator[_Size]:
    """Read the sizes in what looks like a configuration; most hold none."""
    for found in islice(re.finditer(b"(....)av1C....", content, re.DOTALL), _MOST_ITEMS):
        end = found.start() + _BE32.unpack(found[1])[0]
        try:
            yield largest_frame(memoryview(content)[found.end() : end], units)
        except ValueError:
            continue
