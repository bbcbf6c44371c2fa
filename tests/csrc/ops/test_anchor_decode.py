"""engine.ops.decode against a float64 oracle, on the CPU and on CUDA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import ops
from engine.errors import InvalidArgumentError
from tests.support.backends import Backend
from tests.support.dlpack import tensor_of
from tests.support.oracles.anchor_decode import anchor_decode, logit
from tests.support.tolerances import BOX_ABSOLUTE_PX, RELATIVE

Heads = list[tuple[Any, ...]]  # per level: logits, box deltas, landmark deltas or None, and a cascade's anchor deltas
Sides = tuple[float | tuple[float, float], ...]

# Distance between neighbouring margins of random heads, large enough that float32 scores keep their order.
MARGIN_STEP = 6e-5


@dataclass(frozen=True)
class Case:
    """A pyramid, its anchors and the settings. `above` is the number of anchors above the threshold, per image."""

    id: str
    levels: tuple[tuple[int, int, int, Sides], ...]  # height, width, stride, anchor sizes
    above: tuple[int, ...]  # per image
    threshold: float = 0.5
    top_k: int = 50
    landmarks: bool = True
    cascade: bool = False

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments that decode and its oracle share."""
        return {
            "strides": [level[2] for level in self.levels],
            "anchor_sizes": [level[3] for level in self.levels],
            "variances": (0.1, 0.2),
            "score_threshold": self.threshold,
            "top_k": self.top_k,
        }

    def num_anchors(self) -> int:
        """Return the number of anchors of an image."""
        return sum(height * width * len(sizes) for height, width, _, sizes in self.levels)


SMALL = ((3, 5, 8, (12.5,)), (2, 3, 16, (30.0, 64.0)))
FULL = ((80, 80, 8, (16, 32)), (40, 40, 16, (64, 128)), (20, 20, 32, (256, 512)))  # 640 x 640: 16,800 anchors

CASES = [
    Case("few", SMALL, above=(7,)),
    Case("no landmarks", SMALL, above=(7,), landmarks=False),
    Case("nothing above", SMALL, above=(0,)),
    Case("no images", SMALL, above=()),
    Case("three images, one empty", SMALL, above=(9, 0, 27)),
    Case("low threshold", SMALL, above=(20,), threshold=0.02),
    Case("threshold 0 keeps all", SMALL, above=(27,), threshold=0.0),
    Case("threshold 1 keeps none", SMALL, above=(0,), threshold=1.0),
    Case("more than top_k", SMALL, above=(27,), top_k=10),
    Case("top_k 1", SMALL, above=(5, 1), top_k=1),
    Case("odd sizes, 3 anchors", ((13, 7, 4, (5.0, 9.0, 17.0)), (7, 4, 8, (33.0,))), above=(100, 33)),
    Case(
        "8 levels, 8 anchors",
        tuple((9 - i, 5, 2 << i, tuple(4.0 * (i + j + 1) for j in range(8))) for i in range(8)),
        above=(90, 3),
    ),
    Case("640x640", FULL, above=(300, 20), threshold=0.02, top_k=5000),
    Case("640x640, all above", FULL, above=(16800,), threshold=0.02, top_k=5000),
    Case("200,000 anchors", ((250, 200, 4, (16, 20, 25, 32)),), above=(5300,), threshold=0.02, top_k=5000),
    Case("200,000 candidates", ((250, 200, 4, (16, 20, 25, 32)),), above=(200000,), threshold=1e-4, top_k=5000),
    *[Case(f"{n} candidates", FULL[1:], above=(n,), threshold=0.02, top_k=2000) for n in (511, 512, 513, 2000, 2001)],
    *[Case(f"{n} of 5000", FULL, above=(n, n, n), threshold=0.02, top_k=5000) for n in (4999, 5000, 5001, 5120, 5121)],
    Case("anchors that are not square", ((5, 6, 8, ((11.3, 5.7), 8.0)), (3, 3, 16, ((20.0, 41.0),))), above=(30, 2)),
    Case("cascade", SMALL, above=(9, 0, 27), cascade=True),
    Case("cascade without landmarks", SMALL, above=(20,), landmarks=False, cascade=True),
    Case("cascade, anchors that are not square", ((9, 7, 4, ((6.0, 9.0), (9.0, 6.0))),), above=(50,), cascade=True),
    Case("cascade, 640x640", FULL, above=(300, 20), threshold=0.02, top_k=5000, cascade=True),
    Case("one cell to a level", tuple((1, 1, 4 << i, (8.0 * 2**i,)) for i in range(8)), above=(8, 3), top_k=6),
]


