"""Use the operators with a network of your own, on NumPy arrays: letterbox, decode, nms, unletterbox.

Usage: python examples/custom_operator.py

With arrays on a GPU (torch, CuPy, PyCUDA) the same calls run the CUDA kernels and give the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.ops import decode, letterbox, nms, unletterbox

SIZE = (256, 256)  # height and width of the network's input
STRIDES = (16, 32)
ANCHOR_SIZES = ((24.0, 48.0), (96.0, 192.0))  # two square anchors per cell of each level, in pixels


def network(batch: NDArray[np.float32]) -> list[tuple[NDArray[np.float32], ...]]:
    """Stand in for a real network: it finds one face, at the third row and second column of the coarse level.

    Returns:
        For each level logits [N, 2A, h, w], box deltas [N, 4A, h, w] and landmark deltas [N, 10A, h, w].
    """
    heads = []
    for stride in STRIDES:
        n, (height, width) = len(batch), (side // stride for side in SIZE)
        heads.append(tuple(np.zeros((n, 2 * values, height, width), np.float32) for values in (2, 4, 10)))
    logits = heads[1][0]
    logits[:, 1, 2, 1] = 4.0  # channel 1: the class "face" of the first anchor, of 96 pixels
    logits[:, 3, 2, 1] = 3.0  # channel 3: of the second anchor, of 192 pixels, which overlaps it
    return heads


def main() -> None:
    """Run the example."""
    image = np.full((300, 400, 3), 127, np.uint8)
    batch, _ = letterbox(image, SIZE, mean=(104.0, 117.0, 123.0))
    candidates = decode(network(batch), strides=STRIDES, anchor_sizes=ANCHOR_SIZES, score_threshold=0.6, top_k=100)
    found = nms(*candidates, iou_threshold=0.2, max_detections=10)
    boxes, _ = unletterbox(found.boxes, found.payload, found.num_detections, [image.shape[:2]], SIZE)
    print(f"{candidates.count[0]} candidates, {found.num_detections[0]} face")
    print(f"score {found.scores[0, 0]:.3f}, box in the image {boxes[0, 0].round(2).tolist()}")


if __name__ == "__main__":
    main()
