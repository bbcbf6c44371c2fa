"""Changes of pictures: chunks of PNG files with right checksums, segments of JPEG files with right lengths."""

from __future__ import annotations

import struct
import zlib
from random import Random

from tests.fuzz.mutate.content import edge, few, mutated

PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8"
Chunks = list[tuple[bytes, bytes]]
_SCAN = 0xDA
_KINDS = (
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"iCCP", b"sRGB", b"tEXt", b"zTXt", b"iTXt",
    b"eXIf", b"acTL", b"fcTL", b"fdAT", b"pHYs", b"bKGD", b"sBIT", b"sPLT", b"hIST", b"tIME"
)  # fmt: skip


def chunks_of(content: bytes) -> Chunks:
    """Return kind and data of a PNG file's chunks."""
    chunks: Chunks = []
    at = len(PNG_START)
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += length + 12
    return chunks


def png_of(chunks: Chunks) -> bytes:
    """Return a PNG file."""
    return PNG_START + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def mutated_png(content: bytes, random: Random) -> bytes:
    """Return a PNG file with a few changes of its chunks."""
    chunks = chunks_of(content)
    for _ in range(few(random, 4)):
        if not chunks:
            break
        at = random.randrange(len(chunks))
        kind, data = chunks[at]
        choice = random.randrange(10)
        if choice == 0:
            del chunks[at]
        elif choice == 1:
            chunks.insert(at, random.choice(chunks))
        elif choice == 2:
            chunks.insert(at, (random.choice(_KINDS), random.choice((data, random.randbytes(few(random, 64))))))
        elif choice == 3:
            chunks[at] = (random.choice(_KINDS), data)
        elif choice < 6 and kind == b"IDAT":
            chunks[at] = (kind, _repacked(data, random))
        elif choice < 8 and kind == b"IHDR":
            chunks[at] = (kind, _header(data, random))
        else:
            chunks[at] = (kind, mutated(data, random))
    return png_of(chunks)


def _header(data: bytes, random: Random) -> bytes:
    """Change a side, the depth, the kind of colours, or the interlacing."""
    fields = list(struct.unpack(">IIBBBBB", data.ljust(13, b"\0")[:13]))
    at = random.randrange(len(fields))
    fields[at] = edge(random, 32) if at < 2 else random.choice((0, 1, 2, 3, 4, 6, 8, 16, random.getrandbits(8)))
    return struct.pack(">IIBBBBB", *fields)


def _repacked(data: bytes, random: Random) -> bytes:
    """Change what is packed, so that it unpacks."""
    try:
        unpacked = zlib.decompress(data)
    except zlib.error:
        return mutated(data, random)
    return zlib.compress(random.choice((mutated(unpacked, random), unpacked * random.choice((0, 2, 30)))), 1)


def segments_of(content: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return marker and data of a JPEG file's segments up to the first scan, and what follows."""
    segments = []
    at = len(JPEG_START)
    while content[at + 1] != _SCAN:
        (length,) = struct.unpack_from(">H", content, at + 2)
        segments.append((content[at + 1], content[at + 4 : at + 2 + length]))
        at += 2 + length
    return segments, content[at:]


def jpeg_of(segments: list[tuple[int, bytes]], scan: bytes) -> bytes:
    """Return a JPEG file."""
    packed = (bytes([0xFF, marker]) + struct.pack(">H", min(65535, len(data) + 2)) + data for marker, data in segments)
    return JPEG_START + b"".join(packed) + scan


def mutated_jpeg(content: bytes, random: Random) -> bytes:
    """Return a JPEG file with a few changes of its segments, or of the packed pixels."""
    segments, scan = segments_of(content)
    for _ in range(few(random, 4)):
        if not segments:
            break
        at = random.randrange(len(segments))
        marker, data = segments[at]
        choice = random.randrange(10)
        if choice == 0:
            del segments[at]
        elif choice == 1:
            segments.insert(at, random.choice(segments))
        elif choice == 2:
            segments[at] = (random.choice((0xC0, 0xC1, 0xC2, 0xC4, 0xC9, 0xDB, 0xDD, 0xE1, 0xEE, 0xFE)), data)
        elif choice == 3:
            scan = mutated(scan, random)
        elif choice == 4:
            scan += random.choice((scan, scan[len(scan) // 2 :], JPEG_START))
        else:
            segments[at] = (marker, mutated(data, random)[:65533])
    return jpeg_of(segments, scan)
