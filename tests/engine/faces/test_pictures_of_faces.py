"""Faces drawn, cut out, and given to supervision."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Detections, InvalidArgumentError, OutputError
from engine.types import Image
from tests.support.data import read_image
from tests.support.faces import random_detections

BOXES: list[list[float]] = [[10.0, 20, 50, 80], [60.4, -30, 130.2, 40.5], [-90, -90, -50, -50]]
FACES = Detections(BOXES, [0.9, 0.8, 0.7], np.full((3, 5, 2), 30.0), (90, 120))


@pytest.fixture
def image(rng: np.random.Generator) -> Image:
    return rng.integers(0, 256, (90, 120, 3), np.uint8)


def test_a_plot_is_a_copy_that_differs_at_the_faces_only(image: Image) -> None:
    before = image.copy()
    plot = FACES[:1].plot(image)
    assert np.array_equal(image, before)
    assert plot.dtype == np.uint8
    changed = (plot != image).any(axis=2)
    assert changed[20:80, 10].all()
    assert changed[20, 10:50].all()
    assert changed[30, 30]
    assert not changed[84:, :].any()  # one box, whose lines are two pixels wide, and a label in it
    assert not changed[:, 70:].any()


def test_a_plot_of_an_rgb_array_has_the_same_colours(image: Image) -> None:
    swapped = np.ascontiguousarray(image[..., ::-1])
    assert np.array_equal(FACES.plot(swapped, color="rgb")[..., ::-1], FACES.plot(image))


@pytest.mark.parametrize("count", [1, 5, 68, 128])
def test_every_point_is_drawn(rng: np.random.Generator, count: int) -> None:
    image = np.full((90, 120, 3), 128, np.uint8)
    points = rng.integers(5, 85, (1, count, 2))
    box = [[-50, -50, 200, 200]]  # its lines are outside
    alone, with_points = Detections(box, [0.9]).plot(image), Detections(box, [0.9], points).plot(image)
    changed = (alone != with_points).any(axis=2)
    assert all(changed[y, x] for x, y in points[0])
    y, x = np.nonzero(changed)
    nearest = np.hypot(x[:, None] - points[0, :, 0], y[:, None] - points[0, :, 1]).min(axis=1)
    # A radius of one pixel where there are many, else of two; smoothing reaches a pixel further along each axis.
    assert nearest.max() <= (1 if count > 10 else 2) + math.sqrt(2)


def test_a_mesh_is_drawn_where_it_faces_the_camera() -> None:
    image = np.full((90, 120, 3), 128, np.uint8)
    # Two triangles of a square; of the second one the back is seen.
    vertices = np.array([[[20, 20, 0], [20, 60, 0], [60, 60, 0], [60, 20, 0]]] * 2, np.float32)
    vertices[1] = np.nan
    triangles = [[0, 1, 2], [0, 3, 2]]
    boxes = [[-50, -50, 200, 200]] * 2  # their lines are outside
    alone = Detections(boxes, [0.9, 0.8]).plot(image)
    surface = (Detections(boxes, [0.9, 0.8], vertices=vertices, triangles=triangles).plot(image) != alone).any(axis=2)
    assert surface[20:61, 20].all()
    assert surface[60, 20:61].all()
    assert surface[range(20, 61), range(20, 61)].all()
    assert not surface[20, 30:70].any()
    assert not surface[:55, 60].any()
    points = (Detections(boxes, [0.9, 0.8], vertices=vertices).plot(image) != alone).any(axis=2)
    assert [bool(points[y, x]) for x, y in ((20, 20), (20, 60), (60, 60), (60, 20), (20, 40))] == [True] * 4 + [False]


def test_a_class_has_a_colour_and_a_name() -> None:
    image = np.full((90, 120, 3), 128, np.uint8)
    box, names = [[20, 30, 60, 80]], ["mask", "no mask", "\u00fc\n"]
    plain = Detections(box, [0.9]).plot(image)
    plots = [Detections(box, [0.9], classes=[i], class_names=names).plot(image) for i in (1, 2, 3)]
    lines = {tuple(plot[60, 20].tolist()) for plot in plots}
    assert len(lines) == 3
    assert np.array_equal(plots[0][40:], plain[40:])  # the first class has the colour of faces
    assert all(len(np.unique(np.nonzero((plot != plain).any(axis=2))[1])) > 0 for plot in plots)


def test_faces_far_outside_can_be_drawn(image: Image) -> None:
    far = [[-1e30, -1e30, 1e30, 1e30], [1e9, 1e9, 2e9, 2e9], [-3e4, 10, 9e4, 20]]
    assert Detections(far, [0.9] * 3, np.full((3, 5, 2), -1e38)).plot(image).shape == image.shape


def expected_crop(image: Image, box: list[float], margin: float) -> Image:
    """The pixels, one by one, that lie in the grown box, at least in part."""
    x1, y1, x2, y2 = box
    dx, dy = (x2 - x1) * margin, (y2 - y1) * margin
    columns = [x for x in range(image.shape[1]) if x + 1 > x1 - dx and x < x2 + dx]
    lines = [y for y in range(image.shape[0]) if y + 1 > y1 - dy and y < y2 + dy]
    return image[np.ix_(lines, columns)]


@pytest.mark.parametrize("margin", [0, 0.1, 0.25, 3])
def test_crops_are_the_pixels_in_box_and_margin(image: Image, rng: np.random.Generator, margin: float) -> None:
    found = random_detections(rng, 20)
    crops = found.crops(image, margin=margin)
    for crop, box in zip(crops, found.boxes.tolist(), strict=True):
        expected = expected_crop(image, box, margin)
        assert np.array_equal(crop, expected) or not expected.size
        assert crop.flags.owndata
        assert crop.size


def test_a_face_outside_the_image_has_one_pixel_the_nearest(image: Image) -> None:
    assert np.array_equal(FACES.crops(image, margin=0)[2], image[:1, :1])


def test_saved_crops_are_the_crops(image: Image, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "faces"
    paths = FACES.save_crops(image, folder, name="a photo", margin=0.5)
    assert paths == [folder / f"a photo_{i}.png" for i in range(3)]
    assert sorted(folder.iterdir()) == paths
    crops = FACES.crops(image, margin=0.5)
    for path, crop in zip(paths, crops, strict=True):
        assert np.array_equal(read_image(path), crop)
    swapped = np.ascontiguousarray(image[..., ::-1])
    FACES.save_crops(swapped, str(folder), name="rgb", margin=0.5, color="rgb")
    assert np.array_equal(read_image(folder / "rgb_0.png"), crops[0])
    assert np.array_equal(FACES.crops(swapped, margin=0.5, color="rgb")[0][..., ::-1], crops[0])


@pytest.mark.parametrize("name", ["", "a/b", "/a", "a\0b"])
def test_crops_stay_in_their_folder(image: Image, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="expected a file's name without its folder"):
        FACES.save_crops(image, tmp_path / "x", name=name)
    assert not (tmp_path / "x").exists()


def test_a_folder_that_is_a_file_is_an_output_error(image: Image, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*/x"):
        FACES.save_crops(image, tmp_path / "x")


@pytest.mark.parametrize("margin", [-0.1, float("nan"), float("inf"), "1", True])
def test_impossible_margins_are_refused(image: Image, margin: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="margin is"):
        FACES.crops(image, margin=margin)


def test_another_picture_than_that_of_the_faces_is_refused(image: Image, tmp_path: Path) -> None:
    message = r"image has 120 x 90 pixels \(height x width\), but the faces are of one of 90 x 120"
    turned = np.ascontiguousarray(image.transpose(1, 0, 2))
    for use in (FACES.plot, FACES.crops, lambda picture: FACES.save_crops(picture, tmp_path)):
        with pytest.raises(InvalidArgumentError, match=message):
            use(turned)
    with pytest.raises(InvalidArgumentError, match="color is 'gray', expected 'bgr' or 'rgb'"):
        FACES.plot(image, color="gray")  # type: ignore[arg-type]


def test_supervision_gets_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A double takes the arguments; the names are those of supervision 0.20 and later."""
    double: Any = types.ModuleType("supervision")
    double.Detections = lambda **arguments: arguments
    monkeypatch.setitem(sys.modules, "supervision", double)
    theirs: Any = FACES.to_supervision()
    assert np.array_equal(theirs["xyxy"], FACES.boxes)
    assert np.array_equal(theirs["confidence"], FACES.scores)
    assert theirs["class_id"].tolist() == [0, 0, 0]
    assert theirs["data"]["landmarks"].tolist() == np.full((3, 5, 2), 30.0).tolist()
    without: Any = Detections(BOXES, [0.9, 0.8, 0.7]).to_supervision()
    assert without["data"] == {}
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InvalidArgumentError, match="pip install supervision"):
        FACES.to_supervision()
