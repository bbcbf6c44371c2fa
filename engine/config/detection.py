"""Settings of an engine beside its model: input sizes, and thresholds of decoding and suppression."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError

INPUT_NAME = "images"
OPSET = 19  # of exported ONNX networks: the first with DeformConv
MAX_CANDIDATES = 5000
MAX_BATCH = 1024
INTEGER_OUTPUTS = ("num_detections", "classes")  # int32; the other outputs of engines are float32


@dataclass(frozen=True)
class InputSize:
    """Sizes (height, width) of the network's input in pixels. All three are equal for a fixed size.

    Attributes:
        minimum: smallest size.
        optimum: size that the engine is tuned for and that images are letterboxed to.
        maximum: largest size.
    """

    minimum: tuple[int, int]
    optimum: tuple[int, int]
    maximum: tuple[int, int]

    @classmethod
    def fixed(cls, height: int, width: int) -> InputSize:
        """Return a fixed size."""
        return cls((height, width), (height, width), (height, width))

    def check(self, config: RetinaFaceConfig) -> None:
        """Raise InvalidArgumentError unless the sizes do not decrease and are multiples of 32."""
        for size in (self.minimum, self.optimum, self.maximum):
            config.check_input_size(*size)
        for low, mid, high in zip(self.minimum, self.optimum, self.maximum, strict=True):
            if not low <= mid <= high:
                raise InvalidArgumentError(
                    f"input sizes are minimum {self.minimum}, optimum {self.optimum}, maximum {self.maximum}; "
                    "each side must not decrease from one to the next"
                )


def _option(default: Any, name: str, meaning: str) -> Any:
    """Return a field with the name and the help of its option on the command line."""
    return field(default=default, metadata={"option": name, "help": meaning})


@dataclass(frozen=True)
class Thresholds:
    """Settings of decoding and suppression, fixed when an engine is built.

    Attributes:
        score: candidates need a higher score. The default 0.02 is low enough for average precision.
        iou: a face suppresses faces of lower score whose overlap with it is larger than this.
        top_k: largest number of candidates of an image that enter suppression, those of the highest scores.
        max_detections: largest number of faces of an image.
        voting: whether a box becomes the score-weighted mean of itself and the boxes that it suppresses.
    """

    score: float = _option(0.02, "score_threshold", "the engine drops faces with scores below it")
    iou: float = _option(0.4, "iou_threshold", "a face suppresses those that overlap it by more")
    top_k: int = _option(5000, "top_k", "candidates before suppression")
    max_detections: int = _option(750, "max_detections", "faces a picture")
    voting: bool = _option(False, "voting", "box voting: score-weighted mean of a face's box and those it suppresses")

    def __post_init__(self) -> None:
        """Raise InvalidArgumentError for a value out of range; the plugins have the same ranges."""
        for name, value in (("score threshold", self.score), ("IoU threshold", self.iou)):
            if not 0.0 <= value <= 1.0:
                raise InvalidArgumentError(f"{name} is {value}, expected 0 to 1")
        for name, count in (("top_k", self.top_k), ("max_detections", self.max_detections)):
            if not 1 <= count <= MAX_CANDIDATES:
                raise InvalidArgumentError(f"{name} is {count}, expected 1 to {MAX_CANDIDATES}")

    def decode_arguments(self) -> dict[str, Any]:
        """Return the arguments of engine.ops.decode, which are the plugin's attributes too."""
        return {"score_threshold": self.score, "top_k": self.top_k}

    def nms_arguments(self) -> dict[str, Any]:
        """Return the arguments of engine.ops.nms, which are the plugin's attributes too."""
        others = {name: value for name, value in asdict(self).items() if name not in ("score", "iou", "top_k")}
        return {"iou_threshold": self.iou, **others}


def output_shapes(config: RetinaFaceConfig, thresholds: Thresholds) -> dict[str, tuple[int, ...]]:
    """Return the outputs of a detector by name, each with its shape behind the batch."""
    m = thresholds.max_detections
    shapes: dict[str, tuple[int, ...]] = {"num_detections": (), "boxes": (m, 4), "scores": (m,)}
    if config.has_landmarks:
        shapes["landmarks"] = (m, 2 * config.num_points)
    if config.num_classes > 2:
        shapes["classes"] = (m,)
    return {**shapes, **{head.name: (m, head.size) for head in config.values}}
