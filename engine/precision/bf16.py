"""Rounding of weights to bfloat16 so that their errors cancel, without photos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from engine.config.formats import BF16
from engine.config.model import RetinaFaceConfig
from engine.pictures.backgrounds import texture
from engine.precision.calibrate.rounding import round_weights
from engine.precision.qdq.graph import Graph, with_weights
from engine.precision.qdq.placement import quantisable
from engine.precision.qdq.rewrite import prepare
from engine.precision.qdq.simulate import Simulation
from engine.runtime.letterbox import Letterbox
from engine.types import FloatArray

if TYPE_CHECKING:
    import onnx

# Gradients need memory in proportion to the pixels: gigabytes in large networks.
_PICTURES, _SIDE = 16, 640
_LARGE_NETWORK = 5_000_000  # weights
_LARGE_PICTURES, _LARGE_SIDE = 4, 320


def round_to_bf16(
    network: onnx.ModelProto,
    config: RetinaFaceConfig,
    size: tuple[int, int],
    on_stage: Callable[[str], None] = lambda stage: None,
) -> onnx.ModelProto:
    """Return a float32 network with the weights of plain convolutions rounded to bfloat16 so that their errors cancel.

    The correlations between the inputs of a convolution depend little on the picture. Generated textures give results
    as good as photos of faces (docs/precision.md).

    Args:
        network: float32.
        config: of its model.
        size: (height, width) of the network's input; textures are at most as large.
        on_stage: called with a text as the work goes on.

    Raises:
        CalibrationError: an input of a convolution is not finite.
        BuildError: an operator of the network is not supported.
    """
    graph = Graph(prepare(network), size)
    reference, rounded = Simulation(graph), Simulation(graph)
    rounded.assignment = rounded.fitted = dict.fromkeys(quantisable(graph, BF16), BF16)
    rounded.steps = {(n, BF16): torch.ones(len(rounded.weights[n]), 1, 1, 1) for n in rounded.assignment}
    large = graph.num_weights > _LARGE_NETWORK
    count, side = (_LARGE_PICTURES, _LARGE_SIDE) if large else (_PICTURES, _SIDE)
    size = min(size[0], side), min(size[1], side)
    letterbox = Letterbox(size, config, enlarge=False)
    rng = np.random.default_rng(0)

    def pictures() -> Iterator[FloatArray]:
        for done in range(count):
            on_stage(f"Rounding weights to bfloat16, picture {done + 1}/{count}")
            yield letterbox.batch([texture(size, rng)])
        on_stage("Rounding weights to bfloat16, convolution by convolution")

    round_weights(config, graph, reference, rounded, pictures())
    weights = {graph.convolutions[name].weight: rounded.weights[name].numpy() for name in rounded.assignment}
    return with_weights(network, weights)
