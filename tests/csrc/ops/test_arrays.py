"""Arrays in engine.ops: protocols, streams, lifetimes and errors."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import numpy as np
import pytest

from engine import ops
from engine.errors import CudaError, InvalidArgumentError
from tests.csrc.ops.test_batched_nms import CASES, Candidates, options_of, random_candidates
from tests.csrc.plugins.conftest import library
from tests.csrc.plugins.driver import Library
from tests.support.backends import Backend, emulated_runtime
from tests.support.dlpack import tensor_of

__all__ = ["library"]  # a fixture

DLPACK_CUDA = 2


class OnlyDlpack:
    """An array that supports only DLPack, with the data of `array`."""

    def __init__(self, array: Any) -> None:
        """Wrap an array; `streams` records the streams that consumers pass."""
        self._array = array
        self.streams: list[int | None] = []

    def __dlpack__(self, *, stream: int | None = None) -> object:
        """Export, and record the consumer's stream."""
        self.streams.append(stream)
        return self._array.__dlpack__(stream=stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the device."""
        device: tuple[int, int] = self._array.__dlpack_device__()
        return device


class OnlyCopies(OnlyDlpack):
    """An array of which consumers get copies."""

    def __dlpack__(self, *, stream: int | None = None) -> object:
        """Export a copy."""
        return self._array.__dlpack__(stream=stream, copy=True)


class OnlyCudaInterface:
    """An array that supports only __cuda_array_interface__."""

    def __init__(self, array: Any, **changes: Any) -> None:
        """Wrap an array's interface, with changes."""
        self._array = array
        self.__cuda_array_interface__ = {**array.__cuda_array_interface__, **changes}


@pytest.fixture
def candidates(rng: np.random.Generator) -> Candidates:
    """Random candidates for nms."""
    return random_candidates(rng, CASES[0])


def expected_indices(candidates: Candidates) -> Any:
    """Return the indices that nms gives for NumPy arrays."""
    return ops.nms(*candidates, **options_of(0.4)).indices


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint8"])
@pytest.mark.parametrize("shape", [(), (7,), (3, 0, 2), (2, 3, 5)], ids=str)
def test_device_arrays_keep_their_contents(cuda: Backend, dtype: str, shape: tuple[int, ...]) -> None:
    """To the device and back."""
    array = np.arange(np.prod(shape, dtype=int), dtype=dtype).reshape(shape)
    placed = cuda.put(array)
    assert (placed.shape, placed.dtype, placed.nbytes) == (shape, np.dtype(dtype), array.nbytes)
    np.testing.assert_array_equal(placed.numpy(), array)


def test_device_arrays_describe_themselves(cuda: Backend) -> None:
    """Both protocols report the same memory, dtype and shape."""
    placed = cuda.put(np.zeros((2, 3), np.int32))
    interface = placed.__cuda_array_interface__
    assert interface["data"] == (placed.ptr, False)
    assert (interface["shape"], interface["typestr"], interface["strides"]) == ((2, 3), "<i4", None)
    assert (interface["version"], interface["stream"]) == (3, None)
    capsule = placed.__dlpack__()
    tensor = tensor_of(capsule)
    assert placed.__dlpack_device__() == (tensor.device_type, tensor.device_id) == (DLPACK_CUDA, 0)
    assert (tensor.data, tensor.byte_offset, tensor.shape[: tensor.ndim]) == (placed.ptr, 0, [2, 3])
    assert (tensor.code, tensor.bits, tensor.lanes) == (0, 32, 1)


def test_dlpack_copies_if_asked(cuda: Backend) -> None:
    """The array API standard's argument copy: True is a copy, False and None are views."""
    content = np.arange(12, dtype=np.float32).reshape(3, 4)
    placed = cuda.put(content)
    for view in (placed.__dlpack__(copy=False), placed.__dlpack__(copy=None)):
        assert tensor_of(view).data == placed.ptr
    capsule = placed.__dlpack__(copy=True)
    tensor = tensor_of(capsule)
    assert tensor.data != placed.ptr
    assert tensor.shape[: tensor.ndim] == [3, 4]
    nothing = cuda.put(np.zeros((0, 2), np.float32)).__dlpack__(copy=True)
    assert tensor_of(nothing).data is None


def test_dlpack_copies_hold_the_contents(cuda: Backend, candidates: Candidates) -> None:
    """A copy is a full input: an operator gives the same for it, in the stream that it was made for."""
    placed: list[Any] = [array if array is None else OnlyCopies(cuda.put(array)) for array in candidates]
    results = ops.nms(*placed, **options_of(0.4), stream=2)
    np.testing.assert_array_equal(results.indices.numpy(), expected_indices(candidates))


def test_dlpack_exports_only_to_the_device_of_the_array(cuda: Backend) -> None:
    """The array API standard's argument dl_device."""
    placed = cuda.put(np.zeros(3, np.float32))
    assert tensor_of(placed.__dlpack__(dl_device=placed.__dlpack_device__())).data == placed.ptr
    with pytest.raises(BufferError, match=r"dl_device is \(1, 0\), expected None or \(2, 0\)"):
        placed.__dlpack__(dl_device=(1, 0))


def test_memory_outlives_the_array_it_was_taken_from(cuda: Backend) -> None:
    """A DLPack tensor keeps the memory until its consumer deletes it."""
    content = np.arange(1000, dtype=np.float32)
    placed = cuda.put(content)
    pointer, capsule = placed.ptr, placed.__dlpack__()
    del placed
    gc.collect()
    # If the memory had been freed, one of these allocations would get it.
    others = [cuda.put(np.zeros_like(content)) for _ in range(4)]
    assert pointer not in [other.ptr for other in others]
    assert tensor_of(capsule).data == pointer


@pytest.mark.parametrize("wrap", [OnlyDlpack, OnlyCudaInterface], ids=["DLPack", "__cuda_array_interface__"])
def test_foreign_device_arrays_are_read_in_place(cuda: Backend, candidates: Candidates, wrap: type[Any]) -> None:
    """Inputs may support only one protocol; the results are device arrays."""
    expected = expected_indices(candidates)
    placed: list[Any] = [wrap(cuda.put(array)) for array in candidates if array is not None]
    results = ops.nms(*placed, **options_of(0.4))
    np.testing.assert_array_equal(results.indices.numpy(), expected)
    # The results are inputs of the next operator, through the same protocol.
    again = ops.nms(wrap(results.boxes), wrap(results.scores), None, wrap(results.num_detections), **options_of(0.4))
    np.testing.assert_array_equal(again.boxes.numpy(), results.boxes.numpy())


def test_host_arrays_may_come_through_dlpack(candidates: Candidates) -> None:
    """As CPU tensors of torch do."""
    wrapped: list[Any] = [OnlyDlpack(array) for array in candidates if array is not None]
    results = ops.nms(*wrapped, **options_of(0.4))
    np.testing.assert_array_equal(results.indices, expected_indices(candidates))
    assert wrapped[0].streams == [None]


def test_arrays_are_filled_before_any_stream_reads_them(
    cuda: Backend, library: Library, candidates: Candidates
) -> None:
    """Small copies from pageable memory return earlier, and non-blocking streams do not wait for them."""
    placed: list[Any] = [array if array is None else cuda.put(array) for array in candidates]
    results = ops.nms(*placed, **options_of(0.4), stream=library.call("stream"))
    np.testing.assert_array_equal(results.indices.numpy(), expected_indices(candidates))


class TorchStream:
    """The attribute of torch.cuda.Stream."""

    cuda_stream = 2


class CupyStream:
    """The attribute of cupy.cuda.Stream."""

    ptr = 2


class PycudaStream:
    """The attribute of pycuda.driver.Stream."""

    handle = 2


class CudaPythonStream:
    """The protocol of CUDA Python: version and handle."""

    def __cuda_stream__(self) -> tuple[int, int]:
        """Return the per-thread default stream."""
        return 0, 2


@pytest.mark.parametrize("stream", [2, TorchStream(), CupyStream(), PycudaStream(), CudaPythonStream()])
def test_streams_of_every_kind(cuda: Backend, candidates: Candidates, stream: object) -> None:
    """2 is the per-thread default stream. Producers receive it, and results report it."""
    placed: list[Any] = [OnlyDlpack(cuda.put(array)) for array in candidates if array is not None]
    results = ops.nms(*placed, **options_of(0.4), stream=stream)
    assert placed[0].streams == [2]
    assert results.boxes.__cuda_array_interface__["stream"] == 2
    np.testing.assert_array_equal(results.indices.numpy(), expected_indices(candidates))
    # Without a stream argument, the first array's stream is used.
    again = ops.nms(results.boxes, results.scores, None, results.num_detections, **options_of(0.4))
    assert again.boxes.__cuda_array_interface__["stream"] == 2


def test_the_default_stream_has_number_1_in_the_protocols(cuda: Backend, candidates: Candidates) -> None:
    """Neither protocol allows 0."""
    placed: list[Any] = [OnlyDlpack(cuda.put(array)) for array in candidates if array is not None]
    results = ops.nms(*placed, **options_of(0.4))
    assert placed[0].streams == [1]
    assert results.boxes.__cuda_array_interface__["stream"] == 1


def test_freed_memory_is_kept_for_the_next_results(cuda: Backend) -> None:
    """Nothing gives it back to the system, which would be asked for it again at the next call."""
    runtime = emulated_runtime()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()

    def free_bytes() -> int:
        runtime.cudaDeviceSynchronize()
        runtime.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
        return free.value

    large = np.zeros(10_000_000, np.uint8)
    placed = cuda.put(large)
    held = free_bytes()
    del placed
    assert free_bytes() == held
    again = cuda.put(large)
    assert again.nbytes == large.nbytes
    assert free_bytes() == held


def test_freeing_waits_for_the_device_only_if_others_have_the_address(cuda: Backend) -> None:
    """The emulator shows a wait by a copy from pageable memory, which arrives at the next one."""
    runtime = emulated_runtime()
    source = np.full(1, 7, np.int32)
    target, *others = (cuda.put(np.zeros(1, np.int32)) for _ in range(4))
    seen = ctypes.c_int32.from_address(target.ptr)
    own, known, pointer = others
    del others
    ops.letterbox([image := cuda.put(np.zeros((4, 4, 3), np.uint8))], (4, 4), mean=0)
    pointer.ptr  # noqa: B018 - a property that lends the memory
    capsule = known.__dlpack__(copy=True)
    runtime.cudaMemcpy(ctypes.c_void_p(target.ptr), ctypes.c_void_p(source.ctypes.data), 4, 1)
    del own, image, known
    assert seen.value == 0
    del pointer
    assert seen.value == 7
    del capsule


def test_wrong_device_arrays_are_refused(cuda: Backend, candidates: Candidates) -> None:
    """Each message names the argument, what was given and what is expected."""
    placed: list[Any] = [array if array is None else cuda.put(array) for array in candidates]
    boxes = placed[0]
    host = np.zeros((1, 20, 4), np.float32)
    float64 = OnlyCudaInterface(boxes, typestr="<f8")
    bad: list[tuple[int, Any, str]] = [
        (1, candidates[1], "scores lies on the host, expected CUDA device 0 like the first array"),
        (0, candidates[0], "scores lies on CUDA device 0, expected the host like the first array"),
        (0, float64, "boxes has dtype <f8, which no operator takes"),
        (0, OnlyCudaInterface(boxes, typestr=">f4"), "boxes has dtype >f4, expected a little-endian one"),
        (0, OnlyCudaInterface(boxes, strides=(640, 32, 8)), "boxes is not C-contiguous: it has strides"),
        (0, OnlyCudaInterface(boxes, shape=(1, 20, 5)), r"boxes has shape \[1, 20, 5\], expected \[1, 20, 4\]"),
        (
            0,
            OnlyCudaInterface(boxes, data=(boxes.ptr + 4, False)),
            "boxes starts at an address that is not a multiple",
        ),
        (
            0,
            OnlyCudaInterface(boxes, data=(host.ctypes.data, False)),
            "boxes points to memory that is not a CUDA device",
        ),
        (1, cuda.put(np.zeros((1, 20), np.int32)), "scores has dtype int32, expected float32"),
    ]
    for position, array, message in bad:
        arguments = [*placed[:position], array, *placed[position + 1 :]]
        with pytest.raises(InvalidArgumentError, match=message):
            ops.nms(*arguments, **options_of(0.4))
    with pytest.raises(InvalidArgumentError, match="stream is a str, expected None, an integer handle, or an object"):
        ops.nms(*placed, **options_of(0.4), stream="0")
    for handle in [-1, 1 << 64]:
        with pytest.raises(InvalidArgumentError, match=f"stream is {handle}, expected a handle from 0 to 2"):
            ops.nms(*placed, **options_of(0.4), stream=handle)


class Stream:
    """An object that claims to be a stream."""

    def __init__(self, protocol: object) -> None:
        """Keep what the protocol of CUDA Python gives."""
        self.__cuda_stream__ = protocol


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (Stream(None), "stream cannot be read: TypeError: "),
        (Stream(()), "stream cannot be read: IndexError: "),
        (Stream(lambda: 1 / 0), "stream cannot be read: ZeroDivisionError: division by zero"),
        (Stream((0, "x")), "stream is a Stream, expected None, an integer handle, or an object with __cuda_stream__"),
        (Stream((0, 10**5000)), "stream is a value of type int, expected a handle from 0 to 2"),
    ],
)
def test_wrong_streams_are_refused(cuda: Backend, candidates: Candidates, stream: object, message: str) -> None:
    """A stream's protocol may give anything."""
    placed: list[Any] = [array if array is None else cuda.put(array) for array in candidates]
    with pytest.raises(InvalidArgumentError, match=message):
        ops.nms(*placed, **options_of(0.4), stream=stream)


