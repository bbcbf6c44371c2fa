"""How many pictures a file of an animated or paged format holds, without decoding one."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from struct import Struct

from engine.untrusted.limits import MAX_FRAMES

_BE32, _LE32 = Struct(">I"), Struct("<I")
_PNG_CHUNK = Struct(">I4s")  # length and kind, before the data and a checksum
_GIF_COLOURS = 0x80  # a flag: a table of colours follows


def number_of_frames(content: bytes) -> int:
    """Return how many pictures a file holds, at most MAX_FRAMES; 1 for a format that holds one, or a damaged file."""
    if content.startswith(b"\x89PNG"):
        frames = _png(content)
    elif content.startswith(b"GIF8"):
        frames = _gif(content)
    elif content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        frames = _webp(content)
    elif content.startswith((b"II*\0", b"MM\0*")):
        frames = _tiff(content)
    elif content[4:12] == b"ftypavis":
        frames = _avif(content)
    else:
        return 1
    count = 0
    try:
        for more in frames:
            count += more
            if count >= MAX_FRAMES:
                return MAX_FRAMES
    except (struct.error, IndexError):  # cut off: so many were found
        pass
    return max(count, 1)


def _png(content: bytes) -> Iterator[int]:
    at = 8
    for _ in range(MAX_FRAMES):  # chunks before the pixels
        length, kind = _PNG_CHUNK.unpack_from(content, at)
        if kind == b"acTL":
            yield _BE32.unpack_from(content, at + 8)[0]
        if kind in (b"acTL", b"IDAT"):
            return
        at += length + 12


def _gif(content: bytes) -> Iterator[int]:
    at = 13 + _gif_colours(content[10])
    while content[at] in b",!":  # a picture, or an extension
        if content[at] == ord(","):
            yield 1
            at += 11 + _gif_colours(content[at + 9])
        else:
            at += 2
        while content[at]:  # blocks of up to 255 bytes
            at += content[at] + 1
        at += 1


def _gif_colours(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & _GIF_COLOURS else 0


def _webp(content: bytes) -> Iterator[int]:
    at = 12
    while True:
        (length,) = _LE32.unpack_from(content, at + 4)
        yield int(content[at : at + 4] == b"ANMF")
        at += 8 + length + length % 2


def _tiff(content: bytes) -> Iterator[int]:
    order = "<" if content[:1] == b"I" else ">"
    long, short = Struct(f"{order}I"), Struct(f"{order}H")
    seen: set[int] = set()
    (at,) = long.unpack_from(content, 4)
    while at and at not in seen:
        seen.add(at)
        (entries,) = short.unpack_from(content, at)
        yield 1
        (at,) = long.unpack_from(content, at + 2 + 12 * entries)


def _avif(content: bytes) -> Iterator[int]:
    at = content.find(b"stsz")  # the table of samples' sizes: version, size, count
    if at >= 0:
        yield _BE32.unpack_from(content, at + 12)[0]
