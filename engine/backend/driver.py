"""Asking the NVIDIA driver for the GPUs of this machine, without the CUDA runtime library."""

from __future__ import annotations

import ctypes
from typing import Any

# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h
_CAPABILITY_ATTRIBUTES = (75, 76)


def sees_gpu() -> bool:
    """Whether there is an NVIDIA driver with a GPU."""
    return bool(gpu_names())


def gpu_names() -> list[str]:
    """Return the names of the GPUs; none without a driver."""
    driver, count = _driver()
    names = []
    for index in range(count):
        name = ctypes.create_string_buffer(256)
        driver.cuDeviceGetName(name, len(name), index)
        names.append(name.value.decode(errors="replace"))
    return names


def compute_capability() -> tuple[int, int] | None:
    """Return the compute capability of the first GPU, which TensorRT builds for; None without a GPU."""
    driver, count = _driver()
    if not count:
        return None
    value, capability = ctypes.c_int(0), []
    for attribute in _CAPABILITY_ATTRIBUTES:
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, 0)
        capability.append(value.value)
    return capability[0], capability[1]


def _driver() -> tuple[Any, int]:
    """Return the NVIDIA driver and the number of GPUs; (None, 0) without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None, 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return None, 0
    return driver, count.value
