"""The compiled operators; only engine.ops uses them."""

from collections.abc import Sequence
from typing import Any

from numpy import dtype
from numpy.typing import NDArray

__version__: str

class DeviceArray:
    @staticmethod
    def from_numpy(array: NDArray[Any], device: int = 0) -> DeviceArray: ...
    def numpy(self) -> NDArray[Any]: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> dtype[Any]: ...
    @property
    def device(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def ptr(self) -> int: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: object = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object: ...
    def __len__(self) -> int: ...

def has_cuda() -> bool: ...
def cuda_device_count() -> int: ...
def build_info() -> dict[str, str | None]: ...
def decode(
    heads: Sequence[tuple[Any, ...]],
    *,
    strides: Sequence[int],
    anchor_sizes: Sequence[Sequence[tuple[float, float]]],
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
def deform_conv(
    x: Any,
    weight: Any,
    offset: Any,
    bias: Any,
    mask: Any,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    offset_groups: int,
    stream: object = None,
) -> Any: ...
def letterbox(
    images: Sequence[Any],
    size: tuple[int, int],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    swap_rb: bool,
    pad_value: Sequence[int],
    enlarge: bool,
    dtype: str,
    out: tuple[Any, Any] | None = None,
    channels_last: bool = False,
    threads: int = 0,
    stream: object = None,
) -> tuple[Any, Any]: ...
def unletterbox(
    boxes: Any,
    landmarks: Any,
    count: Any,
    image_sizes: Sequence[tuple[int, int]],
    size: tuple[int, int],
    *,
    enlarge: bool,
    stream: object = None,
) -> tuple[Any, Any]: ...
