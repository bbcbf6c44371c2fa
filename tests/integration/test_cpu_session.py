"""The CPU session on OpenVINO and on ONNX Runtime: one result, any threads, sizes and callers, steady memory."""

from __future__ import annotations

import gc
import logging
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import onnx
import psutil
import pytest

from engine import EngineLoadError, InvalidArgumentError, TRTRetinaFace
from engine.config.detection import Thresholds
from engine.config.presets import preset
from engine.faces import Detections
from engine.precision import quantise
from engine.precision.convert import to_precision
from engine.precision.options import Conversion, QuantisationOptions, Techniques
from engine.runtime.augment import Scale
from engine.runtime.cpu import load as cpu_runtime
from engine.runtime.cpu.openvino import OpenVinoRuntime
from engine.runtime.cpu.protocol import CpuSettings
from engine.runtime.cpu.session import CpuNetwork
from engine.runtime.letterbox import Letterbox
from engine.runtime.session import RuntimeOptions
from engine.runtime.timing import Stopwatch
from engine.threads import available_threads
from engine.types import Image
from tests.support.data import astronaut
from tests.support.engines import network

SIZE = (320, 320)
LIBRARIES = ["openvino", "onnxruntime"]

# How far OpenVINO's faces may lie from ONNX Runtime's: boxes in pixels of the image, and scores.
TOLERANCES = {
    # The order of the sums. bfloat16, OpenVINO's default where available, is off by tenths of a pixel.
    "fp32": (1e-3, 1e-5),
    # ONNX Runtime rounds some activations to float16, OpenVINO keeps them in float32.
    "fp16": (0.05, 1e-3),
    # One rounds after each operator, the other inside bfloat16 instructions; 8 bits of mantissa.
    "bf16": (2.5, 0.03),
    # Sums halfway between two steps of the 8 bits are rounded either way; a step is a pixel or two.
    "int8": (2.5, 0.05),
    "fp8": (2.5, 0.05),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images of a face to calibrate with."""
    folder = tmp_path_factory.mktemp("photos")
    for i, image in enumerate(_crops()[:4]):
        cv2.imwrite(str(folder / f"{i}.png"), image)
    return folder


def _crops() -> list[Image]:
    image = astronaut()
    crops = [image, image[:, ::-1], image[20:420, 100:500], image[:300, 60:400], image[40:, 30:]]
    return [np.ascontiguousarray(crop) for crop in crops]


@pytest.fixture(scope="module")
def exported() -> onnx.ModelProto:
    """The float32 network."""
    return network("fp32")


def _network(precision: str, exported: onnx.ModelProto, photos: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setattr(quantise, "_SENSITIVITY_CROPS", 1)
    techniques = Techniques(round_weights=False)
    options = QuantisationOptions(photos, techniques=techniques, max_loss=float("inf"))
    options = options if precision in ("int8", "fp8") else QuantisationOptions()
    typed = to_precision(Conversion(exported, preset("mobilenet0.25"), precision, SIZE, options))
    return bytes(typed.on_cpu.SerializeToString())


def _detect(model: CpuNetwork, images: list[Image], size: tuple[int, int] = SIZE) -> list[Detections]:
    letterbox = Letterbox(size, preset("mobilenet0.25"), enlarge=False)
    return letterbox.to_images(model.detect(images, letterbox, Stopwatch()), images, 0.5)


def _load(content: bytes, library: str, precision: str = "fp32", threads: int | None = None) -> CpuNetwork:
    options = RuntimeOptions(SIZE, threads)
    return CpuNetwork(content, preset("mobilenet0.25"), Thresholds(), precision, options, library)


def _assert_close(ours: list[Detections], theirs: list[Detections], pixels: float, score: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert len(one) == len(other) == 1
        assert one.landmarks is not None
        assert other.landmarks is not None
        np.testing.assert_allclose(one.boxes, other.boxes, atol=pixels, rtol=0)
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=pixels, rtol=0)
        np.testing.assert_allclose(one.scores, other.scores, atol=score, rtol=0)


@pytest.mark.parametrize("precision", TOLERANCES)
def test_both_libraries_find_the_same_faces(
    precision: str, exported: onnx.ModelProto, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = _network(precision, exported, photos, monkeypatch)
    ours, theirs = (_detect(_load(content, library, precision), _crops()) for library in LIBRARIES)
    _assert_close(ours, theirs, *TOLERANCES[precision])


def test_quantised_convolutions_run_in_8_bits(
    exported: onnx.ModelProto, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO fuses the float16 scales and activations around them; load_faithful checks the result."""
    content = _network("int8", exported, photos, monkeypatch)
    config = preset("mobilenet0.25")
    runtime = OpenVinoRuntime(
        content, CpuSettings(tuple(config.head_names()), "int8", 1, SIZE, config.mean, config.std)
    )
    layers = [node.get_rt_info() for node in runtime.compiled(SIZE, alone=True).get_runtime_model().get_ops()]
    convolutions = [
        str(layer["runtimePrecision"].value) for layer in layers if layer["layerType"].value == "Convolution"
    ]
    nodes = onnx.load_from_string(content).graph.node
    quantised = sum(node.op_type == "Conv" and node.input[1].endswith("_dq") for node in nodes)
    assert 20 < quantised <= sum(precision in ("i8", "u8") for precision in convolutions)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_batch_on_any_threads_gives_each_image_its_own_faces(fp32_engine: Path, library: str) -> None:
    images = _crops()
    expected = [TRTRetinaFace(fp32_engine, f"cpu:{library}", threads=1).detect(image) for image in images]
    for threads in (2, 3):
        detector = TRTRetinaFace(fp32_engine, f"cpu:{library}", threads=threads)
        for count in (1, 2, len(images)):
            found, stages = detector.profile(images[:count])
            _assert_close(found, expected[:count], *TOLERANCES["fp32"])
            assert list(stages) == ["letterbox", "network", "post-processing", "undo letterbox"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_other_sizes_than_the_fastest(fp16_engine: Path, library: str) -> None:
    detector = TRTRetinaFace(fp16_engine, f"cpu:{library}", input_size=(320, 416), threads=2)
    reference = TRTRetinaFace(fp16_engine, "cpu:onnxruntime", input_size=(320, 416))
    different: list[list[Scale] | None] = [None, [384], [320, "original"]]
    for scales in different:
        ours, theirs = detector.detect(astronaut(), scales=scales), reference.detect(astronaut(), scales=scales)
        _assert_close([ours], [theirs], *TOLERANCES["fp16"])


@pytest.mark.parametrize("library", LIBRARIES)
def test_many_callers_at_once_get_their_own_faces(fp32_engine: Path, library: str) -> None:
    detector = TRTRetinaFace(fp32_engine, f"cpu:{library}", threads=2)
    images = _crops()
    expected = [detector.detect(image) for image in images]
    turns = [turn % len(images) for turn in range(40)]
    with detector.clone() as other, ThreadPoolExecutor(8) as callers:
        single = callers.map(lambda turn: detector.detect(images[turn]), turns)
        pairs = callers.map(lambda turn: other.detect([images[turn], images[0]]), turns)
        for turn, faces, pair in zip(turns, single, pairs, strict=True):
            assert np.array_equal(faces.boxes, expected[turn].boxes)
            _assert_close(pair, [expected[turn], expected[0]], *TOLERANCES["fp32"])
    assert len(detector.detect(images[0])) == 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_memory_stays_flat(fp32_engine: Path, library: str) -> None:
    """Images of all sizes, single and in batches. `python -m benchmarks.cpu.memory` takes 10,000."""
    detector = TRTRetinaFace(fp32_engine, f"cpu:{library}", threads=2)
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, (*rng.integers(50, 700, 2), 3), dtype=np.uint8) for _ in range(12)]

    def go_on(rounds: int) -> int:
        for _ in range(rounds):
            detector.detect(images)
            detector.detect(images[0])
        gc.collect()
        return int(psutil.Process().memory_info().rss)

    before = go_on(10)
    grown = go_on(20) - before
    # One leaked input in ten images would be 30 MB.
    assert grown < 8e6


