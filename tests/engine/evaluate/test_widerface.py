"""WIDER FACE's protocol: against a plain implementation, by hand, and on the whole validation set."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from engine import EvaluationError
from engine.evaluate.widerface.files import SUBSETS, GroundTruth, read_ground_truth, read_predictions
from engine.evaluate.widerface.protocol import evaluate
from tests.support.data import widerface_ground_truth
from tests.support.oracles import widerface as oracle
from tests.support.widerface_cases import Floats, predicted, random_truth

EXACT = 1e-6  # sums of some thousand float64 terms differ by about 1e-13
STREAM = 7


def _precisions(truth: GroundTruth, predictions: list[Floats]) -> dict[str, float]:
    return {name: curve.average_precision for name, curve in evaluate(truth, predictions).items()}


def _single(faces: list[list[float]], predictions: list[list[float]], kept: list[bool] | None = None) -> float:
    """The average precision of one image."""
    return _precisions(_of_one(faces, kept), [np.array(predictions, float).reshape(-1, 5)])["easy"]


def _of_one(faces: list[list[float]], kept: list[bool] | None = None) -> GroundTruth:
    mask = np.array(kept or [True] * len(faces))
    return GroundTruth(("0--A/a",), (np.array(faces, float),), {"easy": (mask,)})


@pytest.fixture(scope="module")
def whole_set() -> GroundTruth:
    return read_ground_truth(widerface_ground_truth())


@pytest.mark.parametrize("case", range(4))
def test_random_sets_equal_the_plain_implementation(rng: np.random.Generator, case: int) -> None:
    rng = np.random.default_rng([int(rng.integers(1 << 30)), case])
    truth = random_truth(rng, images=9)
    predictions = predicted(truth, np.random.RandomState(int(rng.integers(1 << 30))))
    if case == 3:  # scores of another range than 0 to 1
        for image in predictions:
            image[:, 4] = image[:, 4] * 7 - 3
    for name, kept in truth.subsets.items():
        expected = oracle.average_precision(
            [boxes.tolist() for boxes in truth.boxes],
            [mask.tolist() for mask in kept],
            [image.tolist() for image in predictions],
        )
        assert abs(_precisions(truth, predictions)[name] - expected) < EXACT


def test_a_part_of_the_validation_set_equals_the_plain_implementation(whole_set: GroundTruth) -> None:
    part = slice(None, None, 100)
    truth = GroundTruth(
        whole_set.names[part], whole_set.boxes[part], {k: v[part] for k, v in whole_set.subsets.items()}
    )
    predictions = predicted(truth, np.random.RandomState(STREAM))
    for name, kept in truth.subsets.items():
        expected = oracle.average_precision(
            [boxes.tolist() for boxes in truth.boxes],
            [mask.tolist() for mask in kept],
            [image.tolist() for image in predictions],
        )
        assert abs(_precisions(truth, predictions)[name] - expected) < EXACT


def test_the_validation_set_gives_the_public_script_s_numbers(whole_set: GroundTruth) -> None:
    """Results of Pytorch_Retinaface's widerface_evaluate/evaluation.py for the same predictions."""
    assert len(whole_set.names) == 3226
    assert {name: sum(map(int, map(np.sum, kept))) for name, kept in whole_set.subsets.items()} == {
        "easy": 7211,
        "medium": 13319,
        "hard": 31958,
    }
    found = _precisions(whole_set, predicted(whole_set, np.random.RandomState(STREAM)))
    for name, expected in {"easy": 0.4368090246, "medium": 0.5486557560, "hard": 0.6641373040}.items():
        assert abs(found[name] - expected) < EXACT


def test_the_ground_truth_finds_itself(whole_set: GroundTruth) -> None:
    """Two labels are wrong: one has a width of -2 and is a false positive; one face is labelled twice."""
    predictions = [np.concatenate([boxes, np.ones((len(boxes), 1))], 1) for boxes in whole_set.boxes]
    found = _precisions(whole_set, predictions)
    assert found["easy"] == pytest.approx(7211 / 7212, abs=1e-12)
    assert found["medium"] == pytest.approx(13319 / 13320, abs=1e-12)
    assert found["hard"] > 0.9998
    clean = _without_odd_labels(whole_set)
    predictions = [np.concatenate([boxes, np.ones((len(boxes), 1))], 1) for boxes in clean.boxes]
    assert _precisions(clean, predictions) == pytest.approx(dict.fromkeys(SUBSETS, 1.0), abs=1e-12)


