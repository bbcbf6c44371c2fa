"""The index arithmetic for Hopper's TMA and wgmma, whose own part is played by what their documents say.

Sources: CUDA Driver API, cuTensorMapEncodeTiled; PTX ISA, "Tensor Swizzling Modes", "Matrix Descriptor Format" and
"Strides of wgmma's shared memory layouts".
"""

from __future__ import annotations

import ctypes
import json
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.csrc.launchers.operations import deform_conv_params
from tests.csrc.ops.test_deform_conv import Case
from tests.support.backends import EMULATOR_BUILD, ROOT

Bytes = NDArray[np.uint8]
ROW, UNIT, TILE_PIXELS = 128, 16, 64
CO_TILES = (64, 128, 256)
WORKSPACE = 0x7F0000000100
SUCCESS, INVALID_VALUE, NEWER_DRIVER = 0, 1, 36  # cudaError
NOT_FOUND, DRIVER_INVALID_VALUE = 500, 1  # CUresult
UINT8, NOT_INTERLEAVED, SWIZZLE_128 = 0, 0, 3  # of CUtensorMap's enumerations

CASES = [
    Case("one group", channels=(256, 256)),
    Case("rows without channels", channels=(48, 300)),
    Case("groups", channels=(24, 180), groups=3, offset_groups=6),
    Case("passes", channels=(8, 8), size=(12, 12), kernel=(5, 5)),
]


class Encoded(ctypes.Structure):
    """What the driver is given."""

    _fields_ = (
        *[(name, ctypes.c_int32) for name in ("type", "rank", "interleave", "swizzle")],
        ("address", ctypes.c_uint64),
        ("size", ctypes.c_uint64 * 2),
        ("stride", ctypes.c_uint64),
        ("box", ctypes.c_uint32 * 2),
        ("element_strides", ctypes.c_uint32 * 2),
    )