@pytest.mark.parametrize("stream", ["1", 1.5, -2, 2**64, [], object()])
def test_device_arrays_refuse_wrong_streams_of_consumers(cuda: Backend, stream: Any) -> None:
    """DLPack gives None, -1 (do not wait) or a handle."""
    placed = cuda.put(np.zeros(3, np.float32))
    with pytest.raises(InvalidArgumentError, match=r"^stream is .*, expected None, -1, or the handle of a stream"):
        placed.__dlpack__(stream=stream)
    with pytest.raises(InvalidArgumentError, match=r"^copy is 'yes', expected True or False"):
        placed.__dlpack__(copy="yes")
    for device in ("x", (2,), (2.5, None)):
        with pytest.raises(BufferError, match=r"^dl_device is .*, expected None or \(2, 0\)"):
            placed.__dlpack__(dl_device=device)


@pytest.mark.parametrize(
    "changes", [{"data": None}, {"data": ("a", False)}, {"typestr": "<fx"}, {"shape": None}, {"strides": "a"}]
)
def test_interfaces_of_another_form_are_refused(cuda: Backend, candidates: Candidates, changes: dict[str, Any]) -> None:
    """What __cuda_array_interface__ gives is another library's."""
    placed: list[Any] = [array if array is None else cuda.put(array) for array in candidates]
    placed[0] = OnlyCudaInterface(placed[0], **changes)
    with pytest.raises(InvalidArgumentError, match=r"boxes (cannot be read: |has dtype <fx, which no operator takes)"):
        ops.nms(*placed, **options_of(0.4))


def test_cuda_errors_carry_name_and_code(cuda: Backend) -> None:
    """A device that does not exist."""
    with pytest.raises(CudaError, match="choosing the device failed: cudaErrorInvalidDevice") as caught:
        ops.to_device(np.zeros(3, np.float32), device=99)
    assert (caught.value.name, caught.value.code) == ("cudaErrorInvalidDevice", 101)
    np.testing.assert_array_equal(cuda.put(np.ones(3, np.float32)).numpy(), [1, 1, 1])  # later calls work


def test_device_arrays_hold_only_dtypes_of_operators(cuda: Backend) -> None:
    """No float64, no strides."""
    with pytest.raises(InvalidArgumentError, match="array has dtype float64"):
        cuda.put(np.zeros(3))
    with pytest.raises(InvalidArgumentError, match="array is not C-contiguous"):
        cuda.put(np.zeros((4, 4), np.float32)[:, ::2])
