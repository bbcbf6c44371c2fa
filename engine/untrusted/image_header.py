"""What a picture's header claims, in every format that OpenCV reads, without decoding it: its sides, and its memory.

The bytes for each pixel are measured (tests/engine/untrusted/test_image_memory.py): some decoders take a copy in
floating point, or of every frame that is shown before. Uncompressed formats cost their file, which is counted apart.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from struct import Struct

from engine.errors import InvalidArgumentError
from engine.untrusted.avif.boxes import coded_sizes

_BE16, _BE16_PAIR, _BE32_PAIR, _LE32 = map(Struct, (">H", ">HH", ">II", "<I"))

_MOST_PARTS = 10_000
# Bytes that decoding takes for each pixel: the picture, a copy, and what the decoder holds meanwhile.
_PLAIN = 6
_JPEG = 11  # the coefficients of four colours, where the file has several scans
_ANIMATED_PNG = 28  # three frames of 16 bits and four colours
_GIF = 13
_WEBP, _ANIMATED_WEBP = 8, 12
_TIFF_STRIP = 16  # of a strip or a tile, beside the picture
_AVIF = 44  # 12 bits, with transparency
_JPEG2000, _JPEG2000_BLOCK, _JPEG2000_TILE = 32, 1 << 10, 1 << 14
_HDR, _PFM = 16, 28

_JPEG_SEGMENTS = 10_000  # before the size; photos have some tens
_JPEG_SIZES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_JPEG_LONE = {0x00, 0x01, *range(0xD0, 0xD9)}  # markers without a segment
_JPEG_ENDS = {0xD9, 0xDA}
_PNG_CHUNK = Struct(">I4s")  # length and kind, before the data and a checksum
_PNG_CHUNKS = 1 << 20  # the largest picture has an eighth of that
_NOT_FF = re.compile(rb"[^\xff]")
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_ROWS, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 256, 257, 278, 322, 323
_TIFF_SIDES = {_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_ROWS, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT}
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_TIFF_ENTRIES = 1 << 16
# A codestream's sizes, and how it is coded, as every decoder takes it: whether it has precincts, the number of its
# levels, and the exponents of the sides of its blocks.
_JPEG2000_SIZES = re.compile(rb"\xff\x4f\xff\x51....(.{32})(..)", re.DOTALL)
_JPEG2000_CODING = re.compile(
    rb"\xff(?:\x52\0[\x0c-\x2d](?P<all>[\0-\x07])...[\0\1]|\x53\0[\x09-\x2b].(?P<one>[\0\1]))"
    rb"(?P<levels>[\0-\x20])(?P<sides>[\0-\x08]{2}).[\0\1]",
    re.DOTALL,
)
_JPEG2000_COLOURS = 4
# Headers in words end within so many bytes; longer comments are refused.
_WORDS = 1 << 16
_LINE = 130  # with the empty one before it
# Decoders take a number with any zeros before it; nine digits are more than any limit.
_NUMBER = rb"0*(\d{1,9})"
_GAP = rb"(?:\s|#[^\n\r]*[\n\r])*"
_PNM = re.compile(rb"P[1-6]" + _GAP + _NUMBER + _GAP + _NUMBER)
_PFM_HEADER = re.compile(rb"P[Ff]\s" + _NUMBER + rb"\s" + _NUMBER + rb"\s")
_COMMENT = re.compile(rb"#[^\n\r]*")
_PAM_SIDE = re.compile(rb"(?:WIDTH|HEIGHT)\s+" + _NUMBER)
_HDR_SIDES = re.compile(rb"Y\s*[-+]?" + _NUMBER + rb"\s*\+X\s*[-+]?" + _NUMBER)


@dataclass(frozen=True)
class Claim:
    """What a picture claims.

    Attributes:
        side: the longest one, in pixels.
        pixels: of the largest part: the canvas, or a frame.
        decoding_bytes: memory that reading it takes at most, beside the file.
    """

    side: int
    pixels: int
    decoding_bytes: int


# A part of a picture, such as its canvas or a tile: width, height, and the bytes that decoding takes for each pixel.
_Part = tuple[int, int, int]


def claim_of(content: bytes) -> Claim | None:
    """Return what a picture claims; None if it is no picture."""
    for start, parts_of in _FORMATS:
        if start.match(content):
            try:
                parts = list(islice(parts_of(content), _MOST_PARTS))
            except (struct.error, ValueError):  # the header is cut off, or holds what no decoder takes
                return None
            if not parts or len(parts) == _MOST_PARTS:
                return None
            side = max(max(width, height) for width, height, _ in parts)
            pixels = max(width * height for width, height, _ in parts)
            return Claim(side, pixels, sum(width * height * each for width, height, each in parts))
    return None


def claim_within(content: bytes, max_pixels: int, name: str) -> Claim | None:
    """Return what a picture claims; None if it is no picture.

    Raises:
        InvalidArgumentError: it claims more pixels.
    """
    claim = claim_of(content)
    if claim is not None and claim.pixels > max_pixels:
        raise InvalidArgumentError(f"{name} claims {claim.pixels:,} pixels, expected at most {max_pixels:,}")
    return claim


def _at(layout: str, offset: int, bytes_per_pixel: int) -> Callable[[bytes], Iterator[_Part]]:
    """Return a reader of headers that have the sides at a fixed place."""
    packed = Struct(layout)

    def parts(content: bytes) -> Iterator[_Part]:
        first, second = packed.unpack_from(content, offset)
        yield first, second, bytes_per_pixel

    return parts


def _jpeg(content: bytes) -> Iterator[_Part]:
    at = 2
    for _ in range(_JPEG_SEGMENTS):
        found = _NOT_FF.search(content, content.index(b"\xff", at))  # decoders skip what lies between segments
        if found is None:
            return
        at, marker = found.end(), found[0][0]
        if marker in _JPEG_SIZES:
            height, width = _BE16_PAIR.unpack_from(content, at + 3)
            yield width, height, _JPEG
            return
        if marker in _JPEG_ENDS:
            return
        if marker not in _JPEG_LONE:
            at += _BE16.unpack_from(content, at)[0]


def _png(content: bytes) -> Iterator[_Part]:
    at, each = 8, _PLAIN
    for _ in range(_PNG_CHUNKS):
        length, kind = _PNG_CHUNK.unpack_from(content, at)
        if length > len(content):
            raise ValueError("a chunk larger than the file, for which OpenCV takes memory before it reads it")
        if kind == b"acTL":
            each = _ANIMATED_PNG
        at += length + 12
        if kind == b"IEND" or at + _PNG_CHUNK.size > len(content):
            width, height = _BE32_PAIR.unpack_from(content, 16)
            yield width, height, each
            return
    raise ValueError("more chunks than a picture has")


def _bmp(content: bytes) -> Iterator[_Part]:
    (header,) = _LE32.unpack_from(content, 14)
    width, height = Struct("<HH" if header == 12 else "<ii").unpack_from(content, 18)
    yield abs(width), abs(height), _PLAIN


def _tiff(content: bytes) -> Iterator[_Part]:
    sides = _tiff_sides(content)
    width, height = sides.get(_TIFF_WIDTH), sides.get(_TIFF_HEIGHT)
    if width is None or height is None:
        return
    yield width, height, _PLAIN
    if _TIFF_TILE_WIDTH in sides or _TIFF_TILE_HEIGHT in sides:
        yield sides.get(_TIFF_TILE_WIDTH, width), sides.get(_TIFF_TILE_HEIGHT, height), _TIFF_STRIP
    else:
        yield width, min(height, sides.get(_TIFF_ROWS) or height), _TIFF_STRIP


def _tiff_sides(content: bytes) -> dict[int, int]:
    """Return the largest value of each tag that is a side."""
    order = "<" if content[:2] == b"II" else ">"
    big = b"+" in content[2:4]
    (at,) = Struct(f"{order}{'Q' if big else 'I'}").unpack_from(content, 8 if big else 4)
    counter, entry = Struct(f"{order}{'Q' if big else 'H'}"), Struct(f"{order}HH{'Q8s' if big else 'I4s'}")
    if at + counter.size > len(content):
        raise ValueError("a directory behind the end")
    (entries,) = counter.unpack_from(content, at)
    if entries > _TIFF_ENTRIES:
        raise ValueError("a directory of more entries than there are tags")
    sides: dict[int, int] = {}
    for index in range(entries):
        tag, kind, count, value = entry.unpack_from(content, at + counter.size + index * entry.size)
        if tag in _TIFF_SIDES:
            if count != 1 or kind not in _TIFF_INTEGERS:
                raise ValueError("a side that is no integer")
            sides[tag] = max(sides.get(tag, 0), Struct(order + _TIFF_INTEGERS[kind]).unpack_from(value)[0])
    return sides


def _webp(content: bytes) -> Iterator[_Part]:
    kind = content[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(content[offset : offset + 3], "little") for offset in (24, 27))
        yield width, height, _ANIMATED_WEBP if content[20] & 2 else _WEBP
    elif kind == b"VP8L":
        (bits,) = _LE32.unpack_from(content, 21)
        yield 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), _WEBP
    elif kind == b"VP8 ":
        width, height = Struct("<HH").unpack_from(content, 26)
        yield width & 0x3FFF, height & 0x3FFF, _WEBP


def _avif(content: bytes) -> Iterator[_Part]:
    """Compare what the file says with what the streams in it say, and which a decoder goes by."""
    boxes = islice(re.finditer(b"ispe", content), _MOST_PARTS)
    shown = [_BE32_PAIR.unpack_from(content, found.end() + 4) for found in boxes]
    if not shown:
        return
    # What decoding takes is measured for a picture with its transparency, which is coded apart.
    coded = [sorted(sizes, key=_area)[-1 if len(sizes) < 3 else 0 :] for sizes in coded_sizes(content)]
    largest = max((shown, *coded), key=lambda sizes: sum(map(_area, sizes)))
    for sizes in (shown, *coded):
        for width, height in sizes:
            yield width, height, _AVIF if sizes is largest else 0


def _area(sides: tuple[int, int]) -> int:
    return sides[0] * sides[1]


def _jpeg2000(content: bytes) -> Iterator[_Part]:
    """Read what looks like a codestream, and like its coding: what is none can only claim more."""
    block = min(map(_block_area, islice(_JPEG2000_CODING.finditer(content), _MOST_PARTS)), default=1)
    for found in _JPEG2000_SIZES.finditer(content):
        right, bottom, left, top, tile_width, tile_height = Struct(">6I8x").unpack(found[1])
        width, height, (colours,) = right - left, bottom - top, _BE16.unpack(found[2])
        if min(width, height, tile_width, tile_height) < 1 or colours > _JPEG2000_COLOURS:
            raise ValueError("a picture without pixels or with more colours than OpenCV reads")
        yield width, height, _JPEG2000 + _JPEG2000_BLOCK * _JPEG2000_COLOURS // block
        yield -(-right // tile_width), -(-bottom // tile_height), _JPEG2000_TILE


def _block_area(coding: re.Match[bytes]) -> int:
    """Return the pixels of the smallest block of a picture. It belongs to one precinct."""
    width, height = (exponent + 2 for exponent in coding["sides"])
    if (coding["all"] or coding["one"])[0] & 1:
        for precinct in coding.string[coding.end() : coding.end() + coding["levels"][0] + 1]:
            width, height = min(width, max(precinct & 15, 1) - 1), min(height, max(precinct >> 4, 1) - 1)
    return 1 << (width + height)


def _pnm(content: bytes) -> Iterator[_Part]:
    if found := _PNM.match(content[:_WORDS]):
        yield int(found[1]), int(found[2]), _PLAIN


def _pam(content: bytes) -> Iterator[_Part]:
    header, end, _ = _COMMENT.sub(b"", content[:_WORDS]).partition(b"ENDHDR")
    sides = [int(found[1]) for found in _PAM_SIDE.finditer(header)]
    if end and sides:
        yield max(sides), max(sides), _PLAIN


def _pfm(content: bytes) -> Iterator[_Part]:
    if found := _PFM_HEADER.match(content[:_WORDS]):
        yield int(found[1]), int(found[2]), _PFM


def _hdr(content: bytes) -> Iterator[_Part]:
    """Read the line behind the first empty one; whatever looks like it counts, since it can only claim more."""
    end = content.find(b"\n\n", 0, _WORDS)
    for found in _HDR_SIDES.finditer(content[: end + _LINE]) if end > 0 else ():
        yield int(found[1]), int(found[2]), _HDR


# How a file of each format starts, and the reader of its parts.
_FORMATS: list[tuple[re.Pattern[bytes], Callable[[bytes], Iterator[_Part]]]] = [
    (re.compile(start, re.DOTALL), parts)
    for start, parts in (
        (rb"\xff\xd8\xff", _jpeg),
        (rb"\x89PNG\r\n\x1a\n....IHDR", _png),
        (rb"GIF8[79]a", _at("<HH", 6, _GIF)),
        (rb"BM", _bmp),
        (rb"II[*+]\0|MM\0[*+]", _tiff),
        (rb"RIFF....WEBP", _webp),
        (rb"....ftyp", _avif),
        (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", _jpeg2000),
        (rb"P[1-6]\s", _pnm),
        (rb"P7\s", _pam),
        (rb"P[Ff]\s", _pfm),
        (rb"#\?(?:RGBE|RADIANCE)", _hdr),
        (rb"\x59\xa6\x6a\x95", _at(">II", 4, _PLAIN)),
    )
]
