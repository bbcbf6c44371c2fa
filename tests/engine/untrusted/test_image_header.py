"""The sides in headers, against what OpenCV decodes; and headers that claim more than a picture may have."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from engine.errors import InvalidArgumentError
from engine.images import decode_image
from engine.untrusted.image_header import claim_of, claim_within
from engine.untrusted.limits import MAX_IMAGE_SIDE
from tests.support.memory import at_most_more

SHAPES = [(1, 1), (3, 7), (40, 9), (301, 77), (16, 300), (1, 1000)]
FORMATS = {
    "jpg": [cv2.IMWRITE_JPEG_QUALITY, 90],
    "progressive.jpg": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "png": [],
    "bmp": [],
    "tiff": [],
    "webp": [cv2.IMWRITE_WEBP_QUALITY, 80],
    "lossless.webp": [cv2.IMWRITE_WEBP_QUALITY, 101],
    "jp2": [],
    "gif": [],
    "avif": [],
    "ppm": [],
    "pgm": [],
    "pam": [],
    "ras": [],
    "hdr": [],
    "pfm": [],
}


def _encoded(rng: np.random.Generator, name: str, shape: tuple[int, int]) -> bytes:
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    kind = name.split(".")[-1]
    given = image[..., 0] if kind == "pgm" else image.astype(np.float32) if kind in ("hdr", "pfm") else image
    try:
        written, content = cv2.imencode(f".{kind}", given, FORMATS[name])
    except cv2.error:
        written = False
    if not written:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, {"jp2": "JPEG2000"}.get(kind, kind))
        return buffer.getvalue()
    return content.tobytes()


def longest_side(content: bytes) -> int | None:
    claim = claim_of(content)
    return None if claim is None else claim.side


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FORMATS)
def test_the_longest_side_is_read(rng: np.random.Generator, name: str, shape: tuple[int, int]) -> None:
    content = _encoded(rng, name, shape)
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert longest_side(content) == max(decoded.shape[:2]) == max(shape)


@pytest.mark.parametrize("name", FORMATS)
def test_cut_and_changed_headers_raise_nothing(rng: np.random.Generator, name: str) -> None:
    content = _encoded(rng, name, (40, 30))
    for length in range(min(len(content), 400)):
        side = longest_side(content[:length])
        assert side is None or side <= 40
    for _ in range(300):
        changed = bytearray(content)
        for at in rng.integers(0, min(len(content), 200), 3):
            changed[at] = rng.integers(256)
        side = longest_side(bytes(changed))
        if side is not None and side <= 2000:
            cv2.imdecode(np.frombuffer(changed, np.uint8), cv2.IMREAD_COLOR)


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def _jpeg(width: int, height: int) -> bytes:
    content = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def _bmp(width: int, height: int) -> bytes:
    content = cv2.imencode(".bmp", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    return content[:18] + struct.pack("<ii", width, -height) + content[26:]


def _tiff(width: int, height: int) -> bytes:
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 0), (279, 4, 8)]
    packed = b"".join(
        struct.pack(">HHI", tag, kind, 1) + struct.pack(">I" if kind == 4 else ">H2x", value)
        for tag, kind, value in entries
    )
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + packed + bytes(4)


def _bigtiff(width: int, height: int) -> bytes:
    packed = b"".join(struct.pack("<HHQQ", tag, 16, 1, side) for tag, side in ((256, width), (257, height)))
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2) + packed + bytes(8)


def _pnm(width: int, height: int) -> bytes:
    return f"P6\n# 1 1\r00{width}#\n\t{height} 255\n".encode()


def _pam(width: int, height: int) -> bytes:
    return f"P7\n# WIDTH 1\nHEIGHT {height}\nWIDTH {width}\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n".encode()


def _hdr(width: int, height: int) -> bytes:
    return f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {height} +X {width}\n".encode()


def _gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0;"


def _avif(width: int, height: int) -> bytes:
    content = cv2.imencode(".avif", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    at = content.index(b"ispe") + 8
    return content[:at] + struct.pack(">II", width, height) + content[at + 8 :]


def _apng(width: int, height: int) -> bytes:
    content = _png(width, height)
    animation = b"acTL" + struct.pack(">II", 2, 0)
    return content[:33] + b"\0\0\0\x08" + animation + struct.pack(">I", zlib.crc32(animation)) + content[33:]


def _animated_webp(width: int, height: int) -> bytes:
    sides = b"".join((side - 1).to_bytes(3, "little") for side in (width, height))
    return b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\2\0\0\0" + sides


def _one_strip(width: int, height: int) -> bytes:
    return _tiff(width, height)


def _jpeg2000(
    width: int, height: int, *, block: int = 4, precinct: bytes = b"", tile: int = 1 << 14, colours: int = 3
) -> bytes:
    sizes = struct.pack(">8IH", width, height, 0, 0, tile, tile, 0, 0, colours) + b"\7\1\1" * colours
    coding = bytes([len(precinct) > 0, 0, 0, 1, 1, 0, block, block, 0, 1]) + precinct
    return b"".join(
        marker + struct.pack(">H", len(content) + 2) + content
        for marker, content in ((b"\xff\x4f\xff\x51", b"\0\0" + sizes), (b"\xff\x52", coding))
    )


@pytest.mark.parametrize("make", [_png, _jpeg, _bmp, _tiff, _bigtiff, _pnm, _pam, _hdr, _gif])
@pytest.mark.parametrize(("width", "height"), [(32000, 32000), (1, 16385), (65000, 2)])
def test_pictures_that_claim_too_much_take_no_memory(make: object, width: int, height: int) -> None:
    assert callable(make)
    with (
        at_most_more(64 << 20),
        pytest.raises(InvalidArgumentError, match=f"a side of {max(width, height)} pixels, expected sides up to 16384"),
    ):
        decode_image(make(width, height))


def test_a_chunk_that_claims_more_than_the_file_takes_no_memory(rng: np.random.Generator) -> None:
    content = _encoded(rng, "png", (40, 30))
    at = content.index(b"IDAT") - 4
    claimed = content[:at] + struct.pack(">I", 0xEF00_0000) + content[at + 4 :]
    assert longest_side(claimed) is None  # OpenCV would take 3.8 GB
    with pytest.raises(InvalidArgumentError, match="is not a picture"):
        decode_image(claimed)
    assert longest_side(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(17) + b"\0\0\0\0IDAT\0\0\0\0" * (1 << 20)) is None


def test_the_longest_allowed_side_is_decoded() -> None:
    image = np.zeros((2, 16384, 3), np.uint8)
    for kind in (".png", ".jpg", ".webp"):
        written, content = cv2.imencode(kind, image[:, :16383] if kind == ".webp" else image)  # WebP ends there
        assert written
        assert decode_image(content.tobytes()).shape[1] >= 16383


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"\xff\xd8\xff" + b"\xff" * 100_000,
        b"\xff\xd8\xff" + b"\xff\xe0\0\2" * 100_000,
        b"P6" + b" " * 10**6,
        b"P6\n" + b"#\n" * 10**6 + b"5 5",
        b"GIF89a",
        b"II*\0\xff\xff\xff\xff",
        b"II+\0\x08\0\0\0" + b"\xff" * 16,
        b"RIFF....WEBPVP8?",
        b"text",
        b"\0\0\0\x1cftypavif",
        b"\0\0\0\x1cftypavif" + b"ispe" * 100_000,
        b"\xff\x4f\xff\x51" * 100_000,
        b"P7\nWIDTH" + b" " * 10**6,
        b"P7\nWIDTH 3\nHEIGHT 4\n" + b"# a long comment, ENDHDR\n" * 10_000 + b"ENDHDR\n",
        b"Pf\n" + b"0" * 10**6,
    ],
)
def test_what_has_no_size_is_no_picture(content: bytes) -> None:
    assert longest_side(content) is None
    with pytest.raises(InvalidArgumentError, match="is not a picture"):
        decode_image(content)


def test_a_thumbnail_s_size_is_not_taken_for_the_picture_s(rng: np.random.Generator) -> None:
    thumbnail = _encoded(rng, "jpg", (900, 8))
    content = _encoded(rng, "jpg", (30, 20))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    assert longest_side(content[:2] + segment + content[2:]) == 30


def test_photos_with_metadata(tmp_path: Path) -> None:
    skimage = pytest.importorskip("skimage")
    for path in (Path(skimage.__file__).parent / "data").glob("*.*"):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.suffix in (".png", ".jpg", ".tif", ".gif") else None
        if image is not None:
            assert longest_side(path.read_bytes()) == max(image.shape), path


@pytest.mark.parametrize(
    "start",
    [
        b"#?RADIANCE\n-Y ",
        b"#?RADIANCE\n\n-Y ",
        b"P7\nWIDTH ",
        b"Pf\n",
        b"P6\n",
    ],
)
def test_a_number_without_end_takes_no_time(start: bytes) -> None:
    started = time.process_time()
    claim_of(start + b"0" * (100 << 20))
    assert time.process_time() - started < 0.5  # 10 s in the first one, when digits were tried singly


def test_sizes_in_comments_do_not_hide_the_size() -> None:
    """A decoder reads the line behind the first empty one, and passes over comments."""
    assert longest_side(b"#?RADIANCE\n# -Y 1 +X 1\n" + _hdr(20000, 3)[11:]) == 20000
    assert longest_side(b"#?RADIANCE\n" + b"#" * 126 + b"\n" + _hdr(20000, 3)[11:]) == 20000
    assert longest_side(b"#?RADIANCE\n-Y 1 +X 1\n" + b"#\n" * 40_000 + _hdr(20000, 3)[11:]) is None
    hidden = b"P7\n# ENDHDR WIDTH 3\nWIDTH 20000\nHEIGHT 3\nENDHDR\n"
    assert longest_side(hidden) == 20000


@pytest.mark.parametrize("make", [_gif, _hdr, _avif, _jpeg2000, _apng, _animated_webp, _one_strip])
def test_formats_whose_decoders_take_several_copies_may_have_fewer_pixels(make: object) -> None:
    assert callable(make)
    side = 16383 if make is _animated_webp else MAX_IMAGE_SIDE
    with (
        at_most_more(64 << 20),
        pytest.raises(InvalidArgumentError, match=r"up to [3-9],\d{3} MiB|up to \d\d,\d{3} MiB"),
    ):
        decode_image(make(side, side) + bytes(side == 16383 and 1 << 20))
    small = claim_of(make(4000, 3000))
    assert small is not None
    assert small.decoding_bytes < 1 << 30


def test_small_blocks_and_tiles_of_jpeg_2000_count() -> None:
    usual = claim_of(_jpeg2000(2048, 2048))
    assert usual is not None
    for name, other in {
        "blocks": _jpeg2000(2048, 2048, block=0),
        "precincts": _jpeg2000(2048, 2048, precinct=b"\x33"),
        "tiles": _jpeg2000(2048, 2048, tile=16),
    }.items():
        claim = claim_of(other)
        assert claim is not None, name
        assert claim.decoding_bytes > 2 * usual.decoding_bytes, name
    assert claim_of(_jpeg2000(2048, 2048, colours=5)) is None


def test_what_claims_too_much_is_refused() -> None:
    file = cv2.imencode(".png", np.zeros((7, 9, 3), np.uint8))[1].tobytes()
    assert claim_within(file, 63, "a.png") == claim_of(file)
    with pytest.raises(InvalidArgumentError, match=r"^a\.png claims 63 pixels, expected at most 62$"):
        claim_within(file, 62, "a.png")
    assert claim_within(b"no picture", 0, "a") is None
