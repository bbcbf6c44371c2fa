"""Engines on an NVIDIA GPU, with TensorRT-RTX and with full TensorRT: what no double can show.

Kernels that the runtime chooses differ between sizes of batch, and TensorRT-RTX replaces them while it runs, so that
results of two runs are compared within tolerances: a tenth of a pixel, a thousandth of a score.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import BatchQueue, Detections, DeviceMemoryError, TRTRetinaFace, ops
from engine.backend.tensorrt import load_backend
from engine.config.detection import InputSize
from engine.errors import BuildError
from engine.runtime.gpu.session import TensorRTSession
from engine.types import Image
from tests.support.data import astronaut
from tests.support.engines import build

pytestmark = pytest.mark.needs_gpu


@pytest.fixture(scope="module", params=["tensorrt-rtx", pytest.param("tensorrt", marks=pytest.mark.tensorrt)])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An FP32 engine for a range of sizes, up to 4 images."""
    _skip_unless_usable(request.param)
    path = tmp_path_factory.mktemp("gpu") / "faces.engine"
    size = InputSize((320, 320), (320, 320), (640, 640))
    build(path, precision="fp32", runtime=request.param, size=size)
    return path


def _skip_unless_usable(runtime: str) -> None:
    try:
        load_backend(runtime)
    except BuildError as error:
        pytest.skip(str(error))
    capability = pytest.importorskip("cupy").cuda.Device(0).compute_capability
    if runtime == "tensorrt-rtx" and capability.startswith(("9", "10")):
        pytest.skip(f"TensorRT-RTX has no kernels for compute capability {capability}: data centres have TensorRT")


@pytest.fixture(scope="module")
def detector(engine: Path) -> TRTRetinaFace:
    return TRTRetinaFace(engine, "cuda:0", score_threshold=0.3)


@pytest.fixture(scope="module")
def cupy() -> Any:
    return pytest.importorskip("cupy")


def _photos() -> list[Image]:
    photo = astronaut()
    views = [photo, photo[:300, 50:], photo[::2, ::2], photo[:, ::-1], photo[30:, 100:400]]
    return [np.ascontiguousarray(view) for view in views]


def _assert_close(ours: Detections, theirs: Detections) -> None:
    assert len(ours) == len(theirs)
    assert ours.landmarks is not None
    assert theirs.landmarks is not None
    assert np.abs(ours.boxes - theirs.boxes).max(initial=0) < 0.1
    assert np.abs(ours.landmarks - theirs.landmarks).max(initial=0) < 0.1
    assert np.abs(ours.scores - theirs.scores).max(initial=0) < 1e-3


def test_the_faces_are_those_of_the_cpu(engine: Path, detector: TRTRetinaFace) -> None:
    assert isinstance(detector._session, TensorRTSession)
    on_cpu = TRTRetinaFace(engine, "cpu:onnxruntime", score_threshold=0.3)
    for ours, theirs in zip(detector.detect(_photos()), on_cpu.detect(_photos()), strict=True):
        assert len(theirs) == 1
        _assert_close(ours, theirs)


def test_only_full_tensorrt_has_a_profile_for_single_images(detector: TRTRetinaFace) -> None:
    session = detector._session
    assert isinstance(session, TensorRTSession)
    every, single = (((1, 3, 320, 320), (batch, 3, 640, 640)) for batch in (4, 1))
    is_rtx = detector.runtime.startswith("tensorrt-rtx")
    assert session._engine.profiles == ((every,) if is_rtx else (every, single))


def test_graphs_change_nothing_whatever_the_order_of_shapes(engine: Path, detector: TRTRetinaFace) -> None:
    """Batches and sizes in turn, which would show a graph that a run of another shape has spoilt."""
    plain = TRTRetinaFace(engine, "cuda:0", score_threshold=0.3, cuda_graphs=False)
    photos = _photos()
    for order in ([0, 1, 2, 3], [4], [1, 2], [3, 4, 0, 1], [2], [0, 3], [4, 1, 2, 0], [1], [2, 4], [0, 1, 3, 2]):
        images = [photos[i] for i in order]
        for ours, theirs in zip(detector.detect(images), plain.detect(images), strict=True):
            _assert_close(ours, theirs)
        scaled = detector.detect(photos[0], scales=[320, 480, 640])
        _assert_close(scaled, plain.detect(photos[0], scales=[320, 480, 640]))


def test_16_callers_and_three_contexts(detector: TRTRetinaFace) -> None:
    photos = _photos()
    answers = [detector.detect(photo) for photo in photos]

    def call(caller: int) -> None:
        for i in range(100):
            index = (caller + i) % len(photos)
            _assert_close(queue.submit(photos[index]).result(60), answers[index])

    with (
        detector.clone() as one,
        detector.clone() as other,
        BatchQueue([detector, one, other]) as queue,
        ThreadPoolExecutor(16) as callers,
    ):
        for finished in [callers.submit(call, caller) for caller in range(16)]:
            finished.result()


