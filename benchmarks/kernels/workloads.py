"""The workloads that the emulator counts, one per process: python -m benchmarks.kernels.workloads NAME.

A workload compares its results with the tests' oracles, and prints lower bounds of its traffic and arithmetic as JSON.
Shapes are those of RetinaFace for a 640 x 640 image.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import ops
from tests.support.backends import EMULATOR_BUILD, for_emulator, use_cuda
from tests.support.oracles.align import bilinear, umeyama
from tests.support.oracles.anchor_decode import anchor_decode
from tests.support.oracles.batched_nms import nms as nms_oracle
from tests.support.oracles.deform_conv import Geometry
from tests.support.oracles.deform_conv import deform_conv as deform_conv_oracle
from tests.support.oracles.letterbox import letterbox as letterbox_oracle
from tests.support.oracles.letterbox import opencv
from tests.support.tolerances import BOX_ABSOLUTE_PX, GREY_LEVELS_EXACT, GREY_LEVELS_OPENCV, RELATIVE

Facts = dict[str, float]
Heads = list[tuple[NDArray[Any], ...]]

SECTOR = 32
STRIDES = (8, 16, 32)
ANCHOR_SIZES = ((16, 32), (64, 128), (256, 512))
SIDES = (80, 40, 20)
SCORE_THRESHOLD = 0.02
IOU_THRESHOLD = 0.4
FACES = 20


def random_heads(
    rng: np.random.Generator, batch: int, clean: bool, dtype: str, widths: tuple[int, ...] = (4, 10)
) -> Heads:
    """Return heads with random deltas of the given widths.

    The logits are random; with `clean` they are low but for 20 faces, each of 2 x 2 cells of the finest level.
    """
    heads = []
    for side in SIDES:
        logits, *deltas = (rng.normal(size=(batch, 2 * n, side, side)) for n in (2, *widths))
        if clean:
            logits[:, 1::2] -= 14
            for image in range(batch):
                for row, column in rng.integers(side - 1, size=(FACES if side == SIDES[0] else 0, 2)):
                    logits[image, 1::2, row : row + 2, column : column + 2] += 17
        heads.append(tuple(head.astype(dtype) for head in (logits, *deltas)))
    return heads


def decode(batch: int, clean: bool, top_k: int, dtype: str, cascade: bool = False) -> Facts:
    """Count decoding: heads to candidates."""
    widths = (4, 10, 4) if cascade else (4, 10)
    heads = random_heads(np.random.default_rng(1), batch, clean, dtype, widths)
    found = _decode(heads, top_k)
    counts = found.count.numpy()
    assert found.payload is not None
    _check_decoded(heads, top_k, [found.boxes.numpy(), found.scores.numpy(), found.payload.numpy()], counts)
    return _decode_floor(heads, counts, top_k)


def decode_textbook(clean: bool) -> Facts:
    """Count the textbook decoding: float32, one image."""
    heads = random_heads(np.random.default_rng(1), 1, clean, "float32")
    anchors = sum(2 * side * side for side in SIDES)
    shapes = {"count": (1,), "indices": (anchors,)}
    count, indices = (ops.to_device(np.zeros(shape, np.int32)) for shape in shapes.values())
    scores, boxes, landmarks = (ops.to_device(np.zeros((anchors, n), np.float32)) for n in (1, 4, 10))
    first = 0
    for level, side, stride, sizes in zip(heads, SIDES, STRIDES, ANCHOR_SIZES, strict=True):
        placed = [ops.to_device(head) for head in level]
        shape = (ctypes.c_int * 6)(side, side, stride, 2, first, 1)
        anchor_sizes = (ctypes.c_float * 2)(*sizes)
        outputs = map(_pointer, (count, indices, scores, boxes, landmarks))
        threshold = ctypes.c_float(SCORE_THRESHOLD)
        _call("textbook_decode", *map(_pointer, placed), shape, anchor_sizes, threshold, anchors, *outputs)
        first += 2 * side * side
    n = int(count.numpy()[0])
    # Sorted by score, then index, like the oracle's; the oracle returns all.
    order = np.lexsort((indices.numpy()[:n], -scores.numpy()[:n, 0]))
    results = [array.numpy()[:n][order][None] for array in (boxes, scores, landmarks)]
    _check_decoded(heads, anchors, [results[0], results[1][..., 0], results[2]], np.array([n]))
    return _decode_floor(heads, np.array([n]), anchors)


def pipeline(batch: int) -> Facts:
    """Count decoding and NMS of a batch: heads to faces."""
    heads = random_heads(np.random.default_rng(1), batch, True, "float16")
    found = _decode(heads, 750)
    detected = ops.nms(*found, iou_threshold=IOU_THRESHOLD, max_detections=200)
    return {**_decode_floor(heads, found.count.numpy(), 750), "faces": int(detected.num_detections.numpy().sum())}


def candidates(clustered: bool, slots: int = 5000) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return boxes and descending scores: spread over a huge image, or around 21 faces."""
    rng = np.random.default_rng(1)
    if clustered:
        centres = rng.uniform(0, 600, (21, 2))[rng.integers(21, size=slots)] + 3 * rng.normal(size=(slots, 2))
        sides = 40 + 3 * rng.normal(size=(slots, 2))
    else:
        centres, sides = rng.uniform(0, 20000, (slots, 2)), rng.uniform(10, 60, (slots, 2))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).astype(np.float32)
    return boxes, -np.sort(-rng.uniform(0.02, 1, slots).astype(np.float32))


