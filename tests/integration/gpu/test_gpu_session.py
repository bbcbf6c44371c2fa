"""The GPU session's calls, order, shapes and streams, against recording doubles; test_gpu.py is the real thing."""

from __future__ import annotations

import gc
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine import DeviceMemoryError, InvalidArgumentError, TRTRetinaFace
from engine.runtime.cpu.session import CpuSession
from engine.runtime.gpu.graphs import LIMIT, GraphCache
from engine.runtime.gpu.memory import layout_of
from engine.runtime.gpu.opening import open_tensorrt_session
from engine.runtime.gpu.session import TensorRTSession
from engine.runtime.timing import Stopwatch
from engine.sidecar import EngineFiles
from engine.types import Detections, Image
from tests.support.data import astronaut
from tests.support.doubles.cupy import FakeCuda, FakeStream
from tests.support.doubles.tensorrt import FakeTensorRT


@pytest.fixture
def session(files: EngineFiles, trt: FakeTensorRT) -> TensorRTSession:
    session = open_tensorrt_session(files, 0)
    trt.call_log.clear()
    return session


@pytest.fixture
def detector(fp32_engine: Path, trt: FakeTensorRT) -> TRTRetinaFace:
    detector = TRTRetinaFace(fp32_engine, "cuda:0", score_threshold=0.3)
    trt.call_log.clear()
    return detector


@pytest.fixture(scope="module")
def on_cpu(fp32_engine: Path) -> TRTRetinaFace:
    return TRTRetinaFace(fp32_engine, "cpu", score_threshold=0.3)


class OnDevice:
    """An image in the double's device memory."""

    def __init__(self, image: Image, more: dict[str, Any] | None = None) -> None:
        self.image, self.more = np.ascontiguousarray(image), more or {"stream": 1}
        self.shape = image.shape

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        data = (self.image.ctypes.data, False)
        return {"shape": self.shape, "typestr": "|u1", "data": data, "version": 3, **self.more}