def _without_odd_labels(truth: GroundTruth) -> GroundTruth:
    normal = []
    for boxes in truth.boxes:
        _, first = np.unique(boxes, axis=0, return_index=True)
        normal.append(np.isin(np.arange(len(boxes)), first) & (boxes[:, 2] >= 0))
    assert sum(int((~mask).sum()) for mask in normal) == 2
    return GroundTruth(
        truth.names,
        tuple(boxes[mask] for boxes, mask in zip(truth.boxes, normal, strict=True)),
        {
            name: tuple(faces[mask] for faces, mask in zip(kept, normal, strict=True))
            for name, kept in truth.subsets.items()
        },
    )


def test_the_whole_set_takes_less_than_five_seconds(tmp_path: Path, whole_set: GroundTruth) -> None:
    """About 180,000 predictions, from files to results; it took 1.2 s on one core of a CPU of 2023."""
    for name, image in zip(whole_set.names, predicted(whole_set, np.random.RandomState(1), junk=90), strict=True):
        path = tmp_path / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        rows = [" ".join(map(str, row)) for row in image.tolist()]
        path.write_text("\n".join([path.stem, str(len(rows)), *rows, ""]))
    started = time.process_time()
    truth = read_ground_truth(widerface_ground_truth())
    evaluate(truth, read_predictions(tmp_path, truth.names))
    assert time.process_time() - started < 5


FACE = [10.0, 10.0, 9.0, 9.0]  # ten pixels wide and high


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([10.0, 10.0, 4.0, 9.0], 1.0),  # five columns of ten: IoU 0.5 is enough
        ([10.0, 10.0, 3.9, 9.0], 0.0),
        ([13.0, 10.0, 9.0, 9.0], 1.0),  # 70 / 130
        ([14.0, 10.0, 9.0, 9.0], 0.0),  # 60 / 140
    ],
)
def test_overlap_counts_both_end_pixels(box: list[float], expected: float) -> None:
    assert _single([FACE], [[*box, 0.9], [500, 500, 9, 9, 0.1]]) == expected


def test_a_second_box_on_a_face_is_a_false_positive() -> None:
    other = [100.0, 100.0, 9.0, 9.0]
    # Hit, false positive, hit: precision 1 at recall 1/2, 2/3 at recall 1.
    twice = [[*FACE, 0.9], [*FACE, 0.8], [*other, 0.1]]
    assert _single([FACE, other], twice) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_faces_outside_the_subset_are_ignored() -> None:
    other = [100.0, 100.0, 9.0, 9.0]
    predictions = [[*other, 0.9], [*other, 0.8], [*FACE, 0.1]]
    assert _single([FACE, other], predictions, kept=[True, False]) == 1.0


def test_a_box_is_assigned_to_its_best_face_even_if_that_is_taken() -> None:
    near = [12.0, 10.0, 9.0, 9.0]
    # Both boxes overlap FACE most: the second is a false positive, although it matches `near` too.
    assert _single([FACE, near], [[*FACE, 0.9], [10.9, 10, 9, 9, 0.1]]) == pytest.approx(0.5)


def test_equal_scores_all_count() -> None:
    assert _single([FACE], [[*FACE, 0.7]]) == 1.0
    (curve,) = evaluate(_of_one([FACE]), [np.array([[*FACE, 0.7]])]).values()
    assert curve.recall.tolist() == curve.precision.tolist() == [1.0] * 1000
    assert _single([FACE], [[*FACE, 0.7], [500, 500, 9, 9, 0.7]]) == 0.5


def test_no_predictions_give_zero() -> None:
    assert _single([FACE], []) == 0.0


def test_predictions_where_no_face_is_labelled_are_left_out() -> None:
    truth = GroundTruth(
        ("0--A/a", "0--A/b"), (np.array([FACE]), np.empty((0, 4))), {"easy": (np.array([True]), np.array([], bool))}
    )
    assert _precisions(truth, [np.array([[*FACE, 0.1]]), np.array([[*FACE, 0.9]])])["easy"] == 1.0


def test_empty_sets_and_missing_images_are_errors(rng: np.random.Generator) -> None:
    truth = random_truth(rng, images=4)
    predictions = predicted(truth, np.random.RandomState(1))
    with pytest.raises(EvaluationError, match="predictions for 3 images, expected 4"):
        evaluate(truth, predictions[:3])
    nobody = tuple(np.zeros(len(boxes), bool) for boxes in truth.boxes)
    with pytest.raises(EvaluationError, match="subset medium has no faces"):
        evaluate(dataclasses.replace(truth, subsets={**truth.subsets, "medium": nobody}), predictions)
