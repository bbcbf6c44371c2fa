"""What AVIF files claim, against what they hold: a file's own word on its size may be false."""

from __future__ import annotations

import io
import re
import struct
import time

import cv2
import numpy as np
import pytest
from PIL import Image, features

from engine.untrusted.avif.boxes import coded_sizes
from engine.untrusted.avif.sequence_header import largest_frame
from engine.untrusted.image_header import claim_of

_EACH = 44
_needs_pillow = pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF files")


def _opencv(height: int, width: int, *channels: int) -> bytes:
    written, content = cv2.imencode(
        ".avif", np.full((height, width, *channels), 90, np.uint8), [cv2.IMWRITE_AVIF_SPEED, 10]
    )
    assert written
    return content.tobytes()


def _pillow(mode: str, frames: int) -> bytes:
    images = [Image.new(mode, (61, 40), (60 * i, 2, 3, 4)[: len(mode)]) for i in range(frames)]
    buffer = io.BytesIO()
    images[0].save(buffer, "avif", **({"save_all": True, "append_images": images[1:]} if frames > 1 else {}))
    return buffer.getvalue()


def _says(content: bytes, width: int, height: int) -> bytes:
    for found in re.finditer(b"ispe", content):
        at = found.end() + 4
        content = content[:at] + struct.pack(">II", width, height) + content[at + 8 :]
    return content


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
@pytest.mark.parametrize("shape", [(1, 1), (40, 61), (64, 64), (65, 257), (3, 1024), (301, 16)])
def test_the_claim_is_the_size(shape: tuple[int, int], channels: tuple[int, ...]) -> None:
    claim = claim_of(_opencv(*shape, *channels))
    assert claim is not None
    assert (claim.side, claim.decoding_bytes) == (max(shape), _EACH * shape[0] * shape[1])


@_needs_pillow
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_transparent_and_animated_pictures(mode: str, frames: int) -> None:
    content = _pillow(mode, frames)
    items, samples, _ = coded_sizes(content)
    # A frame of an animation may have any sides of six bits.
    width, height = (61, 40) if frames == 1 else (64, 64)
    assert set(items) == {(width, height)}
    assert len(samples) == (len(mode) - 2 if frames > 1 else 0)
    claim = claim_of(content)
    assert claim is not None
    assert claim.side == width
    assert claim.decoding_bytes in (_EACH * width * height, 2 * _EACH * width * height)  # or of a track too


def test_a_file_does_not_hide_its_size() -> None:
    claim = claim_of(_says(_opencv(4096, 4096), 64, 64))
    assert claim is not None
    assert (claim.side, claim.decoding_bytes) == (4096, _EACH << 24)


@_needs_pillow
def test_an_animation_does_not_hide_its_size() -> None:
    claim = claim_of(_says(_pillow("RGBA", 2), 4, 4))
    assert claim is not None
    assert (claim.side, claim.decoding_bytes) == (64, _EACH * 64 * 64)


def test_a_stream_without_a_size_is_no_picture() -> None:
    content = _opencv(40, 60, 3)
    at = content.index(b"mdat") + 6  # behind the delimiter
    assert content[at] == 0x0A
    assert claim_of(content[:at] + b"\x7a" + content[at + 1 :]) is None  # padding


def _packed(*fields: tuple[int, int]) -> memoryview:
    """Return a unit with a sequence header of (value, bits)."""
    text = "".join(f"{value:0{bits}b}" for value, bits in fields)
    payload = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
    return memoryview(b"\x12\0\x0a" + bytes([len(payload)]) + payload)


def test_headers_with_times_and_operating_points() -> None:
    timing = [(1, 1), (5, 32), (9, 32), (1, 1), (1, 3), (2, 2), (1, 1), (9, 5), (7, 32), (3, 5), (4, 5)]
    points = [(1, 1), (1, 5), (3, 12), (9, 5), (1, 1), (1, 1), (5, 10), (6, 10), (1, 1), (1, 1), (8, 4)]
    points += [(1, 12), (4, 5), (0, 1), (0, 1)]
    fields = [(0, 3), (0, 1), (0, 1), *timing, *points]
    assert largest_frame(_packed(*fields, (9, 4), (8, 4), (999, 10), (479, 9)), iter(range(9))) == (1024, 512)
    # Frames may have any sides of 16 bits, though the header says 64.
    assert largest_frame(_packed(*fields, (15, 4), (15, 4), (63, 16), (63, 16)), iter(range(9))) == (1 << 16, 1 << 16)


@pytest.mark.parametrize(
    "make", [lambda: _opencv(40, 61, 4), pytest.param(lambda: _pillow("RGBA", 2), marks=_needs_pillow)]
)
def test_hostile_bytes_raise_nothing(rng: np.random.Generator, make: object) -> None:
    assert callable(make)
    content = make()
    started = time.process_time()
    for length in range(len(content)):
        claim = claim_of(content[:length])
        assert claim is None or claim.side <= 64
    for _ in range(2000):
        changed = bytearray(content)
        for at in rng.integers(0, len(content), rng.integers(1, 6)):
            changed[at] ^= 1 << rng.integers(8)
        claim_of(bytes(changed))
    assert time.process_time() - started < 20


def test_a_configuration_s_size_counts() -> None:
    content = _opencv(40, 60, 3)
    unit = bytes(_packed((0, 4), (1, 1), (0, 5), (9, 4), (8, 4), (999, 10), (479, 9)))
    more = struct.pack(">I", 12 + len(unit)) + b"av1C" + bytes(4) + unit
    claim = claim_of(content + more)
    assert claim is not None
    assert (claim.side, claim.decoding_bytes) == (1000, _EACH * 1000 * 480)


def test_parts_of_an_item_are_joined() -> None:
    """A sequence header lies in two parts, in the file or in the box that is beside their places."""
    stream = bytes(_packed((0, 4), (1, 1), (0, 5), (9, 4), (8, 4), (999, 10), (479, 9)))
    for method in (0, 1):
        places = struct.pack(">IHHHHHH", 1 << 24, 0x4400, 1, 1, method, 0, 2)

        def box(kind: bytes, *inner: bytes) -> bytes:
            return struct.pack(">I4s", 8 + sum(map(len, inner)), kind) + b"".join(inner)

        item = box(b"iinf", bytes(4), b"\0\1", box(b"infe", b"\2\0\0\0\0\1\0\0av01"))
        size = box(b"ispe", bytes(4), struct.pack(">II", 64, 64))
        start = 0 if method else 28
        parts = struct.pack(">4I", start, 5, start + 5, len(stream) - 5)
        file = box(b"ftyp", b"avif", bytes(8)) + box(b"mdat", b"" if method else stream)
        file += box(b"meta", bytes(4), box(b"iloc", places, parts), item, size, box(b"idat", stream if method else b""))
        assert coded_sizes(file)[0] == [(1000, 480)]
        claim = claim_of(file)
        assert claim is not None
        assert claim.side == 1000
        assert claim_of(file.replace(b"av01", b"mime")) is None


@pytest.mark.parametrize("unit", [b"\x12\0", b"\x0a\x0b" + bytes(11)])
def test_many_units_take_little_time(unit: bytes) -> None:
    content = _opencv(40, 60, 3)
    at = content.index(b"iloc") + 18
    endless = content[:at] + struct.pack(">II", len(content), 0) + content[at + 8 :] + unit * 1_000_000
    started = time.process_time()
    assert claim_of(endless) is None
    assert time.process_time() - started < 5
