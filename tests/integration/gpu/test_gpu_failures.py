"""Failures on a GPU: exceptions say whether the detector stays usable, and it does as they say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engine import (
    BatchQueue,
    ClosedError,
    CudaError,
    DeviceError,
    DeviceLostError,
    DeviceMemoryError,
    InferenceError,
    InvalidArgumentError,
    RetinaFaceError,
    TRTRetinaFace,
    ops,
)
from engine.faces import Detections
from engine.types import Image
from tests.support.data import astronaut
from tests.support.doubles.cases import OnDevice
from tests.support.doubles.cupy import FakeCudaError
from tests.support.doubles.tensorrt import FakeTensorRT


@pytest.fixture
def detector(fp32_engine: Path, trt: FakeTensorRT) -> TRTRetinaFace:
    return TRTRetinaFace(fp32_engine, "cuda:0", score_threshold=0.3)


@pytest.fixture(scope="module")
def expected(fp32_engine: Path) -> Detections:
    return TRTRetinaFace(fp32_engine, "cpu", score_threshold=0.3).detect(astronaut())


def _assert_usable(detector: TRTRetinaFace, expected: Detections) -> None:
    for _ in range(2):
        assert np.array_equal(detector.detect(astronaut()).boxes, expected.boxes)


def test_a_run_that_the_engine_refuses(detector: TRTRetinaFace, expected: Detections, trt: FakeTensorRT) -> None:
    trt.executes, trt.because = False, "bad weather"
    with pytest.raises(InferenceError, match=r"the engine failed on an input of shape \(2, 3, 320, 320\): bad weather"):
        detector.detect([astronaut()] * 2)
    trt.executes, trt.accepts_shape = True, False
    with pytest.raises(InferenceError, match="refused an input of shape"):
        detector.detect(astronaut())
    trt.accepts_shape, trt.accepts_address = True, False
    with pytest.raises(InferenceError, match="refused the address of 'images'"):
        detector.detect(astronaut())
    trt.accepts_address = True
    _assert_usable(detector, expected)


def test_no_memory_for_the_images(detector: TRTRetinaFace, expected: Detections, trt: FakeTensorRT) -> None:
    _assert_usable(detector, expected)
    trt.cupy.room = trt.cupy.allocated + 2_000_000
    with pytest.raises(DeviceMemoryError, match=r"cuda:0 ran out of memory while detecting in 1 images.*stays usable"):
        detector.detect(np.zeros((1500, 1500, 3), np.uint8))
    _assert_usable(detector, expected)
    trt.cupy.room = 1 << 40
    assert len(detector.detect(np.zeros((1500, 1500, 3), np.uint8))) == 0


def test_more_memory_for_images_takes_the_place_of_the_old(detector: TRTRetinaFace, trt: FakeTensorRT) -> None:
    without = trt.cupy.allocated
    detector.detect(np.zeros((1000, 1000, 3), np.uint8))
    trt.cupy.room = without + 2 * (trt.cupy.allocated - without)
    detector.detect(np.zeros((1500, 1000, 3), np.uint8))


def test_no_memory_inside_tensorrt(detector: TRTRetinaFace, expected: Detections, trt: FakeTensorRT) -> None:
    trt.executes, trt.because = False, "Requested amount of GPU memory (9 bytes) could not be allocated. Out of memory."
    with pytest.raises(DeviceMemoryError, match="Requested amount"):
        detector.detect(astronaut())
    trt.executes = True
    _assert_usable(detector, expected)


def test_a_batch_that_does_not_fit_is_run_image_by_image_by_the_queue(
    detector: TRTRetinaFace, expected: Detections, trt: FakeTensorRT
) -> None:
    trt.cupy.room = trt.cupy.allocated + 2_000_000
    with BatchQueue([detector], max_delay=5) as queue:
        requests = [queue.submit(astronaut()) for _ in range(4)]
        assert all(np.array_equal(request.result(60).boxes, expected.boxes) for request in requests)
        assert [request.batch_size for request in requests] == [1] * 4


def test_no_memory_for_a_clone(detector: TRTRetinaFace, expected: Detections, trt: FakeTensorRT) -> None:
    trt.cupy.room = trt.cupy.allocated + 1000
    with pytest.raises(DeviceError, match="cuda:0 has no memory for another execution context"):
        detector.clone()
    trt.cupy.room = 1 << 40
    trt.creates = False
    with pytest.raises(DeviceError, match=r"no memory for another execution context.*no memory for a context"):
        detector.clone()
    _assert_usable(detector, expected)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CudaError("letterbox failed: too odd", "cudaErrorInvalidConfiguration", 9), r"CUDA failed.*odd.*stays usable"),
        (InvalidArgumentError("images[0] has dtype float32"), r"^images\[0\] has dtype float32$"),
    ],
)
def test_a_kernel_that_is_not_launched(
    detector: TRTRetinaFace,
    expected: Detections,
    trt: FakeTensorRT,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    message: str,
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(ops, "letterbox", fail)
        with pytest.raises(RetinaFaceError, match=message):
            detector.detect(astronaut())
    assert trt.call_log[-1] == "synchronize", "the pixels are still on their way: the next run must not write to them"
    _assert_usable(detector, expected)


def test_a_sticky_error_ends_all_detectors_of_the_engine(
    detector: TRTRetinaFace, expected: Detections, trt: FakeTensorRT
) -> None:
    clone = detector.clone()
    _assert_usable(detector, expected)
    trt.cupy.sticky = FakeCudaError("cudaErrorIllegalAddress: an illegal memory access was encountered", 700)
    with pytest.raises(DeviceLostError, match=r"cuda:0 is lost to this process \(cudaErrorIllegalAddress.*new process"):
        detector.detect(astronaut())
    # From here on CUDA is not called, even where it would work.
    trt.cupy.sticky = None
    trt.call_log.clear()
    for use in (detector.detect, clone.detect, lambda _: detector.clone()):
        with pytest.raises(DeviceLostError, match="lost to this process"):
            use(astronaut())
    with pytest.raises(DeviceLostError, match="lost"):
        detector.submit(astronaut()).result(60)
    assert trt.call_log == []
    detector.close()
    clone.close()
    assert trt.call_log == []


@pytest.mark.parametrize("use", ["detect", "detect_device", "clone", "close"])
def test_a_device_that_cannot_be_made_current_is_lost(detector: TRTRetinaFace, trt: FakeTensorRT, use: str) -> None:
    lost = FakeCudaError("cudaErrorDeviceUnavailable", 46)
    trt.cupy.device_error = trt.cupy.sticky = lost
    uses = {
        "detect": lambda: detector.detect(astronaut()),
        "detect_device": lambda: detector.detect_device(OnDevice(astronaut()), stream=0),
        "clone": detector.clone,
    }
    if use in uses:
        with pytest.raises(DeviceLostError, match="cudaErrorDeviceUnavailable"):
            uses[use]()
    detector.close()
    detector.close()


def test_a_sticky_error_behind_another_one_is_noticed(detector: TRTRetinaFace, trt: FakeTensorRT) -> None:
    trt.executes, trt.because = False, "Cask convolution execution"
    trt.cupy.sticky = FakeCudaError("cudaErrorLaunchFailure", 719)
    with pytest.raises(DeviceLostError, match=r"lost to this process \(.*Cask convolution.*; cudaErrorLaunchFailure\)"):
        detector.detect(astronaut())


def test_a_closed_session_gives_everything_back(detector: TRTRetinaFace, trt: FakeTensorRT) -> None:
    detector.detect(astronaut())
    session = detector._session
    detector.close()
    session.close()
    assert trt.cupy.allocated == 0
    with pytest.raises(ClosedError):
        detector.detect(astronaut())
    with pytest.raises(ClosedError):
        session.run(np.zeros((1, 3, 320, 320), np.float32))


def test_a_batch_that_is_too_large_is_refused(detector: TRTRetinaFace, expected: Detections) -> None:
    with pytest.raises(InvalidArgumentError, match=r"\(5, 3, 320, 320\) is larger than the engine's"):
        detector._session.run(np.zeros((5, 3, 320, 320), np.float32))
    _assert_usable(detector, expected)


def test_threads_take_turns_on_one_detector(detector: TRTRetinaFace, expected: Detections) -> None:
    def call(caller: int) -> int:
        photo = astronaut() if caller % 2 else np.zeros((500, 300, 3), np.uint8)
        wanted = expected.boxes if caller % 2 else np.zeros((0, 4), np.float32)
        return sum(np.array_equal(detector.detect(photo).boxes, wanted) for _ in range(6))

    with ThreadPoolExecutor(8) as callers:
        assert sum(callers.map(call, range(8))) == 48


def test_16_callers_and_two_contexts(fp32_engine: Path, trt: FakeTensorRT) -> None:
    """Every run overwrites pinned memory and tensors, which would show a result that is copied too late."""
    photo = astronaut()
    images: list[Image] = [photo, photo[:300, 50:], photo[::2, ::2], photo[:, ::-1], photo[30:, 100:400]]
    with TRTRetinaFace(fp32_engine, "cpu", score_threshold=0.3) as cpu:
        answers = [cpu.detect(image) for image in images]

    def call(caller: int) -> int:
        right = 0
        for i in range(5):
            index = (caller + i) % len(images)
            right += np.array_equal(queue.submit(images[index]).result(120).boxes, answers[index].boxes)
        return right

    with (
        TRTRetinaFace(fp32_engine, "cuda:0", score_threshold=0.3) as detector,
        detector.clone() as clone,
        BatchQueue([detector, clone]) as queue,
        ThreadPoolExecutor(16) as callers,
    ):
        assert sum(callers.map(call, range(16))) == 80
    assert {call for call in trt.call_log if call.startswith("replay")} == {"replay on 4711", "replay on 4712"}
