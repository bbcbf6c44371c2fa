"""Agreement of two engines' faces."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from engine.errors import InvalidArgumentError
from engine.evaluate.worst import worst_images
from engine.metrics.agreement import agreement, presence
from engine.metrics.spread import spread
from tests.support.faces import detections, face, jittered, random_detections

A, B, C, D = face(0, 0, 10), face(50, 0, 10), face(100, 0, 10), face(150, 0, 10)


def test_equal_faces_agree(rng: np.random.Generator) -> None:
    faces = [random_detections(rng, 9, extent=400.0) for _ in range(5)]
    # The order of the faces does not matter.
    result = agreement(faces, [jittered(rng, one, 0.0) for one in faces])
    expected = sum(int((one.scores >= 0.5).sum()) for one in faces)
    assert result.faces == result.matched == expected
    assert result.iou is not None
    assert result.score_change is not None
    assert result.landmark_error is not None
    assert result.iou.minimum == result.iou.mean == 1.0
    assert result.score_change.maximum == result.landmark_error.maximum == result.score_shift == 0.0
    assert result.average_precision == 1.0
    assert all(entry.lost == entry.new == 0 for entry in result.presence)


def test_a_face_below_the_threshold_differs_from_a_face_that_is_gone() -> None:
    # A stays, B dips from .501 to .499, C vanishes, D rises from .49 to .6.
    reference = [detections([A, B, C, D], [0.9, 0.501, 0.8, 0.49])]
    candidate = [detections([A, D, B], [0.9, 0.6, 0.499])]
    at_half = agreement(reference, candidate).at(0.5)
    assert (at_half.reference, at_half.candidate) == (3, 2)
    assert (at_half.lost, at_half.dipped) == (2, 1)
    assert (at_half.new, at_half.risen) == (1, 1)
    result = agreement(reference, candidate)
    assert (result.faces, result.matched) == (3, 2)
    assert result.score_change is not None
    assert result.score_change.maximum == pytest.approx(0.002, abs=1e-6)
    assert result.score_shift == pytest.approx(-0.001, abs=1e-6)


def test_presence_matches_only_faces_above_the_threshold() -> None:
    # A face below .5 with a larger IoU must not take the match away.
    reference, candidate = [detections([A], [0.9])], [detections([face(0, 2, 10), face(0, 0, 10)], [0.8, 0.1])]
    assert presence(reference, candidate, 0.5).lost == 0
    assert presence(candidate, reference, 0.5).new == 0
    assert presence(reference, candidate, 0.85).dipped == 1


def test_a_second_box_on_a_matched_face_has_neither_risen_nor_dipped() -> None:
    once, twice = [detections([A], [0.9])], [detections([A, face(0, 2, 10)], [0.9, 0.8])]
    more, fewer = presence(once, twice, 0.5), presence(twice, once, 0.5)
    assert (more.new, more.risen) == (1, 0)
    assert (fewer.lost, fewer.dipped) == (1, 0)


def test_a_face_at_the_threshold_is_there() -> None:
    faces = [detections([A], [0.5])]
    entry = presence(faces, faces, 0.5)
    assert (entry.reference, entry.candidate, entry.lost) == (1, 1, 0)


def test_a_candidate_without_faces_and_a_reference_without() -> None:
    some, none = [detections([A, B], [0.9, 0.8])], [detections([], [])]
    lost = agreement(some, none)
    assert (lost.faces, lost.matched, lost.at(0.5).lost, lost.at(0.5).dipped) == (2, 0, 2, 0)
    assert lost.iou is lost.score_change is lost.landmark_error is None
    assert lost.average_precision == 0.0
    new = agreement(none, some)
    assert (new.faces, new.at(0.5).new, new.at(0.9).new, new.average_precision) == (0, 2, 1, None)


def test_labels_judge_both() -> None:
    reference, candidate = [detections([A, C], [0.9, 0.8])], [detections([C, A], [0.9, 0.8])]
    result = agreement(reference, candidate, labels=[np.array([A])])
    assert result.labels is not None
    assert (result.labels.faces, result.labels.reference, result.labels.candidate) == (1, 1.0, 0.5)
    assert result.labels.candidate_by_size[0].average_precision == 0.5


def test_landmarks_missing_on_one_side_leave_the_rest() -> None:
    result = agreement([detections([A], [0.9])], [detections([A], [0.9], landmarks=False)])
    assert result.landmark_error is None
    assert result.iou is not None


def test_the_dictionary_is_json(rng: np.random.Generator) -> None:
    faces = [random_detections(rng, 5)]
    for candidate, labels in ((faces, [np.array([A])]), ([detections([], [])], None)):
        values = asdict(agreement(faces, candidate, labels=labels))
        assert json.loads(json.dumps(values, allow_nan=False))["images"] == 1


def test_spread_of_a_measure(rng: np.random.Generator) -> None:
    values, images = rng.normal(5, 1, 400), np.repeat(np.arange(100), 4)
    result = spread(values, images)
    assert result is not None
    assert result.count == 400
    assert result.mean == pytest.approx(values.mean())
    assert (result.minimum, result.maximum) == (values.min(), values.max())
    assert [result.p5, result.median, result.p95] == pytest.approx(np.percentile(values, [5, 50, 95]).tolist())
    # 400 independent values: +- 1.96 sigma / 20; 1000 resamples give the ends to about 5 %.
    half = 1.96 * values.std() / 20
    assert result.mean_high - result.mean_low == pytest.approx(2 * half, rel=0.15)
    assert spread(values, images) == result
    assert spread(values[:0], images[:0]) is None


def test_faces_of_one_image_are_resampled_together(rng: np.random.Generator) -> None:
    # Ten images, each with equal faces: these are ten observations, not a thousand.
    per_image = rng.normal(0, 1, 10)
    result = spread(np.repeat(per_image, 100), np.repeat(np.arange(10), 100))
    assert result is not None
    assert result.mean_high - result.mean_low == pytest.approx(2 * 1.96 * per_image.std() / np.sqrt(10), rel=0.25)


def test_the_worst_pictures_come_first() -> None:
    reference = [detections([box], [score]) for box, score in ((A, 0.9), (A, 0.9), (A, 0.9), (A, 0.9), (A, 0.3))]
    reference[1] = detections([A, B, C], [0.9, 0.9, 0.9])
    candidate = [
        detections([A], [0.9]),
        detections([A, [50, 0, 60, 9], C], [0.9, 0.9, 0.9]),
        detections([B], [0.2]),
        detections([A], [0.6]),
        detections([A, C], [0.3, 0.7]),
    ]
    worst = worst_images(reference, candidate, 0.5, 10)
    assert [(entry.image, entry.kind) for entry in worst] == [(2, "lost"), (4, "new"), (3, "rescored"), (1, "moved")]
    assert [entry.harm for entry in worst] == pytest.approx([1, 1, 0.3, 0.1], abs=1e-6)
    assert [worst[1].box.tolist(), worst[3].box.tolist()] == [C, B]
    assert worst[0].to_dict(["", "", "two.jpg"])["image"] == "two.jpg"
    assert [entry.image for entry in worst_images(reference, candidate, 0.5, 2)] == [2, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"score_threshold": 1.5}, "score_threshold: 1.5"),
        ({"score_threshold": float("nan")}, "score_threshold: nan"),
        ({"thresholds": (0.5, -0.1)}, "thresholds: -0.1"),
        ({"match_iou": 0.0}, "match_iou is 0.0"),
        ({"labels": []}, "labels of 0 images"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    one = [detections([A], [0.9])]
    with pytest.raises(InvalidArgumentError, match=message):
        agreement(one, one, **arguments)  # type: ignore[arg-type]


def test_a_threshold_that_was_not_compared_is_named() -> None:
    one = [detections([A], [0.9])]
    with pytest.raises(InvalidArgumentError, match=r"0\.3, 0\.5, 0\.7, 0\.9"):
        agreement(one, one).at(0.4)


def test_a_lost_face_counts_as_iou_0() -> None:
    two = detections([face(0, 0, 10), face(50, 50, 10)], [0.9, 0.8])
    one = detections([face(0, 0, 10)], [0.9])
    nothing = detections([], [])
    # Half of one face's box overlaps: IoU 5 / 10.
    half = detections([[0, 0, 10, 5], face(50, 50, 10)], [0.9, 0.8])
    dipped = detections([face(0, 0, 10), face(50, 50, 10)], [0.49, 0.5])
    assert agreement([two], [two]).loss == 0.0
    assert agreement([two], [one]).loss == pytest.approx(0.5)
    assert agreement([two], [nothing]).loss == 1.0
    assert agreement([two], [half]).loss == pytest.approx(0.25)
    assert agreement([two], [dipped]).loss == pytest.approx(0.5)
    assert agreement([one], [two]).loss == 0.0
    assert agreement([nothing], [one]).loss == 0.0


def test_the_loss_counts_landmarks() -> None:
    """Boxes that stay while landmarks move, by 2 and by 80 pixels on faces of 40, and a face that is gone."""
    at = [face(0, 0, 40), face(100, 0, 40), face(200, 0, 40)]
    reference = detections(at, [0.9, 0.9, 0.9])
    near, far = detections(at[:1], [0.9], shift=2.0), detections(at[:1], [0.9], shift=80.0)
    moved = agreement([detections(at[:1], [0.9])], [near])
    assert (moved.box_loss, moved.landmark_loss) == pytest.approx((0.0, 2 * 2 / 40))
    assert moved.loss == moved.landmark_loss
    assert agreement([detections(at[:1], [0.9])], [far]).landmark_loss == 1.0
    lost = agreement([reference], [near])
    assert (lost.box_loss, lost.landmark_loss) == pytest.approx((2 / 3, 2 / 3 + 2 * 2 / 40 / 3))
    without = agreement([reference], [detections(at[:1], [0.9], landmarks=False)])
    assert (without.landmark_loss, without.loss) == (None, without.box_loss)


def test_a_box_that_moves_and_its_landmarks_lose_about_the_same() -> None:
    still, moved = face(10, 10, 400), face(12, 10, 400)
    result = agreement([detections([still], [0.9])], [detections([moved], [0.9])])
    assert result.landmark_loss == pytest.approx(result.box_loss, rel=0.01)
