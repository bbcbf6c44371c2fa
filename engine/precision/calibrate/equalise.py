"""Equalisation: all channels of an activation tensor get the same range, so that one 8-bit scale fits them all.

ReLU, leaky ReLU, max pooling and nearest resizing commute with a positive factor. The convolution that writes a channel
can therefore divide it by its range, and the convolutions that read it multiply it again: the outputs of the network
stay the same. TensorRT has one scale per activation tensor, but one per output channel of a weight, so the differences
between channels move into the weights. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias
Correction (2019), balance weights against weights; here the measured activations decide, as in Xiao et al., SmoothQuant
(2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.precision.qdq.graph import HOMOGENEOUS, Graph
from engine.precision.qdq.placement import scale_groups
from engine.types import FloatArray

if TYPE_CHECKING:
    import onnx

# Bounds the factor of channels that are nearly always zero.
_MAX_SPREAD = 1e3

Channels = NDArray[np.intp]


class _Channels:
    """The channels of all tensors, as integers; those that must have the same factor are joined."""

    def __init__(self) -> None:
        """Make channel 0, which represents all channels whose factor is fixed at one."""
        self._count = 1
        self._pairs: list[tuple[Channels, Channels]] = []

    def new(self, count: int) -> Channels:
        """Return new channels."""
        self._count += count
        return np.arange(self._count - count, self._count)

    def join(self, a: Channels, b: Channels) -> None:
        """Join channels of the same shape."""
        self._pairs.append((a, b))

    def fix(self, channels: Channels) -> None:
        """Fix the factors of channels at one."""
        self.join(channels, np.zeros_like(channels))

    def classes(self) -> Channels:
        """Return the class of each channel."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        rows, columns = (np.concatenate(side) for side in zip(*self._pairs, strict=True))
        links = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(self._count, self._count))
        labels: Channels = connected_components(links, directed=False)[1]
        return labels


def scale_classes(graph: Graph) -> tuple[dict[str, Channels], int]:
    """Find the channels that must have the same factor.

    Returns:
        For each tensor an integer array [C] of classes, and the class whose factor is fixed at one: the channels of the
        network's inputs and outputs, and of tensors that a non-homogeneous operator reads or writes.
    """
    channels = _Channels()
    ids: dict[str, Channels] = {name: np.zeros(3, int) for name in graph.inputs}
    for node in graph.nodes:
        ids[node.output[0]] = _output(graph, node, ids, channels)
    for name in graph.outputs:
        channels.fix(ids[name])
    classes = channels.classes()
    return {name: classes[members] for name, members in ids.items()}, int(classes[0])


def _output(graph: Graph, node: onnx.NodeProto, ids: Mapping[str, Channels], channels: _Channels) -> Channels:
    """Return the channels of a node's output, given those of its inputs."""
    known = [ids[name] for name in node.input if name in ids]
    if node.name in graph.convolutions:
        convolution = graph.convolutions[node.name]
        if convolution.offset is not None:
            channels.fix(ids[convolution.offset])
        return channels.new(graph.weights[convolution.weight].shape[0])
    if node.op_type in HOMOGENEOUS:
        return known[0]
    if node.op_type == "Add" and len(known) == 2 and known[0].shape == known[1].shape:
        channels.join(*known)
        return known[0]
    if node.op_type == "Concat":
        return np.concatenate(known)
    for members in known:
        channels.fix(members)
    return np.zeros(graph.shapes[node.output[0]][1], int)


def equalise(graph: Graph, maxima: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Rescale the weights of `graph` in place so that all channels of a quantised tensor have the same range.

    Args:
        graph: a float32 network.
        maxima: largest magnitude of each channel, [C], of the tensors that will be quantised.

    Returns:
        The same maxima after rescaling.
    """
    classes, fixed = scale_classes(graph)
    scales = np.zeros(1 + max(int(c.max()) for c in classes.values()))
    groups = scale_groups(graph)
    tops: dict[str, float] = {}
    for name, ranges in maxima.items():
        leader = groups.get(name, name)
        tops[leader] = max(tops.get(leader, float(np.finfo(np.float32).tiny)), float(ranges.max()))
    for name, ranges in maxima.items():
        # Relative to the largest channel of the scale group: that one keeps its magnitude, so float16 still holds all.
        shares = ranges / tops[groups.get(name, name)]
        np.maximum.at(scales, classes[name], np.where(ranges > 0, np.maximum(shares, 1 / _MAX_SPREAD), 0.0))
    scales[scales == 0.0] = 1.0
    scales[fixed] = 1.0
    for convolution in graph.convolutions.values():
        made, read = scales[classes[convolution.output]], scales[classes[convolution.data]]
        weight = graph.weights[convolution.weight]
        out_channels, in_channels = weight.shape[:2]
        read = read.reshape(convolution.groups, in_channels).repeat(out_channels // convolution.groups, axis=0)
        graph.weights[convolution.weight] = (weight * (read / made[:, None])[:, :, None, None]).astype(np.float32)
        graph.weights[convolution.bias] = (graph.weights[convolution.bias] / made).astype(np.float32)
    return {name: (ranges / scales[classes[name]]).astype(np.float32) for name, ranges in maxima.items()}
