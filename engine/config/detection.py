"""What an engine is built for beside its model: input sizes, and how faces are chosen from candidates."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError

INPUT_NAME = "images"
OPSET = 19  # of exported ONNX networks: the first with DeformConv
MAX_CANDIDATES = 5000


@dataclass(frozen=True)
class InputSize:
    """Height and width of the network's input in pixels; the same three times where they are fixed.

    Attributes:
        minimum: (height, width) of the smallest input.
        optimum: what the engine is tuned for, and what images are letterboxed to.
        maximum: of the largest.
    """

    minimum: tuple[int, int]
    optimum: tuple[int, int]
    maximum: tuple[int, int]

    @classmethod
    def fixed(cls, height: int, width: int) -> InputSize:
        """One size only."""
        return cls((height, width), (height, width), (height, width))

    def check(self, config: RetinaFaceConfig) -> None:
        """Raise InvalidArgumentError unless the sizes are ordered and multiples of the body's stride."""
        for size in (self.minimum, self.optimum, self.maximum):
            config.check_input_size(*size)
        for low, mid, high in zip(self.minimum, self.optimum, self.maximum, strict=True):
            if not low <= mid <= high:
                raise InvalidArgumentError(
                    f"input sizes are minimum {self.minimum}, optimum {self.optimum}, maximum {self.maximum}; "
                    "each side must not decrease from one to the next"
                )


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
