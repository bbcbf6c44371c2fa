"""The GPU session with real kernels: letterbox and the plugins, copies, streams and graph capture, on a device or else
on a CUDA emulator. What stands in for TensorRT runs this project's plugins on what the input tensor holds.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine import DeviceLostError, InvalidArgumentError, ops
from engine.backend import tensorrt as backends
from engine.backend.driver import sees_gpu
from engine.runtime.gpu import opening as tensorrt
from engine.runtime.gpu.session import TensorRTSession
from engine.runtime.letterbox import Letterbox
from engine.runtime.session import RuntimeOptions
from engine.runtime.timing import Stopwatch
from engine.sidecar import EngineFiles, read_engine
from engine.types import Image, RawDetections
from tests.csrc.plugins.conftest import library
from tests.csrc.plugins.driver import Library
from tests.support.backends import Backend, load_emulator
from tests.support.doubles.cudart import Cupy
from tests.support.doubles.plugin_engine import PluginTensorRT, expected
from tests.support.engines import build_stand_in

__all__ = ["library"]  # a fixture

SIZES = [(64, 96), (96, 64)]


@pytest.fixture(scope="module", params=["fp32"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EngineFiles:
    """Of an engine that needed no builder: the double of TensorRT does not read its plan."""
    path = tmp_path_factory.mktemp("stand-in") / "faces.engine"
    build_stand_in(path, request.param)
    return read_engine(path)


@pytest.fixture
def cupy(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The real module on a device, else a double over the emulator's runtime library."""
    if sees_gpu():
        return pytest.importorskip("cupy")
    double = Cupy(load_emulator())
    monkeypatch.setitem(sys.modules, "cupy", double)
    return double