def timed_candidates(clustered: bool, slots: int = 5000) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return boxes and descending scores as gpu/time.py has them: crowded in a 640 x 640 image, or around 20 faces."""
    rng = np.random.default_rng(1)
    if clustered:
        centres = 31.0 * rng.integers(20, size=(slots, 1)) + 3 * rng.normal(size=(slots, 2))
    else:
        centres = rng.uniform(0, 640, (slots, 2))
    halves = rng.uniform(4, 24, (slots, 2))
    boxes = np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32)
    return boxes, -np.sort(-rng.uniform(size=slots).astype(np.float32))


def nms(clustered: bool, voting: bool = False) -> Facts:
    """Count NMS of 5000 candidates of one image."""
    return _nms(candidates(clustered), 5000, voting, 1)


def nms_as_timed(clustered: bool, batch: int) -> Facts:
    """Count the NMS that gpu/time.py times; all images are the same."""
    return _nms(timed_candidates(clustered), 750, False, batch)


def _nms(
    image: tuple[NDArray[np.float32], NDArray[np.float32]], max_detections: int, voting: bool, batch: int
) -> Facts:
    boxes, scores = image
    landmarks = np.random.default_rng(2).normal(size=(1, len(scores), 10)).astype(np.float32)
    once = [boxes[None], scores[None], landmarks, np.array([len(scores)], np.int32)]
    arrays = [np.concatenate([array] * batch) for array in once]
    options: dict[str, Any] = {"iou_threshold": IOU_THRESHOLD, "max_detections": max_detections, "voting": voting}
    found = ops.nms(*map(ops.to_device, arrays), **options)
    expected = nms_oracle(boxes, scores, len(scores), **options)
    kept = int(found.num_detections.numpy()[0])
    assert found.indices.numpy()[0, :kept].tolist() == expected.indices
    np.testing.assert_allclose(found.boxes.numpy()[0, :kept], expected.boxes, rtol=RELATIVE)
    return _nms_floor(boxes, scores, kept, batch)


def nms_textbook(clustered: bool) -> Facts:
    """Count the textbook NMS of the same boxes, which are already sorted; no landmarks."""
    boxes, scores = candidates(clustered)
    placed = ops.to_device(boxes)
    num_kept, indices = ops.to_device(np.zeros(1, np.int32)), ops.to_device(np.zeros(len(scores), np.int32))
    threshold = ctypes.c_float(IOU_THRESHOLD)
    _call("textbook_nms", _pointer(placed), len(scores), threshold, _pointer(num_kept), _pointer(indices))
    kept = int(num_kept.numpy()[0])
    expected = nms_oracle(boxes, scores, len(scores), IOU_THRESHOLD, len(scores))
    assert indices.numpy()[:kept].tolist() == expected.indices
    return _nms_floor(boxes, scores, kept, 1)


def deform_conv(
    how: str, batch: int = 4, height: int = 40, width: int = 40, channels: int = 256, sigma: float = 1
) -> Facts:
    """Count a 3x3 convolution with a mask, float16, offsets N(0, sigma^2) pixels.

    `how`: linear, channels_last or textbook.
    """
    rng = np.random.default_rng(1)
    taps, pixels = 9, batch * height * width
    x = rng.normal(size=(batch, channels, height, width)).astype(np.float16)
    weight = (rng.normal(size=(channels, channels, 3, 3)) / np.sqrt(channels * taps)).astype(np.float16)
    offset = (sigma * rng.normal(size=(batch, 2 * taps, height, width))).astype(np.float16)
    bias = rng.normal(size=channels).astype(np.float16)
    mask = rng.uniform(size=(batch, taps, height, width)).astype(np.float16)
    shape = (ctypes.c_int * 5)(batch, channels, channels, height, width)
    rest = [ops.to_device(array) for array in (weight, offset, bias, mask)]
    if how == "linear":
        y = ops.deform_conv(ops.to_device(x), *rest, padding=1).numpy()
    elif how == "channels_last":
        placed, result = (ops.to_device(np.ascontiguousarray(x.transpose(0, 2, 3, 1)) * k) for k in (1, 0))
        _call("deform_conv_channels_last", *map(_pointer, (placed, *rest, result)), shape)
        y = result.numpy().transpose(0, 3, 1, 2)
    else:
        placed, result = ops.to_device(x), ops.to_device(np.zeros_like(x))
        columns = ops.to_device(np.zeros((pixels, channels * taps), np.float16))
        _call("textbook_deform_conv", *map(_pointer, (placed, *rest, columns, result)), shape)
        y = result.numpy()
    expected = deform_conv_oracle(x[:1], weight, offset[:1], bias, mask[:1], Geometry(padding=(1, 1, 1, 1)))
    # Each sample is rounded to float16 (relative 2^-11). The errors of the 48 samples behind a sum of order 1 are
    # independent and add up like a root. The result is rounded once more, relative 2^-11.
    np.testing.assert_allclose(y[:1].astype(np.float64), expected, atol=4e-3, rtol=2.0**-10)
    arrays = (x, weight, offset, bias, mask, y)
    return {
        "compulsory_bytes": sum(array.nbytes for array in arrays),
        "output_bytes": y.nbytes,
        "rearranged_bytes": weight.nbytes + (x.nbytes if how == "linear" else 0),
        "multiply_adds": pixels * channels * channels * taps,
        "matrix_instructions": pixels * channels * channels * taps // (16 * 8 * 16),
    }


def letterbox(sizes: list[tuple[int, int]], dtype: str) -> Facts:
    """Count letterboxing of images of the given (height, width) to 640 x 640."""
    rng = np.random.default_rng(1)
    images = [rng.integers(256, size=(*size, 3), dtype=np.uint8) for size in sizes]
    batch, _ = ops.letterbox(list(map(ops.to_device, images)), (640, 640), mean=(104, 117, 123), dtype=dtype)
    levels = batch.numpy()[0].astype(np.float64) + np.array([104, 117, 123])[:, None, None]
    expected = letterbox_oracle(images[0], (640, 640), (0, 0, 0), False, opencv)
    # Rounding a value of up to 151, a level minus its mean, to float16 changes it by at most 1/16.
    np.testing.assert_allclose(levels, expected, atol=GREY_LEVELS_OPENCV + 1 / 16)
    written = batch.numpy().nbytes
    return {"compulsory_bytes": sum(image.nbytes for image in images) + written, "output_bytes": written}


def align(faces: int, degrees: float) -> Facts:
    """Count aligned crops of 112 x 112: faces of about that size, turned by up to so many degrees, in a 1080p photo."""
    rng = np.random.default_rng(1)
    image = rng.integers(256, size=(1080, 1920, 3), dtype=np.uint8)
    template = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]], np.float32)
    landmarks = np.empty((faces, 5, 2), np.float32)
    for points in landmarks:
        angle, scale = np.deg2rad(rng.uniform(-degrees, degrees)), rng.uniform(0.7, 1.3)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points[...] = (template - 56) @ turn.T + rng.uniform(130, (1790, 950))
    arrays = [ops.to_device(array) for array in (image, landmarks.reshape(faces, 10))]
    crops = ops.align(*arrays, template=template, size=(112, 112)).crops.numpy()
    expected = bilinear(image, umeyama(landmarks[0], template), (112, 112))
    np.testing.assert_allclose(crops[0], expected, atol=GREY_LEVELS_EXACT)
    # As many pixels of the image as a crop covers; faces may share some, but these do hardly.
    covered = sum(3 * 112 * 112 / np.linalg.det(umeyama(points, template)[:, :2]) for points in landmarks)
    return {"compulsory_bytes": int(covered) + crops.nbytes, "output_bytes": crops.nbytes}


def _decode(heads: Heads, top_k: int) -> ops.Candidates:
    placed = [tuple(ops.to_device(head) for head in level) for level in heads]
    options: dict[str, Any] = {"strides": STRIDES, "anchor_sizes": ANCHOR_SIZES}
    return ops.decode(placed, **options, score_threshold=SCORE_THRESHOLD, top_k=top_k)


def _check_decoded(heads: Heads, top_k: int, results: list[NDArray[Any]], counts: NDArray[Any]) -> None:
    """Compare the first image with the oracle; candidates whose scores are equal in float32 may be swapped."""
    expected = anchor_decode(
        [tuple(h[:1] for h in level) for level in heads],
        STRIDES,
        ANCHOR_SIZES,
        (0.1, 0.2),
        SCORE_THRESHOLD,
        top_k,
    )[0]
    n = int(counts[0])
    assert n == len(expected.scores)
    boxes, scores, landmarks = (result[0, :n] for result in results)
    np.testing.assert_allclose(scores, expected.scores, rtol=RELATIVE)
    assert expected.payload is not None
    for mine, theirs in ((boxes, expected.boxes), (landmarks, expected.payload)):
        far = np.abs(mine - theirs).max(axis=1) > BOX_ABSOLUTE_PX + RELATIVE * np.abs(theirs).max(axis=1)
        assert far.mean() < 0.01


def _decode_floor(heads: Heads, counts: NDArray[Any], top_k: int) -> Facts:
    """Return lower bounds: the class logits once, and one sector for each delta of each selected candidate."""
    logits = sum(level[0].nbytes for level in heads)
    deltas = sum(head.shape[1] for head in heads[0][1:]) // (heads[0][0].shape[1] // 2)  # of an anchor
    limit = np.log(SCORE_THRESHOLD / (1 - SCORE_THRESHOLD))
    margins = [level[0].astype(np.float32)[:, 1::2] - level[0].astype(np.float32)[:, 0::2] for level in heads]
    # With a perfect cache, a sector that several candidates share is read once.
    per_sector = SECTOR // heads[0][0].itemsize
    shared = 0
    for image in range(len(counts)):
        keys = np.concatenate([m[image].ravel() for m in margins])
        lowest = np.sort(keys)[::-1][min(top_k, len(keys)) - 1]
        for m in margins:
            chosen = ((m[image] >= lowest) & (m[image] > limit)).reshape(m.shape[1], -1, per_sector)
            shared += int(chosen.any(axis=2).sum()) * deltas
    return {
        "survivors": int(sum((m > limit).sum() for m in margins)),
        "selected": int(counts.sum()),
        "head_sectors": sum(head.nbytes for level in heads for head in level) // SECTOR,
        "compulsory_sectors": logits // SECTOR + deltas * int(counts.sum()),
        "distinct_sectors": logits // SECTOR + shared,
    }


def _nms_floor(boxes: NDArray[Any], scores: NDArray[Any], kept: int, batch: int) -> Facts:
    return {"compulsory_sectors": batch * (boxes.nbytes + scores.nbytes) // SECTOR, "kept": kept}


def _pointer(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.__cuda_array_interface__["data"][0])


def _call(function: str, *arguments: Any) -> None:
    library = ctypes.CDLL(str(for_emulator(EMULATOR_BUILD / "librf_textbook.so")))
    status = getattr(library, function)(*arguments)
    assert status == 0, f"{function} gave CUDA status {status}"


PHOTO, PHOTOS = [(720, 1280)], [(720, 1280), (1080, 1920), (480, 640), (300, 200)] * 4

WORKLOADS: dict[str, Callable[[], Facts]] = {
    "decode clean": partial(decode, 1, True, 5000, "float32"),
    "decode clean float16": partial(decode, 1, True, 5000, "float16"),
    "decode clean batch 16": partial(decode, 16, True, 5000, "float32"),
    "decode clean cascade": partial(decode, 1, True, 5000, "float32", True),
    "decode random": partial(decode, 1, False, 5000, "float32"),
    "decode random float16": partial(decode, 1, False, 5000, "float16"),
    "decode random K 1000": partial(decode, 1, False, 1000, "float32"),
    "decode clean textbook": partial(decode_textbook, True),
    "decode random textbook": partial(decode_textbook, False),
    "pipeline batch 16": partial(pipeline, 16),
    "nms scattered": partial(nms, False),
    "nms clustered": partial(nms, True),
    "nms clustered voting": partial(nms, True, True),
    "nms scattered textbook": partial(nms_textbook, False),
    "nms clustered textbook": partial(nms_textbook, True),
    "deform_conv": partial(deform_conv, "linear"),
    "deform_conv channels-last": partial(deform_conv, "channels_last"),
    "deform_conv half the batch": partial(deform_conv, "linear", 2),
    "deform_conv half the batch, twice the map": partial(deform_conv, "linear", 2, 80),
    "deform_conv textbook": partial(deform_conv, "textbook"),
    "letterbox 720x1280": partial(letterbox, PHOTO, "float32"),
    "letterbox 16 photos float16": partial(letterbox, PHOTOS, "float16"),
    "align 1 face": partial(align, 1, 20),
    "align 64 faces": partial(align, 64, 20),
    "align 64 faces at any angle": partial(align, 64, 180),
}

# Of the cost model.
MODEL_WORKLOADS: dict[str, Callable[[], Facts]] = {
    **{f"decode clean x {batch}": partial(decode, batch, True, 5000, "float32") for batch in (1, 16)},
    **{f"decode random x {batch}": partial(decode, batch, False, 5000, "float32") for batch in (1, 16)},
    **{f"nms scattered x {batch}": partial(nms_as_timed, False, batch) for batch in (1, 16)},
    **{f"nms clustered x {batch}": partial(nms_as_timed, True, batch) for batch in (1, 16)},
    **{f"letterbox 1080 x {batch}": partial(letterbox, [(1080, 1920)] * batch, "float32") for batch in (1, 16)},
    "letterbox 480 x 16": partial(letterbox, [(480, 640)] * 16, "float32"),
    **{f"align x {faces}": partial(align, faces, 20) for faces in (1, 64)},
    **{
        f"deform_conv {how} {batch} x {side} x {side} sigma {sigma}": partial(
            deform_conv, how, batch, side, side, sigma=sigma
        )
        for how in ("linear", "channels_last")
        for batch, side in ((1, 20), (2, 40), (4, 40))
        for sigma in (1, 2, 4)
    },
}


if __name__ == "__main__":
    use_cuda(pytest.MonkeyPatch())
    print(json.dumps((WORKLOADS | MODEL_WORKLOADS)[sys.argv[1]]()))
