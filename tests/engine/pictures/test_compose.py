"""Composed pictures: reproducible, with faces exactly inside their boxes."""

from __future__ import annotations

import hashlib
from itertools import combinations

import numpy as np
import pytest

from engine.config.detection import InputSize
from engine.config.presets import preset
from engine.errors import InvalidArgumentError
from engine.metrics.average_precision import SIZE_BINS, average_precision
from engine.metrics.matching import box_size
from engine.pictures.backgrounds import crop, texture
from engine.pictures.compose import ComposedImage, FaceLimits, compose
from engine.pictures.faces import CutFace, LabelledImage, cut_faces, feather, resized
from engine.runtime.cpu.network_detector import NetworkDetector
from engine.types import Image
from tests.support.data import ASTRONAUT_FACE, astronaut, labelled_photos
from tests.support.engines import network

RED, BLUE = (0, 0, 255), (255, 0, 0)


@pytest.fixture(scope="module")
def photo() -> LabelledImage:
    """A red face on blue."""
    image = np.full((900, 1000, 3), BLUE, np.uint8)
    image[200:680, 300:700] = RED
    return LabelledImage(image, np.array([[300.0, 200.0, 700.0, 680.0]]))


def digest(pictures: list[ComposedImage]) -> list[str]:
    return [hashlib.sha256(p.image.tobytes() + p.boxes.tobytes()).hexdigest() for p in pictures]


def test_equal_seeds_give_equal_pictures(photo: LabelledImage) -> None:
    first = digest(list(compose([photo], count=4, size=(160, 200), seed=5)))
    assert digest(list(compose([photo], count=4, size=(160, 200), seed=5))) == first
    assert len(set(first)) == 4
    # A picture does not depend on the number of pictures.
    assert digest(list(compose([photo], count=2, size=(160, 200), seed=5))) == first[:2]
    assert not set(digest(list(compose([photo], count=4, size=(160, 200), seed=6)))) & set(first)


def test_faces_lie_exactly_in_their_boxes(photo: LabelledImage) -> None:
    for picture in compose([photo], count=60, size=(300, 400), seed=1, limits=FaceLimits(max_faces=1)):
        assert picture.image.shape == (300, 400, 3)
        assert picture.image.dtype == np.uint8
        ((x1, y1, x2, y2),) = picture.boxes.tolist()
        red = (picture.image[..., 2] > 150) & (picture.image[..., 0] < 100)
        centre_x, centre_y = np.arange(400) + 0.5, np.arange(300) + 0.5
        # A pixel's centre within one pixel of an edge may be either: averaging mixes the two sides.
        inside = np.outer((centre_y > y1 + 1) & (centre_y < y2 - 1), (centre_x > x1 + 1) & (centre_x < x2 - 1))
        near = np.outer((centre_y > y1 - 2) & (centre_y < y2 + 2), (centre_x > x1 - 2) & (centre_x < x2 + 2))
        within = np.outer((centre_y > y1 - 1) & (centre_y < y2 + 1), (centre_x > x1 - 1) & (centre_x < x2 + 1))
        assert red[inside].all()
        assert not red[near & ~within].any()


@pytest.mark.slow
def test_boxes_are_inside_apart_and_of_all_sizes(photo: LabelledImage) -> None:
    sizes = []
    for picture in compose([photo], count=150, size=(640, 640), seed=2):
        boxes = picture.boxes.astype(np.float64)
        assert 1 <= len(boxes) <= 8
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= 640).all()
        for a, b in combinations(boxes, 2):
            shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
            assert shared <= 0.05 * min(box_size(a)[0], box_size(b)[0]) ** 2 + 1e-3
        sizes += box_size(boxes).tolist()
    assert 8 <= min(sizes) < 9
    assert 350 < max(sizes) <= 400
    counts, _ = np.histogram(sizes, [low for low, _ in SIZE_BINS] + [400])
    # About 130 +- 12 of each octave. The last range is less than an octave, and large faces often find no room.
    assert counts[:4].min() > 90
    assert counts.min() > 30