def test_openvino_is_taken_where_it_is_installed(fp32_engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    detector = TRTRetinaFace(fp32_engine, "cpu")
    assert detector.runtime.startswith("OpenVINO 20")
    assert detector.device == "cpu"
    monkeypatch.setattr(cpu_runtime, "openvino_is_installed", lambda: False)
    assert TRTRetinaFace(fp32_engine, "cpu").runtime.startswith("ONNX Runtime 1")


def test_without_openvino_the_message_says_what_to_install(fp32_engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineLoadError, match=r"OpenVINO cannot be imported.*pip install openvino"):
        TRTRetinaFace(fp32_engine, "cpu:openvino")


def test_what_openvino_breaks_on_falls_back(
    fp32_engine: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where OpenVINO is installed but does not load."""
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(cpu_runtime, "openvino_is_installed", lambda: True)
    with caplog.at_level(logging.WARNING, logger="engine"):
        detector = TRTRetinaFace(fp32_engine, "cpu")
    assert detector.runtime.startswith("ONNX Runtime")
    assert "running it with ONNX Runtime" in caplog.text


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2", 100_000])
def test_impossible_threads_are_refused(fp32_engine: Path, threads: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"threads is .*expected 1 to 1024"):
        TRTRetinaFace(fp32_engine, "cpu", threads=threads)  # type: ignore[arg-type]


def test_threads_are_all_cores_by_default(fp32_engine: Path) -> None:
    session = TRTRetinaFace(fp32_engine, "cpu")._session
    assert isinstance(session, CpuNetwork)
    assert session.threads == available_threads() >= 1


def test_unknown_libraries_are_refused(fp32_engine: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="the CPU runtime is 'torch', expected one of: openvino, onnxr"):
        TRTRetinaFace(fp32_engine, "cpu:torch")


def test_threads_that_outlive_the_main_one_still_detect_in_batches(fp32_engine: Path) -> None:
    program = f"""
import threading
from engine import TRTRetinaFace
from tests.support.data import astronaut
detector = TRTRetinaFace({str(fp32_engine)!r}, "cpu:onnxruntime", threads=2)

def detect():
    threading.main_thread().join()
    print(*[len(faces) for faces in detector.detect([astronaut()] * 3)])

threading.Thread(target=detect).start()
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert result.stdout.split() == ["1"] * 3, result.stderr


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_interrupt_leaves_no_thread_running(fp32_engine: Path, library: str) -> None:
    """A thread that came back from C++ while the interpreter ends would abort the process."""
    program = f"""
import os, signal, threading, time
import numpy as np
from engine import TRTRetinaFace
from engine.runtime.cpu.session import CpuNetwork
detector = TRTRetinaFace({str(fp32_engine)!r}, "cpu:{library}", threads=2)
images = [np.full((400, 400, 3), level, np.uint8) for level in range(4)]
detect_one, busy = CpuNetwork._detect_one, []

def watched(*arguments):
    busy.append(threading.current_thread())
    try:
        return detect_one(*arguments)
    finally:
        busy.remove(threading.current_thread())

CpuNetwork._detect_one = watched

def interrupt(delay):
    time.sleep(delay)
    for _ in range(5):  # an impatient user
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1e-4)

for turn in range(15):
    interrupter = threading.Thread(target=interrupt, args=(0.01 + turn * 1e-3,))
    try:
        interrupter.start()
        while True:
            detector.detect(images)
    except KeyboardInterrupt:
        left = [thread.name for thread in busy]
    while interrupter.is_alive():
        try:
            time.sleep(0.05)
        except KeyboardInterrupt:
            pass
    print(*left or ["none"], flush=True)
threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
while True:
    detector.detect(images)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert result.stdout.split() == ["none"] * 15, result.stderr
    assert result.returncode == -signal.SIGINT, result.stderr
    assert "terminate" not in result.stderr


def test_what_fails_beside_others_is_raised(fp32_engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = TRTRetinaFace(fp32_engine, "cpu:onnxruntime", threads=2)
    monkeypatch.setattr("engine.runtime.cpu.session.detect", Mock(side_effect=ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        detector.detect([astronaut()] * 2)