@pytest.fixture
def trt(files: EngineFiles, library: Library, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> PluginTensorRT:
    double = PluginTensorRT(files, library)
    built = files.sidecar.runtime.version
    monkeypatch.setattr(tensorrt, "load_backend", lambda runtime: backends.Backend("tensorrt", double, built))
    return double


@pytest.fixture
def session(files: EngineFiles, trt: PluginTensorRT) -> TensorRTSession:
    return tensorrt.open_tensorrt_session(files, 0)


def _letterbox(files: EngineFiles, size: tuple[int, int]) -> Letterbox:
    # Levels of about -2 to 2, so that few logits are as far apart as to make the score 1.
    config = replace(files.sidecar.config, mean=(120.0, 110.0, 100.0), std=(60.0, 50.0, 40.0))
    return Letterbox(size, config, enlarge=True)


def _images(rng: np.random.Generator, count: int) -> list[Image]:
    return [rng.integers(0, 256, (*rng.integers(40, 90, 2), 3), np.uint8) for _ in range(count)]


def _check(found: RawDetections, files: EngineFiles, letterbox: Letterbox, images: list[Image]) -> None:
    """The result of the CPU operators, which give the same bits."""
    batch = letterbox.batch(images).astype(files.sidecar.io.input.dtype).astype(np.float32)
    wanted = expected(batch, files.sidecar.thresholds.max_detections)
    assert wanted.num_detections.sum() > 3, "too few faces to compare"
    for name in ("num_detections", "boxes", "scores", "landmarks"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name


@pytest.mark.parametrize("files", ["fp32", "fp16"], indirect=True)
def test_graphs_and_first_runs_give_the_cpu_s_bits(
    session: TensorRTSession, files: EngineFiles, cupy: Any, rng: np.random.Generator
) -> None:
    """Each (batch, size) once or several times and in turn, with new images every time."""
    copies = list[str]()
    seen = list[tuple[int, int]]()
    for batch, size in [(1, 0), (3, 0), (1, 0), (3, 1), (3, 0), (3, 1), (3, 0), (2, 1), (1, 0), (3, 1)]:
        copies += ["in"] * batch + ["graph"] * (seen.count((batch, size)) >= 2) + ["out"]
        seen.append((batch, size))
        letterbox, images = _letterbox(files, SIZES[size]), _images(rng, batch)
        _check(session.detect(images, letterbox, Stopwatch()), files, letterbox, images)
    if isinstance(cupy, Cupy):
        assert cupy.copies == copies


def test_without_graphs(files: EngineFiles, trt: PluginTensorRT, cupy: Any, rng: np.random.Generator) -> None:
    session = tensorrt.open_tensorrt_session(files, 0, RuntimeOptions(cuda_graphs=False))
    letterbox = _letterbox(files, SIZES[0])
    for _ in range(2):
        images = _images(rng, 2)
        _check(session.detect(images, letterbox, Stopwatch()), files, letterbox, images)
    if isinstance(cupy, Cupy):
        assert "graph" not in cupy.copies


def test_what_cannot_be_captured_runs_on(
    session: TensorRTSession, files: EngineFiles, trt: PluginTensorRT, cupy: Any, rng: np.random.Generator
) -> None:
    def allocate(stream: int) -> None:
        # The status is ignored, as by libraries that allocate memory without telling the caller.
        trt.library.call("free", trt.library.call("allocate", 256) or 0)

    trt.disturb = allocate
    letterbox = _letterbox(files, SIZES[0])
    for _ in range(3):
        images = _images(rng, 1)
        _check(session.detect(images, letterbox, Stopwatch()), files, letterbox, images)
    if isinstance(cupy, Cupy):
        assert "graph" not in cupy.copies


@pytest.mark.parametrize("how", ["memory", "bare stream", "stream"])
def test_what_is_freed_during_a_capture(
    session: TensorRTSession, files: EngineFiles, trt: PluginTensorRT, cupy: Any, rng: np.random.Generator, how: str
) -> None:
    """Freeing in the order of a stream leaves a capture alone.

    What waits for the device ends it, and the next run makes the graph: memory of cudaMalloc, and a result whose stream
    may be gone.
    """
    letterbox = _letterbox(files, SIZES[0])
    caller = cupy.cuda.Stream(non_blocking=True)
    owned: list[Any] = [trt.library.call("allocate", 256)]
    if how != "memory":
        image = ops.to_device(_images(rng, 1)[0])
        owned = [session.detect_device([image], letterbox, caller if how == "stream" else caller.ptr)]

    def free(stream: int) -> None:
        if owned and cupy.cuda.runtime.streamIsCapturing(stream):
            freed = owned.pop()
            if how == "memory":
                trt.library.call("free", freed)

    trt.disturb = free
    for _ in range(5):
        images = _images(rng, 2)
        _check(session.detect(images, letterbox, Stopwatch()), files, letterbox, images)
    assert not owned
    if isinstance(cupy, Cupy):
        assert cupy.copies.count("graph") == (3 if how == "stream" else 2)


def test_clones_do_not_share_memory(session: TensorRTSession, files: EngineFiles, rng: np.random.Generator) -> None:
    clone, letterbox = session.clone(), _letterbox(files, SIZES[0])
    for one in (session, clone, session, clone):
        images = _images(rng, 2)
        _check(one.detect(images, letterbox, Stopwatch()), files, letterbox, images)
    clone.close()
    images = _images(rng, 2)
    _check(session.detect(images, letterbox, Stopwatch()), files, letterbox, images)


def test_device_arrays_are_read_in_place_beside_host_arrays(
    session: TensorRTSession, files: EngineFiles, cupy: Any, rng: np.random.Generator
) -> None:
    letterbox, images = _letterbox(files, SIZES[0]), _images(rng, 3)
    there: list[Any] = [ops.to_device(image) for image in images]
    _check(session.detect(there, letterbox, Stopwatch()), files, letterbox, images)
    _check(session.detect([there[0], images[1], there[2]], letterbox, Stopwatch()), files, letterbox, images)
    if isinstance(cupy, Cupy):
        assert cupy.copies == ["out", "in", "out"]


def test_results_on_the_device_go_into_other_operators(
    session: TensorRTSession, files: EngineFiles, cupy: Any, rng: np.random.Generator
) -> None:
    letterbox, images = _letterbox(files, SIZES[0]), _images(rng, 2)
    stream = cupy.cuda.Stream(non_blocking=True)
    parts = [images, images[::-1]] * 2
    runs = [session.detect_device([ops.to_device(i) for i in part], letterbox, stream) for part in parts]
    if isinstance(cupy, Cupy):
        assert cupy.copies == ["across"] * 2 + ["graph", "across"] * 2
    for found, part in zip(runs, parts, strict=True):
        sizes = [(image.shape[0], image.shape[1]) for image in part]
        boxes, landmarks = ops.unletterbox(
            found.boxes, found.landmarks, found.num_detections, sizes, letterbox.size, stream=stream
        )
        wanted = expected(letterbox.batch(part), files.sidecar.thresholds.max_detections)
        wanted_boxes, wanted_landmarks = ops.unletterbox(
            wanted.boxes, wanted.landmarks, wanted.num_detections, sizes, letterbox.size
        )
        assert np.array_equal(boxes.numpy(), wanted_boxes)
        assert landmarks is not None
        assert wanted_landmarks is not None
        assert np.array_equal(landmarks.numpy(), wanted_landmarks)
    _check(session.detect(images, letterbox, Stopwatch()), files, letterbox, images)


def test_a_stream_may_be_destroyed_before_its_results(
    session: TensorRTSession, files: EngineFiles, cupy: Any, rng: np.random.Generator
) -> None:
    letterbox, images = _letterbox(files, SIZES[0]), _images(rng, 2)
    there = [ops.to_device(image) for image in images]
    for bare in (False, True):
        stream = cupy.cuda.Stream(non_blocking=True)
        found = session.detect_device(there, letterbox, stream.ptr if bare else stream)
        del stream
        del found
        _check(session.detect(images, letterbox, Stopwatch()), files, letterbox, images)


def test_a_capture_of_the_caller_s_is_refused_and_goes_on(
    session: TensorRTSession, files: EngineFiles, cupy: Any, rng: np.random.Generator
) -> None:
    letterbox, images = _letterbox(files, SIZES[0]), _images(rng, 2)
    there = [ops.to_device(image) for image in images]
    stream = cupy.cuda.Stream(non_blocking=True)
    stream.begin_capture(cupy.cuda.runtime.streamCaptureModeThreadLocal)
    with pytest.raises(InvalidArgumentError, match="stream is being captured"):
        session.detect_device(there, letterbox, stream)
    stream.end_capture()
    _check(session.detect(images, letterbox, Stopwatch()), files, letterbox, images)


def test_an_array_of_another_dtype_is_refused_and_the_session_runs_on(
    session: TensorRTSession, files: EngineFiles, rng: np.random.Generator
) -> None:
    letterbox, images = _letterbox(files, SIZES[0]), _images(rng, 2)
    wrong: Any = ops.to_device(np.zeros((8, 8, 3), np.float32))
    for _ in range(2):
        with pytest.raises(InvalidArgumentError, match=r"images\[1\] has dtype float32, expected uint8"):
            session.detect([images[0], wrong], letterbox, Stopwatch())
        with pytest.raises(InvalidArgumentError, match=r"images\[0\] has dtype float32, expected uint8"):
            session.detect_device([wrong], letterbox, None)
        _check(session.detect(images, letterbox, Stopwatch()), files, letterbox, images)


def test_a_kernel_that_reads_outside_its_memory_loses_the_device(
    session: TensorRTSession, files: EngineFiles, cupy: Any
) -> None:
    """On a GPU this sticky error would fail all later tests; on the emulator it does not."""
    if not isinstance(cupy, Cupy):
        pytest.skip("only on an emulator")

    class Liar:
        def __init__(self) -> None:
            self.array = ops.to_device(np.zeros((8, 8, 3), np.uint8))
            self.shape = (4000, 8, 3)

        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            return {"shape": self.shape, "typestr": "|u1", "data": (self.array.ptr, False), "version": 3}

    images: list[Any] = [Liar()]
    with pytest.raises(DeviceLostError, match=r"cuda:0 is lost to this process \(.*Start a new process"):
        session.detect(images, _letterbox(files, SIZES[0]), Stopwatch())
    cupy.copies.clear()
    with pytest.raises(DeviceLostError, match="lost"):
        session.detect([np.zeros((8, 8, 3), np.uint8)], _letterbox(files, SIZES[0]), Stopwatch())
    assert cupy.copies == []
