"""Quantised networks on OpenVINO: a way to run them that gives what the network says, on this processor.

8-bit kernels may give other numbers. Without VNNI instructions, for one, they add products of two pairs in 16 bits,
which overflow. So what OpenVINO gives for one picture is held against the network as it is written.
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

# How far the heads may be from those of a network whose activations are not quantised, over how far the network as it
# is written is. On the picture below whatever computes it as written gave .98 to 1.07 (sums that lie between two steps
# go either way, and so does all that follows), and what does not, from 1.6 to 7.
LARGEST_ERROR = 1.25
# Of the heads' own size: what 16-bit activations change, where next to nothing is quantised.
_FLOAT16_ERROR = 0.01
_ANY_SIZE = (320, 320)


def load_faithful(network: bytes, settings: CpuSettings) -> OpenVinoRuntime:
    """Load a quantised network in the fastest of OpenVINO's ways that gives what the network says.

    Raises:
        EngineLoadError: OpenVINO cannot run it, or no way gives that.
    """
    try:
        return _fastest(network, settings)
    except InferenceError as error:  # at the size of the picture
        raise EngineLoadError(str(error)) from error


def _fastest(network: bytes, settings: CpuSettings) -> OpenVinoRuntime:
    graph = _Graph(network, settings)
    fast = OpenVinoRuntime(network, settings)
    error = graph.error(fast)
    if error <= LARGEST_ERROR:
        return fast
    reason = (
        f"the 8-bit kernels of {fast.name} do not give what this network says on this processor: its heads' error is "
        f"{error:.2f} times that of the network as it is written, expected at most {LARGEST_ERROR}"
    )
    exact = OpenVinoRuntime(network, settings, kernels="float32")
    error = graph.error(exact)
    if error <= LARGEST_ERROR:
        _log.warning("%s. Running it with %s, slower than an fp32 engine.", _sentence(reason), exact.name)
        return exact
    raise EngineLoadError(f"{reason}; in float32 it is {error:.2f} times")


class _Graph:
    """A quantised network as it is written, and what it would give if it quantised no activation, for one picture."""

    def __init__(self, network: bytes, settings: CpuSettings) -> None:
        written = OnnxRuntime(network, settings, optimise=False)
        self._picture = _picture(settings, settings.size or written.fixed_size or _ANY_SIZE)
        # By kind of head: the three have errors of different sizes.
        self._kinds = [name.rpartition("_")[0] for name in settings.heads]
        wanted = self._heads(written)
        self._exact = self._heads(OpenVinoRuntime(network, settings, kernels="unquantised"))
        nothing = [np.zeros_like(head) for head in wanted]
        sizes, errors = self._distances(wanted, nothing), self._distances(wanted, self._exact)
        self._errors = {kind: max(errors[kind], _FLOAT16_ERROR * sizes[kind]) for kind in errors}

    def error(self, runtime: CpuRuntime) -> float:
        """Return how far a runtime's heads are from the unquantised ones, over how far the written network's are."""
        given = self._distances(self._heads(runtime), self._exact)
        # NaN stays NaN, and is below no limit.
        return float(np.max([given[kind] / self._errors[kind] for kind in given]))

    def _heads(self, runtime: CpuRuntime) -> list[FloatArray]:
        runner = runtime.runner(alone=True)
        buffer = runner.input(*self._picture.shape[1:])
        buffer[0] = self._picture.transpose(1, 2, 0) if runtime.channels_last else self._picture
        return [head.copy() for head in runner.run()]

    def _distances(self, ours: Sequence[FloatArray], theirs: Sequence[FloatArray]) -> dict[str, float]:
        """Root mean square of the differences, by kind."""
        squares: dict[str, list[FloatArray]] = {}
        for kind, one, other in zip(self._kinds, ours, theirs, strict=True):
            squares.setdefault(kind, []).append(np.square(one - other, dtype=np.float64).ravel())
        return {kind: float(np.sqrt(np.concatenate(values).mean())) for kind, values in squares.items()}


def _picture(settings: CpuSettings, size: tuple[int, int]) -> FloatArray:
    """Return noise, normalised, float32 [3, H, W]: it fills the ranges that calibration found, as few photos do."""
    noise = np.random.default_rng(0).integers(0, 256, (3, *size)).astype(np.float32)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (settings.mean, settings.std))
    return np.asarray((noise - mean) / std, np.float32)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
