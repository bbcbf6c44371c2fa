"""The compiled operators; only engine.ops uses them."""

from collections.abc import Sequence
from typing import Any

__version__: str

def has_cuda() -> bool: ...
def cuda_device_count() -> int: ...
def build_info() -> dict[str, str | None]: ...
def decode(
    heads: Sequence[tuple[Any, ...]],
    *,
    strides: Sequence[int],
    anchor_sizes: Sequence[Sequence[float]],
    variances: tuple[float, float],
    score_threshold: float,
    top_k: int,
    stream: object = None,
) -> tuple[Any, Any, Any, Any]: ...
def nms(
    boxes: Any,
    scores: Any,
    landmarks: Any,
    count: Any,
    *,
    iou_threshold: float,
    max_detections: int,
    voting: bool = False,
    stream: object = None,
) -> tuple[Any, Any, Any, Any, Any]: ...
def letterbox(
    images: Sequence[Any],
    size: tuple[int, int],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    swap_rb: bool,
    pad_value: Sequence[int],
) -> tuple[Any, Any]: ...