def test_the_stages_add_up_to_the_call(detector: TRTRetinaFace) -> None:
    images = _photos()[:4]
    detector.detect(images)
    shares = []
    for _ in range(20):
        begin = time.perf_counter()
        _, stages = detector.profile(images)
        shares.append(sum(stages.values()) / (time.perf_counter() - begin))
    assert list(stages) == ["letterbox", "h2d", "network", "d2h", "undo letterbox"]
    assert all(seconds >= 0 for seconds in stages.values())
    assert np.median(shares) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("library", ["cupy", "torch", "pycuda"])
def test_device_arrays_are_taken(library: str, detector: TRTRetinaFace) -> None:
    photos = _photos()[:3]
    there: list[Any]
    if library == "cupy":
        there = [pytest.importorskip("cupy").asarray(photo) for photo in photos]
    elif library == "torch":
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("this PyTorch has no CUDA")
        there = [torch.from_numpy(photo).cuda(non_blocking=True) for photo in photos]
    else:
        pytest.importorskip("pycuda.autoprimaryctx")
        there = [pytest.importorskip("pycuda.gpuarray").to_gpu(photo) for photo in photos]
    for ours, theirs in zip(detector.detect(there), detector.detect(photos), strict=True):
        _assert_close(ours, theirs)
    mixed = detector.detect([there[0], photos[1], there[2]])
    for ours, theirs in zip(mixed, detector.detect(photos), strict=True):
        _assert_close(ours, theirs)


def test_a_crop_of_a_device_array_is_no_copy(cupy: Any, detector: TRTRetinaFace) -> None:
    photo = astronaut()
    _assert_close(detector.detect(cupy.asarray(photo)[20:420, 100:500]), detector.detect(photo[20:420, 100:500]))


def test_results_stay_on_the_device_in_the_order_of_a_stream(cupy: Any, detector: TRTRetinaFace) -> None:
    photos, height, width = _photos()[:2], *detector.input_size
    sizes = [(photo.shape[0], photo.shape[1]) for photo in photos]
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        images = [cupy.asarray(photo) for photo in photos]
        found = [detector.detect_device(images, stream=stream) for _ in range(10)]
        # Memory that the stream has freed is used by later work.
        del images
        cupy.full((4, 1000, 1000, 3), 255, cupy.uint8)
    for one in found:
        boxes, _ = ops.unletterbox(
            one.boxes, one.landmarks, one.num_detections, sizes, (height, width), enlarge=False, stream=stream
        )
        for i, faces in enumerate(detector.detect(photos)):
            count = int((one.scores[i] > 0.3).sum())
            assert count == len(faces)
            assert np.abs(boxes.numpy()[i, :count] - faces.boxes).max(initial=0) < 0.1


def test_closed_detectors_give_their_memory_back_and_running_takes_none(engine: Path, cupy: Any) -> None:
    def free() -> int:
        cupy.cuda.runtime.deviceSynchronize()
        return int(cupy.cuda.runtime.memGetInfo()[0])

    for _ in range(2):  # the runtime keeps some for itself from the first time on
        TRTRetinaFace(engine, "cuda:0").close()
    before = free()
    with TRTRetinaFace(engine, "cuda:0") as detector:
        for _ in range(10):
            detector.detect(_photos())
        running = free()
        for _ in range(200):
            detector.detect(_photos())
        assert abs(free() - running) < 1 << 22
    assert abs(free() - before) < 1 << 22


def test_a_full_device_is_said_to_be_full_and_the_detector_stays_usable(cupy: Any, detector: TRTRetinaFace) -> None:
    expected = detector.detect(astronaut())
    kept = []
    size = 1 << 30
    while size >= 1 << 20:
        try:
            kept.append(cupy.cuda.Memory(size))
        except cupy.cuda.runtime.CUDARuntimeError:
            size //= 2
    with pytest.raises(DeviceMemoryError, match="stays usable"):
        detector.detect([np.zeros((8000, 8000, 3), np.uint8)] * 4)
    del kept
    _assert_close(detector.detect(astronaut()), expected)


def test_rtx_keeps_what_it_compiled(engine: Path) -> None:
    with TRTRetinaFace(engine, "cuda:0") as detector:
        if not detector.runtime.startswith("tensorrt-rtx"):
            pytest.skip("full TensorRT compiles when it builds")
        expected = detector.detect(astronaut())
    assert engine.with_name("faces.engine.runtime-cache").stat().st_size > 0
    with TRTRetinaFace(engine, "cuda:0") as detector:
        _assert_close(detector.detect(astronaut()), expected)
