"""The GPU session's calls, order, shapes and streams, against recording doubles; test_gpu.py is the real thing."""

from __future__ import annotations

import gc
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
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
from engine.types import Detections, DeviceDetections, Image
from tests.support.data import astronaut
from tests.support.doubles.cupy import FakeCuda, FakeStream, host_array
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


def test_a_copy_for_each_image_one_for_the_results_and_the_graph_from_the_third_run_on(
    detector: TRTRetinaFace, files: EngineFiles, on_cpu: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    images = [astronaut()[:300, :290], astronaut()[:40, :100]]
    copies_in = [f"copy in {pixels} on 4711" for pixels in (300 * 290 * 3, 40 * 100 * 3)] + ["letterbox 2 on 4711"]
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


def test_an_image_is_on_its_way_before_the_next_is_packed(
    session: TensorRTSession, trt: FakeTensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    copyto = np.copyto

    def packed(place: Any, image: Any) -> None:
        trt.call_log.append(f"pack {image.size}")
        copyto(place, image)

    monkeypatch.setattr(np, "copyto", packed)
    images = [np.full((height, 10, 3), height, np.uint8) for height in (30, 20, 10)]
    views = session._staging.send(images, session._stream.ptr)
    assert trt.call_log == [
        call for image in images for call in (f"pack {image.size}", f"copy in {image.size} on 4711")
    ]
    session._stream.synchronize()
    for view, image in zip(views, images, strict=True):
        assert view.pointer % 256 == 0
        assert np.array_equal(host_array(view.pointer, view.shape, view.dtype), image)


def test_a_capture_that_fails_once_is_tried_again(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT, caplog: pytest.LogCaptureFixture
) -> None:
    trt.cupy.captures_to_fail = 1
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            _assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
    assert not caplog.records
    assert trt.call_log.count("begin capture") == 2
    assert trt.call_log.count("replay on 4711") == 1


def test_an_engine_that_cannot_be_captured_runs_without_graphs(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT, caplog: pytest.LogCaptureFixture
) -> None:
    trt.cupy.captures_to_fail = sys.maxsize
    photos = [astronaut()] * 2
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            _assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
            _assert_same(detector.detect(photos)[1], on_cpu.detect(astronaut()))
    assert [record.getMessage() for record in caplog.records] == [
        "no CUDA graph for an input of shape (1, 3, 320, 320), which takes longer to launch without one: "
        "cudaErrorStreamCaptureInvalidated"
    ]
    assert trt.call_log.count("begin capture") == 4, "twice for each shape"


def test_one_shape_that_cannot_be_captured_leaves_the_others_their_graphs(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    trt.cupy.captures_to_fail = 2
    for _ in range(4):
        detector.detect(astronaut())
    assert "replay on 4711" not in trt.call_log
    for _ in range(3):
        _assert_same(detector.detect([astronaut()] * 2)[1], on_cpu.detect(astronaut()))
    assert "replay on 4711" in trt.call_log
    assert trt.call_log.count("begin capture") == 3


@pytest.mark.parametrize("collects", [True, False])
def test_no_garbage_is_collected_during_a_capture(detector: TRTRetinaFace, trt: FakeTensorRT, collects: bool) -> None:
    seen = list[bool]()
    trt.cupy.on_capture = lambda: seen.append(gc.isenabled())
    trt.cupy.captures_to_fail = 1
    was_enabled = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        for _ in range(3):
            detector.detect(astronaut())
            assert gc.isenabled() == collects
    finally:
        (gc.enable if was_enabled else gc.disable)()
    assert seen == [False, False]


def test_without_memory_for_more_contexts_there_are_no_graphs(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT, caplog: pytest.LogCaptureFixture
) -> None:
    trt.creates = False
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            _assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
    assert "no CUDA graph for an input of shape (1, 3, 320, 320)" in caplog.text
    assert "no memory for a context" in caplog.text
    assert len(caplog.records) == 1
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


def test_tensorrt_10_0_takes_activation_memory_in_another_way(
    fp32_engine: Path, on_cpu: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    trt.is_10_0 = True
    detector = TRTRetinaFace(fp32_engine, "cuda:0", score_threshold=0.3)
    for _ in range(3):
        _assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
    assert "replay on 4711" in trt.call_log


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


def test_between_the_work_of_a_caller_s_stream_nothing_is_waited_for(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, files: EngineFiles, trt: FakeTensorRT
) -> None:
    """The third run replays a graph. The images are filled, and the results read, by work on the caller's stream."""
    stream = trt.cupy.callers_stream(99)
    photos = _photos()[:2]
    expected = on_cpu._session.run(on_cpu._letterbox.batch(photos))
    launches = [["shape images (2, 3, 320, 320)", "execute on 4711"]] * 2 + [["replay on 4711"]]
    for run, launch in enumerate(launches):
        images = [OnDevice(np.zeros_like(photo)) for photo in photos]
        for image, photo in zip(images, photos, strict=True):
            stream.add(partial(np.copyto, image.image, photo))
        trt.call_log.clear()
        found = detector.detect_device(images, stream=stream)
        queued = ["allocate on 99", "4711 waits for 99", "letterbox 2 on 4711", *launch]
        queued += [f"copy across {_output_bytes(files, 2)} on 4711", "99 waits for 4711"]
        assert trt.call_log == queued + (["begin capture", "execute on 4711", "end capture"] if run == 1 else [])
        read = dict[str, Any]()
        stream.add(partial(lambda found, read: read.update(_values(found)), found, read))
        stream.run_until(lambda read=read: bool(read))  # type: ignore[misc]
        for name, values in read.items():
            assert np.array_equal(values, getattr(expected, name)), name
        del found


def _values(found: DeviceDetections) -> dict[str, Any]:
    return {name: getattr(found, name).read() for name in ("num_detections", "boxes", "scores", "landmarks")}


@pytest.mark.parametrize("handle", [0, 1])
def test_results_for_the_default_stream_are_freed_in_its_order(
    detector: TRTRetinaFace, trt: FakeTensorRT, handle: int
) -> None:
    trt.cupy.callers_stream(handle)
    found = detector.detect_device(OnDevice(astronaut()), stream=handle)
    assert "execute on 4711" in trt.call_log, "on the default stream TensorRT waits for the device"
    before = trt.cupy.allocated
    trt.call_log.clear()
    del found
    assert trt.call_log == [f"free on {handle}"]
    assert trt.cupy.allocated == before, "the memory is in use until the stream gets there"
    trt.cupy.streams[handle].synchronize()
    assert trt.cupy.allocated < before


class OwningStream:
    """A caller's stream, which is destroyed with its object."""

    def __init__(self, cupy: FakeCuda, ptr: int) -> None:
        self.cupy, self.ptr = cupy, ptr
        cupy.callers_stream(ptr)

    def __del__(self) -> None:
        del self.cupy.streams[self.ptr]


def test_results_keep_the_object_of_their_stream_alive(detector: TRTRetinaFace, trt: FakeTensorRT) -> None:
    stream = OwningStream(trt.cupy, 99)
    found = detector.detect_device(OnDevice(astronaut()), stream=stream)
    del stream
    gc.collect()
    assert 99 in trt.cupy.streams
    trt.call_log.clear()
    del found
    assert trt.call_log == ["free on 99"]
    assert 99 not in trt.cupy.streams


@pytest.mark.parametrize("handle", [2, 99])
def test_a_bare_handle_is_not_touched_when_results_are_freed(
    detector: TRTRetinaFace, trt: FakeTensorRT, handle: int
) -> None:
    """Of a stream that may be gone, or, with 2, is another one in each thread."""
    trt.cupy.callers_stream(handle)
    found = detector.detect_device(OnDevice(astronaut()), stream=handle)
    del trt.cupy.streams[handle]
    before = trt.cupy.allocated
    trt.call_log.clear()
    del found
    assert trt.call_log == ["synchronize the device", "free"]
    assert trt.cupy.allocated < before


def test_memory_is_freed_only_where_there_is_any(
    detector: TRTRetinaFace, trt: FakeTensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt.cupy.room = trt.cupy.allocated
    unraisable = list[object]()
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    with pytest.raises(DeviceMemoryError):
        detector.detect_device(OnDevice(astronaut()), stream=trt.cupy.callers_stream(99))
    gc.collect()
    assert not unraisable


def test_the_pool_of_the_results_is_destroyed_behind_them(fp32_engine: Path, trt: FakeTensorRT) -> None:
    detector = TRTRetinaFace(fp32_engine, "cuda:0")
    clone = detector.clone()
    found = [one.detect_device(OnDevice(astronaut()), stream=0) for one in (detector, clone, detector)]
    assert list(trt.cupy.pools.values()) == [2**64 - 1]
    del detector, clone
    gc.collect()
    assert trt.cupy.pools
    del found
    gc.collect()
    assert not trt.cupy.pools


def test_a_stream_that_is_being_captured_is_refused(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    stream = trt.cupy.callers_stream(99)
    stream.begin_capture(1)
    trt.call_log.clear()
    with pytest.raises(InvalidArgumentError, match=r"stream is being captured into a CUDA graph.*before the capture"):
        detector.detect_device(OnDevice(astronaut()), stream=stream)
    assert trt.call_log == [], "nothing was queued or waited for, which could end the capture"
    assert stream.end_capture().works == []
    _assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))


def test_on_a_second_gpu_every_thread_makes_it_current(fp32_engine: Path, trt: FakeTensorRT) -> None:
    trt.cupy.devices = 2

    def use(index: int) -> None:
        for _ in range(3):
            found = detectors[index % 2].detect_device([OnDevice(astronaut())] * 2, stream=index % 2)
            detectors[index % 2].detect(astronaut())
            del found

    trt.cupy.callers_stream(1)
    detectors = [TRTRetinaFace(fp32_engine, "cuda:1")]
    detectors.append(detectors[0].clone())
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(8)))
    assert "replay on 4712" in trt.call_log
    detectors.pop().close()
    trt.call_log.clear()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(detectors.clear).result(60)
    gc.collect()
    assert "destroy the engine" in trt.call_log
    assert trt.call_log.count("destroy a context") == 3, "the plain one, and those of two graphs"
    assert trt.cupy.used == {1}


@pytest.mark.parametrize("end", ["close", "forget"])
def test_the_end_of_a_session_waits_for_the_streams_of_callers(fp32_engine: Path, trt: FakeTensorRT, end: str) -> None:
    detector = TRTRetinaFace(fp32_engine, "cuda:0")
    stream = trt.cupy.callers_stream(99)
    found = detector.detect_device(OnDevice(astronaut()), stream=99)
    session_stream = trt.cupy.streams[4711]
    assert session_stream.queue
    if end == "close":
        detector.close()
    else:
        del detector
    assert not session_stream.queue, "its work used memory that has gone"
    stream.synchronize()
    assert found.num_detections.read() == 1


def test_one_stream_after_the_other(detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT) -> None:
    streams = [trt.cupy.callers_stream(ptr) for ptr in (98, 99)]
    photos = [OnDevice(photo) for photo in _photos()[:2]]
    found = [detector.detect_device(photo, stream=stream) for photo, stream in zip(photos, streams, strict=True)]
    _assert_same(detector.detect(_photos()[2]), on_cpu.detect(_photos()[2]))
    for stream in reversed(streams):
        stream.synchronize()
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
