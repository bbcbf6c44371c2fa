"""The compiled operators; only engine.ops uses them. They check every argument themselves."""

from typing import Any

from numpy import dtype
from numpy.typing import NDArray

__version__: str

class DeviceArray:
    @staticmethod
    def from_numpy(array: object, device: object = 0) -> DeviceArray: ...
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
def set_default_threads(count: int) -> None: ...
def build_info() -> dict[str, str | None]: ...
def align(
    images: object,
    landmarks: object,
    image_indices: object,
    *,
    template: object,
    size: object,
    threads: object = 0,
    stream: object = None,
) -> tuple[Any, Any]: ...
def decode(
    heads: object,
    *,
    strides: object,
    anchor_sizes: object,
    variances: object,
    score_threshold: object,
    top_k: object,
    classes: object = 2,
    sigmoid: object = False,
    value_points: object = (),
    stream: object = None,
) -> tuple[Any, Any, Any, Any, Any]: ...
def nms(
    boxes: object,
    scores: object,
    payload: object,
    count: object,
    classes: object = None,
    *,
    iou_threshold: object,
    max_detections: object,
    voting: object = False,
    class_agnostic: object = False,
    stream: object = None,
) -> tuple[Any, Any, Any, Any, Any, Any]: ...
def deform_conv(
    x: object,
    weight: object,
    offset: object,
    bias: object,
    mask: object,
    *,
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
    offset_groups: object,
    stream: object = None,
) -> Any: ...
def letterbox(
    images: object,
    size: object,
    *,
    mean: object,
    std: object,
    swap_rb: object,
    pad_value: object,
    enlarge: object,
    dtype: object,
    out: object = None,
    channels_last: object = False,
    threads: object = 0,
    stream: object = None,
) -> tuple[Any, Any]: ...
def unletterbox(
    boxes: object,
    landmarks: object,
    count: object,
    image_sizes: object,
    size: object,
    *,
    enlarge: object,
    stream: object = None,
) -> tuple[Any, Any]: ...
