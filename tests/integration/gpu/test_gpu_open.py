"""Opening an engine on a GPU, against recording doubles of cupy and TensorRT."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from engine import DeviceError, EngineLoadError, TRTRetinaFace
from engine.config.detection import InputSize
from engine.export import attach
from engine.runtime.cpu.session import CpuSession
from engine.runtime.gpu.opening import open_tensorrt_session
from engine.runtime.session import RuntimeOptions
from engine.sidecar import EngineFiles, read_engine
from engine.sidecar.content import BuilderVersion, InputSpec
from tests.support.data import astronaut
from tests.support.doubles.cases import assert_same
from tests.support.doubles.cupy import FakeCuda
from tests.support.doubles.tensorrt import FakeTensorRT, profiles_of
from tests.support.engines import build


def test_plugins_come_before_the_engine(files: EngineFiles, trt: FakeTensorRT) -> None:
    session = open_tensorrt_session(files, 0)
    assert trt.call_log == ["load plugins", "deserialize, host code False", "profile 1 on 4711"]
    session.close()


def test_embedded_plugins_are_allowed_and_not_loaded_twice(files: EngineFiles, trt: FakeTensorRT) -> None:
    embedded = replace(files.sidecar, plugins=replace(files.sidecar.plugins, embedded=True, library_sha256="other"))
    with pytest.raises(EngineLoadError, match=r"native code.*--trust-embedded-plugins"):
        open_tensorrt_session(replace(files, sidecar=embedded), 0)
    trt.call_log.clear()
    session = open_tensorrt_session(replace(files, sidecar=embedded), 0, RuntimeOptions(trust_embedded_plugins=True))
    assert trt.call_log == ["deserialize, host code True", "profile 1 on 4711"]
    session.close()


def test_plugins_of_the_same_version_compiled_elsewhere_run(
    files: EngineFiles, trt: FakeTensorRT, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "engine")
    other = replace(files.sidecar, plugins=replace(files.sidecar.plugins, library_sha256="0" * 64))
    open_tensorrt_session(replace(files, sidecar=other), 0)
    assert "another compilation of the same plugins (SHA-256 000000000000, installed" in caplog.text


def test_plugins_of_another_version_are_refused(files: EngineFiles, trt: FakeTensorRT) -> None:
    plugins = files.sidecar.plugins
    versions = {**plugins.versions, "RetinaFaceNMS": "3"}
    other = replace(files.sidecar, plugins=replace(plugins, versions=versions))
    with pytest.raises(
        EngineLoadError, match=r"plugins RetinaFaceNMS 3, .* RetinaFaceNMS 1 and 2\. Rebuild: python build_engine.py"
    ):
        open_tensorrt_session(replace(files, sidecar=other), 0)


def test_another_version_of_tensorrt_is_refused(files: EngineFiles, trt: FakeTensorRT) -> None:
    other = replace(files.sidecar, runtime=BuilderVersion("tensorrt-rtx", "0.9"))
    with pytest.raises(EngineLoadError, match=r"built with tensorrt-rtx 0.9, but \d.* is installed"):
        open_tensorrt_session(replace(files, sidecar=other), 0)


def test_an_engine_for_another_gpu_is_refused_with_its_targets(files: EngineFiles, trt: FakeTensorRT) -> None:
    trt.deserialises = False
    with pytest.raises(EngineLoadError, match=r"cannot load .*plan is for another device.*built for portable"):
        open_tensorrt_session(files, 0)


def test_other_tensors_than_the_sidecar_s_are_refused(files: EngineFiles, trt: FakeTensorRT) -> None:
    trt.tensor_names = ["input", "loc"]
    with pytest.raises(EngineLoadError, match=r"has the tensors input \(float32\), loc \(float32\), its sidecar names"):
        open_tensorrt_session(files, 0)


@pytest.mark.parametrize("kind", ["float16", "DataType.BF16"])
def test_another_type_of_a_tensor_than_the_sidecar_s_is_refused(
    files: EngineFiles, trt: FakeTensorRT, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Its memory would be too small, or hold other values."""
    monkeypatch.setattr(trt, "dtype_of", {"images": kind, "num_detections": "int32"}.get)
    with pytest.raises(EngineLoadError, match=rf"images \({kind}\).*, its sidecar names .*images \(float32\)"):
        open_tensorrt_session(files, 0)


