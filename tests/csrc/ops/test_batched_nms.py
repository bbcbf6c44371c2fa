"""engine.ops.nms against a float64 oracle, on the CPU and on CUDA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import ops
from engine.errors import InvalidArgumentError
from tests.support.backends import Backend
from tests.support.oracles.batched_nms import nms
from tests.support.oracles.boxes import iou
from tests.support.tolerances import RELATIVE

Candidates = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.int32]]


@dataclass(frozen=True)
class Case:
    """Random candidates, clustered around `faces` centres in each image."""

    id: str
    slots: int
    count: tuple[int, ...]  # per image
    faces: int = 4
    iou_threshold: float = 0.4
    max_detections: int = 50
    voting: bool = False
    landmarks: bool = True

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments that nms and its oracle share."""
        return {
            "iou_threshold": self.iou_threshold,
            "max_detections": self.max_detections,
            "voting": self.voting,
        }


CASES = [
    Case("few", 20, (20,)),
    Case("no landmarks", 20, (20,), landmarks=False),
    Case("nothing", 20, (0,)),
    Case("one", 1, (1,)),
    Case("no images", 20, ()),
    Case("three images, one empty", 60, (60, 0, 33)),
    Case("slots beyond count are not read", 100, (7,)),
    Case("max_detections 1", 40, (40, 12), max_detections=1),
    Case("fewer than max_detections", 10, (10,), max_detections=5000),
    Case("max_detections reached", 300, (300,), faces=100, max_detections=30),
    Case("voting", 200, (200, 150), voting=True),
    Case("voting, max_detections reached", 300, (300,), faces=100, max_detections=20, voting=True),
    Case("threshold 0", 100, (100,), iou_threshold=0.0, faces=20),
    Case("off every block size", 1025, (1025, 513), faces=60, max_detections=200),
    Case("one round or two", 1300, (1024, 1025, 1300, 3), faces=600, max_detections=900),
    Case("full in the first round", 1200, (1200, 1100), faces=1200, max_detections=300),
    Case("voting, one round or two", 1300, (1025, 1300, 9), faces=600, max_detections=900, voting=True),
    Case("voting, full in the first round", 1200, (1200, 1100), faces=1200, max_detections=300, voting=True),
    Case("5000 candidates", 5000, (5000,), faces=30, max_detections=1000),
    Case("5000 spread candidates", 5000, (5000,), faces=2000, max_detections=5000),
]


def random_candidates(rng: np.random.Generator, case: Case) -> Candidates:
    """Return unordered distinct scores, and boxes whose IoU float32 cannot round across a threshold.

    Corners lie on a grid of quarter pixels, so areas are integers in grid cells, up to 80,000 for a union. An IoU that
    is not 2/5 differs from 2/5 by at least 1 / (5 * 80,000), forty roundings.
    """
    batch = len(case.count)
    boxes = np.full((batch, case.slots, 4), np.nan, np.float32)  # NaN, to detect reads beyond count
    scores = np.full((batch, case.slots), np.nan, np.float32)
    for i, count in enumerate(case.count):
        corners = rng.integers(0, 4 * 600, (case.faces, 2))[rng.integers(0, case.faces, count)]
        corners = corners + rng.integers(-30, 30, (count, 2))
        sides = rng.integers(80, 200, (count, 2))
        boxes[i, :count] = np.concatenate([corners, corners + sides], axis=1) / 4
        scores[i, :count] = rng.permutation(np.linspace(0.02, 0.99, count, dtype=np.float32))
    landmarks = rng.normal(size=(batch, case.slots, 10)).astype(np.float32) if case.landmarks else None
    return boxes, scores, landmarks, np.array(case.count, np.int32)


def run(backend: Backend, candidates: Candidates, options: dict[str, Any]) -> list[Any]:
    """Suppress on the backend and return the results on the host."""
    placed: list[Any] = [None if array is None else backend.put(array) for array in candidates]
    return [None if array is None else backend.get(array) for array in ops.nms(*placed, **options)]


