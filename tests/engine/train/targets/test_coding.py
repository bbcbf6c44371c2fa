"""Anchors and codes, against the decoder's oracle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.config.model import RetinaFaceConfig
from engine.config.presets import PRESETS, preset
from engine.errors import InvalidArgumentError
from engine.train.targets.anchors import anchors_of, per_anchor
from engine.train.targets.coding import decode_boxes, encode_boxes, encode_landmarks, move_anchors
from tests.engine.train.targets.cases import CASCADE
from tests.support.oracles.anchor_decode import Decoded, anchor_decode

SIZE = (64, 32)


def decode(config: RetinaFaceConfig, heads: list[list[np.ndarray]]) -> Decoded:
    """Decode every anchor of one image, in the order of the anchors."""
    levels, everything = config.levels, config.num_anchors(*SIZE)
    found = anchor_decode(
        [tuple(level) for level in heads],
        [level.stride for level in levels],
        [level.anchors for level in levels],
        config.variances,
        0.0,
        everything,
    )[0]
    order = np.argsort(found.anchors)
    assert len(order) == everything
    assert found.payload is not None
    rows = found.boxes[order], found.scores[order], found.payload[order]
    return Decoded(sorted(found.anchors), *rows, found.classes)


def zeros(config: RetinaFaceConfig, values: int) -> list[np.ndarray]:
    return [np.zeros((1, values * len(v.anchors), *config.map_size(v, *SIZE))) for v in config.levels]


def maps(config: RetinaFaceConfig, rows: np.ndarray) -> list[np.ndarray]:
    """Write [A, values] into the channels of heads."""
    found, start = [], 0
    for level in config.levels:
        height, width = config.map_size(level, *SIZE)
        count = height * width * len(level.anchors)
        cells = rows[start : start + count].reshape(height, width, -1)
        found.append(cells.transpose(2, 0, 1)[None])
        start += count
    return found


@pytest.mark.parametrize("name", PRESETS)
def test_anchors_are_where_the_decoder_has_them(name: str) -> None:
    config = replace(PRESETS[name], cascade=False)
    heads = [zeros(config, values) for values in (2, 4, 10)]
    decoded = decode(config, [list(level) for level in zip(*heads, strict=True)])
    anchors = anchors_of(config, *SIZE).numpy()
    corners = np.concatenate([anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2], axis=1)
    assert anchors.dtype == np.float32
    np.testing.assert_allclose(corners, decoded.boxes, rtol=1e-6, atol=1e-5)  # sides are rounded to float32


@pytest.mark.parametrize("name", ["mobilenet0.25", "full", "resnet18-lite"])
def test_codes_are_what_the_decoder_turns_into_boxes_and_landmarks(rng: np.random.Generator, name: str) -> None:
    config = replace(preset(name), cascade=True)
    anchors = anchors_of(config, *SIZE).double()
    corner = torch.tensor(rng.uniform(0, 50, (len(anchors), 2)))
    boxes = torch.cat([corner, corner + torch.tensor(rng.uniform(2, 60, (len(anchors), 2)))], 1)
    landmarks = torch.tensor(rng.uniform(-10, 80, (len(anchors), 5, 2)))
    first = torch.tensor(rng.normal(size=(len(anchors), 4)))
    moved = move_anchors(first, anchors, config.variances)
    codes = encode_boxes(boxes, moved, config.variances)
    points = encode_landmarks(landmarks, moved, config.variances)
    torch.testing.assert_close(decode_boxes(codes, moved, config.variances), boxes)
    heads = [zeros(config, 2), *(maps(config, rows.numpy()) for rows in (codes, points, first))]
    decoded = decode(config, [list(level) for level in zip(*heads, strict=True)])
    np.testing.assert_allclose(decoded.boxes, boxes, rtol=1e-5, atol=1e-4)
    assert decoded.payload is not None
    np.testing.assert_allclose(decoded.payload, landmarks.flatten(1), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(per_anchor([torch.tensor(m) for m in heads[1]], "box_deltas", 4)[0], codes)


def test_refuses_other_shapes() -> None:
    with pytest.raises(InvalidArgumentError, match=r"a box_deltas head has the shape \(1, 6, 2, 2\), expected"):
        per_anchor([torch.zeros(1, 6, 2, 2)], "box_deltas", 4)
    with pytest.raises(InvalidArgumentError, match="input height is 33"):
        anchors_of(CASCADE, 33, 32)
