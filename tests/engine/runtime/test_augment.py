"""Test-time augmentation: views, mapping of faces back to the image, merging, and errors."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import InvalidArgumentError, TRTRetinaFace
from engine.cli import build_main
from engine.config.detection import InputSize, Thresholds
from engine.config.heads import ValueHead
from engine.config.model import HEADS
from engine.config.presets import preset
from engine.faces import Detections
from engine.runtime.augment import detect_views, make_augmentation, merge, scaled_size, to_image
from tests.support.data import ASTRONAUT_FACE, astronaut, labelled_photos
from tests.support.engines import build
from tests.support.oracles.boxes import iou

MIRRORED = [1, 0, 2, 4, 3]  # the left eye is the mirror image's right eye, and so on


def _mirrored(faces: Detections, width: int) -> Detections:
    assert faces.landmarks is not None
    x1, y1, x2, y2 = faces.boxes.T
    landmarks = faces.landmarks[:, MIRRORED] * [-1, 1] + [width, 0]
    return Detections(np.stack([width - x2, y1, width - x1, y2], 1), faces.scores, landmarks.astype(np.float32))


def _assert_equal(a: Detections, b: Detections, pixels: float) -> None:
    assert len(a) == len(b) > 0
    assert np.abs(a.boxes - b.boxes).max() <= pixels
    assert np.abs(a.scores - b.scores).max() <= 1e-5
    assert a.landmarks is not None
    assert b.landmarks is not None
    assert np.abs(a.landmarks - b.landmarks).max() <= pixels


@pytest.fixture(scope="module")
def fixed_detector(tmp_path_factory: pytest.TempPathFactory) -> TRTRetinaFace:
    path = tmp_path_factory.mktemp("fixed") / "faces.engine"
    build(path, precision="fp32", size=InputSize.fixed(512, 512), max_batch=1)
    return TRTRetinaFace(path, "cpu")


@pytest.mark.parametrize("scales", [None, [480], [400, (600, 700), "original"]])
@pytest.mark.parametrize("voting", [False, True])
def test_the_mirror_image_gives_the_mirrored_faces(
    ranged_detector: TRTRetinaFace, scales: list[Any] | None, voting: bool
) -> None:
    """Both ways the network gets the same two images, so results differ by float32 rounding only."""
    image = astronaut()[:, 30:480]  # sides that are no multiples of the stride
    faces = ranged_detector.detect(image, scales=scales, flip=True, voting=voting)
    other = ranged_detector.detect(np.ascontiguousarray(image[:, ::-1]), scales=scales, flip=True, voting=voting)
    _assert_equal(_mirrored(other, image.shape[1]), faces, pixels=0.01)
    assert faces.landmarks is not None
    left_eye, right_eye, nose, left_mouth, right_mouth = faces.landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]


def test_photos_lose_no_face(ranged_detector: TRTRetinaFace) -> None:
    photos = labelled_photos()
    images = [photo.image for photo in photos]
    plain = ranged_detector.detect(images)
    augmented = ranged_detector.detect(images, scales=[500, (700, 960)], flip=True, voting=True)
    for photo, before, after in zip(photos, plain, augmented, strict=True):
        assert len(after) >= len(before)
        for box in photo.boxes:
            assert max(iou(face, box) for face in after.boxes) >= 0.35
    assert sum(len(photo.boxes) for photo in photos) == 18


@pytest.mark.parametrize("scale", ["original", 512, 512.0, np.float64(512), (512, 512), (4096, 512)])
@pytest.mark.slow
def test_a_scale_that_changes_nothing_equals_the_plain_run(fixed_detector: TRTRetinaFace, scale: Any) -> None:
    """The astronaut's photo is 512 x 512, as is the engine's input."""
    image = astronaut()
    _assert_equal(fixed_detector.detect(image, scales=[scale]), fixed_detector.detect(image), pixels=0)


def test_scales_enlarge_and_lead_back(ranged_detector: TRTRetinaFace) -> None:
    small = np.ascontiguousarray(astronaut()[20:220:2, 120:340:2])
    for scale in (100, 300, (900, 400)):
        faces = ranged_detector.detect(small, scales=[scale])
        assert len(faces) == 1
        assert iou(faces.boxes[0] * 2 + [120, 20, 120, 20], ASTRONAUT_FACE) >= 0.6


def test_lists_and_single_images_agree(ranged_detector: TRTRetinaFace) -> None:
    images = [astronaut(), np.ascontiguousarray(astronaut()[:300, 100:])]
    together = ranged_detector.detect(images, scales=[400], flip=True)
    for image, faces in zip(images, together, strict=True):
        _assert_equal(ranged_detector.detect(image, scales=[400], flip=True), faces, pixels=0)


def test_no_faces_give_no_faces(ranged_detector: TRTRetinaFace) -> None:
    faces = ranged_detector.detect(np.full((330, 500, 3), 127, np.uint8), scales=[330, 600], flip=True, voting=True)
    assert len(faces) == 0
    assert faces.boxes.shape == (0, 4)
    assert faces.landmarks is not None
    assert faces.landmarks.shape == (0, 5, 2)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((480, 640), 500, (500, 667)),
        ((640, 480), 500, (667, 500)),
        ((683, 1024), (1200, 1600), (1067, 1600)),
        ((1000, 1024), (1200, 1600), (1200, 1229)),
        ((683, 1024), (640, 640), (427, 640)),
        ((3, 5000), (10, 50), (1, 50)),
        ((31, 77), "original", (31, 77)),
    ],
)
def test_scales_mean_the_short_side(size: tuple[int, int], scale: Any, expected: tuple[int, int]) -> None:
    assert scaled_size(*size, scale) == expected


def test_mirrored_coordinates_by_hand() -> None:
    image, looked_at = np.zeros((25, 100, 3), np.uint8), np.zeros((100, 200, 3), np.uint8)
    points = np.array([[[20, 40], [40, 42], [30, 50], [22, 60], [38, 62]]], np.float32)
    found = Detections(np.array([[10, 20, 50, 80]], np.float32), np.array([0.9], np.float32), points)
    upright, mirrored = to_image([found, found], looked_at, image, preset("mobilenet0.25"))
    assert upright.boxes.tolist() == [[5, 5, 25, 20]]
    assert mirrored.boxes.tolist() == [[75, 5, 95, 20]]
    assert mirrored.landmarks is not None
    assert mirrored.landmarks.tolist() == [[[80, 10.5], [90, 10], [85, 12.5], [81, 15.5], [89, 15]]]
    assert found.boxes.tolist() == [[10, 20, 50, 80]]


@pytest.mark.parametrize("landmarks", [True, False])
def test_merging_keeps_the_best_and_votes(landmarks: bool) -> None:
    points = np.arange(10, dtype=np.float32).reshape(1, 5, 2) if landmarks else None
    first = Detections(np.array([[0, 0, 10, 10]], np.float32), np.array([0.75], np.float32), points)
    second = Detections(np.array([[0, 0, 10, 12]], np.float32), np.array([0.25], np.float32), points)
    far = Detections(np.array([[50, 0, 60, 10]], np.float32), np.array([0.5], np.float32), points)
    options = {"iou_threshold": 0.4, "max_detections": 750, "class_agnostic": False}
    kept = merge([second, far, first], **options, voting=False)  # type: ignore[arg-type]
    assert kept.boxes.tolist() == [[0, 0, 10, 10], [50, 0, 60, 10]]
    assert kept.scores.tolist() == [0.75, 0.5]
    assert (kept.landmarks is not None) == landmarks
    voted = merge([second, far, first], **options, voting=True)  # type: ignore[arg-type]
    assert voted.boxes.tolist() == [[0, 0, 10, 10.5], [50, 0, 60, 10]]
    assert len(merge([first, far], iou_threshold=0.4, max_detections=1, voting=False, class_agnostic=False)) == 1


def test_more_candidates_than_suppression_takes_are_cut_to_the_best() -> None:
    count = 3000
    x = np.arange(count, dtype=np.float32) * 20
    boxes = np.stack([x, 0 * x, x + 10, 0 * x + 10], 1)
    views = [Detections(boxes, np.linspace(high, 0.1, count, dtype=np.float32), None) for high in (0.5, 0.9)]
    views[1] = Detections(boxes + np.array([0, 100, 0, 100], np.float32), views[1].scores, None)
    merged = merge(views, iou_threshold=0.4, max_detections=5000, voting=False, class_agnostic=False)
    assert len(merged) == 5000
    assert np.array_equal(merged.scores, np.sort(np.concatenate([faces.scores for faces in views]))[::-1][:5000])


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ([], "scales is empty"),
        ([0], "scales has 0, expected the short side in pixels"),
        ([500, -1.0], r"scales has -1.0"),
        ([float("nan")], "scales has nan"),
        ([float("inf")], "scales has inf"),
        ([1e308], r"scales has 1e\+308, .* up to 1000000"),
        ([10**400], "scales has 1000"),
        ([10**5000], "scales has a int that is too long to print"),
        ([True], "scales has True"),
        ([None], "scales has None"),
        ([[]], r"scales has \[\]"),
        ([[500]], r"scales has \[500\]"),
        ([(500, True)], r"scales has \(500, True\)"),
        ([(500, "original")], r"scales has \(500, 'original'\)"),
        ([(500, 10**400)], r"scales has \(500, 1000"),
        (np.zeros((2, 2)), r"scales has array\(\[0., 0.\]\)"),
        (np.full((1, 3), 500), r"scales has array\(\[500, 500, 500\]\)"),
        (np.zeros(0), "scales is empty"),
        (np.array(500), r"scales is array\(500\), expected a list"),
        (b"ab", "scales is b'ab', expected a list"),
        ({500}, r"scales is \{500\}, expected a list"),
        ([(500, 0)], r"scales has \(500, 0\)"),
        ([(500, 600, 700)], r"scales has \(500, 600, 700\)"),
        (["large"], "scales has 'large'"),
        (500, "scales is 500, expected a list"),
        ("original", "scales is 'original', expected a list"),
    ],
)
def test_impossible_scales_are_refused(ranged_detector: TRTRetinaFace, scales: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ranged_detector.detect(np.zeros((40, 40, 3), np.uint8), scales=scales)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([[400, 500]], ((400, 500),)),
        (np.array([400, 600]), (400, 600)),
        (np.array([[400, 500], [600, 700.5]]), ((400, 500), (600, 700.5))),
        ([np.float32(400), np.array([400, 500], np.int16)], (400, (400, 500))),
        (("original", 400), ("original", 400)),
        (np.array(["original"]), ("original",)),
    ],
)
def test_lists_and_arrays_of_scales_are_taken(given: Any, meant: tuple[Any, ...]) -> None:
    """As Python numbers, whatever types were given."""
    scales = make_augmentation(given, flip=False, voting=False).scales
    assert scales == meant
    assert all(type(side) in (float, str) for scale in scales for side in (scale if type(scale) is tuple else (scale,)))


@pytest.mark.parametrize("merge_iou", [-0.1, 1.1, float("nan"), True, "0.4"])
def test_impossible_overlaps_are_refused(ranged_detector: TRTRetinaFace, merge_iou: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"merge_iou is .*, expected 0 to 1, or None"):
        ranged_detector.detect(np.zeros((40, 40, 3), np.uint8), scales=[40], merge_iou=merge_iou)


def test_views_are_merged_at_the_requested_overlap(ranged_detector: TRTRetinaFace) -> None:
    """At 1 nothing is suppressed: the faces of all views remain. At 0.4 one face remains."""
    assert ranged_detector.sidecar.thresholds.iou == 0.4
    counts = [
        len(ranged_detector.detect(astronaut(), scales=[400, 500], flip=True, merge_iou=merge_iou))
        for merge_iou in (1, 0.4, None)
    ]
    assert counts == [4, 1, 1]


def test_scales_beyond_the_engine_name_the_command_that_rebuilds(ranged_detector: TRTRetinaFace) -> None:
    image = np.zeros((400, 600, 3), np.uint8)
    with pytest.raises(
        InvalidArgumentError,
        match=r"700 x 1050 pixels .* needs an input of 704 x 1056, the engine was built for \(320, 320\) to "
        r"\(960, 960\).*python build_engine.py .*--max-input-size 960 1056",
    ):
        ranged_detector.detect(image, scales=[500, 700])
    with pytest.raises(InvalidArgumentError, match="anchors, expected at most 4194304"):
        ranged_detector.detect(image, scales=[1e6])


@pytest.mark.slow
def test_the_command_that_rebuilds_holds_for_a_fixed_size(tmp_path: Path, fixed_detector: TRTRetinaFace) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        fixed_detector.detect(astronaut(), scales=[(600, 640)])
    words = shlex.split(str(caught.value).split("build_engine.py ")[1])
    words[words.index("--output") + 1] = str(tmp_path / "rebuilt.engine")
    assert build_main(words) == 0
    faces = TRTRetinaFace(tmp_path / "rebuilt.engine", "cpu").detect(astronaut(), scales=[(600, 640)])
    assert len(faces) == 1


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_merging_carries_classes_and_values(class_agnostic: bool) -> None:
    names = ("plate", "face")
    views = [
        Detections(
            [[0, 0, 10, 10], [40 * i, 40, 50, 60]],
            [score, 0.25],
            [[[1, 2]], [[3, 4]]],
            classes=[number, 2],
            class_names=names,
            values={"age": np.array([[score], [i]])},
        )
        for i, (score, number) in enumerate([(0.75, 1), (0.5, 2)])
    ]
    merged = merge(views, iou_threshold=0.4, max_detections=9, voting=False, class_agnostic=class_agnostic)
    found = [(face.score, face.class_name, face.values["age"].tolist()) for face in merged]
    second = [] if class_agnostic else [(0.5, "face", [0.5])]
    assert found == [(0.75, "plate", [0.75]), *second, (0.25, "face", [0.0]), (0.25, "face", [1.0])]


def test_mirrored_points_change_places() -> None:
    image = np.zeros((20, 100, 3), np.uint8)
    points = [[[10, 1], [20, 2], [30, 3]]]
    config = replace(preset("mobilenet0.25"), mirrored_points=(2, 1, 0), values=(ValueHead("age", 1),))
    found = Detections([[0, 0, 40, 20]], [0.5], points, classes=[3], values={"age": [[7]]})
    mirrored = to_image([found, found], image, image, config)[1]
    assert mirrored.landmarks is not None
    assert mirrored.landmarks.tolist() == [[[70, 3], [80, 2], [90, 1]]]
    assert (mirrored[0].class_id, mirrored[0].values["age"].tolist()) == (3, [7.0])


def test_values_that_are_points_are_places_of_views_and_mirrors() -> None:
    """Their order stays. With them alone, mirrored detection is allowed."""
    image, looked_at = np.zeros((25, 100, 3), np.uint8), np.zeros((100, 200, 3), np.uint8)
    heads = ValueHead("ears", 4, "points"), ValueHead("age", 2)
    config = replace(preset("mobilenet0.25"), heads=HEADS[:2], values=heads)
    found = Detections([[10, 20, 50, 80]], [0.9], values={"ears": [[20, 40, 50, 42]], "age": [[20, 40]]})
    upright, mirrored = to_image([found, found], looked_at, image, config)
    assert upright.values["ears"].tolist() == [[10, 10, 25, 10.5]]
    assert mirrored.values["ears"].tolist() == [[90, 10, 75, 10.5]]
    assert upright.values["age"].tolist() == mirrored.values["age"].tolist() == [[20, 40]]
    assert found.values["ears"].tolist() == [[20, 40, 50, 42]]
    views = make_augmentation(None, True, False)
    merged = detect_views(
        *(looked_at, views, lambda height, width: (height, width), lambda images, _: [found[:0], found]),
        *(replace(config, values=heads[:1]), Thresholds()),
    )
    assert merged.values["ears"].tolist() == [[180, 40, 150, 42]]
    nobody = to_image([found[:0], found[:0]], looked_at, image, config)
    assert [faces.values["ears"].shape for faces in nobody] == [(0, 4), (0, 4)]
