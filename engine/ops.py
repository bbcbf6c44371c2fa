"""The operators around the network: letterbox, decoding of raw heads, non-maximum suppression, aligned crops.

NumPy arrays run on the CPU and give NumPy arrays. Device arrays (anything with DLPack or ``__cuda_array_interface__``:
torch, CuPy, PyCUDA, the results of these functions) run the CUDA kernels on ``stream`` and give ``DeviceArray``
objects, which have both protocols and are copied to the host by ``.numpy()``. Both sides give the same bits.

Arrays must be C-contiguous and have the dtype given below; nothing is converted silently. ``stream`` is an integer
handle, or a stream object of torch, CuPy, PyCUDA or CUDA Python; None means the stream of the first array if it names
one, else the default stream. Calls are asynchronous: keep device inputs alive until the stream has run them.

Every function raises InvalidArgumentError for an argument of a wrong type, out of range, or that does not fit the
others; and CudaError when a CUDA call fails. A name that no argument has is a TypeError, as in all of Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from engine.errors import NativeModuleError
from engine.threads import available_threads

try:
    from engine import _native
except ImportError as error:
    raise NativeModuleError(
        f"engine._native, the compiled part of this package, does not load ({error}). "
        'Build it with "pip install -e ." in the folder that holds pyproject.toml.'
    ) from error

_native.set_default_threads(available_threads())

__all__ = [
    "Aligned",
    "Candidates",
    "Detected",
    "Letterboxed",
    "align",
    "build_info",
    "cuda_device_count",
    "decode",
    "deform_conv",
    "letterbox",
    "nms",
    "to_device",
    "unletterbox",
]

# A NumPy array or a device array; the latter has no common type.
Array = Any
# One value for all channels, or one for each channel of the output.
PerChannel = float | Sequence[float]
# The side of a square anchor, or the width and height of another.
AnchorSize = float | tuple[float, float]


class Letterboxed(NamedTuple):
    """The results of letterbox.

    Attributes:
        batch: float32 or float16 [N, 3, H, W], or [N, H, W, 3] with channels_last.
        transforms: float32 [N, 3]: scale, pad_x, pad_y in pixels of the batch. A point (x, y) of the image maps to
            (x * scale + pad_x, y * scale + pad_y), up to the rounding of the resized sides to whole pixels; unletterbox
            is the exact inverse.
    """

    batch: Array
    transforms: Array


class Candidates(NamedTuple):
    """The results of decode; entries from ``count`` on are zero.

    Attributes:
        boxes: float32 [N, K, 4], x1 y1 x2 y2 in pixels of the network's input.
        scores: float32 [N, K], descending.
        payload: float32 [N, K, P]: the landmarks, x y in pixels, then the values of each head, points x y in pixels or
            plain numbers; None if there are none.
        count: int32 [N].
        classes: int32 [N, K], 1 to C - 1; None with two classes.
    """

    boxes: Array
    scores: Array
    payload: Array | None
    count: Array
    classes: Array | None = None


class Detected(NamedTuple):
    """The results of nms; entries from ``num_detections`` on are zero, and -1 in ``indices``.

    Attributes:
        num_detections: int32 [N].
        boxes: float32 [N, M, 4], x1 y1 x2 y2.
        scores: float32 [N, M], descending.
        payload: float32 [N, M, P], or None.
        indices: int32 [N, M], of the candidates.
        classes: int32 [N, M], or None.
    """

    num_detections: Array
    boxes: Array
    scores: Array
    payload: Array | None
    indices: Array
    classes: Array | None = None


class Aligned(NamedTuple):
    """The results of align; both are zero for a face that cannot be aligned.

    Attributes:
        crops: uint8 [N, height, width, 3].
        transforms: float32 [N, 2, 3]: a matrix for each face, which takes (x, y, 1) in pixels of the image to (x, y) in
            pixels of the crop.
    """

    crops: Array
    transforms: Array


def letterbox(
    images: Array | Sequence[Array],
    size: tuple[int, int],
    *,
    mean: PerChannel,
    std: PerChannel = 1.0,
    swap_rb: bool = False,
    pad_value: int | Sequence[int] = 0,
    enlarge: bool = True,
    dtype: str = "float32",
    out: tuple[Array, Array] | None = None,
    channels_last: bool = False,
    threads: int = 0,
    stream: object = None,
) -> Letterboxed:
    """Resize images to fit one size, keep their aspect ratio, pad evenly and normalise: (level - mean) / std.

    Bilinear with the pixel centres of OpenCV's INTER_LINEAR, in fixed point, rounded once to a grey level. An odd
    padding has its extra pixel at the right and the bottom.

    Args:
        images: one image, or a sequence or NumPy array [N, ...] of them: uint8 [height, width, 3], with sides from 1
            to 16384 pixels. Rows may be strided (a crop of a larger image).
        size: (height, width) of the result in pixels.
        mean: grey level(s) to subtract, in the order of the result's channels.
        std: grey level(s) to divide by, above 0, in the same order.
        swap_rb: exchange the first and the last channel: BGR to RGB or back.
        pad_value: grey level(s) 0 to 255 of the padding, before normalisation, in the order of the result's channels.
        enlarge: enlarge images that are smaller than `size`; else only pad them.
        dtype: "float32" or "float16" of the batch.
        out: arrays (batch, transforms) to write to, on the same device as the images; float32 only on the host.
        channels_last: return the batch as [N, H, W, 3]; on the host only.
        threads: of the host, at most; 0 is one per core that this process may use.
        stream: see the module's text.
    """
    return Letterboxed(
        *_native.letterbox(
            images,
            size,
            mean=mean,
            std=std,
            swap_rb=swap_rb,
            pad_value=pad_value,
            enlarge=enlarge,
            dtype=dtype,
            out=out,
            channels_last=channels_last,
            threads=threads,
            stream=stream,
        )
    )


def unletterbox(
    boxes: Array,
    landmarks: Array | None,
    count: Array,
    image_sizes: Sequence[tuple[int, int]],
    size: tuple[int, int],
    *,
    enlarge: bool = True,
    stream: object = None,
) -> tuple[Array, Array | None]:
    """Map boxes and landmarks from a letterboxed batch to the pixels of each image.

    x becomes (x - pad_x) * (image's width / resized width), y likewise. The resized sides are whole pixels, so the two
    factors differ a little from each other and from 1 / scale.

    Args:
        boxes: float32 [N, M, 4], from nms.
        landmarks: float32 [N, M, 2 L], x y of L points, 1 to 512: landmarks, or values that are points; or None.
        count: int32 [N], detections of each image; entries from it on become zero.
        image_sizes: (height, width) of each of the N images in pixels, on the host.
        size: (height, width) of the batch, as given to letterbox.
        enlarge: as given to letterbox.
        stream: see the module's text.

    Returns:
        New boxes and landmarks, in pixels of the images, not clipped to them.
    """
    return _native.unletterbox(boxes, landmarks, count, image_sizes, size, enlarge=enlarge, stream=stream)


def decode(
    heads: Sequence[tuple[Array | None, ...]],
    *,
    strides: Sequence[int],
    anchor_sizes: Sequence[Sequence[AnchorSize]],
    variances: tuple[float, float] = (0.1, 0.2),
    score_threshold: float,
    top_k: int,
    classes: int = 2,
    sigmoid: bool = False,
    value_points: Sequence[bool] = (),
    stream: object = None,
) -> Candidates:
    """Decode the raw heads of a network into the best candidates of each image.

    A candidate is an anchor with a class. Its score is the softmax of the anchor's C logits, of which class 0 is the
    background, or the sigmoid of the class's own logit. Candidates are those with a score above the threshold, ordered
    by score, then by anchor index (levels, rows, columns, anchors of a cell), then by class. Margins (the logits of
    scores) that are not finite make no candidates; of the best K, those with a box, point or value that is not finite
    are left out.

    Args:
        heads: per level (logits [N, C A, h, w], box_deltas [N, 4 A, h, w], landmark_deltas [N, 2 L A, h, w] or None),
            float32 or float16, on a device also bfloat16; channel = anchor * components + component. L is 1 to 128.
            A cascade has a fourth head, anchor_deltas [N, 4 A, h, w]: the boxes decoded from it are the anchors of
            box_deltas and landmark_deltas. Behind that or None may follow up to 8 heads [N, D A, h, w] of values.
        strides: per level, pixels from one cell to the next.
        anchor_sizes: per level, the 1 to 8 anchors of a cell: the side of a square anchor, or (width, height), in
            pixels.
        variances: of centres (and landmarks) and of sizes.
        score_threshold: 0 to 1; candidates need a higher score.
        top_k: candidates kept per image, 1 to 5000.
        classes: C, 2 to 256, with the background.
        sigmoid: logits are [N, (C - 1) A, h, w], without the background, and each class has a score of its own.
        value_points: for each head of values, whether they are deltas of D / 2 points x y, decoded as landmark_deltas
            are, instead of numbers that are returned as they are; empty: none is.
        stream: see the module's text.
    """
    return Candidates(
        *_native.decode(
            heads,
            strides=strides,
            anchor_sizes=anchor_sizes,
            variances=variances,
            score_threshold=score_threshold,
            top_k=top_k,
            classes=classes,
            sigmoid=sigmoid,
            value_points=value_points,
            stream=stream,
        )
    )


def nms(
    boxes: Array,
    scores: Array,
    payload: Array | None,
    count: Array,
    classes: Array | None = None,
    *,
    iou_threshold: float,
    max_detections: int,
    voting: bool = False,
    class_agnostic: bool = False,
    stream: object = None,
) -> Detected:
    """Suppress candidates that overlap a better one, greedily and exactly, per image.

    In order of score, then of index, a candidate is kept unless its intersection over union with a kept one is above
    the threshold. Candidates of different classes do not suppress each other. Candidates whose score or box is not
    finite are left out.

    Args:
        boxes: float32 [N, K, 4], x1 y1 x2 y2; K from 1 to 5000.
        scores: float32 [N, K], in any order.
        payload: float32 [N, K, P], values that go with a candidate, P from 1 to 1024; or None.
        count: int32 [N], candidates of each image; entries from it on are not read.
        classes: int32 [N, K], or None: all are of one class.
        iou_threshold: 0 to 1.
        max_detections: M, 1 to 5000; the best ones are kept.
        voting: replace a kept box by the mean, weighted by score, of itself and the candidates that it suppresses
            first.
        class_agnostic: classes do not matter for suppression, and are only carried.
        stream: see the module's text.
    """
    return Detected(
        *_native.nms(
            boxes,
            scores,
            payload,
            count,
            classes,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
            voting=voting,
            class_agnostic=class_agnostic,
            stream=stream,
        )
    )


def align(
    images: Array | Sequence[Array],
    landmarks: Array,
    image_indices: Array | None = None,
    *,
    template: Sequence[Sequence[float]] | NDArray[Any],
    size: tuple[int, int],
    threads: int = 0,
    stream: object = None,
) -> Aligned:
    """Cut out faces, each turned, scaled and moved so that its landmarks lie where a template has them.

    The transform is the similarity with the least sum of squared distances between the five landmarks and the
    template, without a reflection (Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", 1991), estimated in float64. Whole coordinates are the centres of pixels, as in OpenCV's warpAffine.
    Bilinear; beyond the image is 0.

    A face cannot be aligned if its landmarks are not finite or coincide, so slots that unletterbox filled with zeros
    give black crops; nor if pixels of its crop would be less than 2^-20 or more than 2^14 pixels of the image apart, or
    begin more than 2^30 pixels from it; nor, on a device, if its image index is out of range.

    Args:
        images: one image, or a sequence or NumPy array [I, ...] of them: uint8 [height, width, 3], with sides from 1
            to 16384 pixels. Rows may be strided (a crop of a larger image).
        landmarks: float32 [N, 10], five points x y in pixels of the face's image. Beside images on a device, an array
            there, or a NumPy array that is copied there in the stream.
        image_indices: int32 [N], the image of each face; None if there is one image. Placed like landmarks.
        template: five points (x, y) in pixels of the crop, not all the same.
        size: (height, width) of the crops in pixels, 1 to 4096.
        threads: of the host, at most; 0 is one per core that this process may use.
        stream: see the module's text.
    """
    return Aligned(
        *_native.align(images, landmarks, image_indices, template=template, size=size, threads=threads, stream=stream)
    )


def deform_conv(
    x: Array,
    weight: Array,
    offset: Array,
    bias: Array | None = None,
    mask: Array | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    offset_groups: int = 1,
    stream: object = None,
) -> Array:
    """Deformable convolution: ONNX's DeformConv in two dimensions.

    Each tap samples x bilinearly at its position plus its offset. x is zero outside its map, and a position that is not
    finite counts as outside. Unlike the operators above, CPU and GPU agree to rounding, not to the bit: both sum in
    float32, but in different orders.

    Args:
        x: float32 [N, Ci, H, W]; on a device also float16 and bfloat16. All arrays and the result have this type.
        weight: [Co, Ci / groups, kh, kw], kernels of 1 to 7 pixels a side.
        offset: [N, 2 * offset_groups * kh * kw, h, w], in pixels, (dy, dx) for each tap of each offset group.
        bias: [Co], or None.
        mask: [N, offset_groups * kh * kw, h, w], factors of the samples, or None.
        stride: pixels from one output to the next, or (height, width).
        padding: pixels of zeros around x, or (height, width), or (top, left, bottom, right).
        dilation: pixels from one tap to the next, or (height, width).
        groups: of channels that are convolved separately.
        offset_groups: of input channels that share offsets.
        stream: see the module's text.

    Returns:
        [N, Co, h, w].
    """
    return _native.deform_conv(
        x,
        weight,
        offset,
        bias,
        mask,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        offset_groups=offset_groups,
        stream=stream,
    )


def to_device(array: NDArray[Any], device: int = 0) -> Array:
    """Copy a C-contiguous NumPy array to a CUDA device, by its number, as a ``DeviceArray``."""
    if not _native.has_cuda():
        raise NativeModuleError(
            "engine._native was built without CUDA (RETINAFACE_PLUGINS=OFF): install retinaface-trt again without that"
        )
    return _native.DeviceArray.from_numpy(array, device)


def cuda_device_count() -> int:
    """Return the number of CUDA devices that the kernels can run on; 0 without a driver or kernels."""
    return _native.cuda_device_count()


def build_info() -> dict[str, str | None]:
    """Return what the compiled module was built with; cuda_version is None if it has no kernels."""
    return _native.build_info()