def random_heads(rng: np.random.Generator, case: Case) -> Heads:
    """Return heads whose margins lie on a grid, so that float32 rounding makes no ties and none at the threshold.

    Margins above about 5 would give equal float32 scores; no case has such margins.
    """
    limit = logit(case.threshold) if 0 < case.threshold < 1 else -4.0
    images = []
    for above in case.above:
        order = rng.permutation(case.num_anchors())
        images.append(limit + (above - 0.5 - order) * MARGIN_STEP)
    margins = np.array(images).reshape(len(case.above), case.num_anchors())
    heads: Heads = []
    first = 0
    for height, width, _, sizes in case.levels:
        count = height * width * len(sizes)
        level = margins[:, first : first + count].reshape(-1, len(sizes), height, width)
        background = rng.normal(size=level.shape)
        logits = np.stack([background, background + level], axis=2).reshape(-1, 2 * len(sizes), height, width)
        deltas = rng.normal(size=(len(case.above), 14 * len(sizes), height, width)).astype(np.float32)
        split = 4 * len(sizes)
        landmarks = np.ascontiguousarray(deltas[:, split:]) if case.landmarks else None
        level_heads = (logits.astype(np.float32), np.ascontiguousarray(deltas[:, :split]), landmarks)
        heads.append((*level_heads, *([first_deltas(rng, level_heads[1].shape)] if case.cascade else [])))
        first += count
    return heads


