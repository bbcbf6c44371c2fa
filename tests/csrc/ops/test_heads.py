"""Decoding and suppression of heads of any kind against float64 oracles, on the CPU and on CUDA.

test_anchor_decode.py and test_batched_nms.py test the same operators with the published heads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import ops
from engine.errors import InvalidArgumentError
from tests.csrc.ops.test_anchor_decode import Heads
from tests.csrc.ops.test_anchor_decode import run as run_decode
from tests.csrc.ops.test_batched_nms import run as run_nms
from tests.support.backends import Backend
from tests.support.oracles.anchor_decode import Decoded, anchor_decode, logit
from tests.support.oracles.batched_nms import nms
from tests.support.tolerances import BOX_ABSOLUTE_PX, RELATIVE

# Least distance of random margins, so that float32 scores keep their order and none is at the threshold.
MARGIN_GAP = 2e-5
LEVELS = ((9, 7, 8, (16.0, (30.0, 22.0))), (4, 5, 16, (64.0,)))


@dataclass(frozen=True)
class Case:
    """Heads of two levels with two anchors and one, for three images.

    Attributes:
        values: sizes of the heads of values.
        value_points: for each of these, whether they are points; empty: none is.
        few: of the anchors, about so many have a class above the threshold.
    """

    classes: int = 2
    points: int = 5
    values: tuple[int, ...] = ()
    value_points: tuple[bool, ...] = ()
    sigmoid: bool = False
    cascade: bool = False
    threshold: float = 0.3
    top_k: int = 60
    few: float = 0.3
    batch: int = 3

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments that decode and its oracle share."""
        return {
            "strides": [level[2] for level in LEVELS],
            "anchor_sizes": [level[3] for level in LEVELS],
            "variances": (0.1, 0.2),
            "score_threshold": self.threshold,
            "top_k": self.top_k,
            "classes": self.classes,
            "sigmoid": self.sigmoid,
            "value_points": self.value_points,
        }

    @property
    def logits(self) -> int:
        """Logits of an anchor."""
        return self.classes - self.sigmoid

    @property
    def payload(self) -> int:
        """Values of a candidate behind its box."""
        return 2 * self.points + sum(self.values)

    @property
    def places(self) -> NDArray[np.bool_]:
        """Which values of the payload are places in pixels, not numbers as they are: [P]."""
        coded = [False] * len(self.values) if not self.value_points else self.value_points
        return np.repeat([True, *coded], [2 * self.points, *self.values])


def random_heads(rng: np.random.Generator, case: Case) -> Heads:
    """Return heads whose margins are distinct: see separate."""
    heads: Heads = []
    for height, width, _, sizes in LEVELS:
        shape = (case.batch, len(sizes), case.logits, height, width)
        logits = rng.normal(size=shape) * 2
        # A background that is about 6 higher hides the classes of most anchors.
        hidden = rng.random((case.batch, len(sizes), 1, height, width)) > case.few
        if case.sigmoid:
            logits -= 2 + 6 * hidden
        else:
            logits[:, :, :1] += 6 * hidden

        def head(per_anchor: int, anchors: int = len(sizes), rest: tuple[int, int] = (height, width)) -> Any:
            return rng.normal(size=(case.batch, anchors * per_anchor, *rest)).astype(np.float32)

        landmarks = head(2 * case.points) if case.points else None
        more = [head(4) if case.cascade else None, *map(head, case.values)]
        heads.append(
            (
                logits.astype(np.float32).reshape(case.batch, len(sizes) * case.logits, height, width),
                head(4),
                landmarks,
                *(more if case.cascade or case.values else []),
            )
        )
    separate(heads, case)
    return heads


def margins_of(heads: Heads, case: Case) -> NDArray[np.float64]:
    """Return the margins of an image's anchors and classes, [N, anchors, C - 1]."""
    levels = []
    for (logits, *_), (*_, sizes) in zip(heads, LEVELS, strict=True):
        cells = logits.shape[2] * logits.shape[3]
        each = logits.astype(np.float64).reshape(case.batch, len(sizes), case.logits, cells)
        each = each.transpose(0, 3, 1, 2).reshape(case.batch, cells * len(sizes), case.logits)
        if not case.sigmoid:
            others = [np.delete(each, c, axis=2) for c in range(1, case.classes)]
            each = np.stack(
                [each[..., c + 1] - np.logaddexp.reduce(o, axis=2) for c, o in enumerate(others)],
                axis=2,
            )
        levels.append(each)
    return np.concatenate(levels, axis=1)


