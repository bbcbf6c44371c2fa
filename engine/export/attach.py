"""Plugin nodes behind a network: network.onnx becomes detector.onnx, whose outputs are faces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.backend.plugin_library import PLUGIN_VERSION
from engine.config.detection import Thresholds, output_shapes
from engine.config.model import RetinaFaceConfig

if TYPE_CHECKING:
    import onnx

DECODE_PLUGIN = "RetinaFaceDecode"
DEFORM_CONV_PLUGIN = "RetinaFaceDeformConv"
NMS_PLUGIN = "RetinaFaceNMS"
PLUGIN_DOMAIN = "retinaface"
_PLUGIN = {"plugin_version": PLUGIN_VERSION, "plugin_namespace": ""}


def plugin_names(config: RetinaFaceConfig) -> list[str]:
    """Names of the plugins that a detector's nodes need."""
    return [*([DEFORM_CONV_PLUGIN] if config.context == "deformable" else []), DECODE_PLUGIN, NMS_PLUGIN]


def attach_detection(network: onnx.ModelProto, config: RetinaFaceConfig, thresholds: Thresholds) -> onnx.ModelProto:
    """Return a copy of the network with RetinaFaceDecode and RetinaFaceNMS behind the raw heads.

    Deformable convolutions become nodes of our plugin: for the standard's operator the parser of TensorRT 10.1 and
    later takes another, which does not know bfloat16. If a head is cast to float32, the decoder reads it before the
    cast: the plugin accepts both types. If the input is cast to float16, the detector's input is float16, with the
    values that the cast would have given.

    Outputs:
        num_detections int32 [N]; boxes float32 [N, M, 4], x1 y1 x2 y2 in pixels of the network's input; scores
        float32 [N, M]; landmarks float32 [N, M, 10] if the model has them. M is thresholds.max_detections; entries
        behind num_detections are zero.
    """
    import onnx
    from onnx import TensorProto, helper

    detector = onnx.ModelProto()
    detector.CopyFrom(network)
    graph = detector.graph
    inputs = [_before_cast(graph, name) for name in config.head_names()]
    candidates = [f"candidate_{name}" for name in ("boxes", "scores", "landmarks", "count")]
    if not config.has_landmarks:
        candidates.remove("candidate_landmarks")
    outputs = output_shapes(config, thresholds)
    anchors = [anchor for level in config.levels for anchor in level.anchors]
    decode = helper.make_node(
        DECODE_PLUGIN,
        inputs,
        candidates,
        name=DECODE_PLUGIN,
        strides=[level.stride for level in config.levels],
        num_anchors=[len(level.anchors) for level in config.levels],
        anchor_sizes=[width for width, _ in anchors],
        variances=list(config.variances),
        **thresholds.decode_arguments(),
        has_landmarks=int(config.has_landmarks),
        cascade=int(config.cascade),
        domain=PLUGIN_DOMAIN,
        **_PLUGIN,
    )
    if any(width != height for width, height in anchors):
        decode.attribute.append(helper.make_attribute("anchor_heights", [height for _, height in anchors]))
    nms = helper.make_node(
        NMS_PLUGIN,
        candidates,
        list(outputs),
        name=NMS_PLUGIN,
        **thresholds.nms_arguments(),
        has_landmarks=int(config.has_landmarks),
        domain=PLUGIN_DOMAIN,
        **_PLUGIN,
    )
    _remove_unused_casts(graph, inputs)
    _take_float16(graph)
    for node in graph.node:
        if node.op_type == "DeformConv":
            node.op_type = DEFORM_CONV_PLUGIN
            node.domain = PLUGIN_DOMAIN
            node.attribute.extend(helper.make_attribute(*item) for item in _PLUGIN.items())
    graph.node.extend([decode, nms])
    del graph.output[:]
    for name, shape in outputs.items():
        dtype = TensorProto.INT32 if name == "num_detections" else TensorProto.FLOAT
        graph.output.append(helper.make_tensor_value_info(name, dtype, ["batch", *shape]))
    detector.opset_import.append(helper.make_opsetid(PLUGIN_DOMAIN, 1))
    return detector


def input_dtype(detector: onnx.ModelProto) -> str:
    """Return the type of a detector's input as NumPy names it: float32 or float16."""
    from onnx import helper

    return helper.tensor_dtype_to_np_dtype(detector.graph.input[0].type.tensor_type.elem_type).name


def _take_float16(graph: onnx.GraphProto) -> None:
    """Make the input float16 if it is only cast to that: whoever writes it can round, and move half as many bytes."""
    from onnx import TensorProto, helper

    given = graph.input[0]
    readers = [node for node in graph.node if given.name in node.input]
    if {node.op_type == "Cast" and helper.get_node_attr_value(node, "to") for node in readers} != {TensorProto.FLOAT16}:
        return
    given.type.tensor_type.elem_type = TensorProto.FLOAT16
    rounded = {node.output[0] for node in readers}
    for node in readers:
        graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [given.name if name in rounded else name for name in node.input]


def _before_cast(graph: onnx.GraphProto, name: str) -> str:
    producer = next(node for node in graph.node if name in node.output)
    return producer.input[0] if producer.op_type == "Cast" else name


def _remove_unused_casts(graph: onnx.GraphProto, inputs: list[str]) -> None:
    heads = {output.name for output in graph.output}
    for node in [n for n in graph.node if n.op_type == "Cast" and n.output[0] in heads - set(inputs)]:
        graph.node.remove(node)
