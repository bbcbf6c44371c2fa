"""Device memory with guards around it, and the launch of a plugin in such memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .driver import BF16, FLOAT, HALF, INT32, Array, Library, Plugin, Shape

GUARD_BYTES = 4096
FILL = 0xFF  # NaN as a float, -1 as an integer

_TYPE_OF = {"float32": FLOAT, "float16": HALF, "bfloat16": BF16, "int32": INT32}
_DTYPE_OF = {FLOAT: np.float32, INT32: np.int32}


class Memory:
    """Device memory filled with 0xFF, between two guards."""

    def __init__(self, library: Library, size: int) -> None:
        """Allocate and fill."""
        self._library = library
        self._size = size
        self._base: int = library.call("allocate", size + 2 * GUARD_BYTES)
        self.address = self._base + GUARD_BYTES
        self._upload(self._base, np.full(size + 2 * GUARD_BYTES, FILL, np.uint8))

    def __del__(self) -> None:
        """Free it."""
        self._library.call("free", self._base)

    def _upload(self, address: int, array: Array) -> None:
        array = np.ascontiguousarray(array)
        assert self._library.call("upload", address, array.ctypes.data, array.nbytes) == 0

    def write(self, array: Array) -> None:
        """Copy an array to the device."""
        self._upload(self.address, array)

    def read(self) -> Array:
        """Copy the bytes from the device. Checks the guards."""
        whole = np.empty(self._size + 2 * GUARD_BYTES, np.uint8)
        assert self._library.call("download", whole.ctypes.data, self._base, whole.nbytes) == 0
        assert (whole[:GUARD_BYTES] == FILL).all(), "a kernel wrote before the beginning"
        assert (whole[-GUARD_BYTES:] == FILL).all(), "a kernel wrote past the end"
        return whole[GUARD_BYTES:-GUARD_BYTES]


class Launch:
    """A plugin's inputs, outputs and workspace on the device."""

    def __init__(self, plugin: Plugin, inputs: Sequence[Array], workspace_bytes: int) -> None:
        """Upload the inputs; outputs and workspace hold 0xFF."""
        self.plugin = plugin
        self.types = [_TYPE_OF[a.dtype.name] for a in inputs]
        self._host_inputs = inputs
        self._inputs = [Memory(plugin.library, a.nbytes) for a in inputs]
        self.set_inputs(inputs)
        self._shapes = plugin.output_shapes([a.shape for a in inputs])
        self._dtypes: list[Any] = [_DTYPE_OF[t] for t in plugin.output_types(self.types)]
        self._outputs = [Memory(plugin.library, 4 * int(np.prod(shape))) for shape in self._shapes]
        self._workspace = Memory(plugin.library, workspace_bytes)
        self.stream: int = plugin.library.call("stream")

    def set_inputs(self, inputs: Sequence[Array]) -> None:
        """Replace the inputs by others of the same shapes."""
        self._host_inputs = inputs
        for memory, array in zip(self._inputs, inputs, strict=True):
            memory.write(array)

    def enqueue(self) -> None:
        """Queue the plugin's work."""
        self.plugin.enqueue(
            self.types,
            [a.shape for a in self._host_inputs],
            [m.address for m in self._inputs],
            [m.address for m in self._outputs],
            self._workspace.address,
            self.stream,
        )

    def outputs(self) -> list[Array]:
        """Synchronise and return the outputs. Checks that guards and inputs are unchanged."""
        assert self.plugin.library.call("synchronise", self.stream) == 0
        self._workspace.read()
        for memory, array in zip(self._inputs, self._host_inputs, strict=True):
            assert memory.read().tobytes() == array.tobytes()
        memories = zip(self._outputs, self._dtypes, self._shapes, strict=True)
        return [memory.read().view(dtype).reshape(shape) for memory, dtype, shape in memories]

    def capture(self, queue: Callable[[], None]) -> int:
        """Capture the work that `queue` queues on the stream. Returns the graph, or 0 if the capture failed."""
        call = self.plugin.library.call
        assert call("begin_capture", self.stream) == 0
        graph = 0
        try:
            queue()
        finally:  # a stream left in capture mode would break every later test
            graph = call("end_capture", self.stream) or 0
        return graph

    def replay(self, graph: int, launches: int) -> list[Array]:
        """Launch a graph `launches` times and return the outputs."""
        assert graph, "the graph could not be captured"
        assert self.plugin.library.call("replay", graph, self.stream, launches) == 0
        return self.outputs()


def prepare(plugin: Plugin, inputs: Sequence[Array], largest: Sequence[Shape] | None = None) -> Launch:
    """Make the calls of building and loading an engine, up to the enqueue.

    The profile is from the inputs' shapes to the `largest` ones.
    """
    types = [_TYPE_OF[a.dtype.name] for a in inputs]
    shapes = [a.shape for a in inputs]
    profile = list(zip(shapes, largest or shapes, strict=True))
    plugin.configure(types, profile)
    context = plugin.clone().recreate().attach()
    context.shape_change(types, shapes)
    return Launch(context, inputs, plugin.workspace_bytes(types, profile))


def run(plugin: Plugin, inputs: Sequence[Array], largest: Sequence[Shape] | None = None) -> list[Array]:
    """Prepare, enqueue and return the outputs."""
    launch = prepare(plugin, inputs, largest)
    launch.enqueue()
    return launch.outputs()
