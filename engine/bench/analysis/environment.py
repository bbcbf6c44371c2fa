"""The machine and the software versions of a measurement."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Collection
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engine.backend.driver import gpu_names
from engine.version import project_version

_PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "cupy-cuda13x",
)
_VARIABLES = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_MAX_CONNECTIONS")


def environment() -> dict[str, Any]:
    """Return the hardware, software and settings that the results depend on, as plain values for JSON."""
    import psutil

    memory = psutil.virtual_memory()
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "project": project_version(),
        "commit": _commit(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "memory_mib": round(memory.total / 2**20),
        "memory_available_mib": round(memory.available / 2**20),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "gpus": gpu_names(),
        "gpu_driver": _driver(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def differences(ours: dict[str, Any], theirs: dict[str, Any], ignored: Collection[str]) -> list[str]:
    """Describe each difference between two environments."""
    names = [name for name in {**theirs, **ours} if name not in ignored]
    return [
        f"{name}: {theirs.get(name)} before, {ours.get(name)} now"
        for name in names
        if ours.get(name) != theirs.get(name)
    ]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str | None:
    """Return the commit of the sources that run; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _driver() -> str | None:
    try:
        return Path("/sys/module/nvidia/version").read_text().strip()
    except OSError:
        return None
