"""TRTRetinaFace on the CPU: faces in photos, batches, sizes, and what it refuses."""

from __future__ import annotations

import logging
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest

from engine import DeviceError, InvalidArgumentError, TRTRetinaFace
from engine.backend.driver import sees_gpu
from engine.config.detection import InputSize, Thresholds
from engine.faces import Detections
from engine.runtime import timing
from tests.support.data import ASTRONAUT_FACE, astronaut, labelled_photos, upstream_checkpoint
from tests.support.engines import build
from tests.support.oracles.boxes import iou

NO_GPU = pytest.mark.skipif(sees_gpu(), reason="there is a GPU")


@pytest.fixture(scope="module")
def detector(fp16_engine: Path) -> TRTRetinaFace:
    return TRTRetinaFace(fp16_engine, "cpu")


def _assert_one_astronaut(faces: Detections) -> None:
    assert len(faces) == 1
    assert iou(faces.boxes[0], ASTRONAUT_FACE) >= 0.6
    assert faces.scores[0] >= 0.9
    assert faces.landmarks is not None
    x1, y1, x2, y2 = faces.boxes[0]
    inside = (faces.landmarks[0] > (x1, y1)) & (faces.landmarks[0] < (x2, y2))
    assert inside.all()
    left_eye, right_eye, nose, left_mouth, right_mouth = faces.landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_the_astronaut_s_face_is_found(detector: TRTRetinaFace) -> None:
    faces = detector.detect(astronaut())
    _assert_one_astronaut(faces)
    assert faces.landmarks is not None
    assert faces.boxes.dtype == faces.scores.dtype == faces.landmarks.dtype == np.float32
    assert [array.shape for array in (faces.boxes, faces.scores, faces.landmarks)] == [(1, 4), (1,), (1, 5, 2)]


def test_a_crop_and_a_view_give_their_own_coordinates(detector: TRTRetinaFace) -> None:
    image = astronaut()
    whole = detector.detect(image)
    crop = detector.detect(image[20:420, 100:500])
    # The crop lies elsewhere on the cells of the network: the same face within a few pixels.
    assert np.abs(crop.boxes[0] + [100, 20, 100, 20] - whole.boxes[0]).max() < 8
    mirrored = detector.detect(image[:, ::-1])
    x1, _, x2, _ = whole.boxes[0]
    assert np.abs(mirrored.boxes[0, [0, 2]] - [512 - x2, 512 - x1]).max() < 8


def test_large_images_are_shrunk_and_faces_scaled_back(detector: TRTRetinaFace) -> None:
    import cv2

    image = astronaut()
    doubled = np.asarray(cv2.resize(image, None, fx=2.5, fy=2.5), np.uint8)
    faces = detector.detect(np.ascontiguousarray(np.pad(doubled, ((0, 0), (300, 0), (0, 0)))))
    x1, y1, x2, y2 = ASTRONAUT_FACE * 2.5
    assert iou(faces.boxes[0], np.array([x1 + 300, y1, x2 + 300, y2])) >= 0.6


def test_batches_equal_single_images(fp32_engine: Path) -> None:
    detector = TRTRetinaFace(fp32_engine, "cpu", score_threshold=0.02)
    rng = np.random.default_rng(6)
    image = astronaut()
    images = [image, image[:300, :290], rng.integers(0, 256, (40, 700, 3), np.uint8), image[::2, ::2], image[50:, :]]
    assert len(images) > detector.max_batch
    for single, batched in zip([detector.detect(i) for i in images], detector.detect(images), strict=True):
        assert np.array_equal(single.boxes, batched.boxes)
        assert np.array_equal(single.scores, batched.scores)
        assert single.landmarks is not None
        assert batched.landmarks is not None
        assert np.array_equal(single.landmarks, batched.landmarks)


def test_the_upstream_checkpoint_finds_every_labelled_face(tmp_path: Path) -> None:
    weights, photos = upstream_checkpoint(), labelled_photos()
    path = tmp_path / "upstream.engine"
    build(path, precision="fp32", weights=str(weights), size=InputSize.fixed(640, 640))
    detector = TRTRetinaFace(path, "cpu")
    found = extra = 0
    for photo, faces in zip(photos, detector.detect([photo.image for photo in photos]), strict=True):
        hits = [bool(iou(faces.boxes, box).max() >= 0.35) for box in photo.boxes]
        found += sum(hits)
        extra += len(faces) - sum(hits)
    assert sum(len(photo.boxes) for photo in photos) == 18
    assert found == 18
    assert extra <= 1


