"""The GPU session's calls, order, shapes and errors, against recording doubles; the `gpu` test is the real thing."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import DeviceError, EngineLoadError, InferenceError, TRTRetinaFace
from engine.build.flavour import Flavour
from engine.runtime import tensorrt as gpu
from engine.runtime.cpu import CpuSession
from engine.runtime.ort import network_metadata
from engine.runtime.tensorrt import TensorRTSession, open_tensorrt_session
from engine.sidecar import EngineFiles, read_engine
from tests.data import astronaut
from tests.engines import build
from tests.fakes import FakeTensorRT, Log, fake_cupy, fake_cupyx


@pytest.fixture
def files(fp32_engine: Path) -> EngineFiles:
    return read_engine(fp32_engine, network_metadata)


@pytest.fixture
def log() -> Log:
    return []


@pytest.fixture
def trt(files: EngineFiles, log: Log, monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    cupy = fake_cupy(log)
    monkeypatch.setitem(sys.modules, "cupyx", fake_cupyx())
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    double = FakeTensorRT(files, log, cupy)
    built = files.sidecar.runtime
    monkeypatch.setattr(gpu, "load_flavour", lambda runtime: Flavour(runtime, double, built["version"]))
    return double


def _batch(n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(-100, 130, (n, 3, 320, 320)).astype(np.float32)


def test_results_equal_the_cpu_s_and_calls_come_in_order(files: EngineFiles, trt: FakeTensorRT, log: Log) -> None:
    session = open_tensorrt_session(files, 0)
    assert log == ["device 0", "load plugins", "deserialize, host code False"]
    log.clear()
    expected, raw = CpuSession(files).run(_batch(3)), session.run(_batch(3))
    m = files.sidecar.thresholds["max_detections"]
    assert log == [
        f"copy in {3 * 3 * 320 * 320}",
        "shape images (3, 3, 320, 320)",
        "execute on 4711",
        "copy out (3,)",
        f"copy out (3, {m}, 4)",
        f"copy out (3, {m})",
        f"copy out (3, {m}, 10)",
        "synchronize",
    ]
    assert np.array_equal(raw.num_detections, expected.num_detections)
    assert np.array_equal(raw.boxes, expected.boxes)
    assert raw.landmarks is not None
    assert expected.landmarks is not None
    assert np.array_equal(raw.landmarks, expected.landmarks)


def test_results_outlive_the_next_run(files: EngineFiles, trt: FakeTensorRT) -> None:
    session = open_tensorrt_session(files, 0)
    first = session.run(_batch(2, seed=1))
    kept = first.scores.copy()
    session.run(_batch(2, seed=2))
    assert np.array_equal(first.scores, kept)


def test_a_smaller_batch_after_a_larger_one(files: EngineFiles, trt: FakeTensorRT) -> None:
    session = open_tensorrt_session(files, 0)
    session.run(_batch(4))
    assert np.array_equal(session.run(_batch(1, 5)).scores, CpuSession(files).run(_batch(1, 5)).scores)


def test_embedded_plugins_are_allowed_and_not_loaded_twice(files: EngineFiles, trt: FakeTensorRT, log: Log) -> None:
    embedded = replace(files.sidecar, plugins={**files.sidecar.plugins, "embedded": True, "library_sha256": "other"})
    with pytest.raises(EngineLoadError, match=r"native code.*--trust-embedded-plugins"):
        open_tensorrt_session(replace(files, sidecar=embedded), 0)
    log.clear()
    open_tensorrt_session(replace(files, sidecar=embedded), 0, trust_embedded_plugins=True)
    assert log == ["device 0", "deserialize, host code True"]


def test_another_plugin_library_is_refused(files: EngineFiles, trt: FakeTensorRT) -> None:
    other = replace(files.sidecar, plugins={**files.sidecar.plugins, "library_sha256": "0" * 64})
    with pytest.raises(EngineLoadError, match=r"another plugin library.*Rebuild: python build_engine.py"):
        open_tensorrt_session(replace(files, sidecar=other), 0)


def test_another_version_of_tensorrt_is_refused(files: EngineFiles, trt: FakeTensorRT) -> None:
    other = replace(files.sidecar, runtime={"name": "tensorrt-rtx", "version": "0.9"})
    with pytest.raises(EngineLoadError, match=r"built with tensorrt-rtx 0.9, but \d.* is installed"):
        open_tensorrt_session(replace(files, sidecar=other), 0)


def test_an_engine_for_another_gpu_is_refused_with_its_targets(files: EngineFiles, trt: FakeTensorRT) -> None:
    trt.deserialises = False
    with pytest.raises(EngineLoadError, match=r"cannot load .*plan is for another device.*built for portable"):
        open_tensorrt_session(files, 0)


def test_other_tensors_than_the_sidecar_s_are_refused(files: EngineFiles, trt: FakeTensorRT) -> None:
    trt.tensor_names = ["input", "loc"]
    with pytest.raises(EngineLoadError, match=r"has tensors \['input', 'loc'\], its sidecar names"):
        open_tensorrt_session(files, 0)


def test_failures_name_the_shape_and_leave_the_session_usable(files: EngineFiles, trt: FakeTensorRT) -> None:
    session = open_tensorrt_session(files, 0)
    trt.executes = False
    with pytest.raises(InferenceError, match=r"shape \(2, 3, 320, 320\): an illegal memory access"):
        session.run(_batch(2))
    trt.executes, trt.accepts_shape = True, False
    with pytest.raises(InferenceError, match="refused an input of shape"):
        session.run(_batch(2))
    trt.accepts_shape = True
    assert np.array_equal(session.run(_batch(2)).scores, CpuSession(files).run(_batch(2)).scores)


def test_a_device_that_does_not_exist(files: EngineFiles, trt: FakeTensorRT) -> None:
    with pytest.raises(DeviceError, match=r"cuda:1 does not exist: this machine has 1 GPU"):
        open_tensorrt_session(files, 1)


def test_a_driver_that_cupy_cannot_use(files: EngineFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy([], devices=-1))
    with pytest.raises(DeviceError, match="cannot use the NVIDIA driver: cudaErrorInsufficientDriver"):
        open_tensorrt_session(files, 0)


def test_a_gpu_that_is_too_small(files: EngineFiles, trt: FakeTensorRT, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(shape: object, dtype: object) -> None:
        raise MemoryError("out of memory allocating 1 bytes")

    monkeypatch.setattr(trt.cupy, "empty", full)
    with pytest.raises(DeviceError, match=r"cannot hold .*out of memory"):
        open_tensorrt_session(files, 0)


def test_without_cupy_the_message_says_what_to_install(files: EngineFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"needs cupy.*pip install cupy"):
        open_tensorrt_session(files, 0)


@pytest.mark.parametrize(
    "runtime",
    [
        pytest.param("tensorrt-rtx", marks=pytest.mark.needs_gpu),
        pytest.param("tensorrt", marks=pytest.mark.tensorrt),
    ],
)
def test_the_engine_finds_the_same_faces_on_the_gpu(runtime: str, tmp_path: Path) -> None:
    engine = tmp_path / "faces.engine"
    build(engine, precision="fp32", runtime=runtime)
    on_gpu, on_cpu = TRTRetinaFace(engine, "cuda:0"), TRTRetinaFace(engine, "cpu")
    assert isinstance(on_gpu._session, TensorRTSession)
    ours, theirs = on_gpu.detect(astronaut()), on_cpu.detect(astronaut())
    assert len(ours) == len(theirs) == 1
    # TF32 is off by default in strongly typed networks; sums differ in order only.
    assert np.abs(ours.boxes - theirs.boxes).max() < 0.1
