"""Running an engine's network with ONNX Runtime, and its plugins' operators on the CPU."""

from __future__ import annotations

from typing import Any

import onnxruntime

from engine import ops
from engine.errors import EngineLoadError, InferenceError
from engine.runtime.session import RawDetections
from engine.sidecar import EngineFiles
from engine.types import FloatArray


def network_metadata(network: bytes) -> dict[str, str]:
    """Return the metadata of an ONNX file without the onnx package, through ONNX Runtime.

    Raises:
        EngineLoadError: the network cannot be loaded.
    """
    return dict(_load(network, optimise=False).get_modelmeta().custom_metadata_map)


def _load(network: bytes, *, optimise: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        raise EngineLoadError(f"ONNX Runtime cannot load the network: {error}") from error


class CpuSession:
    """The same network and the same operators as on the GPU."""

    def __init__(self, files: EngineFiles) -> None:
        """Load the network that lies beside the engine."""
        self.device = "cpu"
        self._config = files.sidecar.model_config()
        self._thresholds = files.sidecar.thresholds
        self._input = files.sidecar.io["input"]["name"]
        self._session = _load(files.network, optimise=True)

    def run(self, batch: FloatArray) -> RawDetections:
        """See Session.run."""
        config, thresholds = self._config, self._thresholds
        try:
            heads = self._session.run(config.head_names(), {self._input: batch})
        except Exception as error:
            raise InferenceError(f"ONNX Runtime failed on a batch of shape {batch.shape}: {error}") from error
        candidates = ops.decode(
            config.decoder_heads(heads),
            strides=[level.stride for level in config.levels],
            anchor_sizes=[level.anchors for level in config.levels],
            variances=config.variances,
            score_threshold=thresholds["score"],
            top_k=thresholds["top_k"],
        )
        num, boxes, scores, landmarks, _ = ops.nms(
            *candidates,
            iou_threshold=thresholds["iou"],
            max_detections=thresholds["max_detections"],
            voting=thresholds["voting"],
        )
        return RawDetections(num, boxes, scores, landmarks)
