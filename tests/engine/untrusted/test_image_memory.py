"""The memory that reading a picture takes, against what its header is reckoned to claim, in processes of their own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from engine.untrusted.image_header import claim_of
from engine.untrusted.limits import MAX_IMAGE_MEMORY_BYTES, MAX_IMAGE_SIDE, MIB

_SIDE = 3000
# What a decoder takes for a picture of any size: threads, tables, code that it loads.
_BESIDE = 40 * MIB
_READER = """
import json, sys
from pathlib import Path
from engine.images import read_image
peak = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
before = peak()
image = read_image(Path(sys.argv[1]))
print(json.dumps([image.shape, peak() - before]))
"""


def _read_in_child(path: Path) -> tuple[list[int], int]:
    """Return the shape of a picture, and the bytes that reading it took at its peak."""
    done = subprocess.run([sys.executable, "-c", _READER, str(path)], capture_output=True, text=True, check=True)
    shape, taken = json.loads(done.stdout)
    return shape, taken


def _opencv(
    kind: str, *options: int, channels: int = 3, dtype: type = np.uint8, value: float = 100
) -> Callable[[], bytes]:
    def encode() -> bytes:
        written, content = cv2.imencode(kind, np.full((_SIDE, _SIDE, channels), value, dtype), options)
        assert written
        return content.tobytes()

    return encode


def _pillow(kind: str, mode: str, frames: int = 1, side: int = _SIDE, **options: object) -> Callable[[], bytes]:
    def encode() -> bytes:
        images = [Image.new(mode, (side, side - 8), (50 * i + 50,) * len(mode)) for i in range(frames)]
        buffer = io.BytesIO()
        more = {"save_all": True, "append_images": images[1:]} if frames > 1 else {}
        images[0].save(buffer, kind, **more, **options)
        return buffer.getvalue()

    return encode


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x112] = 6
    return exif.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(_pillow("jpeg", "RGB", exif=_turned()), id="jpeg"),
        pytest.param(_pillow("jpeg", "CMYK", progressive=True, subsampling=0, exif=_turned()), id="progressive-cmyk"),
        pytest.param(_pillow("png", "RGBA", exif=_turned()), id="png"),
        pytest.param(_opencv(".png", channels=4, dtype=np.uint16, value=20_000), id="png-16"),
        pytest.param(_pillow("png", "RGBA", frames=3), id="animated-png"),
        pytest.param(_pillow("gif", "RGB", frames=3), id="gif"),
        pytest.param(_pillow("webp", "RGBA", lossless=True, method=0), id="webp"),
        pytest.param(_pillow("webp", "RGBA", frames=3, lossless=True, method=0), id="animated-webp"),
        pytest.param(_opencv(".avif", cv2.IMWRITE_AVIF_SPEED, 10), id="avif"),
        pytest.param(
            _opencv(
                ".avif", cv2.IMWRITE_AVIF_SPEED, 10, cv2.IMWRITE_AVIF_DEPTH, 12, cv2.IMWRITE_AVIF_QUALITY, 100,
                channels=4, dtype=np.uint16, value=2000,
            ),
            id="avif-12-transparent",
        ),
        pytest.param(_pillow("jpeg2000", "RGBA"), id="jpeg2000"),
        pytest.param(_pillow("jpeg2000", "RGBA", side=1000, codeblock_size=(4, 4)), id="jpeg2000-small-blocks"),
        pytest.param(_pillow("jpeg2000", "RGBA", side=1000, tile_size=(16, 16)), id="jpeg2000-small-tiles"),
        pytest.param(_pillow("jpeg2000", "RGBA", tile_size=(_SIDE, _SIDE // 2)), id="jpeg2000-large-tiles"),
        pytest.param(_opencv(".hdr", dtype=np.float32, value=0.4), id="hdr"),
        pytest.param(_opencv(".pfm", dtype=np.float32, value=0.4), id="pfm"),
        pytest.param(_opencv(".pam"), id="pam"),
        pytest.param(_opencv(".ppm"), id="ppm"),
        pytest.param(_opencv(".bmp"), id="bmp"),
        pytest.param(_opencv(".ras"), id="ras"),
        pytest.param(_opencv(".tiff"), id="tiff"),
        pytest.param(
            _opencv(".tiff", cv2.IMWRITE_TIFF_ROWSPERSTRIP, _SIDE, channels=4, dtype=np.uint16, value=20_000),
            id="tiff-16-one-strip",
        ),
    ],
)  # fmt: skip
def test_a_picture_takes_what_it_claims(encode: Callable[[], bytes], tmp_path: Path) -> None:
    path, content = tmp_path / "picture", encode()
    path.write_bytes(content)
    claim = claim_of(content)
    assert claim is not None
    shape, taken = _read_in_child(path)
    assert max(shape) == claim.side
    assert taken <= claim.decoding_bytes + len(content) + _BESIDE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dtype"), [(".png", np.uint16), (".png", np.uint8), (".jpg", np.uint8), (".hdr", np.float32)]
)
def test_a_dark_picture_may_take_four_images_more(kind: str, dtype: type, tmp_path: Path) -> None:
    """It is decoded again, since it may have 12 bits of 16."""
    path, content = tmp_path / "picture", _opencv(kind, dtype=dtype, value=0)()
    path.write_bytes(content)
    claim = claim_of(content)
    assert claim is not None
    _, taken = _read_in_child(path)
    assert taken <= claim.decoding_bytes + 4 * 3 * _SIDE**2 + len(content) + _BESIDE


@pytest.mark.slow
def test_the_largest_dark_picture_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    Image.new("I;16", (MAX_IMAGE_SIDE, MAX_IMAGE_SIDE), 1).save(path, "png", compress_level=1)
    shape, taken = _read_in_child(path)
    assert shape == [MAX_IMAGE_SIDE, MAX_IMAGE_SIDE, 3]
    assert taken < MAX_IMAGE_MEMORY_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_the_largest_pictures_are_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    Image.new("RGB", (MAX_IMAGE_SIDE, MAX_IMAGE_SIDE), (200, 100, 50)).save(path, kind, compress_level=1)
    shape, taken = _read_in_child(path)
    assert shape == [MAX_IMAGE_SIDE, MAX_IMAGE_SIDE, 3]
    assert taken < MAX_IMAGE_MEMORY_BYTES
