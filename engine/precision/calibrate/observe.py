"""Statistics of activations: the maximum of each channel and the histogram of each tensor."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from engine.errors import CalibrationError
from engine.precision.calibrate.ranges import BINS
from engine.precision.qdq.simulate import Simulation
from engine.types import FloatArray


def channel_maxima(network: Simulation, batches: Iterable[FloatArray], names: Iterable[str]) -> dict[str, FloatArray]:
    """Return the largest magnitude of each channel, [C], of the named tensors over all images.

    Raises:
        CalibrationError: a value of any tensor is not finite.
    """
    wanted = set(names)
    maxima: dict[str, Tensor] = {}

    def observe(name: str, value: Tensor) -> None:
        largest = value.abs().amax(dim=(0, 2, 3))
        if not torch.isfinite(largest).all():
            raise CalibrationError(
                f"tensor {name} of the network is not finite (NaN or infinity) on a calibration image: the weights "
                "are damaged or do not belong to this --config"
            )
        if name in wanted:
            maxima[name] = torch.maximum(maxima[name], largest) if name in maxima else largest

    _run(network, batches, observe)
    return {name: value.numpy() for name, value in maxima.items()}


def histograms(network: Simulation, batches: Iterable[FloatArray], maxima: dict[str, float]) -> dict[str, FloatArray]:
    """Return a histogram of magnitudes, [BINS] from zero to the maximum, for each tensor in `maxima`."""
    counts = {name: torch.zeros(BINS, dtype=torch.float64) for name in maxima}

    def observe(name: str, value: Tensor) -> None:
        if name in counts:
            counts[name] += torch.histc(value.abs(), BINS, 0.0, maxima[name])

    _run(network, batches, observe)
    return {name: value.numpy() for name, value in counts.items()}


def _run(network: Simulation, batches: Iterable[FloatArray], observe: object) -> None:
    with torch.no_grad():
        for batch in batches:
            network.run(torch.from_numpy(batch), observe)  # type: ignore[arg-type]
