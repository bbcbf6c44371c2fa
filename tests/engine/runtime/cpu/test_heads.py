"""CpuNetwork with heads of any kind, of a network that is a double, against float64 oracles."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.config.detection import Thresholds
from engine.config.heads import ValueHead
from engine.config.model import HEADS, RetinaFaceConfig
from engine.config.presets import preset
from engine.runtime.cpu import session
from engine.runtime.cpu.session import CpuNetwork
from engine.runtime.session import RuntimeOptions
from tests.support.oracles.anchor_decode import anchor_decode
from tests.support.oracles.batched_nms import nms

SIDE, BATCH = 64, 3
THRESHOLDS = Thresholds(score=0.4, iou=0.3, top_k=80, max_detections=30)
# Classes with the background, points (0: no landmark heads), values of the first of two heads (0: none), coding, and
# whether suppression is class-agnostic. 34 and 6 values are points.
CASES = [
    (2, 0, 1, "sigmoid", False),
    (2, 1, 0, "softmax", False),
    (3, 4, 1, "sigmoid", True),
    (3, 5, 144, "softmax", False),
    (4, 68, 0, "softmax", True),
    (5, 98, 1, "sigmoid", False),
    (5, 128, 144, "softmax", True),
    (3, 5, 34, "softmax", False),
    (2, 0, 6, "softmax", False),
]


def config_of(classes: int, points: int, values: int, coding: str, agnostic: bool) -> RetinaFaceConfig:
    config = replace(
        preset("mobilenet0.25"),
        classes=tuple(f"class {c}" for c in range(1, classes)),
        class_coding=coding,
        class_agnostic=agnostic,
        values=(ValueHead("first", values, "points" if values % 4 == 2 else "plain"), ValueHead("second", 2))
        if values
        else (),
    )
    return replace(config, mirrored_points=tuple(range(points))) if points else replace(config, heads=HEADS[:2])


def random_heads(rng: np.random.Generator, config: RetinaFaceConfig) -> list[NDArray[np.float32]]:
    """Return the heads of a batch, in the order of head_names, of which some dozens of pairs are found."""
    shapes = config.head_shapes(SIDE, SIDE)
    heads = []
    for name, (channels, *cells) in shapes.items():
        head = rng.normal(size=(BATCH, channels, *cells)) * (2 if name.startswith("logits") else 1)
        if name.startswith("logits"):
            logits = head.reshape(BATCH, -1, config.head_values("logits"), *cells)
            hidden = 8 * (rng.random((BATCH, logits.shape[1], *cells)) < 0.7)
            if config.class_coding == "sigmoid":
                logits -= hidden[:, :, None]
            else:
                logits[:, :, 0] += hidden
        heads.append(head.astype(np.float32))
    return heads


@pytest.mark.parametrize("case", CASES)
def test_detections_are_those_of_the_oracles(
    case: tuple[int, int, int, str, bool], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes, points, _, _, agnostic = case
    config = config_of(*case)
    heads = random_heads(rng, config)
    images = iter(range(BATCH))
    runner = SimpleNamespace(
        input=lambda height, width: np.empty((1, 3, height, width), np.float32),
        run=lambda: [head[image : image + 1] for image in [next(images)] for head in heads],
    )
    network = SimpleNamespace(name="a double", channels_last=False, runner=lambda alone: runner)
    monkeypatch.setattr(session, "load_network", lambda *_: network)
    found = CpuNetwork(b"", config, THRESHOLDS, options=RuntimeOptions(threads=1)).run(
        np.zeros((BATCH, 3, SIDE, SIDE), np.float32)
    )

    assert (found.landmarks is None) == (points == 0)
    assert (found.classes is None) == (classes == 2)
    assert found.values.keys() == {head.name for head in config.values}
    for image, decoded in enumerate(oracle(heads, config)):
        # float32, as suppression sees them: an IoU at the threshold is decided alike.
        boxes, scores = decoded.boxes.astype(np.float32), decoded.scores.astype(np.float32)
        numbers = np.array(decoded.classes, np.int32)
        kept = nms(
            boxes, scores, len(scores), THRESHOLDS.iou, THRESHOLDS.max_detections,
            classes=None if agnostic else numbers,
        )  # fmt: skip
        count = int(found.num_detections[image])
        assert count == len(kept.indices) > 3
        # float32 arithmetic of coordinates up to a few hundred pixels.
        np.testing.assert_allclose(found.boxes[image, :count], kept.boxes, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(found.scores[image, :count], kept.scores, rtol=1e-5)
        if found.classes is not None:
            np.testing.assert_array_equal(found.classes[image, :count], numbers[kept.indices])
        carried = np.zeros((count, 0)) if decoded.payload is None else decoded.payload[kept.indices]
        parts = {**({} if found.landmarks is None else {"landmarks": found.landmarks}), **found.values}
        ours = np.concatenate([np.zeros((count, 0)), *(part[image, :count] for part in parts.values())], axis=1)
        np.testing.assert_allclose(ours, carried, rtol=1e-5, atol=1e-3)
        for head in config.values:
            if not head.is_points:  # they pass through as they are
                source = np.concatenate([given[image].ravel() for given in of_kind(heads, config, head.name)])
                assert np.isin(found.values[head.name][image, :count], source).all()
        rest: list[Any] = [found.boxes, found.scores, found.classes, found.landmarks, *found.values.values()]
        assert not any(array[image, count:].any() for array in rest if array is not None)


def oracle(heads: list[NDArray[np.float32]], config: RetinaFaceConfig) -> list[Any]:
    """Decode with the oracle, which takes the heads of a level as (logits, boxes, landmarks, cascade, values...)."""
    kinds = ["logits", "box_deltas", "landmark_deltas", "anchor_deltas", *(head.name for head in config.values)]
    by_name = dict(zip(config.head_names(), heads, strict=True))
    return anchor_decode(
        [tuple(by_name.get(f"{kind}_{level.stride}") for kind in kinds) for level in config.levels],
        [level.stride for level in config.levels],
        [level.anchors for level in config.levels],
        config.variances,
        THRESHOLDS.score,
        THRESHOLDS.top_k,
        config.num_classes,
        config.class_coding == "sigmoid",
        tuple(head.is_points for head in config.values),
    )


def of_kind(heads: list[NDArray[np.float32]], config: RetinaFaceConfig, kind: str) -> list[NDArray[np.float32]]:
    """Return the heads of a kind, a level after the other."""
    names = config.head_names()
    return [head for name, head in zip(names, heads, strict=True) if name.rpartition("_")[0] == kind]
