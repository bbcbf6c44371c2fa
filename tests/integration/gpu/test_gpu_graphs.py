"""CUDA graphs of the GPU session and their contexts, against recording doubles."""

from __future__ import annotations

import gc
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import TRTRetinaFace
from engine.runtime.gpu.graphs import LIMIT, GraphCache
from tests.support.data import astronaut
from tests.support.doubles.cases import assert_same
from tests.support.doubles.cupy import FakeCuda
from tests.support.doubles.tensorrt import FakeTensorRT


def test_each_size_of_a_range_has_a_graph_and_a_context_that_is_set_once(
    fp16_engine: Path, ranged_trt: FakeTensorRT
) -> None:
    detector, on_cpu = (TRTRetinaFace(fp16_engine, device, score_threshold=0.3) for device in ("cuda:0", "cpu"))
    photo = astronaut()
    expected, expected_of_scales = on_cpu.detect(photo), on_cpu.detect(photo, scales=[320, 480])
    for _ in range(3):
        assert_same(detector.detect(photo, scales=[320, 480]), expected_of_scales)
        assert_same(detector.detect(photo), expected)
    shapes = [call for call in ranged_trt.call_log if call.startswith("shape")]
    assert shapes == [f"shape images (1, 3, {side}, {side})" for side in (320, 480, 640)] * 2
    assert sum(call.startswith("replay") for call in ranged_trt.call_log) == 3


def test_without_graphs_nothing_is_captured(fp32_engine: Path, on_cpu: TRTRetinaFace, trt: FakeTensorRT) -> None:
    detector = TRTRetinaFace(fp32_engine, "cuda:0", score_threshold=0.3, cuda_graphs=False)
    for _ in range(2):
        assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
    assert [call for call in trt.call_log if "capture" in call or "replay" in call] == []
    assert sum(call.startswith("shape") for call in trt.call_log) == 1, "a shape that is set is not set again"


def test_a_capture_that_fails_once_is_tried_again(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT, caplog: pytest.LogCaptureFixture
) -> None:
    trt.cupy.captures_to_fail = 1
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
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
            assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
            assert_same(detector.detect(photos)[1], on_cpu.detect(astronaut()))
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
        assert_same(detector.detect([astronaut()] * 2)[1], on_cpu.detect(astronaut()))
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
            assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
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
        assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
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
        assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
    assert "replay on 4711" in trt.call_log


@pytest.mark.parametrize("trt", ["tensorrt-rtx"], indirect=True)
def test_rtx_captures_itself(detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT) -> None:
    for _ in range(2):
        assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
    assert "begin capture" not in trt.call_log


def test_single_images_run_in_a_profile_of_their_own(
    detector: TRTRetinaFace, on_cpu: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    """With graphs: the context for the graph is set to the profile before it runs and is captured."""
    for _ in range(3):
        assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
        assert_same(detector.detect([astronaut()] * 2)[1], on_cpu.detect(astronaut()))
    single = ["shape images (1, 3, 320, 320)", "execute on 4711"]
    capture = ["begin capture", "execute on 4711", "end capture"]
    several = ["shape images (2, 3, 320, 320)", *single[1:]]
    calls = [call for call in trt.call_log if not call.startswith(("copy", "letterbox", "synchronize"))]
    first, second = single + several, ["profile 1 on 4711", *single, *capture, *several, *capture]
    assert calls == first + second + ["replay on 4711"] * 2


def test_without_graphs_a_profile_is_set_once(fp32_engine: Path, on_cpu: TRTRetinaFace, trt: FakeTensorRT) -> None:
    detector = TRTRetinaFace(fp32_engine, "cuda:0", score_threshold=0.3, cuda_graphs=False)
    for images in ([astronaut()], [astronaut()] * 3, [astronaut()]):
        assert_same(detector.detect(images)[-1], on_cpu.detect(astronaut()))
    assert [call for call in trt.call_log if call.startswith(("profile", "shape"))] == [
        "profile 1 on 4711",
        "shape images (1, 3, 320, 320)",
        "shape images (3, 3, 320, 320)",
    ]


def test_an_engine_with_one_profile_runs_every_batch_in_it(
    fp32_engine: Path, on_cpu: TRTRetinaFace, trt: FakeTensorRT
) -> None:
    trt.profiles = trt.profiles[:1]
    detector = TRTRetinaFace(fp32_engine, "cuda:0", score_threshold=0.3)
    for _ in range(3):
        assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
        assert_same(detector.detect([astronaut()] * 4)[3], on_cpu.detect(astronaut()))
    assert not any(call.startswith("profile") for call in trt.call_log)
    assert trt.call_log.count("replay on 4711") == 2


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