@pytest.fixture(scope="module")
def hopper(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """hopper.cpp."""
    commands = EMULATOR_BUILD / "compile_commands.json"
    if not commands.exists():
        pytest.skip(f"{EMULATOR_BUILD} holds no compile command: scripts/build-for-emulator VENV makes it")
    entries = json.loads(commands.read_text())
    (command,) = (entry["command"] for entry in entries if entry["file"].endswith("cuda/deform_conv/plan.cpp"))
    words = shlex.split(command)
    library = tmp_path_factory.mktemp("hopper") / "libhopper.so"
    sources = ["tests/csrc/hopper.cpp", "csrc/ops/cuda/deform_conv/plan.cpp", "csrc/ops/deform_conv.cpp"]
    options = ["-O0", "-fvisibility=hidden", "-DRETINAFACE_WGMMA", "-shared", "-o", str(library)]
    subprocess.run([*words[: words.index("-o")], *options, *sources], cwd=ROOT, check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.hopper_matrix_descriptor.restype = ctypes.c_uint64
    for name in ("weight_row", "swizzled", "weight_tile_bytes"):
        getattr(loaded, f"hopper_{name}").restype = ctypes.c_uint32
    return loaded


def encode(hopper: ctypes.CDLL, case: Case, co_tile: int, major: int = 9, answer: int = 0) -> tuple[int, Encoded]:
    """Return the status and what the driver was given."""
    noted = Encoded()
    params = deform_conv_params(case, "float16")
    address = ctypes.c_uint64(WORKSPACE)
    status = hopper.hopper_encode(ctypes.byref(params), co_tile, address, major, answer, ctypes.byref(noted))
    return status, noted


def swizzle(address: int) -> int:
    """The 128-byte swizzle of shared memory: bits 4 to 6 are changed by bits 7 to 9."""
    return address ^ (address >> 7 & 7) << 4


def copy_box(matrix: Bytes, noted: Encoded, row: int, target: int, shared: Bytes) -> int:
    """What TMA does; return the bytes that it counts at the barrier."""
    assert target % 1024 == 0, "where the swizzle's pattern begins"
    for r in range(noted.box[1]):
        for byte in range(noted.box[0]):
            shared[swizzle(target + r * noted.box[0] + byte)] = matrix[row + r, byte]
    return int(noted.box[0] * noted.box[1])


def operand(shared: Bytes, descriptor: int, rows: int) -> Bytes:
    """The 16 values of 2 bytes of so many rows that wgmma reads of shared memory: K is contiguous, swizzled."""
    start, stride = (descriptor & 0x3FFF) << 4, (descriptor >> 32 & 0x3FFF) << 4
    base_offset, mode = descriptor >> 49 & 7, descriptor >> 62
    assert (base_offset, mode) == (0, 1), "1 is the 128-byte swizzle"
    places = [[swizzle(start + r // 8 * stride + r % 8 * ROW + byte) for byte in range(32)] for r in range(rows)]
    return np.asarray(shared[np.array(places)])


@pytest.mark.parametrize("co_tile", CO_TILES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_map_is_of_the_packed_weights(hopper: ctypes.CDLL, case: Case, co_tile: int) -> None:
    """It keeps to what the driver demands, and the blocks' boxes are all of its rows, each once."""
    status, noted = encode(hopper, case, co_tile)
    assert status == SUCCESS
    assert (noted.type, noted.rank, noted.interleave, noted.swizzle) == (UINT8, 2, NOT_INTERLEAVED, SWIZZLE_128)
    assert noted.address == WORKSPACE
    assert noted.address % 16 == 0
    assert (noted.size[0], noted.stride) == (ROW, ROW)
    assert noted.stride % 16 == 0
    assert tuple(noted.element_strides) == (1, 1)
    assert tuple(noted.box) == (ROW, co_tile)
    assert noted.box[0] <= 128, "of bytes that this swizzle can take"
    assert max(noted.box) <= 256
    assert hopper.hopper_weight_tile_bytes(co_tile) == noted.box[0] * noted.box[1], "what the barrier waits for"

    params = deform_conv_params(case, "float16")
    steps, rows = ctypes.c_int32(), ctypes.c_int32()
    hopper.hopper_plan(ctypes.byref(params), ctypes.byref(steps), ctypes.byref(rows))
    assert rows.value >= case.channels[1] // case.groups
    if rows.value % co_tile:
        return  # the launcher takes no such tile
    firsts = [
        hopper.hopper_weight_row(ctypes.byref(params), group, step, channel)
        for group in range(case.groups)
        for step in range(steps.value)
        for channel in range(0, rows.value, co_tile)
    ]
    assert firsts == list(range(0, noted.size[1], co_tile))


@pytest.mark.parametrize("co_tile", CO_TILES)
def test_wgmma_reads_what_tma_writes(hopper: ctypes.CDLL, rng: np.random.Generator, co_tile: int) -> None:
    """In both buffers, by each warpgroup, in each part of a step; threads that store samples use the same places."""
    _, noted = encode(hopper, CASES[0], co_tile)
    matrix = rng.integers(256, size=(2 * co_tile, ROW), dtype=np.uint8)
    tile_bytes = hopper.hopper_weight_tile_bytes(co_tile)
    shared = np.zeros(2 * tile_bytes, np.uint8)
    for buffer in range(2):
        assert copy_box(matrix, noted, buffer * co_tile, buffer * tile_bytes, shared) == tile_bytes
    columns = co_tile // 4
    for buffer in range(2):
        tile = shared[buffer * tile_bytes :]
        for row in range(co_tile):
            for unit in range(ROW // UNIT):
                place = hopper.hopper_swizzled(row, unit)
                expected = matrix[buffer * co_tile + row, unit * UNIT : (unit + 1) * UNIT]
                np.testing.assert_array_equal(tile[place : place + UNIT], expected)
        for first in range(0, co_tile, columns):
            descriptor = hopper.hopper_matrix_descriptor(buffer * tile_bytes + first * ROW)
            for part in range(4):
                expected = matrix[buffer * co_tile + first :][:columns, 32 * part : 32 * part + 32]
                np.testing.assert_array_equal(operand(shared, descriptor + 2 * part, columns), expected)


@pytest.mark.parametrize("taps", [1, 9, 10])
@pytest.mark.parametrize("co_tile", CO_TILES)
def test_the_barrier_is_behind_all_else(hopper: ctypes.CDLL, co_tile: int, taps: int) -> None:
    """Two buffers of weights and of samples, four weights and an index for each place; the barrier's 8 bytes."""
    before = 2 * (co_tile + TILE_PIXELS) * ROW + taps * TILE_PIXELS * (16 + 4)
    assert before % 8 == 0
    assert hopper.hopper_shared_bytes(co_tile, taps) == before + 8


def test_only_hopper_is_asked_for_a_map(hopper: ctypes.CDLL, tmp_path: Path) -> None:
    """The driver of another GPU may have none; what goes wrong on Hopper is reported."""
    shutil.copy(hopper._name, tmp_path / "another.so")
    another = ctypes.CDLL(str(tmp_path / "another.so"))  # a library looks the driver's function up once
    for major in (7, 8, 10, 12):
        status, noted = encode(hopper, CASES[0], 64, major, NOT_FOUND)
        assert (status, noted.rank) == (SUCCESS, 0)
    assert encode(another, CASES[0], 64, 9, NOT_FOUND)[0] == NEWER_DRIVER
    assert encode(hopper, CASES[0], 64, 9, DRIVER_INVALID_VALUE)[0] == INVALID_VALUE
