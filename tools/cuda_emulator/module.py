"""PTX modules and their kernels, on top of the emulator's C interface."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUILD = Path(__file__).resolve().parents[2] / "build" / "cuda-emulator"
_LIBRARY = BUILD / "libcuda_emulator.so"

_MOST_PARAMETERS = 64
# A vector load of the last parameter may read beyond it.
_PARAMETER_PADDING = bytes(16)

Argument = NDArray[Any] | int | float | np.generic | bytes
Size = int | Sequence[int]


class CudaEmulatorError(RuntimeError):
    """A fault that a GPU would report too, or something unsupported; the message has the thread and the PTX line."""


class Module:
    """The kernels of a PTX file."""

    def __init__(self, ptx: str) -> None:
        """Parse PTX, as `nvcc -ptx` writes it.

        Raises:
            CudaEmulatorError: the PTX cannot be parsed.
        """
        self._library = _library()
        self._handle = self._library.cuda_emulator_load(ptx.encode())
        if not self._handle:
            raise CudaEmulatorError(_last_error())

    def __del__(self) -> None:
        """Free the module and its variables."""
        if getattr(self, "_handle", None):
            self._library.cuda_emulator_unload(self._handle)

    def launch(self, kernel: str, grid: Size, block: Size, *arguments: Argument, dynamic_shared: int = 0) -> None:
        """Run a kernel to its end.

        Args:
            kernel: name of the kernel, mangled if it is not extern "C".
            grid: number of blocks, in up to three dimensions.
            block: number of threads of a block, in up to three dimensions.
            arguments: arrays become pointers, and the kernel may access no other memory; numbers are converted to the
                size of the parameter; bytes are passed as they are.
            dynamic_shared: bytes of dynamic shared memory.

        Raises:
            CudaEmulatorError: there is no such kernel, it has other parameters, or it failed.
        """
        parameters = self._pack(kernel, arguments)
        arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
        with self._accessible(arrays):
            failed = self._library.cuda_emulator_launch(
                self._handle, kernel.encode(), _three(grid), _three(block), parameters, dynamic_shared
            )
        if failed:
            raise CudaEmulatorError(_last_error())

    def unsupported(self) -> list[str]:
        """Return the unsupported instructions of the kernels, with their PTX lines; executing one raises an error."""
        text: bytes = self._library.cuda_emulator_unsupported(self._handle)
        return text.decode().splitlines()

    def _pack(self, kernel: str, arguments: Sequence[Argument]) -> bytes:
        sizes, alignments = (ctypes.c_int * _MOST_PARAMETERS)(), (ctypes.c_int * _MOST_PARAMETERS)()
        count = self._library.cuda_emulator_parameters(
            self._handle, kernel.encode(), sizes, alignments, _MOST_PARAMETERS
        )
        if count < 0:
            raise CudaEmulatorError(f"no kernel {kernel}")
        if count != len(arguments):
            raise CudaEmulatorError(f"{kernel} takes {count} parameters, got {len(arguments)}")
        packed = b""
        for index, (argument, size, alignment) in enumerate(zip(arguments, sizes, alignments, strict=False)):
            value = _bytes_of(argument, size)
            if len(value) != size:
                raise CudaEmulatorError(f"parameter {index} of {kernel} has {size} bytes, got {len(value)}")
            packed += bytes(-len(packed) % alignment) + value
        return packed + _PARAMETER_PADDING

    @contextmanager
    def _accessible(self, arrays: list[NDArray[Any]]) -> Iterator[None]:
        # An array may be passed twice.
        ranges = {array.ctypes.data: array.nbytes for array in arrays}
        for start, size in ranges.items():
            self._library.cuda_emulator_add_range(start, size)
        try:
            yield
        finally:
            for start in ranges:
                self._library.cuda_emulator_remove_range(start)


def statistics() -> dict[str, dict[str, int]]:
    """Return the counters of each kernel so far; CUDA_EMULATOR_STATS must be set before the first launch."""
    text: bytes = _library().cuda_emulator_statistics()
    counted: dict[str, dict[str, int]] = json.loads(text)
    return counted


def reset_statistics() -> None:
    """Set all counters to zero."""
    _library().cuda_emulator_reset_statistics()


def issued_instructions() -> int:
    """Return the number of warp instructions of all launches of this process."""
    count: int = _library().cuda_emulator_issued_instructions()
    return count


@cache
def _library() -> ctypes.CDLL:
    if not _LIBRARY.exists():
        raise CudaEmulatorError(f"{_LIBRARY} does not exist: scripts/build-for-emulator VENV builds it")
    library = ctypes.CDLL(str(_LIBRARY))
    text, pointer, number = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint64
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "error": (text, []),
        "load": (pointer, [text]),
        "unload": (None, [pointer]),
        "parameters": (ctypes.c_int, [pointer, text, pointer, pointer, ctypes.c_int]),
        "launch": (ctypes.c_int, [pointer, text, pointer, pointer, text, ctypes.c_uint32]),
        "add_range": (None, [number, number]),
        "remove_range": (None, [number]),
        "unsupported": (text, [pointer]),
        "issued_instructions": (number, []),
        "statistics": (text, []),
        "reset_statistics": (None, []),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"cuda_emulator_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def _last_error() -> str:
    text: bytes = _library().cuda_emulator_error()
    return text.decode()


def _three(size: Size) -> ctypes.Array[ctypes.c_uint32]:
    given = (size,) if isinstance(size, int) else tuple(size)
    return (ctypes.c_uint32 * 3)(*given, *(1,) * (3 - len(given)))


def _bytes_of(argument: Argument, size: int) -> bytes:
    if isinstance(argument, np.ndarray):
        return int(argument.ctypes.data).to_bytes(8, "little")
    if isinstance(argument, bytes):
        return argument
    if isinstance(argument, float | np.floating):
        return np.array(argument, {2: np.float16, 4: np.float32}.get(size, np.float64)).tobytes()
    return (int(argument) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
