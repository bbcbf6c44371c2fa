"""Calls the launchers through ctypes (launchers.cpp): their structures, and device memory for a launch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import Structure, c_bool, c_float, c_int, c_int64, c_uint8, c_void_p
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike

from tests.csrc.plugins.device import FILL, Memory
from tests.csrc.plugins.driver import Array, Library, Shape

SUCCESS, INVALID_VALUE, MISALIGNED = 0, 1, 716  # cudaError_t
NUMPY: dict[str, Any] = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
DTYPES = {"float32": 0, "float16": 1, "bfloat16": 2}
LINEAR, HWC8 = 0, 1

MAX_LEVELS = 8
MAX_VALUE_HEADS = 8


class AnchorSize(Structure):
    """Sides of an anchor."""

    _fields_ = (("width", c_float), ("height", c_float))


class AnchorLevel(Structure):
    """One level of the pyramid."""

    _fields_ = (
        ("height", c_int),
        ("width", c_int),
        ("stride", c_int),
        ("num_anchors", c_int),
        ("anchor_sizes", AnchorSize * 8),
    )


class AnchorDecodeParams(Structure):
    """The struct of ops/anchor_decode.h."""

    _fields_ = (
        ("batch", c_int),
        ("num_levels", c_int),
        ("levels", AnchorLevel * MAX_LEVELS),
        ("centre_variance", c_float),
        ("size_variance", c_float),
        ("score_threshold", c_float),
        ("top_k", c_int),
        ("num_classes", c_int),
        ("sigmoid", c_bool),
        ("num_points", c_int),
        ("num_value_heads", c_int),
        ("value_sizes", c_int * MAX_VALUE_HEADS),
        ("value_points", c_bool * MAX_VALUE_HEADS),
        ("cascade", c_bool),
        ("dtype", c_int),
    )


class AnchorDecodeInputs(Structure):
    """The struct of the same name."""

    _fields_ = (
        ("logits", c_void_p * MAX_LEVELS),
        ("box_deltas", c_void_p * MAX_LEVELS),
        ("landmark_deltas", c_void_p * MAX_LEVELS),
        ("anchor_deltas", c_void_p * MAX_LEVELS),
        ("values", c_void_p * MAX_LEVELS * MAX_VALUE_HEADS),
    )


class AnchorDecodeOutputs(Structure):
    """The struct of the same name."""

    _fields_ = tuple((name, c_void_p) for name in ("boxes", "scores", "payload", "count", "classes"))


class BatchedNmsParams(Structure):
    """The struct of ops/batched_nms.h."""

    _fields_ = (
        ("batch", c_int),
        ("num_candidates", c_int),
        ("max_detections", c_int),
        ("iou_threshold", c_float),
        ("voting", c_bool),
        ("payload_size", c_int),
        ("has_classes", c_bool),
        ("class_agnostic", c_bool),
    )


class BatchedNmsInputs(Structure):
    """The struct of the same name."""

    _fields_ = tuple((name, c_void_p) for name in ("boxes", "scores", "payload", "count", "classes"))


class BatchedNmsOutputs(Structure):
    """The struct of the same name."""

    _fields_ = (
        ("num_detections", c_void_p),
        ("boxes", c_void_p),
        ("scores", c_void_p),
        ("payload", c_void_p),
        ("indices", c_void_p),
        ("classes", c_void_p),
    )


class LetterboxParams(Structure):
    """The struct of ops/letterbox.h."""

    _fields_ = (
        ("batch", c_int),
        ("out_height", c_int),
        ("out_width", c_int),
        ("mean", c_float * 3),
        ("std", c_float * 3),
        ("pad_value", c_uint8 * 3),
        ("swap_rb", c_bool),
        ("enlarge", c_bool),
        ("dtype", c_int),
    )


class ImageView(Structure):
    """The struct of the same name."""

    _fields_ = (("data", c_void_p), ("height", c_int), ("width", c_int), ("pitch_bytes", c_int64))


class UnletterboxParams(Structure):
    """The struct of the same name."""

    _fields_ = (("batch", c_int), ("slots", c_int), ("num_points", c_int))


class UnletterboxPlacement(Structure):
    """The struct of the same name."""

    _fields_ = (("factor_x", c_float), ("factor_y", c_float), ("pad_x", c_float), ("pad_y", c_float))


class UnletterboxInputs(Structure):
    """The struct of the same name."""

    _fields_ = (("boxes", c_void_p), ("landmarks", c_void_p), ("count", c_void_p))


class UnletterboxOutputs(Structure):
    """The struct of the same name."""

    _fields_ = (("boxes", c_void_p), ("landmarks", c_void_p))


class DeformConvParams(Structure):
    """The struct of ops/deform_conv.h."""

    _fields_ = tuple(
        (name, c_int)
        for name in (
            *("batch", "in_channels", "height", "width", "out_channels", "kernel_h", "kernel_w"),
            *("stride_h", "stride_w", "pad_top", "pad_left", "pad_bottom", "pad_right", "dilation_h", "dilation_w"),
            *("groups", "offset_groups", "dtype", "layout"),
        )
    )


class DeformConvInputs(Structure):
    """The struct of the same name."""

    _fields_ = (("x", c_void_p), ("weight", c_void_p), ("offset", c_void_p), ("bias", c_void_p), ("mask", c_void_p))


class AlignParams(Structure):
    """The struct of ops/align.h."""

    _fields_ = (
        ("faces", c_int),
        ("images", c_int),
        ("height", c_int),
        ("width", c_int),
        ("template_points", c_float * 10),
    )


class AlignInputs(Structure):
    """The struct of the same name."""

    _fields_ = (("landmarks", c_void_p), ("image_indices", c_void_p))


class AlignOutputs(Structure):
    """The struct of the same name."""

    _fields_ = (("crops", c_void_p), ("transforms", c_void_p))


STRUCTURES: list[type[Structure]] = [
    AnchorDecodeParams,
    AnchorDecodeInputs,
    AnchorDecodeOutputs,
    BatchedNmsParams,
    BatchedNmsInputs,
    BatchedNmsOutputs,
    LetterboxParams,
    ImageView,
    UnletterboxParams,
    UnletterboxPlacement,
    UnletterboxInputs,
    UnletterboxOutputs,
    DeformConvParams,
    DeformConvInputs,
    AlignParams,
    AlignInputs,
    AlignOutputs,
]


@dataclass
class Workspace:
    """The workspace that a launcher gets."""

    address: int | None
    size: int


@dataclass
class Operation:
    """One operator with its parameters, ready to be launched.

    Attributes:
        inputs: arrays that go to the device.
        outputs: dtype and shape of each result.
        workspace_bytes: the result of the size query.
        launch: calls the launcher with the addresses of inputs and outputs, the workspace and the stream.
        expected: the operator's results on the CPU, if they must be bitwise equal.
    """

    inputs: list[Array]
    outputs: list[tuple[DTypeLike, Shape]]
    workspace_bytes: int
    launch: Callable[[Sequence[int], Sequence[int], Workspace, int], int]
    expected: list[Array] | None = None


class Launch:
    """An operation's device memory, with guards around it. Outputs and workspace are filled with 0xFF."""

    def __init__(self, library: Library, operation: Operation) -> None:
        """Upload the inputs."""
        self._library = library
        self._operation = operation
        self.inputs = [Memory(library, a.nbytes) for a in operation.inputs]
        self.set_inputs(operation)
        self.outputs = [
            Memory(library, int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)
            for dtype, shape in operation.outputs
        ]
        self.workspace = Memory(library, operation.workspace_bytes)
        self.stream: int = library.call("stream")

    def set_inputs(self, operation: Operation) -> None:
        """Upload the inputs of another operation with the same parameters."""
        self._operation.inputs = operation.inputs
        for memory, array in zip(self.inputs, operation.inputs, strict=True):
            memory.write(array)

    def default_workspace(self) -> Workspace:
        """Return the workspace of the size that the operation asks for."""
        return Workspace(self.workspace.address, self._operation.workspace_bytes)

    def launch(self, workspace: Workspace | None = None, outputs: Sequence[int] | None = None) -> int:
        """Launch, optionally with another workspace or other output addresses, and return the status."""
        return self._operation.launch(
            [memory.address for memory in self.inputs],
            [memory.address for memory in self.outputs] if outputs is None else outputs,
            workspace or self.default_workspace(),
            self.stream,
        )

    def results(self) -> list[Array]:
        """Synchronise and return the outputs. Checks that guards and inputs are unchanged."""
        assert self._library.call("synchronise", self.stream) == SUCCESS
        self.workspace.read()
        for memory, array in zip(self.inputs, self._operation.inputs, strict=True):
            assert memory.read().tobytes() == array.tobytes()
        return [
            memory.read().view(dtype).reshape(shape)
            for memory, (dtype, shape) in zip(self.outputs, self._operation.outputs, strict=True)
        ]

    def untouched(self) -> bool:
        """Return whether outputs and workspace still hold their initial bytes."""
        assert self._library.call("synchronise", self.stream) == SUCCESS
        return all((memory.read() == FILL).all() for memory in [*self.outputs, self.workspace])

    def capture(self, launches: int = 1) -> int:
        """Capture so many launches behind each other, without running them, and return the graph."""
        assert self._library.call("begin_capture", self.stream) == SUCCESS
        graph = 0
        try:
            statuses = {self.launch() for _ in range(launches)}
        finally:  # a stream left in capture mode would break every later test
            graph = self._library.call("end_capture", self.stream) or 0
        assert statuses == {SUCCESS}
        assert graph, "the graph could not be captured"
        return graph

    def replay(self, graph: int, launches: int) -> list[Array]:
        """Launch a graph `launches` times and return the results."""
        assert self._library.call("replay", graph, self.stream, launches) == SUCCESS
        return self.results()

    def times_ms(self, graph: int, replays: int) -> list[float]:
        """Launch a graph once, then so many times without a pause; return the milliseconds of each, by CUDA events."""
        times = (c_float * replays)()
        assert self._library.call("time_replays", graph, self.stream, times, replays) == SUCCESS
        return list(times)


def run(library: Library, operation: Operation) -> list[Array]:
    """Launch once and return the results."""
    launch = Launch(library, operation)
    assert launch.launch() == SUCCESS
    return launch.results()


def sizes_of_structures(library: Library) -> list[int]:
    """Return the sizes of STRUCTURES in C."""
    pointer = ctypes.cast(library.call("structure_sizes"), ctypes.POINTER(ctypes.c_size_t))
    return pointer[: len(STRUCTURES)]
