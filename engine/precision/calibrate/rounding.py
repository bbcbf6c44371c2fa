"""Rounding of weights so that their errors cancel, instead of each to its nearest value.

The columns of a convolution's weights are rounded one after the other. Later columns compensate the error of earlier
ones as far as their inputs correlate: Frantar et al., GPTQ (2023), after Hassibi and Stork's optimal brain surgeon. The
correlations are measured on the calibration images. Each pixel is weighted by its effect on the heads.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from engine.config.formats import NumberFormat
from engine.config.model import RetinaFaceConfig
from engine.errors import CalibrationError
from engine.precision.qdq.graph import Convolution, Graph, attribute
from engine.precision.qdq.heads import run_with_gradients
from engine.precision.qdq.simulate import Simulation, to_grid
from engine.types import FloatArray

if TYPE_CHECKING:
    import onnx

_PIXELS = 2048
_DAMPING = 0.01
_BLOCK = 64
# The cost is cubic in the number of columns rounded together. The published ResNets have up to 18,432 columns.
_MAX_COLUMNS = 2304


def round_weights(
    config: RetinaFaceConfig, graph: Graph, reference: Simulation, network: Simulation, batches: Iterable[FloatArray]
) -> None:
    """Round the weights of the quantised convolutions, in place.

    Args:
        config: names of the heads.
        graph: of both networks.
        reference: the network in floating point, for inputs and gradients.
        network: with its assignment and the scales of its weights.
        batches: float32 [1, 3, H, W].

    Raises:
        CalibrationError: the second moments of a convolution's inputs are not finite.
    """
    correlations: dict[str, Tensor] = {}
    generator = torch.Generator().manual_seed(0)
    nodes = {node.name: node for node in graph.nodes}
    for batch in batches:
        values = run_with_gradients(config, reference, torch.from_numpy(batch), generator)
        with torch.no_grad():
            for name in network.assignment:
                convolution = graph.convolutions[name]
                gradient = values[convolution.output].grad
                if gradient is not None:
                    seen = _correlation(nodes[name], convolution, values[convolution.data], gradient)
                    correlations[name] = correlations[name] + seen if name in correlations else seen
    for name in list(correlations):
        correlation = correlations.pop(name)
        kind, groups = network.assignment[name], graph.convolutions[name].groups
        weight, steps = network.weights[name], network.steps[name, kind]
        columns = correlation.shape[1]
        # [groups, parts of a group, outputs of a group, columns of a part]
        parts = weight.reshape(groups, -1, weight[0].numel() // columns, columns).transpose(1, 2)
        if not torch.isfinite(correlation).all():
            raise CalibrationError(
                f"the inputs of convolution {name}, or their squares, are not finite (NaN or infinity) on a picture: "
                "the weights are damaged or do not belong to this --config"
            )
        steps = steps.reshape(groups, 1, -1).expand(-1, parts.shape[1], -1).flatten(0, 1)
        # Parts of groups one by one: their factorisations are large.
        together = groups if len(correlation) == groups else 1
        split = (torch.split(x, together) for x in (parts.flatten(0, 1), steps, correlation))
        rounded = torch.cat([_round(w, s, c, kind) for w, s, c in zip(*split, strict=True)])
        network.weights[name] = rounded.reshape(parts.shape).transpose(1, 2).reshape(weight.shape)


def _correlation(node: onnx.NodeProto, convolution: Convolution, x: Tensor, gradient: Tensor) -> Tensor:
    """Return the second moments of the inputs of the columns, [parts, K, K], over the most important pixels.

    A part is all columns of a group, or a share of them if they are too many to round together.
    """
    kernel = attribute(node, "kernel_shape")
    patches = functional.unfold(
        x.detach(),
        kernel,
        dilation=attribute(node, "dilations", [1, 1]),
        padding=attribute(node, "pads", [0] * 4)[:2],
        stride=attribute(node, "strides", [1, 1]),
    )[0]
    importance = (gradient[0] ** 2).sum(0).flatten()
    best = importance.topk(min(_PIXELS, importance.numel()))
    columns = patches.shape[0] // convolution.groups
    shares = next(n for n in count(-(-columns // _MAX_COLUMNS)) if columns % n == 0)
    chosen = patches[:, best.indices].reshape(convolution.groups * shares, -1, best.indices.numel())
    return (chosen * best.values) @ chosen.transpose(1, 2)


def _round(weight: Tensor, steps: Tensor, correlation: Tensor, kind: NumberFormat) -> Tensor:
    """Round weights [parts, outputs, columns] with scales [parts, outputs] and correlations [parts, K, K]."""
    columns = weight.shape[2]
    diagonal = correlation.diagonal(dim1=1, dim2=2)
    damping = _DAMPING * diagonal.mean(1).clamp_min(1e-20)
    damped = correlation / damping[:, None, None] + torch.eye(columns)
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped.double())), upper=True).float()
    left = weight.clone()
    rounded = torch.empty_like(weight)
    for begin in range(0, columns, _BLOCK):
        end = min(begin + _BLOCK, columns)
        errors = torch.empty_like(weight[:, :, begin:end])
        for j in range(begin, end):
            rounded[:, :, j] = to_grid(left[:, :, j] / steps, kind) * steps
            errors[:, :, j - begin] = (left[:, :, j] - rounded[:, :, j]) / upper[:, None, j, j]
            left[:, :, j:end] -= errors[:, :, j - begin, None] * upper[:, None, j, j:end]
        # Columns behind the block compensate all its errors at once: one matrix product instead of many vector ones.
        left[:, :, end:] -= errors @ upper[:, begin:end, end:]
    return rounded
