"""The size that a picture's header claims, in every format that OpenCV reads, without decoding the picture."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from struct import Struct

_BE16, _BE16_PAIR, _BE32_PAIR, _LE32 = map(Struct, (">H", ">HH", ">II", "<I"))

_JPEG_SEGMENTS = 10_000  # before the size; photos have some tens
_JPEG_SIZES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_JPEG_LONE = {0x00, 0x01, *range(0xD0, 0xD9)}  # markers without a segment
_JPEG_ENDS = {0xD9, 0xDA}
_PNG_CHUNK = Struct(">I4s")  # length and kind, before the data and a checksum
_PNG_CHUNKS = 1 << 20  # the largest picture has an eighth of that
_NOT_FF = re.compile(rb"[^\xff]")
_TIFF_SIDES = {256, 257, 322, 323}  # width and length, of the picture and of its tiles
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_TIFF_ENTRIES = 1 << 16
# Decoders take a number with any zeros before it; nine digits are more than any limit.
_NUMBER = rb"0*(\d{1,9})"
_GAP = rb"(?:\s|#[^\n\r]*[\n\r])*"
_PNM = re.compile(rb"P[1-6]" + _GAP + _NUMBER + _GAP + _NUMBER)
_PNM_HEADER = 1 << 16  # bytes; longer comments are refused


def longest_side(content: bytes) -> int | None:
    """Return the longest side that a picture claims to have, in pixels; None if it is no picture."""
    for start, sides in _FORMATS:
        if start.match(content):
            try:
                return max(sides(content), default=None)
            except (struct.error, ValueError):  # the header is cut off, or holds what no decoder takes
                return None
    return None


def _at(layout: str, offset: int) -> Callable[[bytes], Iterable[int]]:
    """Return a reader of headers that have the sides at a fixed place."""
    packed = Struct(layout)
    return lambda content: packed.unpack_from(content, offset)


def _in(pattern: bytes) -> Callable[[bytes], Iterable[int]]:
    """Return a reader of headers in words. Whatever looks like a side counts: it can only claim more."""
    words = re.compile(pattern)
    return lambda content: (int(side) for found in words.finditer(content) for side in found.groups())


def _jpeg(content: bytes) -> Iterator[int]:
    at = 2
    for _ in range(_JPEG_SEGMENTS):
        found = _NOT_FF.search(content, content.index(b"\xff", at))  # decoders skip what lies between segments
        if found is None:
            return
        at, marker = found.end(), found[0][0]
        if marker in _JPEG_SIZES:
            yield from _BE16_PAIR.unpack_from(content, at + 3)
            return
        if marker in _JPEG_ENDS:
            return
        if marker not in _JPEG_LONE:
            at += _BE16.unpack_from(content, at)[0]


def _png(content: bytes) -> tuple[int, int]:
    at = 8
    for _ in range(_PNG_CHUNKS):
        length, kind = _PNG_CHUNK.unpack_from(content, at)
        if length > len(content):
            raise ValueError("a chunk larger than the file, for which OpenCV takes memory before it reads it")
        at += length + 12
        if kind == b"IEND" or at + _PNG_CHUNK.size > len(content):
            return _BE32_PAIR.unpack_from(content, 16)
    raise ValueError("more chunks than a picture has")


def _bmp(content: bytes) -> Iterable[int]:
    (header,) = _LE32.unpack_from(content, 14)
    return map(abs, Struct("<HH" if header == 12 else "<ii").unpack_from(content, 18))


def _tiff(content: bytes) -> Iterator[int]:
    order = "<" if content[:2] == b"II" else ">"
    big = b"+" in content[2:4]
    (at,) = Struct(f"{order}{'Q' if big else 'I'}").unpack_from(content, 8 if big else 4)
    counter, entry = Struct(f"{order}{'Q' if big else 'H'}"), Struct(f"{order}HH{'Q8s' if big else 'I4s'}")
    if at + counter.size > len(content):
        raise ValueError("a directory behind the end")
    (entries,) = counter.unpack_from(content, at)
    if entries > _TIFF_ENTRIES:
        raise ValueError("a directory of more entries than there are tags")
    for index in range(entries):
        tag, kind, count, value = entry.unpack_from(content, at + counter.size + index * entry.size)
        if tag in _TIFF_SIDES:
            if count != 1 or kind not in _TIFF_INTEGERS:
                raise ValueError("a side that is no integer")
            yield Struct(order + _TIFF_INTEGERS[kind]).unpack_from(value)[0]


def _webp(content: bytes) -> Iterator[int]:
    kind = content[12:16]
    if kind == b"VP8X":
        for offset in (24, 27):
            yield 1 + int.from_bytes(content[offset : offset + 3], "little")
    elif kind == b"VP8L":
        (bits,) = _LE32.unpack_from(content, 21)
        yield from (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    elif kind == b"VP8 ":
        yield from (side & 0x3FFF for side in Struct("<HH").unpack_from(content, 26))


def _avif(content: bytes) -> Iterator[int]:
    for found in re.finditer(b"ispe", content):
        yield from _BE32_PAIR.unpack_from(content, found.end() + 4)


def _jpeg2000(content: bytes) -> Iterator[int]:
    for found in re.finditer(b"\xff\x4f\xff\x51", content):  # a codestream; what looks like one can only claim more
        right, bottom, left, top = Struct(">IIII").unpack_from(content, found.end() + 4)
        yield from (right - left, bottom - top)


def _pnm(content: bytes) -> Iterable[int]:
    found = _PNM.match(content[:_PNM_HEADER])
    return map(int, found.groups()) if found else ()


# How a file of each format starts, and the reader of its sides.
_FORMATS: list[tuple[re.Pattern[bytes], Callable[[bytes], Iterable[int]]]] = [
    (re.compile(start, re.DOTALL), sides)
    for start, sides in (
        (rb"\xff\xd8\xff", _jpeg),
        (rb"\x89PNG\r\n\x1a\n....IHDR", _png),
        (rb"GIF8[79]a", _at("<HH", 6)),
        (rb"BM", _bmp),
        (rb"II[*+]\0|MM\0[*+]", _tiff),
        (rb"RIFF....WEBP", _webp),
        (rb"....ftyp", _avif),
        (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", _jpeg2000),
        (rb"P[1-6]\s", _pnm),
        (rb"P7\s", _in(rb"(?:WIDTH|HEIGHT)\s+" + _NUMBER)),
        (rb"P[Ff]\s", _in(rb"\AP[Ff]\s" + _NUMBER + rb"\s" + _NUMBER + rb"\s")),
        (rb"#\?(?:RGBE|RADIANCE)", _in(rb"Y\s*[-+]?" + _NUMBER + rb"\s*\+X\s*[-+]?" + _NUMBER)),
        (rb"\x59\xa6\x6a\x95", _at(">II", 4)),
    )
]
