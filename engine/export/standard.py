"""A network with everything around it in standard operators: grey levels in, faces out, for every ONNX runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.config.detection import INPUT_NAME, INTEGER_OUTPUTS, InputSize, Thresholds, output_shapes
from engine.config.model import RetinaFaceConfig
from engine.export.decoding import append_decoding
from engine.export.nodes import Nodes
from engine.export.suppression import append_suppression

if TYPE_CHECKING:
    import onnx

_NORMALISED = f"normalised_{INPUT_NAME}"


def surround(
    network: onnx.ModelProto, config: RetinaFaceConfig, thresholds: Thresholds, size: InputSize, suppression: str
) -> onnx.ModelProto:
    """Return a copy of the network with normalisation before it, and decoding and suppression behind it.

    The network's own nodes and weights do not change, but for the name of their input.

    Args:
        network: with the heads of config.head_names() as outputs, float32.
        config: settings of its model.
        thresholds: of decoding and suppression.
        size: allowed input sizes.
        suppression: one of suppression.SUPPRESSIONS.

    Returns:
        A checked model. Input `images` float32 [N, 3, H, W], grey levels 0 to 255 in the colour order of `config`;
        outputs as those of engine.export.attach.attach_detection.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.ModelProto()
    model.CopyFrom(network)
    graph = model.graph
    for node in graph.node:
        node.input[:] = [_NORMALISED if name == INPUT_NAME else name for name in node.input]
    inner = list(graph.node)
    del graph.node[:], graph.output[:], graph.value_info[:]
    _append_normalisation(Nodes(graph, "normalise"), config)
    graph.node.extend(inner)
    append_suppression(
        Nodes(graph, "suppress"),
        append_decoding(Nodes(graph, "decode"), config, thresholds, size),
        thresholds,
        suppression,
        1 if config.class_agnostic else len(config.classes),
    )
    for name, shape in output_shapes(config, thresholds).items():
        dtype = TensorProto.INT32 if name in INTEGER_OUTPUTS else TensorProto.FLOAT
        graph.output.append(helper.make_tensor_value_info(name, dtype, ["batch", *shape]))
    onnx.checker.check_model(model, full_check=True)
    return model


def _append_normalisation(nodes: Nodes, config: RetinaFaceConfig) -> None:
    mean, std = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (config.mean, config.std))
    divides = bool((std != 1).any())
    centred = nodes("Sub", INPUT_NAME, mean, output=None if divides else _NORMALISED)
    if divides:
        nodes("Div", centred, std, output=_NORMALISED)