def separate(heads: Heads, case: Case) -> None:
    """Hide anchors until no margin is within MARGIN_GAP of the threshold or of another one of its image."""
    limit = logit(case.threshold)
    while True:
        margins = margins_of(heads, case)
        close = np.zeros(margins.shape[:2], bool)
        for image, chosen in zip(margins, close, strict=True):
            order = np.argsort(image, axis=None)
            flat = image.ravel()[order]
            relevant = flat > limit - 1
            close_pair = (np.diff(flat, append=np.inf) < MARGIN_GAP) | (abs(flat - limit) < MARGIN_GAP)
            chosen[np.unravel_index(order[close_pair & relevant], image.shape)[0]] = True
        if not close.any():
            return
        first = 0
        for (logits, *_), (height, width, _, sizes) in zip(heads, LEVELS, strict=True):
            count = height * width * len(sizes)
            hide = close[:, first : first + count].reshape(case.batch, height, width, len(sizes)).transpose(0, 3, 1, 2)
            view = logits.reshape(case.batch, len(sizes), case.logits, height, width)
            if case.sigmoid:
                view -= np.float32(30) * hide[:, :, None]
            else:
                view[:, :, 0] += np.float32(30) * hide
            first += count


def check_decoded(results: list[Any], heads: Heads, case: Case) -> list[Decoded]:
    """Compare with the oracle: what is found exactly, values within rounding, zeros behind them."""
    boxes, scores, payload, count, classes = results
    expected = anchor_decode(heads, **case.options())
    assert count.tolist() == [len(image.anchors) for image in expected]
    assert (classes is None) == (case.classes == 2)
    assert (payload is None) == (case.payload == 0)
    for i, image in enumerate(expected):
        n = int(count[i])
        if classes is not None:
            assert (classes.shape, classes.dtype) == ((case.batch, case.top_k), np.int32)
            assert classes[i, :n].tolist() == image.classes
            assert not classes[i, n:].any()
        np.testing.assert_allclose(boxes[i, :n], image.boxes, rtol=RELATIVE, atol=BOX_ABSOLUTE_PX)
        np.testing.assert_allclose(scores[i, :n], image.scores, rtol=RELATIVE)
        assert not boxes[i, n:].any()
        assert not scores[i, n:].any()
        if payload is not None:
            assert image.payload is not None
            assert (payload.shape, payload.dtype) == ((case.batch, case.top_k, case.payload), np.float32)
            found, wanted, places = payload[i, :n], image.payload, case.places
            np.testing.assert_allclose(found[:, places], wanted[:, places], rtol=RELATIVE, atol=BOX_ABSOLUTE_PX)
            np.testing.assert_array_equal(found[:, ~places], wanted[:, ~places].astype(np.float32))
            assert not payload[i, n:].any()
    return expected


