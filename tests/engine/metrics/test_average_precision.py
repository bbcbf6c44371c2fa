"""Average precision: worked by hand, and against a slow implementation of the definition."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import InvalidArgumentError
from engine.faces import Detections, unchecked
from engine.metrics.average_precision import SIZE_BINS, Boxes, average_precision, average_precision_by_size
from tests.support.faces import detections, face, jittered, random_detections
from tests.support.oracles.boxes import iou

NOTHING = np.zeros((0, 4))


def boxes(*given: list[float]) -> Boxes:
    return np.array(given, np.float64).reshape(-1, 4)


def by_definition(truth: list[Boxes], found: list[Detections]) -> float:
    """The definition in plain Python: detection by detection, then the best precision at each recall."""
    entries = [(-float(s), image, i) for image, f in enumerate(found) for i, s in enumerate(f.scores)]
    taken: set[tuple[int, int]] = set()
    hits = []
    for _, image, i in sorted(entries):
        box = found[image].boxes[i].astype(float)
        free = [(float(iou(box, known)), j) for j, known in enumerate(truth[image]) if (image, j) not in taken]
        overlap, j = max(free, default=(0.0, -1))
        hits.append(overlap >= 0.5)
        if hits[-1]:
            taken.add((image, j))
    total = sum(len(known) for known in truth)
    area = 0.0
    for k in range(1, total + 1):
        reaching = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits)) if sum(hits[: n + 1]) >= k]
        area += max(reaching, default=0.0) / total
    return area


def test_a_curve_worked_by_hand() -> None:
    # Hit, miss, hit, miss, miss, hit of 4 labelled faces: precision 1, 2/3, 3/6 at recall 1/4, 2/4, 3/4.
    truth = [boxes(face(0, 0, 10), face(50, 0, 10)), boxes(face(0, 0, 10), face(50, 50, 10))]
    found = [
        detections([face(0, 0, 10), face(200, 0, 10), face(300, 0, 10)], [0.9, 0.8, 0.5]),
        detections([face(0, 1, 10), face(400, 0, 10), face(50, 49, 10)], [0.7, 0.6, 0.4]),
    ]
    assert average_precision(truth, found) == pytest.approx((1 + 2 / 3 + 3 / 6) / 4)


def test_precision_that_rises_again_counts_from_before() -> None:
    # Miss, hit, hit: the best precision at any recall is 2/3.
    found = [detections([face(200, 0, 10), face(0, 0, 10), face(50, 0, 10)], [0.9, 0.8, 0.7])]
    assert average_precision([boxes(face(0, 0, 10), face(50, 0, 10))], found) == pytest.approx(2 / 3)


def test_ignored_faces_are_neither_missed_nor_found() -> None:
    """The first of three detections finds an ignored face, the second nothing, the third the only face that counts."""
    truth = [boxes(face(0, 0, 10), face(50, 0, 10), face(100, 0, 10))]
    found = [detections([face(0, 0, 10), face(200, 0, 10), face(50, 0, 10)], [0.9, 0.8, 0.7])]
    ignored = [np.array([True, False, True])]
    assert average_precision(truth, found, ignored=ignored) == pytest.approx(1 / 2)
    by_size = average_precision_by_size(truth, found, ignored=ignored)
    assert [entry.faces for entry in by_size] == [1, 0, 0, 0, 0, 0]
    assert by_size[0].average_precision == pytest.approx(1 / 2)


def test_a_face_is_found_once() -> None:
    found = [detections([face(0, 0, 10), face(0, 1, 10), face(50, 0, 10)], [0.9, 0.8, 0.7])]
    assert average_precision([boxes(face(0, 0, 10), face(50, 0, 10))], found) == pytest.approx((1 + 2 / 3) / 2)


def test_a_detection_finds_the_face_of_largest_iou() -> None:
    truth = [boxes(face(0, 4, 10), face(0, 0, 10))]
    found = [detections([face(0, 1, 10), face(0, 5, 10)], [0.9, 0.8])]
    assert average_precision(truth, found) == 1.0


def test_nothing_found_and_nothing_to_find() -> None:
    assert average_precision([boxes(face(0, 0, 10))], [detections([], [])]) == 0.0
    assert average_precision([NOTHING], [detections([face(0, 0, 10)], [0.9])]) is None


def test_random_faces_against_the_definition(rng: np.random.Generator) -> None:
    for _ in range(10):
        known = [random_detections(rng, int(n)) for n in rng.integers(1, 12, 4)]
        found = [jittered(rng, faces, 8.0) for faces in known]
        truth: list[Boxes] = [faces.boxes.astype(np.float64) for faces in known]
        assert average_precision(truth, found) == pytest.approx(by_definition(truth, found), abs=1e-12)


def test_sizes_only_count_what_is_in_range() -> None:
    truth = [boxes(face(0, 0, 12), face(50, 0, 20), face(100, 0, 40))]
    found = [
        detections(
            [face(300, 0, 12), face(100, 0, 40), face(0, 0, 12), face(50, 0, 20), face(300, 90, 20)],
            [0.95, 0.9, 0.8, 0.7, 0.6],
        )
    ]
    ranges = average_precision_by_size(truth, found)
    assert [(entry.low, entry.high) for entry in ranges] == list(SIZE_BINS)
    assert [entry.faces for entry in ranges] == [1, 1, 1, 0, 0, 0]
    # False positives: in 8-16 one of 12 pixels before the hit; in 16-32 one after the hit; in 32-64 none.
    assert [entry.average_precision for entry in ranges] == [0.5, 1.0, 1.0, None, None, None]


def test_a_detection_of_another_size_may_find_a_face_in_range() -> None:
    # The face has 16 pixels, the detection 15.
    found = [detections([face(0, 0, 15)], [0.9])]
    ranges = average_precision_by_size([boxes(face(0, 0, 16))], found)
    assert ranges[0].faces == 0
    assert ranges[1].average_precision == 1.0


def test_a_face_in_range_goes_before_one_out_of_it_that_overlaps_more() -> None:
    found = [detections([face(0, 0, 15)], [0.9])]
    ranges = average_precision_by_size([boxes(face(0, 0, 15), face(0, 0, 16))], found)
    assert ranges[1].average_precision == 1.0


def test_the_largest_size_belongs_to_the_last_range() -> None:
    assert average_precision_by_size([boxes(face(0, 0, 400))], [detections([], [])])[-1].faces == 1
    assert average_precision_by_size([boxes(face(0, 0, 401))], [detections([], [])])[-1].faces == 0


def test_bad_input_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="labels of 1 images and detections of 0"):
        average_precision([NOTHING], [])
    with pytest.raises(InvalidArgumentError, match=r"labels\[0\] holds"):
        average_precision([np.full((1, 4), np.nan)], [detections([], [])])
    with pytest.raises(InvalidArgumentError, match=r"detections\[0\] holds"):
        average_precision(
            [NOTHING], [unchecked(np.array([[0, 0, np.inf, 1]], np.float32), np.full(1, 0.5, np.float32), None)]
        )
