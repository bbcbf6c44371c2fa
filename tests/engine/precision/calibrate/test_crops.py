"""Crops around faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.precision.calibrate.crops import crop, face_centres
from engine.precision.calibrate.images import CalibrationImages, find_images
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.simulate import Simulation
from engine.runtime.letterbox import Letterbox
from tests.support import graphs

HEIGHT, WIDTH = 352, 640


@pytest.fixture
def images(tmp_path: Path) -> CalibrationImages:
    """Four pictures of random pixels, of the input's size."""
    rng = np.random.default_rng(1)
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"{i}.png"), rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    return find_images(tmp_path, 4, Letterbox((HEIGHT, WIDTH), graphs.CONFIG, enlarge=False))


def _place(images: CalibrationImages, part: np.ndarray) -> tuple[int, int, int, bool]:
    """Find a crop: picture, y, x and whether it is mirrored."""
    for index in range(4):
        batch = images.batch(index)
        for mirrored in (False, True):
            wanted = part[..., ::-1] if mirrored else part
            for y in range(0, HEIGHT - 320 + 1, 32):
                for x in range(0, WIDTH - 320 + 1, 32):
                    if np.array_equal(batch[:, :, y : y + 320, x : x + 320], wanted):
                        return index, y, x, mirrored
    raise AssertionError("not a part of a picture at multiples of 32")


@pytest.mark.parametrize("face", [(0, 0), (344, 632), (336, 400), (200, 72), (8, 320), (344, 328)])
def test_a_crop_has_its_face(images: CalibrationImages, rng: np.random.Generator, face: tuple[int, int]) -> None:
    seen = set()
    for _ in range(25):
        part = crop(images, {2: [face]}, rng)
        assert part.shape == (1, 3, 320, 320)
        index, y, x, mirrored = _place(images, part)
        assert index == 2
        assert y <= face[0] < y + 320
        assert x <= face[1] < x + 320
        seen.add((y, x, mirrored))
    assert {mirrored for _, _, mirrored in seen} == {False, True}
    assert len(seen) > 3 or face in ((0, 0), (344, 632))


def test_pictures_without_faces_are_cut_anywhere(images: CalibrationImages, rng: np.random.Generator) -> None:
    places = [_place(images, crop(images, {0: [], 3: []}, rng)) for _ in range(40)]
    assert {place[0] for place in places} == {0, 3}
    assert {place[1] for place in places} == {0, 32}
    assert min(place[2] for place in places) <= 32
    assert max(place[2] for place in places) >= 288


def test_crops_are_repeatable(images: CalibrationImages) -> None:
    centres = {0: [(8, 16)], 1: [], 2: [(100, 300), (300, 600)]}
    one, two = (np.random.default_rng(4) for _ in range(2))
    for _ in range(5):
        np.testing.assert_array_equal(crop(images, centres, one), crop(images, centres, two))


def test_centres_are_cells_where_the_reference_sees_a_face() -> None:
    graph = Graph(graphs.tiny_detector(), graphs.SIZE)
    network = Simulation(graph)
    batch = graphs.images(3, scale=1 / 10)
    given = face_centres(graphs.CONFIG, network, batch)
    heads = network.run(torch.from_numpy(batch))
    wanted = []
    for stride in (8, 16, 32):
        logits = heads[f"logits_{stride}"].detach().numpy()[0]
        face = (logits[1] > logits[0]) | (logits[3] > logits[2])
        wanted += [(int(y) * stride, int(x) * stride) for y, x in np.argwhere(face)]
    assert list(given) == wanted
    assert wanted