def check(results: list[Any], candidates: Candidates, options: dict[str, Any]) -> None:
    """Compare with the oracle: kept slots exactly, values within rounding, zeros and -1 after them."""
    num, boxes, scores, landmarks, indices, classes = results
    assert classes is None
    batch, slots = candidates[0].shape[0], options["max_detections"]
    assert (num.shape, num.dtype) == ((batch,), np.int32)
    assert (boxes.shape, boxes.dtype) == ((batch, slots, 4), np.float32)
    assert (scores.shape, scores.dtype) == ((batch, slots), np.float32)
    assert (indices.shape, indices.dtype) == ((batch, slots), np.int32)
    for i in range(batch):
        expected = nms(candidates[0][i], candidates[1][i], int(candidates[3][i]), **options)
        n = int(num[i])
        assert indices[i, :n].tolist() == expected.indices
        # A mean of coordinates may be near 0, where a relative tolerance is too strict. Members of a cluster lie within
        # about 15 pixels of each other.
        rtol, atol = (RELATIVE, 15 * RELATIVE) if options["voting"] else (0, 0)
        np.testing.assert_allclose(boxes[i, :n], expected.boxes, rtol=rtol, atol=atol)
        np.testing.assert_array_equal(scores[i, :n], candidates[1][i, expected.indices])
        assert not boxes[i, n:].any()
        assert not scores[i, n:].any()
        assert (indices[i, n:] == -1).all()
        if candidates[2] is None:
            assert landmarks is None
        else:
            assert (landmarks.shape, landmarks.dtype) == ((batch, slots, 10), np.float32)
            np.testing.assert_array_equal(landmarks[i, :n], candidates[2][i, expected.indices])
            assert not landmarks[i, n:].any()


def candidates_of(boxes: Any, scores: Any) -> Candidates:
    """Return the candidates of one image."""
    return (
        np.array(boxes, np.float32)[None],
        np.array(scores, np.float32)[None],
        None,
        np.array([len(boxes)], np.int32),
    )


def options_of(iou_threshold: float, voting: bool = False) -> dict[str, Any]:
    """Return options for up to 8 detections."""
    return {"iou_threshold": iou_threshold, "max_detections": 8, "voting": voting}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_nms_matches_the_oracle(backend: Backend, rng: np.random.Generator, case: Case) -> None:
    """For many sizes and limits, with and without voting."""
    candidates = random_candidates(rng, case)
    check(run(backend, candidates, case.options()), candidates, case.options())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_nms_gives_the_same_bits_on_both(cuda: Backend, rng: np.random.Generator, case: Case) -> None:
    """CPU and CUDA agree to the last bit, including the sums of voting."""
    candidates = random_candidates(rng, case)
    on_cpu = run(Backend("cpu"), candidates, case.options())
    on_cuda = run(cuda, candidates, case.options())
    for mine, theirs in zip(on_cpu, on_cuda, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("iou_threshold", "kept"),
    [(0.25, [0, 1]), (np.nextafter(np.float32(0.25), np.float32(0)), [0]), (np.float32(0.25000003), [0, 1])],
    ids=["at", "just below", "just above"],
)
def test_nms_suppresses_above_the_threshold_only(backend: Backend, iou_threshold: float, kept: list[int]) -> None:
    """Two boxes whose IoU is exactly 1/4: a box of 4 x 1 inside one of 4 x 4."""
    candidates = candidates_of([[0, 0, 4, 4], [0, 0, 4, 1]], [0.9, 0.8])
    assert iou(*candidates[0][0]) == 0.25
    assert run(backend, candidates, options_of(iou_threshold))[4][0, :2].tolist() == [*kept, -1][:2]


def test_nms_lets_suppressed_candidates_suppress_no_others(backend: Backend) -> None:
    """A chain: the first suppresses the second, which would have suppressed the third."""
    candidates = candidates_of([[0, 0, 10, 10], [0, 4, 10, 14], [0, 8, 10, 18]], [0.9, 0.8, 0.7])
    results = run(backend, candidates, options_of(0.3))
    assert results[0].tolist() == [2]
    assert results[4][0, :3].tolist() == [0, 2, -1]


