"""The GPU session's calls, order, shapes and streams, against recording doubles; test_gpu.py is the real thing."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine import InvalidArgumentError, TRTRetinaFace
from engine.runtime.cpu.session import CpuSession
from engine.runtime.gpu.memory import layout_of
from engine.runtime.gpu.session import TensorRTSession
from engine.runtime.timing import Stopwatch
from engine.sidecar import EngineFiles
from tests.support.data import astronaut
from tests.support.doubles.cases import assert_same, five_photos, output_bytes, random_batch
from tests.support.doubles.cupy import FakeStream, host_array
from tests.support.doubles.tensorrt import FakeTensorRT


def test_a_copy_for_each_image_one_for_the_results_and_the_graph_from_the_third_run_on(
    detector: TRTRetinaFace, files: EngineFiles, on_cpu: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    images = [astronaut()[:300, :290], astronaut()[:40, :100]]
    copies_in = [f"copy in {pixels} on 4711" for pixels in (300 * 290 * 3, 40 * 100 * 3)] + ["letterbox 2 on 4711"]
    copies_out = [f"copy out {output_bytes(files, 2)} on 4711", "synchronize"]
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
            assert_same(ours, theirs)


def test_photos_of_different_sizes_in_batches_of_different_sizes(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace
) -> None:
    """Runs of 4, 1, 2 and 4 images, each batch size captured once, each with new photos."""
    photos = five_photos()
    for order in ([0, 1, 2, 3, 4], [4, 0], [1, 2, 3, 4, 0], [3], [2, 1]):
        images = [photos[i] for i in order]
        for ours, theirs in zip(detector.detect(images), on_cpu.detect(images), strict=True):
            assert len(ours) == 1
            assert_same(ours, theirs)


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


def test_normalised_batches_run_too_and_results_outlive_the_next_run(
    session: TensorRTSession, files: EngineFiles, trt: FakeTensorRT
) -> None:
    expected, raw = CpuSession(files).run(random_batch(3)), session.run(random_batch(3))
    assert trt.call_log[0] == f"copy in {3 * 3 * 320 * 320 * 4} on 4711"
    kept = raw.boxes.copy()
    other = session.run(random_batch(1, seed=5))
    assert np.array_equal(other.scores, CpuSession(files).run(random_batch(1, seed=5)).scores)
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
    assert_same(clone.detect(astronaut()), on_cpu.detect(astronaut()))
    assert "execute on 4712" in trt.call_log
    assert "execute on 4711" not in trt.call_log
    clone.close()
    assert trt.cupy.allocated == before
    assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))


def test_the_outputs_lie_one_after_the_other(session: TensorRTSession) -> None:
    tensors = session._engine.outputs
    for batch in (1, 3, 4):
        layout = layout_of(tensors, batch)
        ends = [layout.offsets[t.name] + batch * int(np.prod(t.shape)) * t.dtype.itemsize for t in tensors]
        begins = [*layout.offsets.values(), layout.nbytes]
        assert begins[0] == 0
        assert all(0 <= begin - end < 256 for end, begin in zip(ends, begins[1:], strict=True))
