"""Compares letterbox and aligned crops with OpenCV, decoding and NMS with NumPy: python -m benchmarks.cpu.operators.

Everything runs on one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.cpu.side_by_side import milliseconds, ratio, time_in_turn
from benchmarks.peers.pipeline import Anchors, Faces, Outputs, PostProcessing, letterbox
from engine import ops
from engine.types import Image

MEAN, SIDE = (104.0, 117.0, 123.0), 640
# Height and width of the pictures: typical of PASCAL VOC, a square, the input size itself, full HD, 4K.
PICTURES = ((375, 500), (512, 512), (640, 640), (1080, 1920), (2160, 3840))
# The paper's anchors: three in each cell of five levels, 102,300 at 640 x 640.
PAPER = Anchors((4, 8, 16, 32, 64), tuple((4.0 * s, 5.04 * s, 6.35 * s) for s in (4, 8, 16, 32, 64)))
FACES = (1, 8)
CANDIDATES, THRESHOLD = 5000, 0.02


def main() -> None:
    """Measure, and print tables of all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="timed rounds (default %(default)s)")
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    print("| letterbox of | ours, ms | cv2.resize + NumPy, ms | ratio | resize + blobFromImage, ms | ratio |")
    print("|---|--:|--:|--:|--:|--:|")
    for height, width in PICTURES:
        seconds = time_in_turn(letterboxes(height, width), rounds)
        cells = [milliseconds(seconds, "ours")]
        for other in ("numpy", "blob"):
            cells += [milliseconds(seconds, other), ratio(seconds, other, "ours")]
        print(f"| {height} x {width} | {' | '.join(cells)} |")
    print("\n| faces of 112 x 112 | ours, ms | cv2.warpAffine, ms | ratio |")
    print("|---|--:|--:|--:|")
    for faces in FACES:
        seconds = time_in_turn(alignments(faces), rounds)
        cells = [milliseconds(seconds, "ours"), milliseconds(seconds, "opencv"), ratio(seconds, "opencv", "ours")]
        print(f"| {faces} | {' | '.join(cells)} |")
    ways, agree = suppressions(np.random.default_rng(7))
    seconds = time_in_turn(ways, rounds)
    print(
        f"\nDecoding and suppression, 102,300 anchors, {CANDIDATES} candidates: "
        f"ours {milliseconds(seconds, 'ours')} ms, NumPy {milliseconds(seconds, 'numpy')} ms, "
        f"ratio {ratio(seconds, 'numpy', 'ours')}; "
        f"{agree:.1%} of the faces are the same"
    )


def letterboxes(height: int, width: int) -> dict[str, Callable[[], object]]:
    """Return our letterbox of one picture, and two made with OpenCV, by name."""
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    out = (np.empty((1, 3, SIDE, SIDE), np.float32), np.empty((1, 3), np.float32))
    pad = tuple(int(level) for level in MEAN)

    def ours() -> object:
        return ops.letterbox(image, (SIDE, SIDE), mean=MEAN, pad_value=pad, out=out, threads=1)

    return {
        "ours": ours,
        "numpy": lambda: letterbox(image, SIDE, MEAN),
        "blob": lambda: _blob(image),
    }


def _blob(image: Image) -> object:
    height, width = image.shape[:2]
    scale = min(SIDE / height, SIDE / width)
    resized = cv2.resize(image, (round(width * scale), round(height * scale)))
    rest_y, rest_x = SIDE - resized.shape[0], SIDE - resized.shape[1]
    padded = cv2.copyMakeBorder(
        resized, rest_y // 2, rest_y - rest_y // 2, rest_x // 2, rest_x - rest_x // 2, cv2.BORDER_CONSTANT, value=MEAN
    )
    return cv2.dnn.blobFromImage(padded, 1.0, (SIDE, SIDE), MEAN)


def alignments(faces: int) -> dict[str, Callable[[], object]]:
    """Return our aligned crops of some faces of a photo, and OpenCV's by the same transforms, by name.

    OpenCV does not estimate the transforms: its time is that of the pixels alone.
    """
    rng = np.random.default_rng(faces)
    image = rng.integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    template = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]], np.float32)
    landmarks = np.empty((faces, 5, 2), np.float32)
    for points in landmarks:
        angle, scale = rng.uniform(-0.4, 0.4), rng.uniform(0.5, 3)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points[...] = (template - 56) @ turn.T + rng.uniform(250, (1670, 830))
    flat = landmarks.reshape(faces, 10)

    def ours() -> ops.Aligned:
        return ops.align(image, flat, template=template, size=(112, 112), threads=1)

    matrices = ours().transforms
    return {"ours": ours, "opencv": lambda: [cv2.warpAffine(image, matrix, (112, 112)) for matrix in matrices]}


def suppressions(rng: np.random.Generator) -> tuple[dict[str, Callable[[], object]], float]:
    """Return our decoding and NMS and NumPy's, by name, and the share of our faces that NumPy finds too."""
    total = sum(len(sides) * (SIDE // stride) ** 2 for stride, sides in zip(PAPER.strides, PAPER.sides, strict=True))
    margins = rng.normal(-12, 1, total)
    margins[rng.choice(total, CANDIDATES, replace=False)] = rng.uniform(-3.5, 5, CANDIDATES)
    logits = np.stack([np.zeros(total), margins], axis=1).astype(np.float32)
    deltas = rng.normal(size=(total, 4)).astype(np.float32)
    points = rng.normal(size=(total, 10)).astype(np.float32)
    heads = _as_heads(logits, deltas, points)
    scores = (1 / (1 + np.exp(-margins))).astype(np.float32)
    post = PostProcessing((SIDE, SIDE), PAPER, THRESHOLD)

    def ours() -> ops.Detected:
        found = ops.decode(
            heads, strides=PAPER.strides, anchor_sizes=PAPER.sides, score_threshold=THRESHOLD, top_k=CANDIDATES
        )
        return ops.nms(*found, iou_threshold=0.4, max_detections=750)

    def numpy() -> Faces:
        return post.run(Outputs(deltas, scores, points))

    mine, theirs = ours(), numpy()
    boxes = mine.boxes[0, : mine.num_detections[0]]
    nearest = np.abs(boxes[:, None] - theirs.boxes[None]).max(axis=2).min(axis=1)
    return {"ours": ours, "numpy": numpy}, float(np.mean(nearest < 0.01))


def _as_heads(*values: NDArray[np.float32]) -> list[tuple[NDArray[np.float32], ...]]:
    """Split arrays with a row per anchor into the maps of each level, as a network returns them."""
    heads, begin = [], 0
    for stride, sides in zip(PAPER.strides, PAPER.sides, strict=True):
        cells, anchors = SIDE // stride, len(sides)
        end = begin + anchors * cells**2
        maps = [rows[begin:end].reshape(cells, cells, -1).transpose(2, 0, 1)[None] for rows in values]
        heads.append(tuple(np.ascontiguousarray(level) for level in maps))
        begin = end
    return heads


if __name__ == "__main__":
    main()
