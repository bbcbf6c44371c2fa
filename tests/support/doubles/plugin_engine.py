"""A double of TensorRT whose engine runs only the decode and NMS plugins; its input tensor holds the heads."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from engine.sidecar import EngineFiles
from engine.types import FloatArray, RawDetections
from tests.csrc.plugins.cases import DECODE, NMS, NMS_ATTRIBUTES, Heads, expected_detections
from tests.csrc.plugins.driver import FLOAT, HALF, INT32, Array, Library, Plugin, PluginError, Shape
from tests.support.doubles.tensorrt import takes

TOP_K = 50
# With these strides the heads fill seven eighths of the input tensor, so the content of every image matters.
STRIDES = (4, 8, 16)
_CANDIDATES = [(TOP_K, 4), (TOP_K,), (TOP_K, 10), ()]
_CANDIDATE_TYPES = [FLOAT, FLOAT, FLOAT, INT32]


def heads_in(batch: FloatArray) -> tuple[Heads, list[Array]]:
    """Return the heads at the beginning of an input tensor, one after the other."""
    n, _, height, width = batch.shape
    heads, flat, views = Heads(n, height, width, STRIDES), batch.reshape(-1), []
    for shape in heads.shapes():
        count = int(np.prod(shape))
        views.append(flat[:count].reshape(shape))
        flat = flat[count:]
    return heads, views


def expected(batch: FloatArray, max_detections: int) -> RawDetections:
    """Return the detections that the engine must find in an input tensor, computed on the CPU."""
    heads, inputs = heads_in(batch)
    count, boxes, scores, landmarks = expected_detections(
        heads.expected(inputs), {**NMS_ATTRIBUTES, "max_detections": max_detections}
    )
    boxes, scores, landmarks = (part.astype(np.float32, copy=False) for part in (boxes, scores, landmarks))
    return RawDetections(count.astype(np.int32, copy=False), boxes, scores, landmarks)


class PluginTensorRT:
    """The module tensorrt, as far as the GPU session uses it.

    Attributes:
        disturb: called in each run, captured ones too, with the stream.
    """

    Builder = object
    float32, float16, int32 = "float32", "float16", "int32"

    class ILogger:
        """Base class of Python loggers."""

        INTERNAL_ERROR, ERROR, WARNING = range(3)

    def __init__(self, files: EngineFiles, library: Library) -> None:
        self.files, self.library = files, library
        self.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")
        self.disturb: Callable[[int], None] | None = None
        self.dtype = np.dtype(files.sidecar.io.input.dtype)
        self.head_types = [HALF if self.dtype == np.float16 else FLOAT] * 9
        # Any size below the engine's, unlike the sidecar: the emulator is slow.
        largest = files.sidecar.io.input.maximum
        self.profiles = [((1, 3, 32, 32), most, most) for most in (largest, (1, *largest[1:]))]

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        self.logger = logger
        spec = self.files.sidecar.io
        dtypes = {spec.input.name: spec.input.dtype, **{output.name: output.dtype for output in spec.outputs}}
        names = list(dtypes)
        engine = SimpleNamespace(
            create_execution_context=lambda strategy: _Context(self),
            device_memory_size_v2=256,
            num_io_tensors=len(names),
            get_tensor_name=lambda i: names[i],
            get_tensor_dtype=lambda name: dtypes[name],
            num_optimization_profiles=len(self.profiles),
            get_tensor_profile_shape=lambda name, index: self.profiles[index],
        )
        registry = SimpleNamespace(load_library=lambda path: path)
        return SimpleNamespace(get_plugin_registry=lambda: registry, deserialize_cuda_engine=lambda plan: engine)


class _Context:
    def __init__(self, trt: PluginTensorRT) -> None:
        self.trt, self.addresses = trt, dict[str, int]()
        self.memory: list[int] = []
        self.profile = 0

    def set_device_memory(self, memory: int, size: int) -> None:
        """Ignore the memory: the context allocates its own."""

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        self.addresses[name] = pointer
        return True

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.profile = index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, int, int, int]) -> bool:
        if not takes(self.trt.profiles[self.profile], shape):
            return False
        n, _, height, width = shape
        self.heads = Heads(n, height, width, STRIDES, top_k=TOP_K)
        library, m = self.trt.library, self.trt.files.sidecar.thresholds.max_detections
        self.candidate_shapes: list[Shape] = [(n, *tail) for tail in _CANDIDATES]
        self.decode, decode_room = self._ready(
            library.create(DECODE, self.heads.attributes), self.trt.head_types, self.heads.shapes()
        )
        nms = library.create(NMS, {**NMS_ATTRIBUTES, "max_detections": m})
        self.nms, nms_room = self._ready(nms, _CANDIDATE_TYPES, self.candidate_shapes)
        self.candidates = [self._allocate(4 * int(np.prod(shape))) for shape in self.candidate_shapes]
        self.workspace = self._allocate(max(decode_room, nms_room))
        return True

    def _ready(self, plugin: Plugin, types: list[int], shapes: list[Any]) -> tuple[Plugin, int]:
        profile = [(shape, shape) for shape in shapes]
        plugin.configure(types, profile)
        context = plugin.clone().recreate().attach()
        context.shape_change(types, shapes)
        return context, plugin.workspace_bytes(types, profile)

    def _allocate(self, nbytes: int) -> int:
        self.memory.append(self.trt.library.call("allocate", nbytes))
        return self.memory[-1]

    def execute_async_v3(self, stream: int) -> bool:
        if self.trt.disturb is not None:
            self.trt.disturb(stream)
        try:
            self._enqueue(stream)
        except PluginError as error:
            self.trt.logger.log(self.trt.ILogger.ERROR, str(error))
            return False
        return True

    def _enqueue(self, stream: int) -> None:
        heads, pointer = [], self.addresses["images"]
        for shape in self.heads.shapes():
            heads.append(pointer)
            pointer += self.trt.dtype.itemsize * int(np.prod(shape))
        types, shapes = self.trt.head_types, self.heads.shapes()
        self.decode.enqueue(types, shapes, heads, self.candidates, self.workspace, stream)
        outputs = [self.addresses[name] for name in ("num_detections", "boxes", "scores", "landmarks")]
        self.nms.enqueue(_CANDIDATE_TYPES, self.candidate_shapes, self.candidates, outputs, self.workspace, stream)

    def __del__(self) -> None:
        for pointer in self.memory:
            self.trt.library.call("free", pointer)
