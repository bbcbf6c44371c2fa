"""Networks that builds write pass; whatever else a network file may hold is refused, before any library sees it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from engine.config.detection import InputSize
from engine.config.formats import FP8, INT8, NumberFormat
from engine.config.model import PyramidLevel, RetinaFaceConfig
from engine.config.presets import preset
from engine.errors import InvalidArgumentError
from engine.model.retinaface import RetinaFace
from engine.model.weights.load import load_model
from engine.precision.cast import bf16_on_float32, to_fp16
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import quantisable
from engine.precision.qdq.rewrite import prepare
from engine.precision.qdq.writer import write_quantised
from engine.sidecar import network as network_check
from engine.sidecar.network import _holds_its_shape, check_network
from engine.sidecar.operators import OPERATORS, Tensor
from engine.untrusted.onnx_network import Constant, read_network
from tests.engine.sidecar.hostile_networks import add, endless_loop, enormous_constant, insert, nested_ifs
from tests.support import graphs
from tests.support.shared import exported

MOBILENET = preset("mobilenet0.25")
# Together they have all structures: with and without landmarks, aspect ratios, a level of stride 64, a shared context
# module, deformable convolutions, a cascade, ReLU6.
CONFIGS = {
    "mobilenet": MOBILENET,
    "deformable cascade": replace(MOBILENET, context="deformable", cascade=True),
    "shared": replace(preset("resnet18-lite"), fpn_channels=16),
    "clipped": replace(
        preset("mobilenetv2"),
        levels=tuple(PyramidLevel(stride, (16.0,)) for stride in (4, 8, 16, 32)),
        fpn_channels=16,
    ),
    "neighbours": replace(preset("facedetector-resnet50"), backbone="resnet18", fpn_channels=16),
}
FIXED, RANGE = InputSize.fixed(96, 96), InputSize((64, 96), (96, 96), (160, 128))


@pytest.fixture(scope="module")
def mobilenet() -> onnx.ModelProto:
    """One of them."""
    return _network(MOBILENET)


def _network(config: RetinaFaceConfig, size: InputSize = FIXED) -> onnx.ModelProto:
    torch.manual_seed(0)
    return exported(RetinaFace(config).eval(), size)


def _quantised(*kinds: NumberFormat) -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    def quantise(network: onnx.ModelProto) -> onnx.ModelProto:
        graph = Graph(prepare(network), FIXED.optimum)
        assignment = {}
        for step, kind in enumerate(kinds, 1):
            assignment.update(dict.fromkeys(quantisable(graph, kind)[step::step], kind))
        batch = np.random.default_rng(0).normal(0, 40, (1, 3, *FIXED.optimum)).astype(np.float32)
        return write_quantised(graph, graphs.quantised(graph, assignment, batch))

    return quantise


TYPED: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "fp32": lambda network: network,
    "fp16": to_fp16,
    "bf16": bf16_on_float32,
    "int8": _quantised(INT8),
    "fp8": _quantised(FP8),
    "mixed": _quantised(INT8, FP8),
}


def _check(network: onnx.ModelProto, config: RetinaFaceConfig = MOBILENET, size: InputSize = FIXED) -> None:
    check_network(read_network(network.SerializeToString()), config, size)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_what_builds_write_passes_and_fits_its_model_only(name: str) -> None:
    config = CONFIGS[name]
    network = _network(config)
    for convert in TYPED.values():
        _check(convert(network), config)
    for other in CONFIGS.values():
        if other is not config:
            with pytest.raises(InvalidArgumentError, match=r"^has (outputs|an output) .*"):
                _check(network, replace(other, negative_slope=config.negative_slope))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet", "neighbours"])
def test_a_network_for_a_range_of_sizes_passes_for_them_only(name: str) -> None:
    config = CONFIGS[name]
    network = _network(config, RANGE)
    _check(network, config, RANGE)
    _check(network, config, InputSize.fixed(64, 320))
    with pytest.raises(InvalidArgumentError, match=r"has an input 'images' that is not .* for an input of 64 x 96"):
        _check(_network(config), config, RANGE)


def test_shapes_are_those_that_onnx_infers() -> None:
    network = _network(MOBILENET)
    graph = Graph(network, FIXED.optimum)
    values = network_check._values(
        read_network(network.SerializeToString()), Tensor(TensorProto.FLOAT, 3, *FIXED.optimum)
    )
    for name, shape in graph.shapes.items():
        tensor = values[name]
        assert isinstance(tensor, Tensor)
        assert (1, tensor.channels, tensor.height, tensor.width) == shape
    assert len(graph.shapes) == len(network.graph.node)


def _set(node: onnx.NodeProto, name: str, value: Any) -> None:
    others = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*others, helper.make_attribute(name, value)])


def _joined(times: int) -> Callable[[onnx.ModelProto], None]:
    """Twice the channels, again and again."""

    def edit(network: onnx.ModelProto) -> None:
        names = ["images", *(f"x{i}" for i in range(times))]
        insert(network, *(helper.make_node("Concat", [a, a], [b], axis=1) for a, b in pairwise(names)))

    return edit


def _enlarged(network: onnx.ModelProto) -> None:
    """Four times the pixels, again and again."""
    (scales,) = add(network, np.array([1, 1, 2, 2], np.float32))
    names = ["images", *(f"x{i}" for i in range(20))]
    insert(network, *(helper.make_node("Resize", [a, "", scales], [b], mode="nearest") for a, b in pairwise(names)))


def _many(count: int) -> Callable[[onnx.ModelProto], None]:
    """Many ReLUs, each of the one before."""

    def edit(network: onnx.ModelProto) -> None:
        names = ["images", *(f"x{i}" for i in range(count))]
        insert(network, *(helper.make_node("Relu", [a], [b]) for a, b in pairwise(names)))

    return edit


def _held(network: onnx.ModelProto, count: int = 300) -> None:
    """Many ReLUs that are all needed at the end."""
    names = ["images", *(f"x{i}" for i in range(count))]
    sums = ["images", *(f"s{i}" for i in range(count))]
    insert(
        network,
        *(helper.make_node("Relu", [a], [b]) for a, b in pairwise(names)),
        *(helper.make_node("Add", [a, x], [b]) for (a, b), x in zip(pairwise(sums), names[:0:-1], strict=True)),
    )


def _multiplied(network: onnx.ModelProto) -> None:
    """Many convolutions with the same weights, at half the size."""
    shapes = ((64, 3, 7, 7), (64, 64, 7, 7), (3, 64, 1, 1))
    first, weight, last = add(network, *(np.zeros(shape, np.float32) for shape in shapes))
    scales = next(node.input[2] for node in network.graph.node if node.op_type == "Resize")
    names = [f"x{i}" for i in range(60)]
    insert(
        network,
        helper.make_node("Conv", ["images", first], ["x0"], pads=[3] * 4, strides=[2, 2]),
        *(helper.make_node("Conv", [a, weight], [b], pads=[3] * 4) for a, b in pairwise(names)),
        helper.make_node("Conv", [names[-1], last], ["three"]),
        helper.make_node("Resize", ["three", "", scales], ["whole"], mode="nearest"),
    )


def _convolution(*shape: int, pad: int = 0) -> Callable[[onnx.ModelProto], None]:
    """Another first convolution, with weights of this shape."""

    def edit(network: onnx.ModelProto) -> None:
        weight, bias = add(network, np.zeros(shape, np.float32), np.zeros(shape[0], np.float32))
        insert(network, helper.make_node("Conv", ["images", weight, bias], ["x"], pads=[pad] * 4))

    return edit


def _shrunk(network: onnx.ModelProto) -> None:
    """Convolutions without padding until nothing is left."""
    weight, bias = add(network, np.zeros((3, 3, 3, 3), np.float32), np.zeros(3, np.float32))
    names = ["images", *(f"x{i}" for i in range(60))]
    insert(network, *(helper.make_node("Conv", [a, weight, bias], [b]) for a, b in pairwise(names)))


def _enlarging_scales(network: onnx.ModelProto) -> None:
    resize = next(node for node in network.graph.node if node.op_type == "Resize")
    scales = next(tensor for tensor in network.graph.initializer if tensor.name == resize.input[2])
    scales.raw_data = np.array([1, 1, 1e6, 1e6], np.float32).tobytes()


def _first(operator: str, attribute: str, value: Any) -> Callable[[onnx.ModelProto], None]:
    """Another value of an attribute of the first node with an operator."""
    return lambda network: _set(next(n for n in network.graph.node if n.op_type == operator), attribute, value)


def _constant(array: np.ndarray) -> Callable[[onnx.ModelProto], None]:
    """Another first constant."""
    return lambda network: network.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, "x"))


def _packed(values: bytes) -> Callable[[onnx.ModelProto], None]:
    """Another first constant, [3, 3, 1, 1], of INT8 values as variable-length integers."""

    def edit(network: onnx.ModelProto) -> None:
        content = b"\x08\x03\x08\x03\x08\x01\x08\x01" + b"\x10\x03" + b"\x2a" + bytes([len(values)]) + values
        network.graph.initializer[0].CopyFrom(onnx.TensorProto.FromString(content))

    return edit


def _side(value: str, axis: int, length: int) -> Callable[[onnx.ModelProto], None]:
    """Another declared length of the first input or output."""

    def edit(network: onnx.ModelProto) -> None:
        getattr(network.graph, value)[0].type.tensor_type.shape.dim[axis].dim_value = length

    return edit


HOSTILE: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "an enormous constant": (enormous_constant, "'ConstantOfShape'.*the operator is 'ConstantOfShape'"),
    "a loop without end": (endless_loop, r"a subgraph in its attribute, .* in node 'hostile' \('Loop'\)"),
    "nested branches": (nested_ifs, r"a subgraph in its attribute, .* in node 'hostile' \('If'\)"),
    "an operator of no build": (
        lambda m: insert(m, helper.make_node("Expand", ["images"], ["x"])),
        r"a node '' \('Expand'\) .*the operator is 'Expand', expected one of: Conv, DeformConv",
    ),
    "doubled channels": (_joined(40), r"its output float32 \[N, 768, 96, 96\] is too large"),
    "doubled channels without end": (_joined(9000), r"its output float32 \[N, 768, 96, 96\] is too large"),
    "doubled pixels": (_enlarged, r"its output float32 \[N, 3, 1536, 1536\] is too large"),
    "many values": (_many(4000), "takes more than 10,000 values for each pixel"),
    "many values at a time": (_held, "takes more than 512 values at a time for each pixel"),
    "many multiplications": (_multiplied, "takes more than 2,000,000 multiplications for each pixel"),
    "many nodes": (_many(10_001), "10,1.. nodes, expected 19 and at most 10,000"),
    "enormous padding": (_first("Conv", "pads", [1 << 40] * 4), r"pads is \(1099511627776, .*, expected"),
    "dilation": (_first("Conv", "dilations", [2, 2]), r"dilations is \(2, 2\), expected \(1, 1\)"),
    "no stride": (_first("Conv", "strides", [0, 0]), r"strides is \(0, 0\), expected \(1, 1\) or \(2, 2\)"),
    "an attribute of another type": (_first("Conv", "group", 1.0), "group is 1.0, which is of another type"),
    "an attribute of no build": (_first("Conv", "own", 1), "an attribute 'own', which no build writes"),
    "groups": (_first("Conv", "group", 0), "group is 0, expected 1 or 3"),
    "another kernel": (_convolution(3, 3, 5, 5, pad=1), "expected a kernel of 1 x 1, 3 x 3 or 7 x 7"),
    "another number of channels": (_convolution(4, 3, 3, 3, pad=1), "does not fit 4 channels"),
    "more pixels": (_convolution(3, 3, 1, 1, pad=3), "has an output 'logits_8' that is not|its inputs differ"),
    "too few pixels": (_shrunk, "its input, 2 x 2, is smaller than its kernel"),
    "no input": (lambda m: insert(m, helper.make_node("Relu", [], ["x"])), "it has 0 inputs, expected 1 to 1"),
    "an unknown input": (lambda m: m.graph.node[0].input.insert(0, "x"), "it reads what no node before it writes"),
    "a circle": (
        lambda m: m.graph.node[0].input.insert(0, m.graph.node[3].output[0]),
        "it reads what no node before it writes",
    ),
    "two writers": (lambda m: m.graph.node.append(m.graph.node[0]), "or writes what another does"),
    "the image written": (
        lambda m: m.graph.node.append(helper.make_node("Relu", ["images"], ["images"])),
        "or writes what another does",
    ),
    "two outputs": (lambda m: m.graph.node[0].output.append("x"), "or writes what another does"),
    "a constant that nobody reads": (lambda m: add(m, np.zeros(3, np.float32)), "that 0 nodes read"),
    "an input that is a constant": (
        lambda m: m.graph.node[0].input.__setitem__(0, m.graph.node[0].input[1]),
        "is the same for every image",
    ),
    "weights that are an input": (
        lambda m: insert(m, helper.make_node("Conv", ["images", "images"], ["x"])),
        "is not the same for every image",
    ),
    "another opset": (lambda m: setattr(m.opset_import[0], "version", 18), "has opset 18"),
    "a constant of integers": (_constant(np.zeros(9, np.int64)), "a constant 'x' of element type 7"),
    "an empty constant": (_constant(np.zeros((0, 3, 3, 3), np.float32)), "values are of another number"),
    "a constant without values": (lambda m: m.graph.initializer[0].ClearField("raw_data"), "are of another number"),
    "a constant beyond its values": (lambda m: m.graph.initializer[0].dims.insert(0, 1 << 40), "are of another number"),
    "a constant of packed values": (_packed(b"\x01" * 8), "are of another number"),
    "an input that has a value": (
        lambda m: setattr(m.graph.initializer[0], "name", "images"),
        "has an input 'images' that is also a constant",
    ),
    "values twice": (lambda m: m.graph.initializer[0].int32_data.append(1), "are of another number"),
    "a second input": (
        lambda m: m.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])),
        r"has inputs \['images', 'x'\], expected \['images'\]",
    ),
    "another order of outputs": (lambda m: m.graph.output.append(m.graph.output.pop(0)), "has outputs"),
    "a batch of one": (_side("input", 0, 1), "has an input 'images' that is not"),
    "another declared size": (_side("input", 2, 1 << 40), "has an input 'images' that is not"),
    "another declared output": (_side("output", 3, 1 << 40), "has an output 'logits_8' that is not"),
    "another slope": (_first("LeakyRelu", "alpha", 0.5), r"\('LeakyRelu'\) .*alpha, its slope, is 0.5, expected 0.1"),
    "a slope of many numbers": (
        _first("LeakyRelu", "alpha", [10**9] * 1_000_000),
        r"has more than 64 integers in its attribute, in node '.*' \('LeakyRelu'\)",
    ),
    "a long text": (_first("Conv", "auto_pad", "x" * 10**7), "auto_pad is 'xxxxxxxx', expected NOTSET"),
    "another interpolation": (_first("Resize", "mode", "cubic"), "mode is 'cubic', expected nearest"),
    "an enlarged map": (_enlarging_scales, "it does not double the height and the width"),
    "a cast to text": (
        lambda m: insert(m, helper.make_node("Cast", ["images"], ["x"], to=TensorProto.STRING)),
        "to is 8, expected 1 or 10 or 16",
    ),
    "types that differ": (
        lambda m: insert(m, helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT16)),
        "which does not fit 3 channels of its type",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_networks_made_to_hurt_are_refused_in_a_moment(mobilenet: onnx.ModelProto, name: str) -> None:
    edit, said = HOSTILE[name]
    hostile = onnx.ModelProto()
    hostile.CopyFrom(mobilenet)
    _check(hostile)
    edit(hostile)
    began = time.process_time()
    with pytest.raises(InvalidArgumentError, match=f"^(has .*)?({said})") as refusal:
        _check(hostile)
    assert time.process_time() - began < 2  # a hundred times what the network of a build takes
    assert len(str(refusal.value)) < 1000


@pytest.mark.slow
def test_memory_is_bounded_whatever_the_size(mobilenet: onnx.ModelProto) -> None:
    network = _network(MOBILENET, RANGE)
    _check(network, size=InputSize.fixed(16384, 16384))
    with pytest.raises(
        InvalidArgumentError,
        match=r"^takes 3\d,\d{3} MiB of memory for one input of 32768 x 32768, expected at most 16,384",
    ):
        _check(network, size=InputSize.fixed(32768, 32768))
    _held(network, 100)
    with pytest.raises(InvalidArgumentError, match=r"^takes .* for one input of 8192 x 8192"):
        _check(network, size=InputSize.fixed(8192, 8192))


@pytest.mark.slow
def test_the_largest_backbone_may_have_large_inputs() -> None:
    config = preset("retinaface-resnet152")
    model, _ = load_model(config, "random")
    network = exported(model, InputSize.fixed(64, 96))  # as test_every_preset_builds has it
    for value in (*network.graph.input, *network.graph.output):
        for axis in (2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = "side"
    for side in (4096, 8192):
        _check(network, config, InputSize.fixed(side, side))


def test_8_bit_weights_are_read_once(mobilenet: onnx.ModelProto) -> None:
    """Each reader would make four times as many bytes of them."""
    network = _quantised(INT8)(mobilenet)
    _check(network)
    node = next(n for n in network.graph.node if n.op_type == "DequantizeLinear" and n.attribute)
    again = onnx.NodeProto()
    again.CopyFrom(node)
    again.output[0] = "again"
    network.graph.node.append(again)
    with pytest.raises(InvalidArgumentError, match=r"has a constant '.*' that 2 nodes read"):
        _check(network)


@pytest.mark.parametrize("kind", [INT8, FP8])
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("of_weights", [True, False])
def test_zero_points_are_zero(mobilenet: onnx.ModelProto, kind: NumberFormat, raw: bool, of_weights: bool) -> None:
    """ONNX Runtime runs float8 with no other, and refuses it when it runs only."""
    network = _quantised(kind)(mobilenet)
    nodes = (n for n in network.graph.node if n.op_type == "DequantizeLinear" and bool(n.attribute) == of_weights)
    name = next(nodes).input[2]
    zero = next(tensor for tensor in network.graph.initializer if tensor.name == name)
    count = math.prod(zero.dims)
    zero.ClearField("raw_data")
    zero.ClearField("int32_data")
    for last in (0, 1):
        values = [0] * (count - 1) + [last]
        if raw:
            zero.raw_data = bytes(values)
        else:
            zero.int32_data[:] = values
        if not last:
            _check(network)
    with pytest.raises(InvalidArgumentError, match="a zero point is not 0"):
        _check(network)


def test_the_axis_of_scales_is_said(mobilenet: onnx.ModelProto) -> None:
    """Its default is another, for which the scales may fit as well."""
    network = _quantised(INT8)(mobilenet)
    node = next(n for n in network.graph.node if n.op_type == "DequantizeLinear" and n.attribute)
    node.ClearField("attribute")
    with pytest.raises(InvalidArgumentError, match="does not say that its scales are those of the output channels"):
        _check(network)


@pytest.mark.slow
def test_the_list_of_operators_is_that_of_the_networks(mobilenet: onnx.ModelProto) -> None:
    """No operator is allowed that no build writes."""
    deformable = _network(CONFIGS["deformable cascade"])
    pooled, clipped = (_network(CONFIGS[name]) for name in ("shared", "clipped"))
    written = {
        node.op_type
        for network in (mobilenet, deformable, pooled, clipped, to_fp16(mobilenet), _quantised(INT8)(mobilenet))
        for node in network.graph.node
    }
    assert written == OPERATORS.keys()


def test_a_constant_of_many_axes_is_refused_without_their_product() -> None:
    """The product of 200,000 large sides takes a minute."""
    nothing = memoryview(b"")
    assert not _holds_its_shape(Constant(1, ((1 << 63) - 1,) * 200_000, nothing, nothing))
