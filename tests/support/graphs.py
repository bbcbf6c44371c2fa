"""Builds small networks with every structure that precision code handles; runs and quantises them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.config.detection import OPSET
from engine.config.presets import preset
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import Assignment, points, scale_groups
from engine.precision.qdq.simulate import Simulation, to_half
from engine.types import FloatArray

CONFIG = preset("mobilenet0.25")
SIZE = (32, 32)


class Builder:
    """Builds a network node by node; the output of a node has the name of the node."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Start with the input `images`; `rng` draws the weights."""
        self._rng = rng
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._channels = {"images": 3}

    def conv(self, name: str, x: str, out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> str:
        """Add a convolution with a bias; see conv_without_bias()."""
        self.conv_without_bias(name, x, out, kernel, stride, groups)
        self._nodes[-1].input.append(self._array(f"{name}_bias", self._rng.normal(0, 0.1, out)))
        return name

    def conv_without_bias(self, name: str, x: str, out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> str:
        """Add a convolution of `out` channels, which keeps the magnitude of activations.

        The largest weights of its channels differ by a factor of up to 30.
        """
        inner = self._channels[x] // groups
        spread = np.exp(self._rng.uniform(0, np.log(30), (out, 1, 1, 1)) - np.log(30) / 2)
        weight = self._rng.normal(0, 1 / np.sqrt(inner * kernel**2), (out, inner, kernel, kernel)) * spread
        self._channels[name] = out
        return self.op(
            "Conv", name, x, self._array(f"{name}_weight", weight), group=groups, kernel_shape=[kernel] * 2,
            strides=[stride] * 2, pads=[kernel // 2] * 4,
        )  # fmt: skip

    def deform_conv(self, name: str, x: str, out: int) -> str:
        """Add a 3 x 3 deformable convolution, and the convolution that computes its offsets."""
        offset = self.conv(f"{name}_offset", x, 18)
        inner = self._channels[x]
        weight = self._array(f"{name}_weight", self._rng.normal(0, 1 / np.sqrt(inner * 9), (out, inner, 3, 3)))
        self._channels[name] = out
        return self.op("DeformConv", name, x, weight, offset, kernel_shape=[3, 3], pads=[1] * 4)

    def op(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add any other node; its output has the channels of its first input, a Concat those of all inputs."""
        if kind == "Concat":
            self._channels[name] = sum(self._channels[x] for x in inputs)
        self._channels.setdefault(name, self._channels[inputs[0]])
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def double(self, name: str, x: str) -> str:
        """Add a nearest-neighbour Resize to twice the size."""
        scales = self._array(f"{name}_scales", np.array([1, 1, 2, 2]))
        return self.op(
            "Resize", name, x, "", scales, mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )  # fmt: skip

    def model(self, *outputs: str) -> onnx.ModelProto:
        """Return the network with these outputs, checked by ONNX."""
        free = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", self._channels[n], None, None]) for n in outputs
        ]
        images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, *SIZE])
        graph = helper.make_graph(self._nodes, "network", [images], free, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _array(self, name: str, values: NDArray[Any]) -> str:
        self._weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name


def tiny_detector(seed: int = 0, stem_stride: int = 2) -> onnx.ModelProto:
    """Return a network with CONFIG's heads, a residual add, a depthwise convolution, pooling, Concat and Resize.

    Activations come before Concat and all convolutions have a bias, as after qdq.rewrite.prepare. With the default
    stem_stride, feature maps are four times as large as the head names say; with stem_stride=8 they are right.
    """
    b = Builder(np.random.default_rng(seed))
    stem = b.op("LeakyRelu", "stem_act", b.conv("stem", "images", 16, stride=stem_stride), alpha=0.1)
    depthwise = b.op("LeakyRelu", "depthwise_act", b.conv("depthwise", stem, 16, groups=16), alpha=0.1)
    fine = b.op("Relu", "fine", b.op("Add", "sum", b.conv("pointwise", depthwise, 16, kernel=1), stem))
    pooled = b.op("MaxPool", "pooled", fine, kernel_shape=[2, 2], strides=[2, 2])
    branches = [b.op("Relu", f"{side}_act", b.conv(side, pooled, 16)) for side in ("left", "right")]
    both = b.op("Concat", "both", *branches, axis=1)
    coarse = b.op("LeakyRelu", "coarse", b.conv("down", both, 16, stride=2), alpha=0.1)
    lateral = b.op("LeakyRelu", "lateral_act", b.conv("lateral", both, 16, kernel=1), alpha=0.1)
    merged = b.op("Add", "merged", lateral, b.double("doubled", coarse))
    middle = b.op("LeakyRelu", "middle", b.conv("merge", merged, 16), alpha=0.1)
    features = {8: fine, 16: middle, 32: coarse}
    channels = {"logits": 4, "box_deltas": 8, "landmark_deltas": 20}
    heads = [
        b.conv(f"{kind}_{stride}", features[stride], channels[kind], kernel=1)
        for stride in features
        for kind in channels
    ]
    return b.model(*heads)


def images(seed: int, count: int = 1, scale: float = 1.0) -> FloatArray:
    """Return a batch of smooth noise: neighbouring pixels are alike, as in a photo."""
    coarse = np.random.default_rng(seed).normal(0, 40, (count, 3, SIZE[0] // 4, SIZE[1] // 4))
    fine = np.random.default_rng(seed + 1).normal(0, 10, (count, 3, *SIZE))
    batch: FloatArray = (scale * (coarse.repeat(4, axis=2).repeat(4, axis=3) + fine)).astype(np.float32)
    return batch


def run(model: onnx.ModelProto, batch: FloatArray, *, extra: tuple[str, ...] = ()) -> dict[str, FloatArray]:
    """Run with ONNX Runtime without graph optimisation; `extra` names inner tensors to return too."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in extra)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in shown.graph.output]
    return dict(zip(names, session.run(names, {"images": batch}), strict=True))


def simulate(network: Simulation, batch: FloatArray) -> dict[str, FloatArray]:
    """Run a simulation on a NumPy batch; return NumPy outputs."""
    with torch.no_grad():
        return {name: value.numpy() for name, value in network.run(torch.from_numpy(batch)).items()}


def everything(network: Simulation, batch: FloatArray) -> dict[str, FloatArray]:
    """Return every tensor that a simulation computes, before quantisation."""
    seen: dict[str, FloatArray] = {}
    with torch.no_grad():
        network.run(torch.from_numpy(batch), lambda name, value: seen.update({name: value.numpy().copy()}))
    return seen


def quantised(graph: Graph, assignment: Assignment, batch: FloatArray, *, powers: bool = False) -> Simulation:
    """Return a simulation whose scales come from the largest magnitudes on a batch.

    With `powers`, scales are rounded up to powers of two, so that multiplying by them in float16 is exact.
    """

    def scale(largest: torch.Tensor) -> torch.Tensor:
        return to_half(largest.log2().ceil().exp2() if powers else largest)

    network = Simulation(graph)
    seen = everything(network, batch)
    groups = scale_groups(graph)
    for name, kind in points(graph, assignment):
        leader = groups.get(name, name)
        members = [m for m in seen if groups.get(m, m) == leader]
        largest = max(float(np.abs(seen[m]).max()) for m in members)
        network.scales[leader, kind] = scale(torch.tensor(largest / kind.largest))
    for name, kind in assignment.items():
        largest_weight = network.weights[name].abs().amax(dim=(1, 2, 3), keepdim=True)
        network.steps[name, kind] = scale(largest_weight / kind.largest)
    network.assignment = network.fitted = assignment
    return network


def relative_rms(given: FloatArray, wanted: FloatArray) -> float:
    """Return the RMS of the difference over the RMS of `wanted`."""
    return float(np.sqrt(np.mean((given.astype(np.float64) - wanted) ** 2) / np.mean(wanted.astype(np.float64) ** 2)))