def test_rounding_to_pixels_leaves_no_face_out_of_range(photo: LabelledImage) -> None:
    for picture in compose([photo], count=20, size=(200, 200), limits=FaceLimits((8, 9))):
        assert 8 <= box_size(picture.boxes).min() <= box_size(picture.boxes).max() <= 9


def test_no_face_is_hidden_by_the_surroundings_of_another(photo: LabelledImage) -> None:
    shares = []
    for picture in compose([photo], count=100, size=(300, 300), seed=8):
        red = (picture.image[..., 2] > 150) & (picture.image[..., 0] < 100)
        for x1, y1, x2, y2 in picture.boxes[box_size(picture.boxes) > 30].round().astype(int):
            shares.append(red[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].mean())
    assert len(shares) > 100
    # Each neighbour hides 5 % at most, and several neighbours are rare.
    assert min(shares) > 0.85


def test_small_pictures_have_small_faces(photo: LabelledImage) -> None:
    for picture in compose([photo], count=50, size=(40, 90), seed=3):
        assert len(picture.boxes) >= 1
        assert box_size(picture.boxes).max() <= 0.8 * 40 + 1


def test_given_backgrounds_are_used(photo: LabelledImage) -> None:
    green: Image = np.full((50, 70, 3), (0, 200, 0), np.uint8)
    for picture in compose([photo], [green], count=10, size=(128, 128), seed=1, limits=FaceLimits((8, 20), 1)):
        assert ((picture.image == (0, 200, 0)).all(axis=2)).mean() > 0.7


def test_cut_and_mirrored_faces_keep_their_boxes() -> None:
    image = np.random.default_rng(1).integers(0, 255, (30, 50, 3), np.uint8)
    face = CutFace(image, np.array([5.0, 6.0, 25.0, 26.0]))
    mirrored = resized(face, (30, 50), mirrored=True)
    assert np.array_equal(mirrored.image, image[:, ::-1])
    assert mirrored.box.tolist() == [25, 6, 45, 26]
    assert resized(face, (60, 25), mirrored=False).box.tolist() == [2.5, 12, 12.5, 52]
    halved = resized(face, (15, 25), mirrored=False).image
    np.testing.assert_allclose(halved, image.reshape(15, 2, 25, 2, 3).mean((1, 3)), atol=0.51)


def test_opacity_is_full_on_the_face_and_fades_to_the_edges() -> None:
    opacity = feather(CutFace(np.zeros((40, 50, 3), np.uint8), np.array([20.0, 10.0, 40.0, 40.0])))
    assert (opacity[10:, 20:40] == 1).all()
    assert opacity[:, 0].max() < 0.01
    assert opacity[0].max() < 0.01
    assert (np.diff(opacity[30, :20]) > 0).all()
    assert (np.diff(opacity[30, 40:]) < 0).all()
    # The photo ends at the lower edge of the face: there is no margin to fade.
    assert opacity[39, 30] == 1


def test_a_cut_shows_no_other_face() -> None:
    image: Image = np.zeros((400, 400, 3), np.uint8)
    near = np.array([[100, 100, 200, 200], [230, 100, 260, 140]])
    wide, small = cut_faces(LabelledImage(image, near))
    # 25 % of 100 pixels reaches up to 225; 35 % would touch the other.
    assert wide.image.shape == (150, 150, 3)
    assert wide.box.tolist() == [25, 25, 125, 125]
    assert small.box[2] - small.box[0] == 30
    touching = np.array([[100, 100, 200, 200], [190, 100, 260, 140], [300, 300, 330, 330]])
    assert [face.size for face in cut_faces(LabelledImage(image, touching))] == [30]


