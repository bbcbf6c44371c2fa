"""insightface's mnet.25 from its arrays to boxes, as its symbol and detection/retinaface/retinaface.py say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Floats = NDArray[np.float64]
_SCALES = {8: (2, 1), 16: (8, 4), 32: (32, 16)}
_BASE = 16  # the anchor that the scales multiply is [0, 0, 15, 15]


def forward(given: Mapping[str, NDArray[np.float32]], image: torch.Tensor) -> dict[int, list[torch.Tensor]]:
    """Return class scores, box deltas and landmark deltas of each stride, for RGB grey levels [1, 3, H, W]."""
    arrays = {name.split(":")[1]: torch.from_numpy(array).double() for name, array in given.items()}

    def norm(x: torch.Tensor, name: str, statistics: str, epsilon: float) -> torch.Tensor:
        mean, variance = (arrays[f"{name}_{statistics}_{kind}"] for kind in ("mean", "var"))
        return functional.batch_norm(x, mean, variance, arrays[f"{name}_gamma"], arrays[f"{name}_beta"], eps=epsilon)

    def body(x: torch.Tensor, index: int, stride: int, groups: int) -> torch.Tensor:
        weight = arrays[f"mobilenet0_conv{index}_weight"]
        x = functional.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2, groups=groups)
        return functional.relu(norm(x, f"mobilenet0_batchnorm{index}", "running", 1e-5))

    def unit(x: torch.Tensor, name: str, activate: bool = True) -> torch.Tensor:
        weight = arrays[f"{name}_weight"]
        x = functional.conv2d(x, weight, arrays[f"{name}_bias"], padding=weight.shape[2] // 2)
        x = norm(x, f"{name}_bn", "moving", 2e-5)
        return functional.relu(x) if activate else x

    x = body(image.double(), 0, 2, 1)
    features = []
    for block, stride in enumerate((1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)):
        x = body(x, 2 * block + 1, stride, x.shape[1])
        x = body(x, 2 * block + 2, 1, 1)
        if block in (4, 10, 12):
            features.append(x)
    c1, c2, c3 = features
    c3 = unit(c3, "rf_c3_lateral")
    c2 = unit(unit(c2, "rf_c2_lateral") + functional.interpolate(c3, scale_factor=2), "rf_c2_aggr")
    c1 = unit(unit(c1, "rf_c1_red_conv") + functional.interpolate(c2, scale_factor=2), "rf_c1_aggr")
    outputs = {}
    for level, (stride, x) in enumerate(((8, c1), (16, c2), (32, c3)), start=1):
        name = f"rf_c{level}_det"
        reduced = unit(x, f"{name}_context_conv1")
        wide = unit(unit(reduced, f"{name}_context_conv3_1"), f"{name}_context_conv3_2", activate=False)
        fields = [
            unit(x, f"{name}_conv1", activate=False),
            unit(reduced, f"{name}_context_conv2", activate=False),
            wide,
        ]
        x = functional.relu(torch.cat(fields, 1))
        heads = []
        for kind in ("cls_score", "bbox_pred", "landmark_pred"):
            head = f"face_rpn_{kind}_stride{stride}"
            heads.append(functional.conv2d(x, arrays[f"{head}_weight"], arrays[f"{head}_bias"]))
        count, (rows, columns) = 2, x.shape[2:]
        heads[0] = heads[0].reshape(1, 2, count * rows, columns).softmax(1).reshape(1, 2 * count, rows, columns)
        outputs[stride] = heads
    return outputs


def decode(outputs: Mapping[int, list[torch.Tensor]]) -> tuple[Floats, Floats, Floats]:
    """Return scores [n], boxes [n, 4] and landmarks [n, 5, 2] of all anchors: strides, rows, columns, anchors.

    Boxes are as that code gives them: pixels are points, and x2, y2 are the last ones inside.
    """
    scores, boxes, points = [], [], []
    for stride, (probabilities, deltas, offsets) in outputs.items():
        rows, columns = probabilities.shape[2:]
        for row in range(rows):
            for column in range(columns):
                for anchor, scale in enumerate(_SCALES[stride]):
                    side = float(_BASE * scale)
                    x, y = ((_BASE - 1) / 2 + stride * cell for cell in (column, row))
                    dx, dy, dw, dh = deltas[0, 4 * anchor : 4 * anchor + 4, row, column].tolist()
                    centre, size = (x + dx * side, y + dy * side), (np.exp(dw) * side, np.exp(dh) * side)
                    half = [(length - 1) / 2 for length in size]
                    boxes.append([centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]])
                    own = offsets[0, 10 * anchor : 10 * anchor + 10, row, column].reshape(5, 2).numpy()
                    points.append(own * side + [x, y])
                    scores.append(float(probabilities[0, 2 + anchor, row, column]))
    return np.array(scores), np.array(boxes), np.array(points)