def first_deltas(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the first stage's box deltas of a cascade."""
    return rng.normal(size=shape).astype(np.float32)


def run(backend: Backend, heads: Heads, options: dict[str, Any]) -> list[Any]:
    """Decode on the backend and return the results on the host."""
    placed: list[Any] = [tuple(None if head is None else backend.put(head) for head in level) for level in heads]
    results = ops.decode(placed, **options)
    return [None if array is None else backend.get(array) for array in results]


def check(results: list[Any], heads: Heads, options: dict[str, Any]) -> None:
    """Compare with the oracle: counts exactly, values within rounding, zeros after them."""
    boxes, scores, landmarks, count, classes = results
    assert classes is None
    expected = anchor_decode(heads, **options)
    batch, top_k = heads[0][0].shape[0], options["top_k"]
    assert (boxes.shape, boxes.dtype) == ((batch, top_k, 4), np.float32)
    assert (scores.shape, scores.dtype) == ((batch, top_k), np.float32)
    assert (count.shape, count.dtype) == ((batch,), np.int32)
    assert count.tolist() == [len(image.anchors) for image in expected]
    for i, image in enumerate(expected):
        n = count[i]
        np.testing.assert_allclose(boxes[i, :n], image.boxes, rtol=RELATIVE, atol=BOX_ABSOLUTE_PX)
        np.testing.assert_allclose(scores[i, :n], image.scores, rtol=RELATIVE)
        assert not boxes[i, n:].any()
        assert not scores[i, n:].any()
        if image.payload is None:
            assert landmarks is None
        else:
            assert (landmarks.shape, landmarks.dtype) == ((batch, top_k, 10), np.float32)
            np.testing.assert_allclose(landmarks[i, :n], image.payload, rtol=RELATIVE, atol=BOX_ABSOLUTE_PX)
            assert not landmarks[i, n:].any()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_decode_matches_the_oracle(backend: Backend, rng: np.random.Generator, case: Case) -> None:
    """For many pyramids and settings."""
    heads = random_heads(rng, case)
    results = run(backend, heads, case.options())
    check(results, heads, case.options())
    assert results[3] is not None
    assert results[3].tolist() == [min(above, case.top_k) for above in case.above]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_decode_gives_the_same_bits_on_both(cuda: Backend, rng: np.random.Generator, case: Case) -> None:
    """CPU and CUDA agree to the last bit."""
    heads = random_heads(rng, case)
    on_cpu = run(Backend("cpu"), heads, case.options())
    on_cuda = run(cuda, heads, case.options())
    for mine, theirs in zip(on_cpu, on_cuda, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_decode_of_a_cascade_worked_by_hand(backend: Backend) -> None:
    """The first stage moves the anchor (20, 12) of 10 x 20 to (21, 10) and 20 x 10; the second starts from there."""
    logits = np.full((1, 2, 2, 3), -5, np.float32)
    logits[0, 0] = 5
    logits[0, :, 1, 2] = [0, np.log(3)]
    box_deltas, landmark_deltas = np.zeros((1, 4, 2, 3), np.float32), np.zeros((1, 10, 2, 3), np.float32)
    anchor_deltas = np.zeros((1, 4, 2, 3), np.float32)
    anchor_deltas[0, :, 1, 2] = [0.1, -0.1, np.log(2), np.log(0.5)]
    box_deltas[0, :, 1, 2] = [0.05, 0.1, 0, np.log(2)]
    landmark_deltas[0, :, 1, 2] = np.arange(10)
    boxes, _, landmarks, count, _ = run(
        backend,
        [(logits, box_deltas, landmark_deltas, anchor_deltas)],
        {
            "strides": [8],
            "anchor_sizes": [[(10, 20)]],
            "variances": (1.0, 1.0),
            "score_threshold": 0.5,
            "top_k": 1,
        },
    )
    assert count.tolist() == [1]
    np.testing.assert_allclose(boxes[0, 0], [12, 1, 32, 21], rtol=1e-6)  # centre (22, 11), 20 x 20
    points = np.arange(10).reshape(5, 2) * [20, 10] + [21, 10]
    np.testing.assert_allclose(landmarks[0, 0].reshape(5, 2), points, rtol=1e-6)


def test_decode_with_first_deltas_of_zero_changes_nothing(backend: Backend, rng: np.random.Generator) -> None:
    """To the last bit."""
    heads = random_heads(rng, CASES[0])
    still = [(*level, np.zeros_like(level[1])) for level in heads]
    plain, cascaded = (run(backend, each, CASES[0].options()) for each in (heads, still))
    for mine, theirs in zip(plain, cascaded, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_decode_of_one_anchor_worked_by_hand(backend: Backend) -> None:
    """Cell (1, 2) of a stride 8 level: centre (20, 12)."""
    logits = np.full((1, 2, 2, 3), -5, np.float32)
    logits[0, 0] = 5
    logits[0, :, 1, 2] = [0, np.log(3)]
    box_deltas, landmark_deltas = np.zeros((1, 4, 2, 3), np.float32), np.zeros((1, 10, 2, 3), np.float32)
    box_deltas[0, :, 1, 2] = [1, -1, 5 * np.log(2), 0]  # one tenth of a side right and up, twice as wide
    landmark_deltas[0, :, 1, 2] = np.arange(10)
    boxes, scores, landmarks, count, _ = run(
        backend,
        [(logits, box_deltas, landmark_deltas)],
        {"strides": [8], "anchor_sizes": [[10]], "score_threshold": 0.5, "top_k": 2},
    )
    assert count.tolist() == [1]
    np.testing.assert_allclose(boxes[0, 0], [11, 6, 31, 16], rtol=1e-6)
    np.testing.assert_allclose(scores[0], [0.75, 0], rtol=1e-6)
    np.testing.assert_allclose(landmarks[0, 0], np.tile([20, 12], 5) + np.arange(10), rtol=1e-6)


@pytest.mark.parametrize("margin", [0.25, 40.0], ids=["equal margins", "scores all 1 in float32"])
def test_decode_orders_ties_by_anchor(backend: Backend, rng: np.random.Generator, margin: float) -> None:
    """Anchors of equal score are in the order of their index, and top_k keeps the first of them."""
    case = replace(CASES[0], top_k=20)
    heads = random_heads(rng, case)
    for logits, _, _ in heads:
        logits[:, 0::2] = 0
        # Different margins may still give the same float32 score: the score decides.
        logits[:, 1::2] = margin if margin < 1 else margin + rng.random(logits[:, 1::2].shape)
    results = run(backend, heads, case.options())
    for logits, _, _ in heads:
        logits[:, 1::2] = margin
    check(results, heads, case.options())


# The K-th candidate is the first or last of those that share its upper bits; thresholds change the number of bits.
@pytest.mark.parametrize("top_k", [1, 4096, 4097, 5000])
@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.95])
def test_decode_of_200_000_ties(backend: Backend, threshold: float, top_k: int) -> None:
    """Every anchor is a candidate of the same score: the first anchors are selected."""
    sizes = (16.0, 20.0, 25.0, 32.0)
    heads = [tuple(np.zeros((1, width * 4, 250, 200), np.float32) for width in (2, 4, 10))]
    heads[0][0][:, 1::2] = 5
    options = {"strides": [4], "anchor_sizes": [sizes], "score_threshold": threshold, "top_k": top_k}
    boxes, scores, landmarks, count, _ = run(backend, heads, options)
    assert count.tolist() == [top_k]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-5)), rtol=RELATIVE)
    assert len(set(scores[0])) == 1
    cell, size = np.arange(top_k) // 4, np.resize(sizes, top_k)
    centre = np.stack([cell % 200 + 0.5, cell // 200 + 0.5], axis=1) * 4  # exact in float32
    np.testing.assert_array_equal(boxes[0], np.hstack([centre - size[:, None] / 2, centre + size[:, None] / 2]))
    np.testing.assert_array_equal(landmarks[0], np.tile(centre, 5))


@pytest.mark.parametrize("ties", [5120, 5121])
def test_decode_of_as_many_ties_as_one_block_sorts(backend: Backend, rng: np.random.Generator, ties: int) -> None:
    """So many candidates of the same score are sorted at once; one more makes the kernel choose among them first."""
    case = Case("", FULL, above=(ties,), threshold=0.5, top_k=5000)
    heads = random_heads(rng, case)
    for logits, _, _ in heads:
        logits[:, 1::2] = np.where(logits[:, 1::2] > logits[:, 0::2], 1, -1)
        logits[:, 0::2] = 0
    check(run(backend, heads, case.options()), heads, case.options())


# Eight maps of eight anchors per cell: the maximum number of anchors, and nearly the maximum number of tiles, because
# the last tile of each map but the last has one cell.
MOST_CELLS = (65537,) * 7 + (65529,)
MOST_ANCHORS = 1 << 22


def heads_of_the_most_anchors(face_logits: NDArray[np.float32]) -> Heads:
    """Return the heads of one image: logits in the order of the anchors' indices, deltas of 0."""
    heads: Heads = []
    ends = np.cumsum(np.multiply(MOST_CELLS, 8))
    for cells, face in zip(MOST_CELLS, np.split(face_logits, ends[:-1]), strict=True):
        logits = np.zeros((1, 16, cells, 1), np.float32)
        logits[0, 1::2, :, 0] = face.reshape(cells, 8).T
        heads.append((logits, np.zeros((1, 32, cells, 1), np.float32), None))
    return heads


def test_decode_of_the_maximum_number_of_anchors(backend: Backend, rng: np.random.Generator) -> None:
    """A few good candidates, and more equal ones than fit one sort: those with the lowest indices are selected."""
    assert np.dot(MOST_CELLS, 8).sum() == MOST_ANCHORS
    ties = rng.choice(np.arange(1, MOST_ANCHORS - 1), 6000, replace=False)
    good = rng.permutation(np.concatenate([[0, MOST_ANCHORS - 1], rng.choice(np.arange(1, MOST_ANCHORS - 1), 5)]))
    logits = np.full(MOST_ANCHORS, -5, np.float32)
    logits[ties] = 1
    logits[good] = 3 - 0.1 * np.arange(len(good))
    strides, sides = [2 << i for i in range(8)], np.arange(1, 65).reshape(8, 8)
    boxes, scores, _, count, _ = run(
        backend,
        heads_of_the_most_anchors(logits),
        {"strides": strides, "anchor_sizes": sides.tolist(), "score_threshold": 0.5, "top_k": 5000},
    )
    assert count.tolist() == [5000]
    indices = np.concatenate([good, np.sort(np.setdiff1d(ties, good))])[:5000]
    np.testing.assert_allclose(scores[0], 1 / (1 + np.exp(-logits[indices].astype(np.float64))), rtol=RELATIVE)
    level, within = np.divmod(indices, 65537 * 8)  # the last map is the only one that is smaller
    cell, anchor = np.divmod(within, 8)
    centre = np.stack([np.full(5000, 0.5), cell + 0.5], axis=1) * np.array(strides)[level, None]
    side = sides[level, anchor][:, None].astype(np.float32)
    # As in the published decoder the second corner is the first one plus the side. Beyond 2^23 pixels float32 has no
    # halves, and that is not always the centre plus half the side.
    first = (centre - side / 2).astype(np.float32)
    np.testing.assert_array_equal(boxes[0], np.hstack([first, first + side]))


@pytest.mark.parametrize("cascade", [False, True])
def test_decode_leaves_out_values_that_are_not_finite(
    backend: Backend, rng: np.random.Generator, cascade: bool
) -> None:
    """NaN and infinities anywhere in the heads never reach the results."""
    case = Case("", FULL[1:], above=(3000, 40), top_k=500, cascade=cascade)
    heads = random_heads(rng, case)
    for level in heads:
        for head in level:
            assert head is not None
            bad = rng.random(head.shape) < 0.02
            head[bad] = rng.choice([np.nan, np.inf, -np.inf, 3e38], size=int(bad.sum())).astype(np.float32)
    results = run(backend, heads, case.options())
    check(results, heads, case.options())
    for array in results[:3]:
        assert np.isfinite(array).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("head", [1, 2, 3], ids=["box", "landmarks", "anchor"])
def test_decode_leaves_out_one_candidate(backend: Backend, rng: np.random.Generator, head: int, value: float) -> None:
    """A single value that is not finite, in each channel of the deltas, in one of three images."""
    case = Case("", FULL[2:], above=(150, 150, 150), top_k=200, cascade=head == 3)
    width = 10 if head == 2 else 4
    for channel in range(width):
        heads = random_heads(rng, case)
        chosen = heads[0][head]
        assert chosen is not None
        face = heads[0][0][1, 1::2] - heads[0][0][1, 0::2]
        anchor, row, column = np.argwhere(face > 0)[rng.integers(150)]
        chosen[1, anchor * width + channel, row, column] = value
        results = run(backend, heads, case.options())
        check(results, heads, case.options())
        # exp(-inf) is 0: a box of width 0 is finite.
        empty = head != 2 and channel >= 2 and value == -np.inf
        assert results[3].tolist() == [150, 150 if empty else 149, 150]


def test_decode_of_float16_heads(backend: Backend, rng: np.random.Generator) -> None:
    """float16 heads are exact in float32, so the oracle gets the same numbers, including ties."""
    case = Case("", FULL[2:], above=(0, 0), top_k=700)
    heads: Heads = []
    for logits, box_deltas, landmark_deltas in random_heads(rng, case):
        assert landmark_deltas is not None
        grid = rng.integers(-32, 32, logits.shape) / 64  # some margins are 0, the threshold itself
        heads.append(
            (grid.astype(np.float16), box_deltas.astype(np.float16), landmark_deltas.astype(np.float16)),
        )
    check(run(backend, heads, case.options()), heads, case.options())


class BFloat16:
    """A float32 array of exact bfloat16 values, as a bfloat16 array on a device. NumPy has no bfloat16."""

    BFLOAT_CODE = 4

    def __init__(self, backend: Backend, array: NDArray[np.float32]) -> None:
        """Upload the upper halves."""
        halves = (array.view(np.uint32) >> 16).astype(np.uint16)
        self._array = backend.put(halves.view(np.float16))
        self.__dlpack_device__ = self._array.__dlpack_device__

    def __dlpack__(self, *, stream: int | None = None) -> object:
        """Export with the type code of bfloat16."""
        capsule: object = self._array.__dlpack__(stream=stream)
        tensor_of(capsule).code = self.BFLOAT_CODE
        return capsule


def test_decode_of_bfloat16_heads(cuda: Backend, rng: np.random.Generator) -> None:
    """bfloat16 heads are exact in float32, too."""
    case = Case("", SMALL, above=(13,))
    heads: Heads = [
        tuple(rng.integers(-128, 128, head.shape).astype(np.float32) / 64 for head in level if head is not None)
        for level in random_heads(rng, case)
    ]
    placed: list[Any] = [tuple(BFloat16(cuda, head) for head in level if head is not None) for level in heads]
    found = ops.decode(placed, **case.options())
    check([None if array is None else cuda.get(array) for array in found], heads, case.options())


def _replace(level: int, entry: int, change: Callable[[Any], Any]) -> Callable[[Heads, dict[str, Any]], None]:
    def apply(heads: Heads, _: dict[str, Any]) -> None:
        arrays = list(heads[level])
        arrays[entry] = change(arrays[entry])
        heads[level] = tuple(arrays)

    return apply


def _set(**options: Any) -> Callable[[Heads, dict[str, Any]], None]:
    return lambda _, given: given.update(options)


BAD = [
    (_set(top_k=0), r"top_k is 0, expected 1 to 5000"),
    (_set(top_k=5001), r"top_k is 5001, expected 1 to 5000"),
    (_set(score_threshold=-0.1), r"score_threshold is -0.1, expected 0 to 1"),
    (_set(score_threshold=1.1), r"score_threshold is 1.1, expected 0 to 1"),
    (_set(score_threshold=float("nan")), r"score_threshold is nan, expected 0 to 1"),
    (_set(variances=(0.0, 0.2)), r"centre variance is 0, expected a finite number above 0"),
    (_set(variances=(0.1, float("inf"))), r"size variance is inf, expected a finite number above 0"),
    (_set(strides=[8]), r"strides has 1 entries, expected 2, one per level"),
    (_set(strides=[8, 0]), r"stride of level 1 is 0, expected at least 1 pixel"),
    (_set(anchor_sizes=[[16]]), r"anchor_sizes has 1 entries, expected 2, one per level"),
    (_set(anchor_sizes=[[16], [1] * 9]), r"anchor_sizes\[1\] has 9 entries, expected 1 to 8"),
    (_set(anchor_sizes=[[-1], [1, 2]]), r"an anchor size of level 0 is -1, expected a finite number above 0"),
    (_set(anchor_sizes=[[1, 2], [1, 2]]), r"logits of level 0 has shape \[1, 2, 3, 5\], expected \[1, 4, 3, 5\]"),
    (_replace(0, 0, lambda a: a[0]), r"logits of level 0 has shape \[2, 3, 5\], expected \[N, C A, h, w\]"),
    (
        _replace(1, 1, lambda a: a[:, :4].copy()),
        r"box_deltas of level 1 has shape \[1, 4, 2, 3\], expected \[1, 8, 2, 3\]",
    ),
    (_replace(1, 0, lambda a: np.repeat(a, 2, axis=0)), r"logits of level 1 has shape \[2, 4, 2, 3\], expected \[1"),
    (
        lambda heads, _: heads.__setitem__(1, (*heads[1], heads[1][1])),
        r"heads\[1\] has 4 entries, expected 3: logits, box_deltas, landmark_deltas or None; or, with anchor_deltas, 4",
    ),
    (
        lambda heads, _: heads.__setitem__(slice(None), [(*level, level[2]) for level in heads]),
        r"anchor_deltas of level 0 has shape \[1, 10, 3, 5\], expected \[1, 4, 3, 5\]",
    ),
    (_set(anchor_sizes=[[(8, 0)], [1, 2]]), r"an anchor size of level 0 is 0, expected a finite number above 0"),
    (_set(anchor_sizes=[16, [1, 2]]), r"anchor_sizes\[0\] is 16, expected the anchors of a cell: a list of sizes"),
    (_set(anchor_sizes=[[[8]], [1, 2]]), r"anchor_sizes\[0\]\[0\] is \[8\], expected the side of a square anchor"),
    (_set(anchor_sizes=[[8], [(1, 2, 3), 2]]), r"anchor_sizes\[1\]\[0\] is \(1, 2, 3\), expected the side of a square"),
    (_set(anchor_sizes=[["16"], [1, 2]]), r"anchor_sizes\[0\]\[0\] is '16', expected the side of a square anchor"),
    (_set(anchor_sizes=[[None], [1, 2]]), r"anchor_sizes\[0\]\[0\] is None, expected the side of a square anchor"),
    (_set(anchor_sizes=[[8], [1, 10**400]]), r"anchor_sizes\[1\]\[1\] is 10{76}\.\.\., expected a number of at most"),
    (_set(anchor_sizes=[[8], [1, 1e300]]), r"anchor_sizes\[1\]\[1\] is 1e\+300, expected a number of at most 3.4e38"),
    (_replace(1, 2, lambda _: None), r"landmark_deltas of level 1 is None, unlike that of level 0"),
    (_replace(0, 2, lambda _: None), r"landmark_deltas of level 1 is given, unlike that of level 0"),
    (_replace(0, 1, lambda a: a.astype(np.int32)), r"box_deltas of level 0 has dtype int32, expected float32"),
    (_replace(0, 0, lambda a: a.astype(np.float64)), r"logits of level 0 has dtype float64"),
    (_replace(0, 0, lambda a: a.astype(">f4")), r"logits of level 0 has dtype >f4"),
    (_replace(0, 0, lambda a: a[..., ::-1]), r"logits of level 0 is not C-contiguous: it has strides"),
    (_replace(1, 0, lambda a: a.tolist()), r"logits of level 1 is a list, expected a NumPy array or a device array"),
]


def test_decode_takes_sizes_as_lists_and_arrays(rng: np.random.Generator) -> None:
    """The same anchors in several forms."""
    heads = random_heads(rng, CASES[0])
    options = CASES[0].options()
    results = [
        run(Backend("cpu"), heads, {**options, "anchor_sizes": sizes})
        for sizes in (
            [[(12.5, 12.5)], [(30.0, 20.0), 64.0]],
            [[12.5], [[30.0, 20.0], [64, 64.0]]],
            (np.array([12.5]), np.array([[30, 20], [64, 64]])),
            [[np.float32(12.5)], [np.array([30, 20]), np.int64(64)]],
        )
    ]
    for other in results[1:]:
        for mine, theirs in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(("spoil", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_decode_refuses(rng: np.random.Generator, spoil: Callable[[Heads, dict[str, Any]], None], message: str) -> None:
    """Each message names the argument, what was given and what is expected."""
    heads, options = random_heads(rng, CASES[0]), CASES[0].options()
    spoil(heads, options)
    with pytest.raises(InvalidArgumentError, match=message):
        ops.decode(heads, **options)


def test_decode_refuses_more_levels_or_anchors_than_it_can_hold(rng: np.random.Generator) -> None:
    """The limits are 8 levels and 2^22 anchors per image."""
    head = random_heads(rng, CASES[0])[0]
    options: dict[str, Any] = {"score_threshold": 0.5, "top_k": 1}
    with pytest.raises(InvalidArgumentError, match="heads has 9 levels, expected 1 to 8"):
        ops.decode([head] * 9, strides=[8] * 9, anchor_sizes=[[16]] * 9, **options)
    left = MOST_ANCHORS - 7 * 8 * 65537 + 1
    last = (np.zeros((1, 2, left, 1), np.float32), np.zeros((1, 4, left, 1), np.float32), None)
    one_more = [*heads_of_the_most_anchors(np.zeros(MOST_ANCHORS, np.float32))[:7], last]
    options |= {"strides": [8] * 8, "anchor_sizes": [[16] * 8] * 7 + [[16]]}
    with pytest.raises(InvalidArgumentError, match="number of anchors per image is 4194305, expected 1 to 4194304"):
        ops.decode(one_more, **options)
