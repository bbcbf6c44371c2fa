"""Attaching the plugin nodes: network.onnx becomes detector.onnx, whose outputs are faces."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from engine.config import RetinaFaceConfig
from engine.errors import InvalidArgumentError

if TYPE_CHECKING:
    import onnx

DECODE_PLUGIN = "RetinaFaceDecode"
NMS_PLUGIN = "RetinaFaceNMS"
PLUGIN_DOMAIN = "retinaface"
# Of every plugin in the library: kPluginVersion of plugins/plugin_base.h. It changes with a plugin's tensors and
# attributes; libraries of the same release and version, compiled anywhere, run each other's engines.
PLUGIN_VERSION = "1"
MAX_CANDIDATES = 5000


@dataclass(frozen=True)
class Thresholds:
    """Settings of decoding and suppression that are fixed when an engine is built.

    Attributes:
        score: candidates need a score above it; 0.02 keeps what average precision wants.
        iou: a better face suppresses those that overlap it by more.
        top_k: at most this many candidates of an image go into suppression, the best ones.
        max_detections: at most this many faces of an image come out.
        voting: whether a kept box becomes the score-weighted mean of those it suppressed and itself.
    """

    score: float = 0.02
    iou: float = 0.4
    top_k: int = 5000
    max_detections: int = 750
    voting: bool = False

    def __post_init__(self) -> None:
        """Refuse what the plugins would refuse."""
        for name, value in (("score threshold", self.score), ("IoU threshold", self.iou)):
            if not 0.0 <= value <= 1.0:
                raise InvalidArgumentError(f"{name} is {value}, expected 0 to 1")
        for name, count in (("top_k", self.top_k), ("max_detections", self.max_detections)):
            if not 1 <= count <= MAX_CANDIDATES:
                raise InvalidArgumentError(f"{name} is {count}, expected 1 to {MAX_CANDIDATES}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def detection_names(config: RetinaFaceConfig) -> list[str]:
    """Names of the detector's outputs."""
    names = ["num_detections", "boxes", "scores", "landmarks"]
    return names if config.has_landmarks else names[:3]


def plugin_names(config: RetinaFaceConfig) -> list[str]:
    """Names of the plugins that a detector's nodes need."""
    return [*(["DeformConv"] if config.context == "deformable" else []), DECODE_PLUGIN, NMS_PLUGIN]


def attach_detection(network: onnx.ModelProto, config: RetinaFaceConfig, thresholds: Thresholds) -> onnx.ModelProto:
    """Return a copy of the network that ends in RetinaFaceDecode and RetinaFaceNMS instead of raw heads.

    A head that was cast to float32 for the outside enters the decoder before that cast: the plugin reads either type.

    Outputs:
        num_detections int32 [N]; boxes float32 [N, M, 4], x1 y1 x2 y2 in pixels of the network's input; scores
        [N, M]; landmarks [N, M, 10] where the model has them. M is thresholds.max_detections; the tail is zero.
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
    anchors = [anchor for level in config.levels for anchor in level.anchors]
    plugin = {"domain": PLUGIN_DOMAIN, "plugin_version": PLUGIN_VERSION, "plugin_namespace": ""}
    decode = helper.make_node(
        DECODE_PLUGIN,
        inputs,
        candidates,
        name=DECODE_PLUGIN,
        strides=[level.stride for level in config.levels],
        num_anchors=[len(level.anchors) for level in config.levels],
        anchor_sizes=[width for width, _ in anchors],
        variances=list(config.variances),
        score_threshold=thresholds.score,
        top_k=thresholds.top_k,
        has_landmarks=int(config.has_landmarks),
        cascade=int(config.cascade),
        **plugin,
    )
    if any(width != height for width, height in anchors):
        decode.attribute.append(helper.make_attribute("anchor_heights", [height for _, height in anchors]))
    nms = helper.make_node(
        NMS_PLUGIN,
        candidates,
        detection_names(config),
        name=NMS_PLUGIN,
        iou_threshold=thresholds.iou,
        max_detections=thresholds.max_detections,
        voting=int(thresholds.voting),
        has_landmarks=int(config.has_landmarks),
        **plugin,
    )
    _remove_unused_casts(graph, inputs)
    graph.node.extend([decode, nms])
    m = thresholds.max_detections
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("num_detections", TensorProto.INT32, ["batch"]))
    for name, tail in (("boxes", [m, 4]), ("scores", [m]), ("landmarks", [m, 10])):
        if name in detection_names(config):
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *tail]))
    detector.opset_import.append(helper.make_opsetid(PLUGIN_DOMAIN, 1))
    return detector


def _before_cast(graph: onnx.GraphProto, name: str) -> str:
    producer = next(node for node in graph.node if name in node.output)
    return producer.input[0] if producer.op_type == "Cast" else name


def _remove_unused_casts(graph: onnx.GraphProto, inputs: list[str]) -> None:
    heads = {output.name for output in graph.output}
    for node in [n for n in graph.node if n.op_type == "Cast" and n.output[0] in heads - set(inputs)]:
        graph.node.remove(node)
