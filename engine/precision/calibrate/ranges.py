"""Choice of a tensor's range, the largest magnitude that INT8 holds, from its histogram."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.config.formats import INT8
from engine.runtime.cpu.ort_import import import_ort
from engine.types import FloatArray

BINS = 1024
PERCENTILE = 99.99
_LEVELS = INT8.largest
_ENTROPY_LEVELS = 128  # of both signs together, the default of ONNX Runtime; 255 clips far too much here
_SEARCH_STEPS = 64


def percentile_range(counts: FloatArray, maximum: float) -> float:
    """Clip the largest values: PERCENTILE per cent of all values are below the range."""
    total = np.cumsum(counts)
    last = int(np.searchsorted(total, total[-1] * PERCENTILE / 100))
    return maximum * min(last + 1, BINS) / BINS


def mse_range(counts: FloatArray, maximum: float) -> float:
    """Minimise the mean squared error of clipping and rounding to 127 levels."""
    centres = (np.arange(BINS) + 0.5) / BINS
    candidates = np.linspace(1.0, 1.0 / _SEARCH_STEPS, _SEARCH_STEPS)
    step = candidates[:, None] / _LEVELS
    rounded = np.minimum(np.round(centres / step), _LEVELS) * step
    return maximum * float(candidates[np.argmin((counts * (rounded - centres) ** 2).sum(axis=1))])


def entropy_range(counts: FloatArray, maximum: float) -> float:
    """Minimise the Kullback-Leibler divergence between the exact and the quantised values, with ONNX Runtime."""
    collector = import_ort("onnxruntime.quantization.calibrate").HistogramCollector(
        method="entropy", symmetric=True, num_bins=2 * BINS + 1, num_quantized_bins=_ENTROPY_LEVELS,
        percentile=PERCENTILE, scenario="same",
    )  # fmt: skip
    # ONNX Runtime expects a histogram of both signs, with one bin around zero.
    halves = counts[1:] / 2
    both = np.concatenate([halves[::-1], counts[:1], halves]).astype(np.int64)
    edges = np.linspace(-maximum, maximum, both.size + 1)
    threshold = collector.get_entropy_threshold((both, edges, -maximum, maximum), _ENTROPY_LEVELS)
    return float(min(abs(threshold[1]), maximum))


RANGES: dict[str, Callable[[FloatArray, float], float]] = {
    "percentile": percentile_range,
    "mse": mse_range,
    "entropy": entropy_range,
}
"""By calibration method. The methods "max" and "importance" need no histogram."""
