"""How deformable convolution is divided among blocks, on this device and on one like Turing."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.csrc.ops.test_deform_conv import CASES, Case, Tensors, image_of, rounded
from tests.csrc.plugins.conftest import DRIVER, PLUGINS
from tests.csrc.plugins.driver import Array, Library
from tests.csrc.plugins.test_deform_conv import check
from tests.support.backends import EMULATOR_BUILD, for_emulator, is_emulated, load_emulator

from .launchers import DTYPES, HWC8, LINEAR, MISALIGNED, SUCCESS, Launch, run
from .operations import DEFORMED, deform_conv, deform_conv_of, deform_conv_params

pytestmark = pytest.mark.gpu
emulated = pytest.mark.skipif(not is_emulated(), reason="sets the device's properties, which only the emulator allows")

TICKETS = 256  # kDeformMaxTickets, at the end of the workspace
UNUSED = 0xFFFFFFFF
LAYOUTS = [("float32", LINEAR), ("float16", LINEAR), ("float16", HWC8), ("bfloat16", LINEAR), ("bfloat16", HWC8)]


def division(library: Library, case: Case, dtype: str) -> tuple[int, int]:
    """Return the output channels of a block, and the number of blocks that share a tile's sum."""
    co_tile, splits = ctypes.c_int32(), ctypes.c_int32()
    arguments = (ctypes.byref(argument) for argument in (deform_conv_params(case, dtype), co_tile, splits))
    assert library.call("deform_conv_division", *arguments) == SUCCESS
    return co_tile.value, splits.value


def tickets(launch: Launch) -> Array:
    """Return the number of blocks that have added to each tile's sum; empty if blocks share none."""
    numbers = launch.workspace.read()[-4 * TICKETS :].view(np.uint32)
    used: Array = numbers[numbers != UNUSED]
    return used


def nchw(y: Array, case: Case, layout: int) -> Array:
    """Return a result in NCHW."""
    return y if layout == LINEAR else y.transpose(0, 3, 1, 2)[:, : case.channels[1]]


@emulated
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_cases_take_every_way(library: Library, dtype: str) -> None:
    """The operator's tests have blocks of all sizes, with whole and with shared sums."""
    divided = [division(library, case, dtype) for case in CASES if case.batch > 0]
    assert {co_tile for co_tile, _ in divided} == {64, 128, 256}
    assert {splits > 1 for _, splits in divided} == {False, True}


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_share_a_sum(library: Library, rng: np.random.Generator, dtype: str) -> None:
    """As many as planned have added to each tile's sum; every run has the same bits."""
    case = Case("", batch=2, channels=(256, 24), size=(7, 9), groups=2)
    tensors = rounded(case.random(rng), "bfloat16")
    _, splits = division(library, case, dtype)
    assert splits > 1
    launch = Launch(library, deform_conv_of(library, tensors, case, dtype))
    results = []
    for _ in range(4):
        assert launch.launch() == SUCCESS
        results.append(launch.results()[0])
        assert tickets(launch).tolist() == [splits] * (2 * 2)  # images, groups
    check(results[0], tensors, case, dtype)
    assert len({result.tobytes() for result in results}) == 1


def test_at_most_16_blocks_share_a_sum(library: Library, rng: np.random.Generator) -> None:
    """17 would need a step less."""
    case = Case("", channels=(17 * 32, 16), size=(4, 4))
    tensors = rounded(case.random(rng), "float16")
    assert division(library, case, "float32") == (64, 16)
    launch = Launch(library, deform_conv_of(library, tensors, case, "float32"))
    assert launch.launch() == SUCCESS
    check(launch.results()[0] / 2, [t if i not in (1, 3) or t is None else t / 2 for i, t in enumerate(tensors)],
          case, "float32")  # fmt: skip
    assert tickets(launch).tolist() == [16]