def test_a_profile_finds_the_same_faces_and_its_stages_add_up(
    detector: TRTRetinaFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [astronaut()] * (detector.max_batch + 1)
    detector.detect(images)
    # CPU time of this process, which other processes do not change.
    monkeypatch.setattr(timing, "perf_counter", process_time)
    begin = process_time()
    found, stages = detector.profile(images, score_threshold=0.6)
    whole = process_time() - begin
    for faces, plain in zip(found, detector.detect(images, score_threshold=0.6), strict=True):
        assert np.array_equal(faces.boxes, plain.boxes)
    assert list(stages) == ["letterbox", "network", "post-processing", "undo letterbox"]
    assert sum(stages.values()) == pytest.approx(whole, rel=0.03)


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (700, 2), (31, 33)])
def test_any_size_of_image_is_taken(detector: TRTRetinaFace, shape: tuple[int, int]) -> None:
    faces = detector.detect(np.full((*shape, 3), 127, np.uint8))
    assert isinstance(faces, Detections)
    assert np.isfinite(faces.boxes).all()


def test_another_input_size_within_the_range(fp16_engine: Path) -> None:
    detector = TRTRetinaFace(fp16_engine, "cpu", input_size=(320, 416))
    assert detector.input_size == (320, 416)
    _assert_one_astronaut(detector.detect(astronaut()))
    with pytest.raises(InvalidArgumentError, match=r"built for \(320, 320\) to \(960, 960\)"):
        TRTRetinaFace(fp16_engine, "cpu", input_size=(992, 640))
    with pytest.raises(InvalidArgumentError, match="multiple of 32"):
        TRTRetinaFace(fp16_engine, "cpu", input_size=(330, 640))


def test_thresholds_of_the_engine_hold(tmp_path: Path) -> None:
    path = tmp_path / "one.engine"
    build(path, precision="fp32", thresholds=Thresholds(score=0.6, max_detections=3, iou=1.0))
    detector = TRTRetinaFace(path, "cpu")
    assert detector.score_threshold == 0.6
    # Suppression at IoU > 1 suppresses nothing: the face's own anchors fill all slots.
    assert len(detector.detect(astronaut())) == 3
    with pytest.raises(InvalidArgumentError, match=r"score_threshold is 0.2, expected 0.6 to 1.*--score-threshold"):
        detector.detect(astronaut(), score_threshold=0.2)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((32, 32, 3), np.float32), "image has dtype float32, expected uint8"),
        (np.zeros((32, 32, 2), np.uint8), r"\(32, 32, 2\), expected \[H, W, 3\]"),
        (np.zeros((3, 32, 32), np.uint8), r"\(3, 32, 32\), expected \[H, W, 3\]"),
        (np.zeros((0, 32, 3), np.uint8), "it has no pixels"),
        (np.zeros((32, 0, 3), np.uint8), "it has no pixels"),
        (np.zeros((1, 20000, 3), np.uint8), "sides up to 16384"),
        (None, "image is a NoneType, expected a NumPy array"),
        ("photo.jpg", r"image, the file photo\.jpg, cannot be read"),
        ([], "images is an empty list"),
        ([np.zeros((8, 8, 3), np.uint8), None], r"images\[1\] is a NoneType"),
    ],
)
def test_what_is_not_an_image_is_refused(detector: TRTRetinaFace, image: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        detector.detect(image)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_impossible_thresholds_are_refused(detector: TRTRetinaFace, threshold: float) -> None:
    with pytest.raises(InvalidArgumentError, match="score_threshold is"):
        detector.detect(np.zeros((8, 8, 3), np.uint8), score_threshold=threshold)


@NO_GPU
def test_auto_falls_back_to_the_cpu_and_says_so_once(fp16_engine: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="engine"):
        detector = TRTRetinaFace(fp16_engine)
        for _ in range(3):
            detector.detect(np.zeros((8, 8, 3), np.uint8))
    assert detector.device == "cpu"
    assert [record.getMessage() for record in caplog.records] == [
        f"No GPU is used (no NVIDIA driver with a GPU was found): running on the CPU with {detector.runtime}."
    ]


@NO_GPU
def test_a_gpu_that_is_not_there_is_an_error(fp16_engine: Path) -> None:
    with pytest.raises(DeviceError, match=r"device cuda:0 is not usable.*device='cpu'"):
        TRTRetinaFace(fp16_engine, "cuda:0")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", ""])
def test_unknown_devices_are_refused(fp16_engine: Path, device: str) -> None:
    with pytest.raises(InvalidArgumentError, match="expected auto, cpu, cuda or cuda:N"):
        TRTRetinaFace(fp16_engine, device)
