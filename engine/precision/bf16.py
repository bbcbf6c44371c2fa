"""Rounding weights to bfloat16 so that their errors cancel; it needs no photos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from engine.config.model import RetinaFaceConfig
from engine.pictures.backgrounds import texture
from engine.precision.calibrate.rounding import round_weights
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import INT8, quantisable
from engine.precision.qdq.rewrite import prepare
from engine.precision.qdq.simulate import BF16, Simulation
from engine.runtime.letterbox import Letterbox
from engine.types import FloatArray

if TYPE_CHECKING:
    import onnx

# Gradients take memory by the pixel, and by the gigabyte in large networks.
_PICTURES, _SIDE = 16, 640
_LARGE_NETWORK = 5_000_000  # weights
_LARGE_PICTURES, _LARGE_SIDE = 4, 320


def round_to_bf16(
    network: onnx.ModelProto,
    config: RetinaFaceConfig,
    size: tuple[int, int],
    on_stage: Callable[[str], None] = lambda stage: None,
) -> onnx.ModelProto:
    """Return a float32 network whose plain convolutions have weights that bfloat16 holds, errors cancelling.

    How the inputs of a convolution go together depends little on what a picture shows, so drawn textures do: with them
    the result is as good as with photos of faces (docs/precision.md).

    Args:
        network: float32.
        config: of its model.
        size: (height, width) of the network's input; the pictures are no larger than they must be.
        on_stage: called with a text as the work goes on.

    Raises:
        CalibrationError: what a convolution reads is not finite.
        BuildError: the network has an operator that is not known here.
    """
    import onnx
    from onnx import numpy_helper

    graph = Graph(prepare(network), size)
    reference, rounded = Simulation(graph), Simulation(graph)
    rounded.assignment = rounded.fitted = dict.fromkeys(quantisable(graph, INT8), BF16)
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
    result = onnx.ModelProto()
    result.CopyFrom(network)
    weights = {graph.convolutions[name].weight: rounded.weights[name].numpy() for name in rounded.assignment}
    for tensor in result.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return result
