"""Bias correction: quantisation shifts the mean of a channel, and its bias can take the shift back.

Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction (2019), section 4.2, with measured
means.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.precision.qdq.graph import Graph
from engine.precision.qdq.simulate import Simulation


def correct_biases(graph: Graph, reference: Simulation, quantised: Simulation, images: Tensor) -> None:
    """Change the quantised network's biases so that each channel keeps the mean that it has in the reference.

    Convolutions are corrected in order within one run: each sees its predecessors corrected.

    Args:
        graph: of both.
        reference: in floating point.
        quantised: changed in place.
        images: float32 [N, 3, H, W].
    """
    convolution_of = {c.output: c.name for c in graph.convolutions.values()}
    means: dict[str, Tensor] = {}

    def remember(name: str, value: Tensor) -> None:
        if name in convolution_of:
            means[name] = value.mean(dim=(0, 2, 3))

    def correct(name: str, value: Tensor) -> None:
        convolution = convolution_of.get(name)
        if convolution is not None and convolution in quantised.assignment:
            shift = means[name] - value.mean(dim=(0, 2, 3))
            quantised.biases[convolution] = quantised.biases[convolution] + shift
            value += shift[:, None, None]

    with torch.no_grad():
        reference.run(images, remember)
        quantised.run(images, correct)