CASES = {
    **{f"{c} classes": Case(classes=c) for c in (3, 4, 5)},
    **{f"{c} classes, sigmoid": Case(classes=c, sigmoid=True) for c in (3, 5)},
    # None is hidden: of a single class 24 or more of an image's 146 anchors passed in 400 seeds, enough to compare.
    "2 classes, sigmoid": Case(sigmoid=True, few=1.0),
    # Where classes are not compared with each other: two of nearly equal logits both pass.
    "a high threshold, sigmoid": Case(classes=5, sigmoid=True, threshold=0.6, few=1.0),
    **{f"{n} points": Case(points=n) for n in (1, 4, 68, 98, 128)},
    "nothing carried": Case(points=0, classes=3),
    "values": Case(values=(128, 7, 9)),
    "values alone": Case(points=0, values=(1,)),
    "values of 8 heads": Case(points=4, values=(1, 2, 3, 4, 5, 6, 7, 8)),
    "the most values": Case(points=128, values=(512, 256), top_k=17),
    "cascade": Case(classes=3, points=98, values=(144,), cascade=True),
    # Not all heads begin at an even value of the payload, nor at the first of a block's.
    "values that are points": Case(values=(3, 18, 2, 7), value_points=(False, True, True, False)),
    "values that are points, of a cascade": Case(points=0, values=(1, 34), value_points=(False, True), cascade=True),
    "the most points": Case(points=0, values=(1024,), value_points=(True,), top_k=17),
    "threshold 0": Case(classes=4, threshold=0.0, points=1, top_k=700),
    "threshold 1": Case(classes=4, threshold=1.0),
    "low threshold": Case(classes=5, threshold=0.02, few=1.0, top_k=33),
    "many classes": Case(classes=40, threshold=0.2, few=1.0, points=0, batch=1),
    "flood": Case(classes=3, points=4, values=(3,), threshold=0.02, few=1.0, top_k=5000),
    "no images": Case(classes=3, points=1, batch=0),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_decode_matches_the_oracle(backend: Backend, rng: np.random.Generator, case: Case) -> None:
    """For each kind of head."""
    heads = random_heads(rng, case)
    expected = check_decoded(run_decode(backend, heads, case.options()), heads, case)
    assert case.threshold == 1 or all(len(image.anchors) > 5 for image in expected)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_decode_gives_the_same_bits_on_both(cuda: Backend, rng: np.random.Generator, case: Case) -> None:
    """CPU and CUDA agree to the last bit, in which equal scores differ from nearly equal ones."""
    heads = random_heads(rng, case)
    on_cpu, on_cuda = (run_decode(backend, heads, case.options()) for backend in (Backend("cpu"), cuda))
    for mine, theirs in zip(on_cpu, on_cuda, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("trial", range(12))
def test_decode_and_nms_of_random_heads(backend: Backend, seed: int, trial: int) -> None:
    """Any combination, different for each --seed; half of them with ties, a third with more candidates than slots."""
    rng = np.random.default_rng([seed, trial])
    values = ((), (1,), (144,), (3, 20), (2, 1, 6))[rng.integers(5)]
    case = Case(
        classes=int(rng.integers(2, 6)),
        points=int(rng.choice([0, 1, 4, 5, 68, 98, 128])),
        values=values,
        value_points=tuple(size % 2 == 0 and bool(rng.integers(2)) for size in values),
        sigmoid=bool(rng.integers(2)),
        cascade=bool(rng.integers(2)),
        threshold=float(rng.choice([0.02, 0.25, 0.5])),
        top_k=int(rng.choice([3, 60, 5000])) if trial % 3 else 20,
        few=1.0 if trial % 3 == 0 else float(rng.uniform()),
    )
    print(case)
    heads = random_heads(rng, case)
    if trial % 2:  # all anchors are of a few kinds, so many scores are equal, and no two nearly equal
        kinds = rng.normal(size=(6, case.logits)).astype(np.float32) * 2
        for logits, (height, width, _, sizes) in zip((level[0] for level in heads), LEVELS, strict=True):
            chosen = kinds[rng.integers(6, size=(case.batch, len(sizes), height, width))]
            logits[:] = chosen.transpose(0, 1, 4, 2, 3).reshape(logits.shape)
    found = run_decode(backend, heads, case.options())
    check_decoded(found, heads, case)
    agnostic = {"class_agnostic": True} if case.classes > 2 and rng.integers(2) else {}
    # Far from the IoU of any pair, with near certainty: float32 rounds by 1e-7.
    options = {"iou_threshold": float(rng.uniform(0.2, 0.6)), "max_detections": 40, **agnostic}
    check_kept(run_nms(backend, tuple(found), options), found, options)


@pytest.mark.parametrize("sigmoid", [False, True], ids=["softmax", "sigmoid"])
@pytest.mark.parametrize("top_k", [50, 5000])
def test_decode_orders_equal_scores_by_anchor_then_by_class(backend: Backend, sigmoid: bool, top_k: int) -> None:
    """All classes of an anchor have the same logit, and so have all anchors."""
    case = Case(classes=5, sigmoid=sigmoid, threshold=0.1, top_k=top_k, points=0, batch=1)
    heads = random_heads(np.random.default_rng(1), case)
    for logits, *deltas in heads:
        logits[:] = -1.25
        deltas[0][:] = 0
    boxes, scores, _, count, classes = run_decode(backend, heads, case.options())
    n = min(top_k, 4 * (9 * 7 * 2 + 4 * 5))
    assert count.tolist() == [n]
    assert len(set(scores[0, :n])) == 1
    assert classes[0, :n].tolist() == (np.arange(n) % 4 + 1).tolist()
    check_decoded([boxes, scores, None, count, classes], heads, case)


def test_decode_gives_classes_in_any_order_the_same_scores(backend: Backend, rng: np.random.Generator) -> None:
    """The scores of a softmax do not depend on the numbers of its classes, to the last bit."""
    case = Case(classes=5, threshold=0.02, few=1.0, points=0, top_k=5000)
    heads = random_heads(rng, case)
    order = np.array([0, 3, 1, 4, 2])
    others: Heads = []
    for (logits, *rest), (height, width, _, sizes) in zip(heads, LEVELS, strict=True):
        view = logits.reshape(case.batch, len(sizes), 5, height, width)[:, :, order]
        others.append((view.reshape(logits.shape).copy(), *rest))
    first, second = (run_decode(backend, given, case.options()) for given in (heads, others))
    for mine, theirs in zip(first[:4], second[:4], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    n = int(first[3][0])
    np.testing.assert_array_equal(first[4][0, :n], order[second[4][0, :n]])


@pytest.mark.parametrize("sigmoid", [False, True], ids=["softmax", "sigmoid"])
@pytest.mark.parametrize("case", [Case(classes=4, points=98, values=(7, 2), few=1.0), Case(classes=3, points=0)])
def test_decode_leaves_out_values_that_are_not_finite(
    backend: Backend, rng: np.random.Generator, case: Case, sigmoid: bool
) -> None:
    """NaN and infinities anywhere in the heads never reach the results."""
    case = replace(case, sigmoid=sigmoid)
    heads = random_heads(rng, case)
    for level in heads:
        for i, head in enumerate(level):
            if head is not None:
                bad = rng.random(head.shape) < (0.05 if i == 0 else 0.002)
                head[bad] = rng.choice([np.nan, np.inf, -np.inf, 3e38], size=int(bad.sum())).astype(np.float32)
    results = run_decode(backend, heads, case.options())
    check_decoded(results, heads, case)
    assert all(np.isfinite(array).all() for array in results if array is not None)


@pytest.mark.parametrize("size", [1, 15, 16, 17])
def test_decode_leaves_out_the_candidate_of_one_value(backend: Backend, rng: np.random.Generator, size: int) -> None:
    """In each place of the payload, in one of three images."""
    case = Case(classes=3, points=3, values=(size, 2), few=1.0)
    heads = random_heads(rng, case)
    before = run_decode(backend, heads, case.options())
    place = before[3] // 2
    wanted = before[2][1, place[1], -size - 2]  # a value of a head, copied: found in it again
    for channel in range(size):
        spoilt: Heads = [tuple(None if head is None else head.copy() for head in level) for level in heads]
        for level in spoilt:
            found = np.argwhere(level[4][1] == wanted)
            for at, row, column in found:
                level[4][1, at // size * size + channel, row, column] = np.nan
        results = run_decode(backend, spoilt, case.options())
        check_decoded(results, spoilt, case)
        assert results[3][1] < before[3][1]


@pytest.mark.parametrize("dtype", ["float16"])
def test_decode_of_float16_heads(backend: Backend, rng: np.random.Generator, dtype: str) -> None:
    """Heads of 16 bits are exact in float32, so the oracle gets the same numbers, ties included."""
    case = Case(classes=4, points=4, values=(3,), threshold=0.125, top_k=300)
    heads: Heads = []
    for logits, *rest in random_heads(rng, case):
        whole = np.round(logits * 2) / 2
        narrow = [None if head is None else head.astype(dtype) for head in (whole, *rest)]
        heads.append(tuple(narrow))
    results = run_decode(backend, heads, case.options())
    check_decoded(results, heads, case)


def random_candidates(rng: np.random.Generator, classes: int, payload: int, count: tuple[int, ...]) -> list[Any]:
    """Return clustered candidates with classes and a payload; a tenth of the scores are equal to others."""
    slots = max(count)
    centres = rng.uniform(0, 400, (12, 2))[rng.integers(0, 12, (len(count), slots))]
    corners = np.round(4 * (centres + rng.uniform(-9, 9, centres.shape))) / 4
    boxes = np.concatenate([corners, corners + rng.integers(80, 200, corners.shape) / 4], axis=2)
    scores = rng.permutation(np.linspace(0.02, 0.99, slots))[None].repeat(len(count), axis=0)
    scores[:, ::10] = 0.5
    return [
        boxes.astype(np.float32),
        scores.astype(np.float32),
        rng.normal(size=(len(count), slots, payload)).astype(np.float32) if payload else None,
        np.array(count, np.int32),
        rng.integers(1, classes, (len(count), slots)).astype(np.int32) if classes > 2 else None,
    ]


def check_kept(results: list[Any], candidates: list[Any], options: dict[str, Any]) -> None:
    """Compare with the oracle: what is kept exactly, and what it carries to the last bit."""
    num, boxes, scores, payload, indices, classes = results
    options = dict(options)
    agnostic = options.pop("class_agnostic", False)
    for i in range(len(num)):
        of_image = candidates[4][i] if candidates[4] is not None and not agnostic else None
        given = candidates[0][i], candidates[1][i], int(candidates[3][i])
        expected = nms(*given, **options, classes=of_image)
        n = int(num[i])
        assert indices[i, :n].tolist() == expected.indices
        np.testing.assert_allclose(boxes[i, :n], expected.boxes, rtol=RELATIVE, atol=BOX_ABSOLUTE_PX)
        for array, source in ((scores, candidates[1]), (payload, candidates[2]), (classes, candidates[4])):
            assert (array is None) == (source is None)
            if array is not None:
                assert array.dtype == source.dtype
                assert array.shape == (len(num), options["max_detections"], *source.shape[2:])
                np.testing.assert_array_equal(array[i, :n], source[i, expected.indices])
                assert not array[i, n:].any()


@pytest.mark.parametrize("voting", [False, True], ids=["", "voting"])
@pytest.mark.parametrize("agnostic", [False, True], ids=["per class", "across classes"])
@pytest.mark.parametrize("payload", [0, 1, 8, 10, 154, 400])
def test_nms_of_classes(backend: Backend, rng: np.random.Generator, payload: int, agnostic: bool, voting: bool) -> None:
    """Three images, one of them empty, in any order and in the order of scores."""
    candidates = random_candidates(rng, 5, payload, (300, 0, 171))
    options = {"iou_threshold": 0.4, "max_detections": 70, "voting": voting, "class_agnostic": agnostic}
    check_kept(run_nms(backend, tuple(candidates), options), candidates, options)
    candidates[1][:] = -np.sort(-candidates[1])
    check_kept(run_nms(backend, tuple(candidates), options), candidates, options)


@pytest.mark.parametrize("payload", [0, 3, 136])
@pytest.mark.parametrize("max_detections", [5, 1500])
def test_nms_of_one_class_with_a_payload(
    backend: Backend, rng: np.random.Generator, payload: int, max_detections: int
) -> None:
    """More candidates than one round settles; the result is full early, or never."""
    candidates = random_candidates(rng, 2, payload, (1100, 1030, 4))
    options = {"iou_threshold": 0.4, "max_detections": max_detections, "voting": False}
    check_kept(run_nms(backend, tuple(candidates), options), candidates, options)


def test_nms_keeps_equal_boxes_of_different_classes(backend: Backend) -> None:
    """One of each class, the best; across classes, only one."""
    boxes = np.tile(np.array([5, 5, 20, 30], np.float32), (1, 600, 1))
    scores = np.linspace(0.1, 0.9, 600, dtype=np.float32)[None]
    classes = (np.arange(600, dtype=np.int32) % 3 + 1)[None]
    candidates: Any = (boxes, scores, None, np.array([600], np.int32), classes)
    options = {"iou_threshold": 0.4, "max_detections": 8}
    results = run_nms(backend, candidates, options)
    assert results[4][0].tolist() == [599, 598, 597, -1, -1, -1, -1, -1]
    assert results[5][0].tolist() == [3, 2, 1, 0, 0, 0, 0, 0]
    assert run_nms(backend, candidates, {**options, "class_agnostic": True})[0].tolist() == [1]


def test_nms_takes_what_decode_returns(backend: Backend, rng: np.random.Generator) -> None:
    """Decoding's results go into suppression as they are."""
    case = Case(classes=4, points=68, values=(128, 16), few=1.0, top_k=200)
    heads = random_heads(rng, case)
    found = run_decode(backend, heads, case.options())
    options = {"iou_threshold": 0.4, "max_detections": 50}
    check_kept(run_nms(backend, tuple(found), options), found, options)


def _spoilt(case: Case, **changes: Any) -> tuple[Heads, dict[str, Any]]:
    heads = random_heads(np.random.default_rng(1), case)
    return heads, {**case.options(), **changes}


def test_decode_refuses_heads_that_do_not_fit() -> None:
    """Each message names the head, what it has and what is expected."""
    good = Case(classes=3, points=4, values=(5, 2))

    def refused(message: str, change: Any = None, case: Case = good, **options: Any) -> None:
        heads, given = _spoilt(case, **options)
        if change is not None:
            level, entry, function = change
            arrays = list(heads[level])
            arrays[entry] = function(arrays[entry])
            heads[level] = tuple(arrays)
        with pytest.raises(InvalidArgumentError, match=message):
            ops.decode(heads, **given)

    refused("number of classes is 1, expected 2 to 256: class 0 is the background", classes=1)
    refused("number of classes is 257, expected 2 to 256", classes=257)
    refused("classes is 2.0, expected an integer", classes=2.0)
    refused("sigmoid is 1, expected True or False", sigmoid=1)
    refused(r"logits of level 0 has shape \[3, 6, 9, 7\], expected \[3, 8, 9, 7\]", classes=4)
    refused(r"logits of level 0 has shape \[3, 6, 9, 7\], expected \[3, 4, 9, 7\]", sigmoid=True)
    refused(
        "landmark_deltas of level 0 has 15 channels, expected a multiple of 4: x and y of points of each of 2 anchors",
        (0, 2, lambda a: a[:, :15].copy()),
    )
    refused(
        r"landmark_deltas of level 1 has shape \[3, 6, 4, 5\], expected \[3, 8, 4, 5\]",
        (1, 2, lambda a: a[:, :6].copy()),
    )
    refused("size of values 0 is 5, expected an even number: they are x and y of points", value_points=(True, False))
    refused("value_points has 1 entries, expected 2, one for each head of values, or none", value_points=[True])
    refused(r"value_points\[1\] is 1, expected True or False", value_points=(False, 1))
    refused("value_points is None, expected a sequence of bools", value_points=None)
    refused("values 0 of level 0 has 9 channels, expected a multiple of 2", (0, 4, lambda a: a[:, :9].copy()))
    refused(r"values 1 of level 1 has shape \[3, 1, 4, 5\], expected \[3, 2, 4, 5\]", (1, 5, lambda a: a[:, :1].copy()))
    refused(r"values 0 of level 0 has shape \[3, 10, 9, 6\]", (0, 4, lambda a: a[..., :6].copy()))
    refused("anchor_deltas of level 1 is given, unlike that of level 0", (1, 3, lambda _: np.zeros((3, 4, 4, 5), "f4")))
    refused("number of points is 129, expected 0 to 128", case=Case(points=129))
    refused("values of an anchor behind its box is 1025", case=Case(points=0, values=(1000, 25)))
    refused("heads.0. has 13 entries, expected 3: logits", case=Case(values=(1,) * 9))
    logits, deltas = np.zeros((1, 256, 130, 130), np.float32), np.zeros((1, 4, 130, 130), np.float32)
    options: dict[str, Any] = {"strides": [4], "anchor_sizes": [[8]], "score_threshold": 0.5, "top_k": 1}
    with pytest.raises(InvalidArgumentError, match="times the classes but the background, is 4309500, expected 1 to 4"):
        ops.decode([(logits, deltas, None)], classes=256, **options)