def test_nms_orders_ties_by_slot(backend: Backend, rng: np.random.Generator) -> None:
    """All scores equal; -0 and 0 are the same score."""
    case = Case("", 200, (200,), faces=20)
    candidates = random_candidates(rng, case)
    candidates[1][:] = 0.5
    check(run(backend, candidates, case.options()), candidates, case.options())
    candidates[1][:] = rng.choice([0.0, -0.0], size=(1, 200))
    check(run(backend, candidates, case.options()), candidates, case.options())


@pytest.mark.parametrize("place", [0, 30, 31, 32, 127, 1023, 1024])
def test_nms_notices_one_inversion(backend: Backend, rng: np.random.Generator, place: int) -> None:
    """Two exchanged neighbours, also at the end of a warp or block, are noticed."""
    case = Case("", 1100, (1100,), faces=500, max_detections=1100)
    candidates = random_candidates(rng, case)
    candidates[1][:] = -np.sort(-candidates[1])
    candidates[1][0, [place, place + 1]] = candidates[1][0, [place + 1, place]]
    check(run(backend, candidates, case.options()), candidates, case.options())


@pytest.mark.parametrize(("place", "score"), [(0, np.inf), (-1, -np.inf), (-1, np.nan), (40, np.nan)])
def test_nms_leaves_out_infinite_scores_in_order(
    backend: Backend, rng: np.random.Generator, place: int, score: float
) -> None:
    """Descending scores need no sorting but may still be infinite or NaN."""
    case = Case("", 100, (100,), faces=50)
    candidates = random_candidates(rng, case)
    candidates[1][:] = -np.sort(-candidates[1])
    candidates[1][0, place] = score
    check(run(backend, candidates, case.options()), candidates, case.options())


def test_nms_of_equal_boxes_keeps_one(backend: Backend) -> None:
    """The best suppresses all others."""
    candidates = candidates_of([[5, 5, 20, 30]] * 600, np.linspace(0.1, 0.9, 600))
    results = run(backend, candidates, options_of(0.99))
    assert results[0].tolist() == [1]
    assert results[4][0, 0] == 599


def test_nms_with_threshold_1_keeps_all(backend: Backend) -> None:
    """No IoU is above 1, not even of equal boxes."""
    results = run(backend, candidates_of([[5, 5, 20, 30]] * 5, [0.1, 0.5, 0.3, 0.4, 0.2]), options_of(1.0))
    assert results[4][0].tolist() == [1, 3, 2, 4, 0, -1, -1, -1]


def test_nms_leaves_out_values_that_are_not_finite(backend: Backend, rng: np.random.Generator) -> None:
    """Candidates with NaN or infinite scores or boxes are dropped; negative scores and empty boxes are allowed."""
    case = Case("", 300, (300, 200), faces=40)
    candidates = random_candidates(rng, case)
    for array in candidates[:2]:
        bad = rng.random(array.shape) < 0.05
        array[bad] = rng.choice([np.nan, np.inf, -np.inf], size=int(bad.sum()))
    candidates[1][:, ::3] *= -1
    candidates[0][:, ::7, 2] = candidates[0][:, ::7, 0] - 1  # no area
    check(run(backend, candidates, case.options()), candidates, case.options())


def test_nms_voting_worked_by_hand(backend: Backend) -> None:
    """Weights 3 : 1 on corners 0 and 1. The distant candidate votes only for itself."""
    candidates = candidates_of([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60]], [0.75, 0.25, 0.5])
    _, boxes, scores, _, indices, _ = run(backend, candidates, options_of(0.4, voting=True))
    assert indices[0, :3].tolist() == [0, 2, -1]
    np.testing.assert_allclose(boxes[0, :2], np.array([[0.25, 0.25, 10.25, 10.25], [50, 50, 60, 60]]), rtol=1e-6)
    assert scores[0, :3].tolist() == [0.75, 0.5, 0.0]


