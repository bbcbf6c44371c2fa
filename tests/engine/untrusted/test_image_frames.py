"""The count of frames: damaged and hostile files take no time and raise nothing."""

from __future__ import annotations

import io
import struct
from time import process_time

import numpy as np
import pytest
from PIL import Image as Pillow

from engine.untrusted.image_frames import number_of_frames
from engine.untrusted.limits import MAX_FRAMES

KINDS = ["GIF", "PNG", "WEBP", "TIFF", "AVIF"]


def animated(kind: str, count: int) -> bytes:
    rng = np.random.default_rng(count)
    frames = [Pillow.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)) for _ in range(count)]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    return file.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_count_is_pillow_s(kind: str, count: int) -> None:
    assert number_of_frames(animated(kind, count)) == count


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_file_that_is_cut_off_at_most_all_frames_are_counted(kind: str) -> None:
    content = animated(kind, 3)
    for end in range(0, len(content), 7):
        assert 1 <= number_of_frames(content[:end]) <= 3


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_damaged_file_some_number_is_counted(kind: str, rng: np.random.Generator) -> None:
    content = np.frombuffer(animated(kind, 3), np.uint8)
    for _ in range(300):
        damaged = content.copy()
        damaged[rng.integers(0, min(len(content), 2000), 4)] = rng.integers(0, 256, 4)
        assert 1 <= number_of_frames(damaged.tobytes()) <= MAX_FRAMES


def test_endless_files_end() -> None:
    circle = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 0) + struct.pack("<I", 8)
    assert number_of_frames(circle) == 1
    gif = b"GIF89a" + bytes(7) + (b"," + bytes(9) + b"\2\0") * 50_000
    empty_chunks = b"RIFF\0\0\0\0WEBP" + b"ANMF\0\0\0\0" * 50_000
    claimed = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 8, b"acTL", 2**32 - 1, 0)
    chunks = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0tEXt\0\0\0\0" * 1_000_000
    begin = process_time()
    assert [number_of_frames(content) for content in (gif, empty_chunks, claimed)] == [MAX_FRAMES] * 3
    assert number_of_frames(chunks) == 1
    assert process_time() - begin < 2


def test_chunks_of_odd_length_are_padded() -> None:
    content = b"RIFF\0\0\0\0WEBP" + b"XMP \3\0\0\0abc\0" + b"ANMF\1\0\0\0x\0" * 4
    assert number_of_frames(content) == 4
