"""Quantised networks on OpenVINO, checked on this processor against the network as its Q/DQ nodes define it.

8-bit kernels may compute something else: without VNNI instructions, for example, they add two products in 16 bits,
which saturate. So the outputs of OpenVINO for one image are compared with those of the network as written.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from engine.errors import EngineLoadError, InferenceError
from engine.runtime.cpu.openvino import OpenVinoRuntime
from engine.runtime.cpu.ort import OnnxRuntime
from engine.runtime.cpu.protocol import CpuRuntime, CpuSettings
from engine.types import FloatArray

_log = logging.getLogger("engine")

# Bound of a ratio: the error of a runtime's heads over the error of the network as written, both against the network
# without quantised activations. On the noise image below, runtimes that compute the network as written gave .98 to 1.07
# (sums halfway between two steps are rounded either way), others 1.6 to 7.
LARGEST_ERROR = 1.25
# Least error of the network as written, relative to the size of the heads: the error of float16 activations.
_FLOAT16_ERROR = 0.01
_ANY_SIZE = (320, 320)


def load_faithful(network: bytes, settings: CpuSettings) -> OpenVinoRuntime:
    """Load a quantised network with the fastest kernels of OpenVINO that compute it as written.

    Raises:
        EngineLoadError: OpenVINO cannot run it, or no kernels compute it as written.
    """
    try:
        return _fastest(network, settings)
    except InferenceError as error:  # at the size of the noise image
        raise EngineLoadError(str(error)) from error


def _fastest(network: bytes, settings: CpuSettings) -> OpenVinoRuntime:
    reference = _Reference(network, settings)
    fast = OpenVinoRuntime(network, settings)
    error = reference.error(fast)
    if error <= LARGEST_ERROR:
        return fast
    reason = (
        f"the 8-bit kernels of {fast.name} do not compute this network as written on this processor: their error is "
        f"{error:.2f} times that of the network, expected at most {LARGEST_ERROR}"
    )
    exact = OpenVinoRuntime(network, settings, kernels="float32")
    error = reference.error(exact)
    if error <= LARGEST_ERROR:
        sentence = reason[:1].upper() + reason[1:]
        _log.warning("%s. Running it with %s, which is slower than an fp32 engine.", sentence, exact.name)
        return exact
    raise EngineLoadError(f"{reason}; in float32 it is {error:.2f} times")


class _Reference:
    """The heads of a quantised network for one noise image: as written, and without quantised activations."""

    def __init__(self, network: bytes, settings: CpuSettings) -> None:
        written = OnnxRuntime(network, settings, optimise=False)
        self._noise = _noise(settings, settings.size or written.fixed_size or _ANY_SIZE)
        # By kind of head, as their errors differ in size.
        self._kinds = [name.rpartition("_")[0] for name in settings.heads]
        wanted = self._heads(written)
        self._exact = self._heads(OpenVinoRuntime(network, settings, kernels="unquantised"))
        nothing = [np.zeros_like(head) for head in wanted]
        sizes, errors = self._distances(wanted, nothing), self._distances(wanted, self._exact)
        self._errors = {kind: max(errors[kind], _FLOAT16_ERROR * sizes[kind]) for kind in errors}

    def error(self, runtime: CpuRuntime) -> float:
        """Return the error of a runtime's heads over that of the network as written."""
        given = self._distances(self._heads(runtime), self._exact)
        # NaN stays NaN, which passes no limit.
        return float(np.max([given[kind] / self._errors[kind] for kind in given]))

    def _heads(self, runtime: CpuRuntime) -> list[FloatArray]:
        runner = runtime.runner(alone=True)
        buffer = runner.input(*self._noise.shape[1:])
        buffer[0] = self._noise.transpose(1, 2, 0) if runtime.channels_last else self._noise
        return [head.copy() for head in runner.run()]

    def _distances(self, ours: Sequence[FloatArray], theirs: Sequence[FloatArray]) -> dict[str, float]:
        """Root mean square of the differences, by kind of head."""
        squares: dict[str, list[FloatArray]] = {}
        for kind, one, other in zip(self._kinds, ours, theirs, strict=True):
            squares.setdefault(kind, []).append(np.square(one - other, dtype=np.float64).ravel())
        return {kind: float(np.sqrt(np.concatenate(values).mean())) for kind, values in squares.items()}


def _noise(settings: CpuSettings, size: tuple[int, int]) -> FloatArray:
    """Return normalised noise, float32 [3, H, W]; unlike most photos it fills the calibrated ranges."""
    noise = np.random.default_rng(0).integers(0, 256, (3, *size)).astype(np.float32)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (settings.mean, settings.std))
    return np.asarray((noise - mean) / std, np.float32)