def _batch(n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(-100, 130, (n, 3, 320, 320)).astype(np.float32)


def _photos() -> list[Image]:
    photo = astronaut()
    return [photo, photo[:300, 50:], photo[::2, ::2], photo[:, ::-1], photo[30:, 100:400]]


def _assert_same(a: Detections, b: Detections) -> None:
    assert np.array_equal(a.boxes, b.boxes)
    assert np.array_equal(a.scores, b.scores)
    assert a.landmarks is not None
    assert b.landmarks is not None
    assert np.array_equal(a.landmarks, b.landmarks)


def _output_bytes(files: EngineFiles, n: int) -> int:
    """Four outputs, each at a multiple of 256 bytes."""
    m = files.sidecar.thresholds.max_detections
    return sum(-(-n * count * 4 // 256) * 256 for count in (1, 4 * m, m, 10 * m))


def test_one_copy_in_one_copy_out_and_the_graph_from_the_third_run_on(
    detector: TRTRetinaFace, files: EngineFiles, on_cpu: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    images = [astronaut()[:300, :290], astronaut()[:40, :100]]
    pixels = -(-300 * 290 * 3 // 256) * 256 + 40 * 100 * 3
    copies_in = [f"copy in {pixels} on 4711", "letterbox 2 on 4711"]
    copies_out = [f"copy out {_output_bytes(files, 2)} on 4711", "synchronize"]
    found = [detector.detect(images)]
    run = ["shape images (2, 3, 320, 320)", "execute on 4711"]
    capture = ["begin capture", "execute on 4711", "end capture"]
    assert trt.call_log == copies_in + run + copies_out
    trt.call_log.clear()
    found.append(detector.detect(images))
    assert trt.call_log == copies_in + run + copies_out + capture
    trt.call_log.clear()
    found.append(detector.detect(images))
    assert trt.call_log == [*copies_in, "replay on 4711", *copies_out]
    for one in found:
        for ours, theirs in zip(one, on_cpu.detect(images), strict=True):
            _assert_same(ours, theirs)


def test_photos_of_different_sizes_in_batches_of_different_sizes(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace
) -> None:
    """Runs of 4, 1, 2 and 4 images, each batch size captured once, each with new photos."""
    photos = _photos()
    for order in ([0, 1, 2, 3, 4], [4, 0], [1, 2, 3, 4, 0], [3], [2, 1]):
        images = [photos[i] for i in order]
        for ours, theirs in zip(detector.detect(images), on_cpu.detect(images), strict=True):
            assert len(ours) == 1
            _assert_same(ours, theirs)


def test_each_size_of_a_range_has_a_graph_and_a_context_that_is_set_once(
    fp16_engine: Path, ranged_trt: FakeTensorRT
) -> None:
    detector, on_cpu = (TRTRetinaFace(fp16_engine, device, score_threshold=0.3) for device in ("cuda:0", "cpu"))
    photo = astronaut()
    expected, expected_of_scales = on_cpu.detect(photo), on_cpu.detect(photo, scales=[320, 480])
    for _ in range(3):
        _assert_same(detector.detect(photo, scales=[320, 480]), expected_of_scales)
        _assert_same(detector.detect(photo), expected)
    shapes = [call for call in ranged_trt.call_log if call.startswith("shape")]
    assert shapes == [f"shape images (1, 3, {side}, {side})" for side in (320, 480, 640)] * 2
    assert sum(call.startswith("replay") for call in ranged_trt.call_log) == 3


def test_without_graphs_nothing_is_captured(fp32_engine: Path, on_cpu: TRTRetinaFace, trt: FakeTensorRT) -> None:
    detector = TRTRetinaFace(fp32_engine, "cuda:0", score_threshold=0.3, cuda_graphs=False)
    for _ in range(2):
        _assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
    assert [call for call in trt.call_log if "capture" in call or "replay" in call] == []
    assert sum(call.startswith("shape") for call in trt.call_log) == 1, "a shape that is set is not set again"


def test_an_engine_that_cannot_be_captured_runs_without_graphs(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT, caplog: pytest.LogCaptureFixture
) -> None:
    trt.cupy.capture_fails = True
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            _assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
    assert [record.getMessage() for record in caplog.records] == [
        "CUDA graphs are off for this detector, as its engine cannot be captured: cudaErrorStreamCaptureInvalidated"
    ]
    assert trt.call_log.count("begin capture") == 1


def test_without_memory_for_more_contexts_there_are_no_graphs(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT, caplog: pytest.LogCaptureFixture
) -> None:
    trt.creates = False
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            _assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
    assert "CUDA graphs are off" in caplog.text
    assert "no memory for a context" in caplog.text
    assert "begin capture" not in trt.call_log


def test_a_graph_that_cannot_be_launched_is_captured_anew(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    for fails in (False, False, True, False, False):
        trt.cupy.launch_fails = fails
        trt.call_log.clear()
        _assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
        if fails:
            assert "execute on 4711" in trt.call_log
    assert "replay on 4711" in trt.call_log


def test_the_contexts_share_their_activations(detector: TRTRetinaFace, trt: FakeTensorRT) -> None:
    detector.detect(astronaut())
    before = trt.cupy.allocated
    for _ in range(2):
        detector.detect(astronaut())
    assert "replay on 4711" in trt.call_log
    assert trt.cupy.allocated == before


@pytest.mark.parametrize("trt", ["tensorrt-rtx"], indirect=True)
def test_rtx_shall_not_capture_what_goes_elsewhere_each_time(detector: TRTRetinaFace, trt: FakeTensorRT) -> None:
    trt.cupy.callers_stream(99)
    for _ in range(2):
        detector.detect_device(OnDevice(astronaut()), stream=99)
    assert [call for call in trt.call_log if call.startswith("context")] == ["context with disabled, a cache"]


@pytest.mark.parametrize("trt", ["tensorrt-rtx"], indirect=True)
def test_rtx_captures_itself(detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT) -> None:
    for _ in range(2):
        _assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
    assert "begin capture" not in trt.call_log


def test_graphs_are_bounded_and_the_oldest_goes_first(fake_cuda: FakeCuda) -> None:
    stream = fake_cuda.Stream(non_blocking=True)
    cache = GraphCache(fake_cuda, stream, enabled=True)
    context: Any = SimpleNamespace(launch=lambda stream: None)

    def use(key: object) -> None:
        assert cache.context(key, lambda: context) is None, "a shape that came once"
        cache.capture(key)
        assert not cache.replay(key)
        assert cache.context(key, lambda: context) is context
        cache.capture(key)

    for key in range(LIMIT):
        use(key)
    assert cache.replay(0)
    use("one more")
    assert cache.replay(0)
    assert not cache.replay(1)
    assert cache.replay("one more")


def test_normalised_batches_run_too_and_results_outlive_the_next_run(
    session: TensorRTSession, files: EngineFiles, trt: FakeTensorRT
) -> None:
    expected, raw = CpuSession(files).run(_batch(3)), session.run(_batch(3))
    assert trt.call_log[0] == f"copy in {3 * 3 * 320 * 320 * 4} on 4711"
    kept = raw.boxes.copy()
    other = session.run(_batch(1, seed=5))
    assert np.array_equal(other.scores, CpuSession(files).run(_batch(1, seed=5)).scores)
    assert np.array_equal(raw.boxes, kept)
    for name in ("num_detections", "boxes", "scores", "landmarks"):
        assert np.array_equal(getattr(raw, name), getattr(expected, name)), name


def test_the_stages_are_those_of_the_device_and_add_up(detector: TRTRetinaFace) -> None:
    _, stages = detector.profile([astronaut()])
    assert list(stages) == ["letterbox", "h2d", "network", "d2h", "undo letterbox"]
    # The double's clock: a millisecond from mark to mark.
    assert stages["letterbox"] == pytest.approx(0.001)
    assert 0.001 <= stages["network"] < 0.1


def test_capturing_counts_as_the_network_and_waiting_for_others_as_queueing(
    detector: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    begin_capture = FakeStream.begin_capture

    def slowly(stream: FakeStream, mode: int) -> None:
        time.sleep(0.2)
        begin_capture(stream, mode)

    detector.profile([astronaut()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeStream, "begin_capture", slowly)
        _, stages = detector.profile([astronaut()])
    assert stages["network"] > 0.2
    assert stages["undo letterbox"] < 0.1
    session: Any = detector._session
    with session._one_run, ThreadPoolExecutor(1) as other:
        future = other.submit(detector.profile, [astronaut()])
        time.sleep(0.2)
        session._one_run.release()
        _, stages = future.result(60)
        session._one_run.acquire()
    assert stages["queueing"] > 0.1
    assert stages["h2d"] < 0.1


def test_images_on_the_device_are_read_where_they_are(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    photos = _photos()[:3]
    for ours, theirs in zip(detector.detect([OnDevice(p) for p in photos]), on_cpu.detect(photos), strict=True):
        _assert_same(ours, theirs)
    assert not any(call.startswith("copy in") for call in trt.call_log)
    mixed = detector.detect([OnDevice(photos[0]), photos[1], OnDevice(photos[2])])
    for ours, theirs in zip(mixed, on_cpu.detect(photos), strict=True):
        _assert_same(ours, theirs)
    assert f"copy in {photos[1].size} on 4711" in trt.call_log


@pytest.mark.parametrize("named", [False, True])
def test_an_array_that_names_no_stream_is_read_after_the_default_one(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT, named: bool
) -> None:
    image = OnDevice(np.zeros_like(astronaut()), {"stream": 1 if named else None})
    trt.cupy.streams[0].add(lambda: np.copyto(image.image, astronaut()))
    found = detector.detect(image)
    if named:
        assert "4711 waits for 0" not in trt.call_log, "the letterbox waits for the stream that is named"
    else:
        _assert_same(found, on_cpu.detect(astronaut()))


def test_on_a_caller_s_stream_nothing_is_copied_or_waited_for(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    stream = trt.cupy.callers_stream(99)
    photos = _photos()[:2]
    images = [OnDevice(photo) for photo in photos]
    found = detector.detect_device(images, stream=stream)
    assert trt.call_log == [
        "letterbox 2 on 99",
        "allocate on 99",
        "shape images (2, 3, 320, 320)",
        "execute on 99",
    ]
    # The next run, on the session's own stream, uses the same memory: it waits for the caller's stream.
    trt.call_log.clear()
    _assert_same(detector.detect(photos[1]), on_cpu.detect(photos[1]))
    assert trt.call_log[0] == "4711 waits for 99"
    stream.synchronize()
    raw = on_cpu._session.run(on_cpu._letterbox.batch(photos))
    for name in ("num_detections", "boxes", "scores", "landmarks"):
        assert np.array_equal(getattr(found, name).read(), getattr(raw, name)), name
    trt.call_log.clear()
    del found
    assert trt.call_log == ["free on 99"]


def test_memory_of_a_stream_that_has_gone_is_freed_all_the_same(detector: TRTRetinaFace, trt: FakeTensorRT) -> None:
    trt.cupy.callers_stream(99)
    found = detector.detect_device(OnDevice(astronaut()), stream=99)
    del trt.cupy.streams[99]
    before = trt.cupy.allocated
    del found
    assert trt.cupy.allocated < before


def test_memory_is_freed_with_its_device_current_and_only_where_there_is_any(
    detector: TRTRetinaFace, trt: FakeTensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt.cupy.callers_stream(99)
    found = detector.detect_device(OnDevice(astronaut()), stream=99)
    del found  # the double refuses to free without a current device
    assert trt.call_log[-1] == "free on 99"
    trt.cupy.room = trt.cupy.allocated
    unraisable = list[object]()
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    with pytest.raises(DeviceMemoryError):
        detector.detect_device(OnDevice(astronaut()), stream=99)
    gc.collect()
    assert not unraisable


@pytest.mark.parametrize("end", ["close", "forget"])
def test_the_end_of_a_session_waits_for_the_streams_of_callers(fp32_engine: Path, trt: FakeTensorRT, end: str) -> None:
    detector = TRTRetinaFace(fp32_engine, "cuda:0")
    stream = trt.cupy.callers_stream(99)
    found = detector.detect_device(OnDevice(astronaut()), stream=99)
    assert stream.queue
    if end == "close":
        detector.close()
    else:
        del detector
    assert not stream.queue, "its work used memory that has gone"
    assert found.num_detections.read() == 1


def test_one_stream_after_the_other(detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT) -> None:
    streams = [trt.cupy.callers_stream(ptr) for ptr in (98, 99)]
    photos = [OnDevice(photo) for photo in _photos()[:2]]
    found = [detector.detect_device(photo, stream=stream) for photo, stream in zip(photos, streams, strict=True)]
    assert "99 waits for 98" in trt.call_log
    streams[1].synchronize()
    for one, photo in zip(found, _photos(), strict=False):
        raw = on_cpu._session.run(on_cpu._letterbox.batch([photo]))
        assert np.array_equal(one.boxes.read(), raw.boxes)


def test_what_detect_device_refuses(detector: TRTRetinaFace, on_cpu: TRTRetinaFace) -> None:
    image = OnDevice(astronaut())
    with pytest.raises(InvalidArgumentError, match="runs on the CPU: use detect"):
        on_cpu.detect_device(image)
    with pytest.raises(InvalidArgumentError, match=r"image is an array on a GPU \(OnDevice\)"):
        on_cpu.detect(image)
    with pytest.raises(InvalidArgumentError, match="5 arrays, expected 1 to 4 on the GPU"):
        detector.detect_device([image] * 5)
    with pytest.raises(InvalidArgumentError, match="1 arrays, expected 1 to 4 on the GPU"):
        detector.detect_device(astronaut())  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="stream is a str"):
        detector.detect_device(image, stream="main")
    with pytest.raises(InvalidArgumentError, match="scales and flip need NumPy arrays"):
        detector.detect(image, flip=True)
    image.shape = (4, 4)
    with pytest.raises(InvalidArgumentError, match=r"image has shape \(4, 4\)"):
        detector.detect(image)


def test_an_input_that_is_larger_than_the_memory_for_it_is_refused(
    detector: TRTRetinaFace, session: TensorRTSession
) -> None:
    for size, count in (((352, 320), 1), ((320, 320), 5)):
        with pytest.raises(InvalidArgumentError, match=r"larger than the engine's: \(4, 3, 320, 320\)"):
            session.detect([astronaut()] * count, replace(detector._letterbox, size=size), Stopwatch())


def test_clones_share_the_engine_and_own_their_stream_and_memory(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    before = trt.cupy.allocated
    clone = detector.clone()
    assert "deserialize, host code False" not in trt.call_log
    assert trt.cupy.allocated == 2 * before
    _assert_same(clone.detect(astronaut()), on_cpu.detect(astronaut()))
    assert "execute on 4712" in trt.call_log
    assert "execute on 4711" not in trt.call_log
    clone.close()
    assert trt.cupy.allocated == before
    _assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))


def test_the_outputs_lie_one_after_the_other(session: TensorRTSession) -> None:
    tensors = session._engine.outputs
    for batch in (1, 3, 4):
        layout = layout_of(tensors, batch)
        ends = [layout.offsets[t.name] + batch * int(np.prod(t.shape)) * t.dtype.itemsize for t in tensors]
        begins = [*layout.offsets.values(), layout.nbytes]
        assert begins[0] == 0
        assert all(0 <= begin - end < 256 for end, begin in zip(ends, begins[1:], strict=True))
