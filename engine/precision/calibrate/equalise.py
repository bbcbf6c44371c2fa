"""Equalising activations: every channel of a tensor gets the same range, so one 8-bit scale serves them all.

ReLU, leaky ReLU, max pooling and nearest resizing commute with a positive factor, so a channel may be divided by its
own range where it is made and multiplied by it where it is read, without changing the network's outputs. TensorRT
quantises activations with one scale per tensor but weights with one per output channel: the spread among channels
belongs in the weights. Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction (2019), do
this to balance weights against weights; here the measured activations decide, as in Xiao et al., SmoothQuant (2022).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engine.precision.qdq.graph import HOMOGENEOUS, Graph
from engine.precision.qdq.placement import scale_groups
from engine.types import FloatArray

# A channel that hardly ever fires would be magnified without bound beside the others of its tensor.
_MAX_SPREAD = 1e3

Channels = NDArray[np.intp]


def scale_classes(graph: Graph) -> tuple[dict[str, Channels], int]:
    """Say which channels must be scaled alike.

    Returns:
        Per tensor an integer array [C] of classes, and the class of the channels whose scale is fixed at one: those of
        the network's inputs and outputs, and of tensors that a non-homogeneous operator reads or writes.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ids: dict[str, Channels] = {}
    pairs: list[tuple[Channels, Channels]] = []
    count = 1  # channel 0 stands for everything that is fixed

    def new(channels: int) -> Channels:
        nonlocal count
        count += channels
        return np.arange(count - channels, count)

    def join(a: Channels, b: Channels) -> None:
        pairs.append((a, np.broadcast_to(b, a.shape)))

    for name in graph.inputs:
        ids[name] = np.zeros(3, int)
    for node in graph.nodes:
        known = [ids[name] for name in node.input if name in ids]
        output = node.output[0]
        if node.name in graph.convolutions:
            convolution = graph.convolutions[node.name]
            ids[output] = new(graph.weights[convolution.weight].shape[0])
            if convolution.offset is not None:
                join(ids[convolution.offset], np.zeros(1, int))
        elif node.op_type in HOMOGENEOUS:
            ids[output] = known[0]
        elif node.op_type == "Add" and len(known) == 2 and known[0].shape == known[1].shape:
            join(*known)
            ids[output] = known[0]
        elif node.op_type == "Concat":
            ids[output] = np.concatenate(known)
        else:
            for channels in known:
                join(channels, np.zeros(1, int))
            ids[output] = np.zeros(graph.shapes[output][1], int)
    for name in graph.outputs:
        join(ids[name], np.zeros(1, int))
    rows = np.concatenate([a for a, _ in pairs])
    columns = np.concatenate([b for _, b in pairs])
    links = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    labels = connected_components(links, directed=False)[1]
    return {name: labels[channels] for name, channels in ids.items()}, int(labels[0])


def equalise(graph: Graph, maxima: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Rescale the weights of `graph` in place so that the channels of each quantised tensor have one range.

    Args:
        graph: a float32 network.
        maxima: largest magnitude of every channel, [C], of the tensors that will be quantised.

    Returns:
        The same maxima after the rescaling.
    """
    classes, fixed = scale_classes(graph)
    scales = np.zeros(1 + max(int(c.max()) for c in classes.values()))
    groups = scale_groups(graph)
    tops: dict[str, float] = {}
    for name, ranges in maxima.items():
        leader = groups.get(name, name)
        tops[leader] = max(tops.get(leader, float(np.finfo(np.float32).tiny)), float(ranges.max()))
    for name, ranges in maxima.items():
        # Relative to the largest channel of what has one scale, which stays: magnitudes, and float16, are as they were.
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