def test_nms_voting_without_weight_leaves_the_box(backend: Backend) -> None:
    """Scores that sum to 0 have no mean."""
    candidates = candidates_of([[0, 0, 10, 10], [1, 1, 11, 11]], [0.0, 0.0])
    _, boxes, *_ = run(backend, candidates, options_of(0.4, voting=True))
    assert boxes[0, 0].tolist() == [0, 0, 10, 10]


def test_nms_clamps_counts_to_the_slots(backend: Backend) -> None:
    """A count out of range must not cause reads outside the arrays."""
    candidates = candidates_of([[0, 0, 10, 10], [50, 50, 60, 60]], [0.75, 0.5])
    for count, expected in [(-3, 0), (3, 2), (2**31 - 1, 2)]:
        candidates[3][:] = count
        assert run(backend, candidates, options_of(0.4))[0].tolist() == [expected]


def _replace(argument: int, change: Callable[[Any], Any]) -> Callable[[list[Any], dict[str, Any]], None]:
    def apply(candidates: list[Any], _: dict[str, Any]) -> None:
        candidates[argument] = change(candidates[argument])

    return apply


def _set(**options: Any) -> Callable[[list[Any], dict[str, Any]], None]:
    return lambda _, given: given.update(options)


BAD = [
    (_set(iou_threshold=-0.5), r"iou_threshold is -0.5, expected 0 to 1"),
    (_set(iou_threshold=float("nan")), r"iou_threshold is nan, expected 0 to 1"),
    (_set(max_detections=0), r"max_detections is 0, expected 1 to 5000"),
    (_set(max_detections=5001), r"max_detections is 5001, expected 1 to 5000"),
    (_replace(0, lambda a: a[0]), r"boxes has shape \[20, 4\], expected \[N, K, 4\]"),
    (_replace(0, lambda a: a[..., :3].copy()), r"boxes has shape \[1, 20, 3\], expected \[1, 20, 4\]"),
    (_replace(0, lambda a: np.tile(a, (1, 251, 1))), r"number of candidates is 5020, expected 1 to 5000"),
    (_replace(0, lambda a: a[:, :0].copy()), r"number of candidates is 0, expected 1 to 5000"),
    (_replace(1, lambda a: a[:, :5].copy()), r"scores has shape \[1, 5\], expected \[1, 20\]"),
    (_replace(1, lambda a: a[:, ::-1]), r"scores is not C-contiguous"),
    (_replace(2, lambda a: a.reshape(1, 20, 5, 2)), r"payload has shape \[1, 20, 5, 2\], expected \[N, K, P\]"),
    (_replace(2, lambda a: a[:, :19].copy()), r"payload has shape \[1, 19, 10\], expected \[1, 20, 10\]"),
    (_replace(2, lambda a: a[..., :0].copy()), r"payload has \[1, 20, 0\] elements, expected None or at least one"),
    (
        _replace(2, lambda a: np.zeros((1, 20, 1025), np.float32)),
        r"payload of a candidate is 1025 values, expected 0 to",
    ),
    (_set(class_agnostic=True), r"class_agnostic is set, but there are no classes"),
    (_set(classes=np.zeros((1, 19), np.int32)), r"classes has shape \[1, 19\], expected \[1, 20\]"),
    (_set(classes=np.zeros((1, 20), np.int64)), r"classes has dtype int64, which no operator takes"),
    (_replace(3, lambda a: a.astype(np.int64)), r"count has dtype int64"),
    (_replace(3, lambda a: a.astype(np.float32)), r"count has dtype float32, expected int32"),
    (_replace(0, lambda a: a.astype(np.float16)), r"boxes has dtype float16, expected float32"),
    (_replace(0, lambda _: None), r"boxes is a NoneType, expected a NumPy array or a device array"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_nms_refuses(
    rng: np.random.Generator, spoil: Callable[[list[Any], dict[str, Any]], None], message: str
) -> None:
    """Each message names the argument, what was given and what is expected."""
    candidates, options = list(random_candidates(rng, CASES[0])), CASES[0].options()
    spoil(candidates, options)
    with pytest.raises(InvalidArgumentError, match=message):
        ops.nms(*candidates, **options)
