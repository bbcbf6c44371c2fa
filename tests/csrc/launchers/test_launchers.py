"""The launchers, called directly: functions on pointers, without the checks of the bindings or plugins."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
import pytest

from tests.csrc.plugins.conftest import DRIVER, PLUGINS
from tests.csrc.plugins.driver import Array, Library
from tests.support.backends import EMULATOR_BUILD, for_emulator, is_emulated, load_emulator

from .launchers import HWC8, INVALID_VALUE, MISALIGNED, STRUCTURES, SUCCESS, Launch, Workspace, run, sizes_of_structures
from .operations import DEFORMED, OPERATIONS, Make, deform_conv, to_hwc8

WITH_WORKSPACE = ("decode", "nms", "deform_conv")
emulated = pytest.mark.skipif(not is_emulated(), reason="sets the device's properties, which only the emulator allows")
every_operation = pytest.mark.parametrize("make", OPERATIONS.values(), ids=OPERATIONS)
with_workspace = pytest.mark.parametrize(
    "make",
    [make for name, make in OPERATIONS.items() if name.startswith(WITH_WORKSPACE)],
    ids=[name for name in OPERATIONS if name.startswith(WITH_WORKSPACE)],
)


def assert_same_bits(actual: list[Array], expected: list[Array]) -> None:
    """Compare all outputs, NaN and the sign of zero included."""
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a.view(np.uint8), np.ascontiguousarray(e).view(np.uint8))


def test_structures_are_mirrored(library: Library) -> None:
    """Their sizes are equal in C and Python."""
    assert sizes_of_structures(library) == [ctypes.sizeof(structure) for structure in STRUCTURES]


@every_operation
def test_writes_its_outputs_and_nothing_else(library: Library, rng: np.random.Generator, make: Make) -> None:
    """Writes all outputs, keeps the inputs, and agrees with the CPU where the same bits are promised."""
    operation = make(library, rng)
    results = run(library, operation)
    for result in results:
        assert np.isfinite(result.astype(np.float64)).all(), "some outputs were not written"
    if operation.expected is not None:
        assert_same_bits(results, operation.expected)


@cache
def _older_library() -> Library:
    """Load the library anew: the emulator chooses among its kernels when it is loaded."""
    load_emulator()
    copy = for_emulator.__wrapped__
    return Library(copy(EMULATOR_BUILD / DRIVER), copy(EMULATOR_BUILD / PLUGINS))


CHAINS = [name for name in OPERATIONS if name.startswith(("decode", "nms"))]


@pytest.mark.gpu
@emulated
@pytest.mark.parametrize("capability", ["80", "90"])
@pytest.mark.parametrize("name", CHAINS)
def test_without_code_for_dependent_launches(
    rng: np.random.Generator, name: str, capability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an older device, and on a newer one that runs the older device's code: its kernels do not wait."""
    monkeypatch.setenv("CUDA_EMULATOR_CC", "80")
    library = _older_library()
    monkeypatch.setenv("CUDA_EMULATOR_CC", capability)
    operation = OPERATIONS[name](library, rng)
    assert operation.expected is not None
    assert_same_bits(run(library, operation), operation.expected)


@every_operation
def test_repeats_to_the_last_bit(library: Library, rng: np.random.Generator, make: Make) -> None:
    """In the memory and workspace that the first launch used, and in fresh ones."""
    operation = make(library, rng)
    launch = Launch(library, operation)
    assert launch.launch() == SUCCESS
    first = launch.results()
    for _ in range(2):
        assert launch.launch() == SUCCESS
        assert_same_bits(launch.results(), first)
    assert_same_bits(run(library, operation), first)


@every_operation
def test_replays_from_a_graph(library: Library, rng: np.random.Generator, make: Make) -> None:
    """A graph captured once uses the inputs at the time of each replay."""
    launch = Launch(library, make(library, rng))
    graph = launch.capture()
    assert launch.untouched(), "something ran during capture"
    others = make(library, rng)
    launch.set_inputs(others)
    assert_same_bits(launch.replay(graph, 3), run(library, others))


@with_workspace
def test_refuses_a_workspace_that_is_too_small(library: Library, rng: np.random.Generator, make: Make) -> None:
    """Returns a status before anything runs, also for a null workspace."""
    operation = make(library, rng)
    launch = Launch(library, operation)
    for size in (0, 1, operation.workspace_bytes - 1):
        assert launch.launch(Workspace(launch.workspace.address, size)) == INVALID_VALUE
    assert launch.launch(Workspace(None, operation.workspace_bytes)) == INVALID_VALUE
    assert launch.untouched()


@with_workspace
def test_refuses_a_misaligned_workspace(library: Library, rng: np.random.Generator, make: Make) -> None:
    """Returns a status instead of a fault on the device."""
    operation = make(library, rng)
    launch = Launch(library, operation)
    for shift in (1, 4, 8):
        workspace = Workspace(launch.workspace.address + shift, operation.workspace_bytes)
        assert launch.launch(workspace) == MISALIGNED
    assert launch.untouched()


@pytest.mark.parametrize(
    ("name", "output"),
    [
        *[("decode, float32", 0), ("decode, float32", 2), ("nms, landmarks", 1), ("nms, landmarks", 3)],
        *[("unletterbox, landmarks", 0), ("unletterbox, landmarks", 1), ("deform_conv, float16, ragged", 0)],
    ],
)
def test_refuses_a_misaligned_output(library: Library, rng: np.random.Generator, name: str, output: int) -> None:
    """For boxes, landmarks and y."""
    launch = Launch(library, OPERATIONS[name](library, rng))
    outputs = [memory.address for memory in launch.outputs]
    outputs[output] += 4
    assert launch.launch(outputs=outputs) == MISALIGNED
    assert launch.untouched()


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_align_refuses_crops_within_a_word(library: Library, rng: np.random.Generator, shift: int) -> None:
    """It writes words, also where the crops of a size begin anywhere."""
    launch = Launch(library, OPERATIONS["align, odd sizes"](library, rng))
    crops, transforms = (memory.address for memory in launch.outputs)
    assert launch.launch(outputs=[crops + shift, transforms]) == MISALIGNED
    assert launch.untouched()


@pytest.mark.parametrize("name", ["unletterbox", "unletterbox, landmarks"])
def test_unletterbox_may_write_to_its_inputs(library: Library, rng: np.random.Generator, name: str) -> None:
    """Works in place."""
    operation = OPERATIONS[name](library, rng)
    launch = Launch(library, operation)
    places = launch.inputs[: len(launch.outputs)]
    assert launch.launch(outputs=[memory.address for memory in places]) == SUCCESS
    assert library.call("synchronise", launch.stream) == SUCCESS
    assert operation.expected is not None
    actual = [m.read().view(e.dtype).reshape(e.shape) for m, e in zip(places, operation.expected, strict=True)]
    assert_same_bits(actual, operation.expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", DEFORMED)
def test_layouts_agree(library: Library, rng: np.random.Generator, case: str, dtype: str) -> None:
    """Deformable convolution gives the same bits in both layouts, and zeros in the padding channels of kHwc8."""
    state = rng.bit_generator.state
    (linear,) = run(library, deform_conv(library, rng, DEFORMED[case], dtype))
    rng.bit_generator.state = state
    (last,) = run(library, deform_conv(library, rng, DEFORMED[case], dtype, HWC8))
    channels = linear.shape[1]
    assert_same_bits([last[..., :channels]], [to_hwc8(linear)[..., :channels]])
    assert not last[..., channels:].any()
