"""Sampling of CPU, memory and GPU."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from engine.bench.analysis.environment import differences, environment
from engine.bench.load.clock import Clock
from engine.bench.load.resources import Sampler


def test_a_busy_process_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.bench.load.resources._INTERVAL_S", 0.05)
    clock = Clock()
    with Sampler(clock, "cpu") as sampler:
        begin, own = clock.now(), time.process_time()
        while clock.now() < begin + 0.6:
            pass
        end, own = clock.now(), time.process_time() - own
    usage = sampler.usage(begin, end)
    # The share of a core that the loop got, whatever else runs.
    assert usage["cpu_cores"].mean == pytest.approx(own / (end - begin), abs=0.3)
    assert usage["memory_mib"].least > 10
    assert "gpu_percent" not in usage
    assert sampler.usage(end + 1, end + 2) == {}


def test_a_gpu_is_read_through_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    monkeypatch.setattr("engine.runtime.gpu_usage._bus_address", lambda device: f"bus of {device}")
    monkeypatch.setattr("engine.bench.load.resources._INTERVAL_S", 0.02)
    clock = Clock()
    with Sampler(clock, "cuda:1") as sampler:
        time.sleep(0.3)
    usage = sampler.usage(0, clock.now())
    assert (usage["gpu_percent"].mean, usage["gpu_memory_mib"].mean) == (37, 2048)
    assert (usage["gpu_clock_mhz"].least, usage["gpu_clock_mhz"].most) == (1500, 1500)


def test_without_nvml_the_gpu_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = fake_nvml()

    def fail() -> None:
        raise nvml.NVMLError("driver not loaded")

    clock = Clock()
    for module in (None, SimpleNamespace(**{**vars(nvml), "nvmlInit": fail})):
        monkeypatch.setitem(sys.modules, "pynvml", module)
        monkeypatch.setattr("engine.runtime.gpu_usage._bus_address", lambda device: "bus")
        monkeypatch.setattr("engine.bench.load.resources._INTERVAL_S", 0.02)
        with Sampler(clock, "cuda:0") as sampler:
            time.sleep(0.1)
        assert "gpu_percent" not in sampler.usage(0, clock.now())


def test_only_the_readings_that_a_gpu_lacks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # A partition of a GPU (MIG) has no utilisation; a reading may also fail in the middle of a run.
    nvml, clocks = fake_nvml(), iter([1500, 1500])

    def unsupported(handle: str) -> None:
        raise nvml.NVMLError("Not Supported")

    def lost(handle: str, kind: int) -> int:
        found = next(clocks, None)
        if found is None:
            raise nvml.NVMLError("GPU is lost")
        return found

    nvml.nvmlDeviceGetUtilizationRates, nvml.nvmlDeviceGetClockInfo = unsupported, lost
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr("engine.runtime.gpu_usage._bus_address", lambda device: f"bus of {device}")
    monkeypatch.setattr("engine.bench.load.resources._INTERVAL_S", 0.02)
    clock = Clock()
    with Sampler(clock, "cuda:1") as sampler:
        time.sleep(0.2)
        middle = clock.now()
        time.sleep(0.2)
    usage = sampler.usage(0, clock.now())
    assert "gpu_percent" not in usage
    assert (usage["gpu_memory_mib"].mean, usage["gpu_clock_mhz"].mean) == (2048, 1500)
    assert sampler.usage(middle, clock.now()).keys() >= {"cpu_cores", "gpu_memory_mib"}


def fake_nvml() -> Any:
    """A double of pynvml with one GPU and constant readings."""

    def handle(bus: bytes) -> str:
        assert bus == b"bus of cuda:1"
        return "handle"

    return SimpleNamespace(
        NVMLError=type("NVMLError", (Exception,), {}),
        NVML_CLOCK_SM=1,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByPciBusId=handle,
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=37),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=2 << 30),
        nvmlDeviceGetClockInfo=lambda handle, kind: 1500,
    )


def test_the_environment_is_recorded_and_compared() -> None:
    found = environment()
    assert found["cores"] >= found["cores_usable"] >= 1
    assert found["packages"]["numpy"]
    assert found["cpu"]
    assert differences(found, {**found, "time": "earlier", "cores": 99}, ignored={"time", "cores"}) == []
    (line,) = differences(found, {**found, "cpu": "another"}, ignored=())
    assert line == f"cpu: another before, {found['cpu']} now"