def test_boxes_beyond_the_photo_are_cut_with_it_and_tiny_ones_left_out() -> None:
    image: Image = np.zeros((100, 100, 3), np.uint8)
    boxes = np.array([[-20.0, -20.0, 40.0, 40.0], [80.0, 80.0, 87.0, 87.0]])
    (face,) = cut_faces(LabelledImage(image, boxes))
    assert face.box.tolist() == [0, 0, 40, 40]
    assert face.image.shape == (60, 60, 3)
    outside = np.array([[200.0, 200.0, 300.0, 300.0]])
    assert cut_faces(LabelledImage(image, outside)) == []


@pytest.mark.parametrize("size", [(64, 64), (33, 200), (300, 41)])
def test_backgrounds_have_the_requested_size(size: tuple[int, int], rng: np.random.Generator) -> None:
    drawn = texture(size, rng)
    assert drawn.shape == (*size, 3)
    assert drawn.std() > 5
    for shape in ((50, 60), (1, 1), (700, 20)):
        assert crop(np.zeros((*shape, 3), np.uint8), size, rng).shape == (*size, 3)


@pytest.fixture(scope="module")
def detector() -> NetworkDetector:
    return NetworkDetector(network("fp32", size=InputSize.fixed(640, 640)), preset("mobilenet0.25"))


def precision(detector: NetworkDetector, pictures: list[ComposedImage], score: float) -> float:
    """Average precision of the default weights."""
    found = detector.detect((picture.image for picture in pictures), score_threshold=score)
    result = average_precision([picture.boxes for picture in pictures], found)
    assert result is not None
    return result


@pytest.mark.parametrize(("smallest", "score"), [(24, 0.02), (32, 0.5)])
@pytest.mark.slow
def test_the_detector_finds_composed_faces_where_the_labels_say(
    detector: NetworkDetector, smallest: float, score: float
) -> None:
    source = LabelledImage(astronaut(), ASTRONAUT_FACE[None])
    pictures = list(compose([source], count=20, seed=4, limits=FaceLimits((smallest, 400))))
    # Below 32 pixels the scores of this checkpoint fall, but the faces are still found.
    assert precision(detector, pictures, score) >= 0.98


@pytest.mark.slow
def test_the_detector_finds_faces_from_many_photos(detector: NetworkDetector) -> None:
    sources = [LabelledImage(photo.image, photo.boxes) for photo in labelled_photos()]
    pictures = list(compose(sources, count=20, seed=4, limits=FaceLimits((32, 400))))
    assert precision(detector, pictures, 0.5) >= 0.95


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": -1}, "count is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"limits": FaceLimits(max_faces=0)}, "max_faces is 0"),
        ({"limits": FaceLimits(face_sizes=(3, 10))}, "face_sizes is"),
        ({"limits": FaceLimits(face_sizes=(20, 10))}, "face_sizes is"),
        ({"limits": FaceLimits(face_sizes=(8, float("inf")))}, "face_sizes is"),
        ({"size": (10, 640)}, "size is"),
        ({"size": (640, 20000)}, "size is"),
        ({"sources": []}, "no face can be cut from 0 photos"),
        ({"sources": [LabelledImage(np.zeros((9, 9, 3), np.uint8), np.zeros((0, 4)))]}, "from 1 photos"),
        ({"sources": [LabelledImage(np.zeros((9, 9, 2), np.uint8), np.zeros((0, 4)))]}, r"sources\[0\] has shape"),
        ({"sources": [LabelledImage(np.zeros((9, 9, 3), np.uint8), np.zeros(4))]}, r"sources\[0\]: boxes"),
        ({"sources": [LabelledImage(np.zeros((9, 9, 3), np.uint8), np.full((1, 4), np.nan))]}, r"sources\[0\]: boxes"),
    ],
)
def test_bad_arguments_are_refused(photo: LabelledImage, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        compose(**{"sources": [photo], **arguments})  # type: ignore[arg-type]


def test_a_background_that_is_no_picture_is_named(photo: LabelledImage) -> None:
    with pytest.raises(InvalidArgumentError, match=r"backgrounds\[0\] has dtype float64"):
        next(compose([photo], [np.zeros((9, 9, 3))], count=1))  # type: ignore[list-item]
