"""Anchors from faces, and what anchors reach, against all anchors one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.config.model import RetinaFaceConfig
from engine.config.presets import PRESETS, preset
from engine.errors import InvalidArgumentError
from engine.train.anchors.estimate import estimate_anchors
from engine.train.anchors.reach import best_overlaps, face_sizes
from tests.support.oracles.boxes import iou

SIZE = (96, 160)


def faces(rng: np.random.Generator, sizes: NDArray[np.float64], side: int = 640) -> NDArray[np.float64]:
    """Square faces of the given sizes anywhere in a square picture."""
    corner = rng.uniform(0, side - sizes[:, None], (len(sizes), 2))
    return np.concatenate([corner, corner + sizes[:, None]], axis=1)


@pytest.mark.parametrize("name", ["mobilenet0.25", "full", "resnet18-lite"])
def test_overlaps_equal_those_of_all_anchors(rng: np.random.Generator, name: str) -> None:
    config = preset(name)
    corner = rng.uniform(-20, 150, (60, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(2, 90, (60, 2))], axis=1)
    anchors = []
    for level in config.levels:
        rows, columns = -(-SIZE[0] // level.stride), -(-SIZE[1] // level.stride)
        for width, height in level.anchors:
            y, x = (np.indices((rows, columns)).reshape(2, -1) + 0.5) * level.stride
            anchors.append(np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1))
    expected = iou(boxes[:, None], np.concatenate(anchors)[None]).max(1)
    np.testing.assert_allclose(best_overlaps(config, boxes, SIZE), expected, rtol=1e-9)


def sizes_of(config: RetinaFaceConfig) -> list[tuple[float, ...]]:
    return [level.anchor_sizes for level in config.levels]


def test_sizes_of_faces_become_sizes_of_anchors(rng: np.random.Generator) -> None:
    """Faces of six sizes, between the anchors of the preset."""
    wanted = np.array([22.0, 44, 90, 180, 300, 400])
    sizes = np.concatenate([size * np.exp(rng.normal(0, 0.01, 200)) for size in wanted])
    config, report = estimate_anchors(preset("mobilenet0.25"), faces(rng, sizes), (640, 640))
    assert config.name == "mobilenet0.25-anchors"
    np.testing.assert_allclose(np.concatenate(sizes_of(config)), wanted, rtol=0.01)
    assert replace(config, name="mobilenet0.25", levels=preset("mobilenet0.25").levels) == preset("mobilenet0.25")
    assert report.all.faces == 1200
    assert report.all.before[1] < report.all.after[1] == 1.0
    assert sum(band.faces for band in report.bands) == 1200
    for band in report.bands:
        inside = (sizes >= band.least) & (sizes < band.below)
        assert band.faces == inside.sum()
    weights = [band.faces for band in report.bands]
    assert np.average([band.after[0] for band in report.bands], weights=weights) == pytest.approx(report.all.after[0])
    assert report.lines()[0] == "anchors before: 16 32 | 64 128 | 256 512"
    assert report.lines()[-1].split()[:2] == ["all", "1200"]


def test_the_order_within_a_level_stays(rng: np.random.Generator) -> None:
    sizes = np.repeat([22.0, 44, 90, 180, 300, 400], 50)
    old = preset("insightface-mobilenet0.25")
    config, _ = estimate_anchors(old, faces(rng, sizes), (640, 640))
    np.testing.assert_allclose(sizes_of(config), [(44, 22), (180, 90), (400, 300)], rtol=1e-3)


def test_faces_of_one_size_move_the_nearest_anchor_alone(rng: np.random.Generator) -> None:
    old = preset("full")  # whose smallest anchors have 16 pixels
    config, report = estimate_anchors(old, faces(rng, np.full(40, 10.0)), (640, 640))
    assert sizes_of(config) == [(10.0, 20.16, 25.4), *sizes_of(old)[1:]]
    assert [band.faces for band in report.bands] == [40]


def test_fewer_faces_than_anchors(rng: np.random.Generator) -> None:
    boxes = faces(rng, np.array([45.0]))
    config, report = estimate_anchors(preset("full"), boxes, (640, 640))
    assert report.all.faces == 1
    assert report.all.after >= report.all.before
    assert all(np.diff(np.concatenate(sizes_of(config))) > 0)


def test_anchors_that_reach_all_faces_stay(rng: np.random.Generator) -> None:
    old = preset("mobilenet0.25")
    config, report = estimate_anchors(old, faces(rng, np.full(40, 64.0)), (640, 640))
    assert config is old
    assert report.lines()[1] == "anchors after:  the same, none reach more"


@pytest.mark.parametrize("name", PRESETS)
def test_never_reach_less_than_before(rng: np.random.Generator, name: str) -> None:
    boxes = faces(rng, np.exp(rng.normal(3, 0.8, 300)).clip(3, 600))
    old = replace(PRESETS[name], name="n" * 64)
    config, report = estimate_anchors(old, boxes, (640, 640))
    assert sum(report.all.after) >= sum(report.all.before)
    assert len(config.name) <= 64
    found = best_overlaps(config, boxes, (640, 640))
    assert report.all.after == (float((found >= 0.35).mean()), float((found >= 0.5).mean()))
    assert [len(level.anchors) for level in config.levels] == [len(level.anchors) for level in old.levels]
    again, _ = estimate_anchors(config, boxes, (640, 640))
    assert again.name == config.name


def test_boxes_without_size_are_left_out(rng: np.random.Generator) -> None:
    proper = faces(rng, np.array([20.0, 45, 100]))
    broken = [[5, 5, 5, 9], [9, 5, 5, 9], [np.nan, 0, 1, 1], [0, 0, np.inf, 9]]
    with_broken = estimate_anchors(preset("full"), np.concatenate([proper, broken]), (640, 640))
    assert with_broken == estimate_anchors(preset("full"), proper, (640, 640))
    with pytest.raises(InvalidArgumentError, match="no face has a size, expected at least one"):
        estimate_anchors(preset("full"), np.array(broken), (640, 640))
    assert face_sizes(proper) == pytest.approx([20, 45, 100])