def test_an_engine_of_an_earlier_build(tmp_path: Path, trt: FakeTensorRT, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has one profile, tuned for half the largest batch, and in float16 too a float32 input."""
    new = InputSpec.of

    def of(size: InputSize, max_batch: int, dtype: str = "float32") -> InputSpec:
        spec = new(size, max_batch, dtype)
        return replace(spec, optimum=(max_batch // 2, *spec.optimum[1:]))

    with monkeypatch.context() as patch:
        patch.setattr(InputSpec, "of", of)
        patch.setattr(attach, "_take_float16", lambda graph: None)
        build(tmp_path / "old.engine", precision="fp16")
    trt.files = read_engine(tmp_path / "old.engine")
    spec = trt.files.sidecar.io.input
    assert (spec.optimum, spec.dtype) == ((2, 3, 320, 320), "float32")
    trt.profiles, trt.cpu = profiles_of(trt.files)[:1], CpuSession(trt.files)
    detector, on_cpu = (
        TRTRetinaFace(tmp_path / "old.engine", device, score_threshold=0.3) for device in ("cuda:0", "cpu")
    )
    for _ in range(3):
        assert_same(detector.detect(astronaut()), on_cpu.detect(astronaut()))
        assert_same(detector.detect([astronaut()] * 3)[2], on_cpu.detect(astronaut()))


def test_a_profile_that_is_refused_is_named(files: EngineFiles, trt: FakeTensorRT) -> None:
    trt.accepts_profile = False
    with pytest.raises(EngineLoadError, match=r"faces.engine refused its optimisation profile 1"):
        open_tensorrt_session(files, 0)


def test_a_device_that_does_not_exist(files: EngineFiles, trt: FakeTensorRT) -> None:
    with pytest.raises(DeviceError, match=r"cuda:1 does not exist: this machine has 1 GPU"):
        open_tensorrt_session(files, 1)


def test_a_driver_that_cupy_cannot_use(files: EngineFiles, fake_cuda: FakeCuda) -> None:
    fake_cuda.devices = -1
    with pytest.raises(DeviceError, match="cannot use the NVIDIA driver: cudaErrorInsufficientDriver"):
        open_tensorrt_session(files, 0)


def test_a_gpu_that_is_too_small(files: EngineFiles, trt: FakeTensorRT) -> None:
    trt.cupy.room = 1000
    with pytest.raises(DeviceError, match=r"cannot hold .*out of memory"):
        open_tensorrt_session(files, 0)
    assert trt.cupy.allocated == 0


def test_without_cupy_the_message_says_what_to_install(files: EngineFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"needs cupy.*pip install cupy"):
        open_tensorrt_session(files, 0)


RTX = pytest.mark.parametrize("trt", ["tensorrt-rtx"], indirect=True)


@pytest.fixture
def cache(files: EngineFiles) -> Path:
    """Path of the cache of compiled kernels, which does not exist yet."""
    path = files.path.with_name("faces.engine.runtime-cache")
    path.unlink(missing_ok=True)
    return path


@RTX
def test_rtx_compiles_once_and_remembers_it_beside_the_engine(
    files: EngineFiles, trt: FakeTensorRT, cache: Path
) -> None:
    session = open_tensorrt_session(files, 0)
    assert trt.call_log[-1] == "context with whole graph, a cache"
    session.close()
    assert cache.read_bytes() == b"kernels"
    trt.compiled = b"more kernels"
    open_tensorrt_session(files, 0).close()
    assert "cached b'kernels'" in trt.call_log
    assert cache.read_bytes() == b"more kernels"
    unchanged = cache.stat().st_mtime_ns
    open_tensorrt_session(files, 0).close()
    assert cache.stat().st_mtime_ns == unchanged
    assert [path.name for path in cache.parent.iterdir() if path.name.startswith(".")] == []


@RTX
def test_a_cache_of_another_gpu_is_made_anew(files: EngineFiles, trt: FakeTensorRT, cache: Path) -> None:
    cache.write_bytes(b"other kernels")
    trt.refuses_cache = True
    open_tensorrt_session(files, 0).close()
    assert cache.read_bytes() == b"kernels"


@RTX
def test_a_cache_that_cannot_be_read_or_written_is_no_failure(
    files: EngineFiles, trt: FakeTensorRT, cache: Path
) -> None:
    cache.mkdir()
    try:
        open_tensorrt_session(files, 0).close()
    finally:
        cache.rmdir()


@RTX
def test_rtx_s_graphs_can_be_switched_off(files: EngineFiles, trt: FakeTensorRT, cache: Path) -> None:
    session = open_tensorrt_session(files, 0, RuntimeOptions(cuda_graphs=False))
    assert trt.call_log[-1] == "context with disabled, a cache"
    session.close()


def test_cupy_has_what_the_session_and_its_doubles_use() -> None:
    """Checked on the real module, which imports without a GPU."""
    cupy = pytest.importorskip("cupy")
    cuda = {"Device", "Stream", "Event", "Memory", "PinnedMemory", "PinnedMemoryPointer", "UnownedMemory"}
    for name in cuda | {"MemoryPointer", "get_elapsed_time"}:
        assert callable(getattr(cupy.cuda, name)), name
    runtime = cupy.cuda.runtime
    pools = {"MemPoolProps", "memPoolCreate", "memPoolSetAttribute", "memPoolDestroy", "mallocFromPoolAsync"}
    others = {"memcpyAsync", "freeAsync", "free", "streamWaitEvent", "eventRecord"}
    for name in pools | others | {"streamIsCapturing", "deviceSynchronize"}:
        assert callable(getattr(runtime, name)), name
    copies = (runtime.memcpyHostToDevice, runtime.memcpyDeviceToHost, runtime.memcpyDeviceToDevice)
    assert (runtime.streamCaptureModeThreadLocal, *copies) == (1, 1, 2, 3)
    assert runtime.cudaMemAllocationTypePinned == runtime.cudaMemLocationTypeDevice == 1
    assert (runtime.cudaMemHandleTypeNone, runtime.cudaMemPoolAttrReleaseThreshold) == (0, 4)
    for name in ("synchronize", "begin_capture", "end_capture"):
        assert callable(getattr(cupy.cuda.Stream, name)), name
    assert callable(cupy.cuda.Graph.launch)
    assert runtime.CUDARuntimeError(2).status == 2
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert str(runtime.CUDARuntimeError(700)).startswith("cudaErrorIllegalAddress")
