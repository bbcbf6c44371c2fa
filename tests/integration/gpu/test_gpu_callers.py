"""Arrays and streams of the session's callers, against recording doubles."""

from __future__ import annotations

import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import DeviceMemoryError, InvalidArgumentError, TRTRetinaFace
from engine.sidecar import EngineFiles
from engine.types import DeviceDetections
from tests.support.data import astronaut
from tests.support.doubles.cases import OnDevice, assert_same, five_photos, output_bytes
from tests.support.doubles.cupy import FakeCuda, FakeCudaError
from tests.support.doubles.tensorrt import FakeTensorRT


def test_images_on_the_device_are_read_where_they_are(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    photos = five_photos()[:3]
    for ours, theirs in zip(detector.detect([OnDevice(p) for p in photos]), on_cpu.detect(photos), strict=True):
        assert_same(ours, theirs)
    assert not any(call.startswith("copy in") for call in trt.call_log)
    mixed = detector.detect([OnDevice(photos[0]), photos[1], OnDevice(photos[2])])
    for ours, theirs in zip(mixed, on_cpu.detect(photos), strict=True):
        assert_same(ours, theirs)
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
        assert_same(found, on_cpu.detect(astronaut()))


def test_between_the_work_of_a_caller_s_stream_nothing_is_waited_for(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, files: EngineFiles, trt: FakeTensorRT
) -> None:
    """The third run replays a graph. The images are filled, and the results read, by work on the caller's stream."""
    stream = trt.cupy.callers_stream(99)
    photos = five_photos()[:2]
    expected = on_cpu._session.run(on_cpu._letterbox.batch(photos))
    launches = [["shape images (2, 3, 320, 320)", "execute on 4711"]] * 2 + [["replay on 4711"]]
    for run, launch in enumerate(launches):
        images = [OnDevice(np.zeros_like(photo)) for photo in photos]
        for image, photo in zip(images, photos, strict=True):
            stream.add(partial(np.copyto, image.image, photo))
        trt.call_log.clear()
        found = detector.detect_device(images, stream=stream)
        queued = ["allocate on 99", "4711 waits for 99", "letterbox 2 on 4711", *launch]
        queued += [f"copy across {output_bytes(files, 2)} on 4711", "99 waits for 4711"]
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


@pytest.mark.parametrize("handle", [0, 99])
def test_memory_that_cuda_refuses_to_free_is_freed_later(
    detector: TRTRetinaFace, trt: FakeTensorRT, monkeypatch: pytest.MonkeyPatch, handle: int
) -> None:
    """While a stream is captured, CUDA refuses to wait for the device or to free on that stream."""

    def refuse(*arguments: object) -> None:
        raise FakeCudaError("cudaErrorStreamCaptureUnsupported", 900)

    trt.cupy.callers_stream(handle)
    found = [detector.detect_device(OnDevice(astronaut()), stream=handle) for _ in range(2)]
    trt.cupy.streams[handle].synchronize()
    before = len(trt.cupy.lent)
    with monkeypatch.context() as capture:
        capture.setattr(trt.cupy, "deviceSynchronize", refuse)
        capture.setattr(trt.cupy, "freeAsync", refuse)
        found.clear()
        found.append(detector.detect_device(OnDevice(astronaut()), stream=handle))
        assert len(trt.cupy.lent) == before + 1, "nothing could be freed, and nothing is lost"
    found.append(detector.detect_device(OnDevice(astronaut()), stream=handle))
    assert len(trt.cupy.lent) == 2


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
    assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))


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
    assert trt.call_log.count("destroy a context") == 4, "a plain one for each profile, and those of two graphs"
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
    photos = [OnDevice(photo) for photo in five_photos()[:2]]
    found = [detector.detect_device(photo, stream=stream) for photo, stream in zip(photos, streams, strict=True)]
    assert_same(detector.detect(five_photos()[2]), on_cpu.detect(five_photos()[2]))
    for stream in reversed(streams):
        stream.synchronize()
    for one, photo in zip(found, five_photos(), strict=False):
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
