"""Running an engine's network with ONNX Runtime, and its plugins' operators on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnxruntime

from engine import ops
from engine.config import RetinaFaceConfig
from engine.errors import EngineLoadError, InferenceError
from engine.runtime.session import RawDetections
from engine.runtime.timing import Stopwatch
from engine.sidecar import EngineFiles
from engine.types import FloatArray, Image

if TYPE_CHECKING:
    from engine.preprocess import Letterbox


def network_metadata(network: bytes) -> dict[str, str]:
    """Return the metadata of an ONNX file without the onnx package, through ONNX Runtime.

    Raises:
        EngineLoadError: the network cannot be loaded.
    """
    return dict(_load(network, optimise=False).get_modelmeta().custom_metadata_map)


def _load(network: bytes, *, optimise: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Its fused 8-bit operators take float32 scales only; the networks have float16 ones.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        raise EngineLoadError(f"ONNX Runtime cannot load the network: {error}") from error


class CpuNetwork:
    """A typed network with decoding and suppression behind it: the operators of the GPU, on the CPU."""

    device = "cpu"
    runtime = f"ONNX Runtime {onnxruntime.__version__}"

    def __init__(self, network: bytes, config: RetinaFaceConfig, thresholds: Mapping[str, Any]) -> None:
        """Load a network.

        Args:
            network: an ONNX file whose outputs are the raw heads, named by config.head_names().
            config: settings of its model.
            thresholds: the fields of engine.export.attach.Thresholds.

        Raises:
            EngineLoadError: ONNX Runtime cannot load it.
        """
        self._config = config
        self._thresholds = thresholds
        self._session = _load(network, optimise=True)
        self._input = self._session.get_inputs()[0].name

    def run(self, batch: FloatArray) -> RawDetections:
        """See Session.run."""
        return detect(self._heads(batch), self._config, self._thresholds)

    def detect(self, images: Sequence[Image], letterbox: Letterbox, watch: Stopwatch) -> RawDetections:
        """See Session.detect."""
        batch = letterbox.batch(images)
        watch.lap("letterbox")
        heads = self._heads(batch)
        watch.lap("network")
        raw = detect(heads, self._config, self._thresholds)
        watch.lap("post-processing")
        return raw

    def _heads(self, batch: FloatArray) -> list[FloatArray]:
        try:
            heads: list[FloatArray] = self._session.run(self._config.head_names(), {self._input: batch})
        except Exception as error:
            raise InferenceError(f"ONNX Runtime failed on a batch of shape {batch.shape}: {error}") from error
        return heads

    def clone(self) -> CpuNetwork:
        """See Session.clone; ONNX Runtime runs one session in many threads."""
        return self

    def close(self) -> None:
        """See Session.close; the memory goes with the last reference."""


def detect(heads: Sequence[FloatArray], config: RetinaFaceConfig, thresholds: Mapping[str, Any]) -> RawDetections:
    """Decode the network's outputs, in the order of config.head_names(), and suppress overlapping faces."""
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


class CpuSession(CpuNetwork):
    """The network that lies beside an engine."""

    def __init__(self, files: EngineFiles) -> None:
        """Load it."""
        super().__init__(files.network, files.sidecar.model_config(), files.sidecar.thresholds)
