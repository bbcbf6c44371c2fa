"""What the driver says about a GPU: its use, its memory, its clock."""

from __future__ import annotations

from collections.abc import Callable

MIB = 1 << 20
# Utilisation in percent, memory in use in MiB, clock of the multiprocessors in MHz.
GpuUsage = Callable[[], tuple[float | None, float | None, float | None]]


def gpu_usage(device: str) -> GpuUsage | None:
    """Return a function that reads a GPU's utilisation, memory and clock; None without a GPU or NVML."""
    if not device.startswith("cuda"):
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        # NVML numbers all GPUs, CUDA only those in CUDA_VISIBLE_DEVICES: the bus address identifies one to both.
        handle = pynvml.nvmlDeviceGetHandleByPciBusId(_bus_address(device).encode())
    except (OSError, AttributeError, pynvml.NVMLError):  # no driver, or one that lacks a function
        return None

    def reading(read: Callable[[], float]) -> float | None:
        try:
            return float(read())
        except pynvml.NVMLError:
            return None

    return lambda: (
        reading(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        reading(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).used / MIB),
        reading(lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)),
    )


def _bus_address(device: str) -> str:
    import ctypes

    driver = ctypes.CDLL("libcuda.so.1")
    driver.cuInit(0)
    handle, address = ctypes.c_int(), ctypes.create_string_buffer(32)
    driver.cuDeviceGet(ctypes.byref(handle), int(device.partition(":")[2] or 0))
    driver.cuDeviceGetPCIBusId(address, len(address), handle)
    return address.value.decode()
