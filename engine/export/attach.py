"""Plugin nodes behind a network: network.onnx becomes detector.onnx, whose outputs are faces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engine.backend.plugin_library import ANY_HEADS, DECODE_PLUGIN, DEFORM_CONV_PLUGIN, NMS_PLUGIN, PUBLISHED_HEADS
from engine.config.detection import INTEGER_OUTPUTS, Thresholds, output_shapes
from engine.config.model import RetinaFaceConfig

if TYPE_CHECKING:
    import onnx

PLUGIN_DOMAIN = "retinaface"


def plugin_versions(config: RetinaFaceConfig) -> dict[str, str]:
    """Return the version of each plugin that a detector's nodes need, by the plugin's name.

    Published heads have the first versions of decoding and suppression, which older releases have, too.
    """
    heads = PUBLISHED_HEADS if config.has_published_heads else ANY_HEADS
    deformable = {DEFORM_CONV_PLUGIN: "1"} if config.context == "deformable" else {}
    return {**deformable, DECODE_PLUGIN: heads, NMS_PLUGIN: heads}


def attach_detection(network: onnx.ModelProto, config: RetinaFaceConfig, thresholds: Thresholds) -> onnx.ModelProto:
    """Return a copy of the network with RetinaFaceDecode and RetinaFaceNMS behind the raw heads.

    Deformable convolutions become nodes of our plugin: for the standard's operator the parser of TensorRT 10.1 and
    later takes another, which does not know bfloat16. If a head is cast to float32, the decoder reads it before the
    cast: the plugin accepts both types. If the input is cast to float16, the detector's input is float16, with the
    values that the cast would have given.

    Outputs:
        num_detections int32 [N]; boxes float32 [N, M, 4], x1 y1 x2 y2 in pixels of the network's input; scores
        float32 [N, M]; if the model has them, landmarks float32 [N, M, 2 L], classes int32 [N, M], from 1, and each
        head of values, float32 [N, M, D], by its name. M is thresholds.max_detections; entries behind
        num_detections are zero.
    """
    import onnx
    from onnx import TensorProto, helper

    detector = onnx.ModelProto()
    detector.CopyFrom(network)
    graph = detector.graph
    inputs = [_before_cast(graph, name) for name in config.head_names()]
    carried = _carried(config)
    candidates = [f"candidate_{name}" for name in ("boxes", "scores", *carried)]
    outputs = output_shapes(config, thresholds)
    versions = plugin_versions(config)
    anchors = [anchor for level in config.levels for anchor in level.anchors]
    of_decoding, of_suppression = _head_attributes(config)
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
        **of_decoding,
        cascade=int(config.cascade),
        domain=PLUGIN_DOMAIN,
        **_plugin(versions[DECODE_PLUGIN]),
    )
    if any(width != height for width, height in anchors):
        decode.attribute.append(helper.make_attribute("anchor_heights", [height for _, height in anchors]))
    nms = helper.make_node(
        NMS_PLUGIN,
        candidates,
        ["num_detections", "boxes", "scores", *(name for name in carried if name != "count")],
        name=NMS_PLUGIN,
        **thresholds.nms_arguments(),
        **of_suppression,
        domain=PLUGIN_DOMAIN,
        **_plugin(versions[NMS_PLUGIN]),
    )
    _remove_unused_casts(graph, inputs)
    _take_float16(graph)
    for node in graph.node:
        if node.op_type == "DeformConv":
            node.op_type = DEFORM_CONV_PLUGIN
            node.domain = PLUGIN_DOMAIN
            plugin = _plugin(versions[DEFORM_CONV_PLUGIN])
            node.attribute.extend(helper.make_attribute(*item) for item in plugin.items())
    graph.node.extend([decode, nms])
    if "payload" in carried:
        _split_payload(graph, config)
    del graph.output[:]
    for name, shape in outputs.items():
        dtype = TensorProto.INT32 if name in INTEGER_OUTPUTS else TensorProto.FLOAT
        graph.output.append(helper.make_tensor_value_info(name, dtype, ["batch", *shape]))
    detector.opset_import.append(helper.make_opsetid(PLUGIN_DOMAIN, 1))
    return detector


def _plugin(version: str) -> dict[str, str]:
    return {"plugin_version": version, "plugin_namespace": ""}


def _carried(config: RetinaFaceConfig) -> list[str]:
    """Return what decoding gives suppression beside boxes and scores, in the plugins' order."""
    if config.has_published_heads:
        return ["landmarks", "count"] if config.has_landmarks else ["count"]
    there = {"payload": config.payload_size > 0, "count": True, "classes": config.num_classes > 2}
    return [name for name in there if there[name]]


def _head_attributes(config: RetinaFaceConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes of decoding and of suppression that say which heads there are."""
    if config.has_published_heads:
        published = {"has_landmarks": int(config.has_landmarks)}
        return published, published
    sizes = [head.size for head in config.values]
    points = [int(head.is_points) for head in config.values]
    of_decoding = {
        "num_classes": config.num_classes,
        "sigmoid": int(config.class_coding == "sigmoid"),
        "num_points": config.num_points,
        **({"value_sizes": sizes} if sizes else {}),
        **({"value_points": points} if any(points) else {}),
    }
    return of_decoding, {
        "payload_size": config.payload_size,
        "has_classes": int(config.num_classes > 2),
        "class_agnostic": int(config.class_agnostic),
    }


def _split_payload(graph: onnx.GraphProto, config: RetinaFaceConfig) -> None:
    """Append a node that splits the payload of detections into landmarks and the heads of values."""
    from onnx import helper, numpy_helper

    sizes = {head.name: head.size for head in config.values}
    if config.has_landmarks:
        sizes = {"landmarks": 2 * config.num_points, **sizes}
    lengths = numpy_helper.from_array(np.array(list(sizes.values()), np.int64), "payload_sizes")
    graph.initializer.append(lengths)
    graph.node.append(helper.make_node("Split", ["payload", "payload_sizes"], list(sizes), name="payload", axis=2))


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