@emulated
def test_all_partial_sums_that_the_workspace_holds(
    library: Library, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device with many multiprocessors: 256 tiles, two blocks each. One image more, and no sum is shared."""
    monkeypatch.setenv("CUDA_EMULATOR_SMS", "1000")
    case = Case("", batch=256, channels=(128, 8), size=(1, 1))
    assert division(library, case, "float16") == (64, 2)
    assert division(library, replace(case, batch=257), "float16") == (64, 1)
    tensors = rounded(case.random(rng), "float16")
    launch = Launch(library, deform_conv_of(library, tensors, case, "float16"))
    assert launch.launch() == SUCCESS
    check(launch.results()[0], tensors, case, "float16")
    assert tickets(launch).tolist() == [2] * 256


@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_sums_do_not_depend_on_the_batch(library: Library, rng: np.random.Generator, dtype: str) -> None:
    """Where blocks share no sum, a batch gives the same bits as its images one by one."""
    case = Case("", channels=(20, 72), size=(16, 16))
    batch = replace(case, batch=3)
    while any(division(library, one, dtype)[1] > 1 for one in (case, batch)):
        case, batch = (replace(one, size=(one.size[0], one.size[1] + 16)) for one in (case, batch))
    tensors = batch.random(rng)
    launch = Launch(library, deform_conv_of(library, tensors, batch, dtype))
    assert launch.launch() == SUCCESS
    (y,) = launch.results()
    assert tickets(launch).size == 0
    for i in range(3):
        (one,) = run(library, deform_conv_of(library, image_of(tensors, i), case, dtype))
        np.testing.assert_array_equal(one[0].view(np.uint8), y[i].view(np.uint8))


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_what_is_read_in_vectors_is_aligned(library: Library, rng: np.random.Generator, dtype: str) -> None:
    """Arrays may begin at any element but for y, which test_launchers has, and x in kHwc8."""
    case = DEFORMED["ragged"]
    tensors = case.random(rng)
    item = 4 if dtype == "float32" else 2
    operation = deform_conv_of(library, tensors, case, dtype)
    (expected,) = run(library, operation)
    operation.inputs = [np.concatenate([array.ravel()[:1], array.ravel()]) for array in operation.inputs]
    launch = Launch(library, operation)
    addresses = [memory.address + item for memory in launch.inputs]
    outputs = [memory.address for memory in launch.outputs]
    workspace = launch.default_workspace()
    assert operation.launch(addresses, outputs, workspace, launch.stream) == SUCCESS
    np.testing.assert_array_equal(launch.results()[0].view(np.uint8), expected.view(np.uint8))
    if dtype != "float32":
        last = deform_conv_of(library, tensors, case, dtype, HWC8)
        assert last.launch(addresses, outputs, workspace, launch.stream) == MISALIGNED


@cache
def _turing_library() -> Library:
    """Load the library anew: the emulator chooses among its kernels when it is loaded."""
    load_emulator()
    copy = for_emulator.__wrapped__
    return Library(copy(EMULATOR_BUILD / DRIVER), copy(EMULATOR_BUILD / PLUGINS))


@pytest.fixture
def turing(library: Library, monkeypatch: pytest.MonkeyPatch) -> Library:
    """The library on a device of compute capability 7.5, with 64 KiB of shared memory for a block.

    The other library is loaded before, as it would have Turing's kernels for the rest of the run.
    """
    monkeypatch.setenv("CUDA_EMULATOR_CC", "75")
    monkeypatch.setenv("CUDA_EMULATOR_SMEM_OPTIN", "64")
    return _turing_library()


ON_TURING: dict[str, Case] = {
    **DEFORMED,
    "128 output channels at once": Case("", channels=(8, 130), size=(40, 40), spread=2.0),
    "7x7 kernel": Case("", kernel=(7, 7), padding=(3, 3, 3, 3), size=(8, 10), channels=(6, 5)),
}


@emulated
@pytest.mark.parametrize(("dtype", "layout"), LAYOUTS)
@pytest.mark.parametrize("name", ON_TURING)
def test_on_turing(turing: Library, rng: np.random.Generator, name: str, dtype: str, layout: int) -> None:
    """Where only float16 has matrix instructions, and less shared memory."""
    case = ON_TURING[name]
    tensors: Tensors = case.random(rng) if dtype == "float32" else rounded(case.random(rng), dtype)
    (y,) = run(turing, deform_conv_of(turing, tensors, case, dtype, layout))
    check(nchw(y, case, layout), tensors, case, dtype)


@emulated
def test_turing_has_its_own_kernels(turing: Library, library: Library, rng: np.random.Generator) -> None:
    """Float32 is multiplied by other units, whose sums have another order, and 256 channels do not fit."""
    case = ON_TURING["128 output channels at once"]
    assert division(turing, case, "float16")[0] == 128
    state = rng.bit_generator.state
    (y,) = run(turing, deform_conv(turing, rng, case, "float32"))
    rng.bit_generator.state = state
    (other,) = run(library, deform_conv(library, rng, case, "float32"))
    assert y.tobytes() != other.tobytes()
