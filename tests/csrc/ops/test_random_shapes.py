"""Random shapes and settings, different for each --seed, against the oracles on the CPU and on CUDA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.csrc.ops import test_align as aligning
from tests.csrc.ops import test_anchor_decode as decoding
from tests.csrc.ops import test_batched_nms as suppression
from tests.csrc.ops import test_deform_conv as convolution
from tests.csrc.ops import test_letterbox as letterboxing
from tests.support.backends import Backend
from tests.support.oracles.letterbox import bilinear, letterbox, opencv, placement
from tests.support.tolerances import (
    DEFORM_CONV_ABSOLUTE,
    GREY_LEVELS_EXACT,
    GREY_LEVELS_OPENCV,
)

TRIALS = 16


@pytest.fixture(params=range(TRIALS))
def rng(request: pytest.FixtureRequest, seed: int) -> np.random.Generator:
    """A different generator for each trial."""
    return np.random.default_rng([seed, request.param])


def pick(rng: np.random.Generator, *values: Any) -> Any:
    """Return one of the values."""
    return values[rng.integers(len(values))]


def between(rng: np.random.Generator, low: int, high: int) -> int:
    """Return an integer from low to high, with its logarithm uniformly distributed."""
    return min(high, int(np.exp(rng.uniform(np.log(low), np.log(high + 1)))))


def random_pyramid(rng: np.random.Generator) -> decoding.Case:
    """Return 1 to 8 levels of any size with 1 to 8 anchors per cell, and K and threshold up to their limits."""
    levels = tuple(
        (
            between(rng, 1, 24),
            between(rng, 1, 24),
            between(rng, 1, 32),
            tuple((w, pick(rng, w, h)) for w, h in rng.uniform(1, 400, (between(rng, 1, 8), 2)).tolist()),
        )
        for _ in range(rng.integers(1, 9))
    )
    anchors = sum(height * width * len(sizes) for height, width, _, sizes in levels)
    threshold = pick(rng, 0.0, 1.0, 0.02, 0.5, *rng.uniform(0.02, 0.9, 6))
    images = rng.integers(0, 4)
    few = [pick(rng, 0, 1, anchors, int(rng.integers(anchors + 1)), between(rng, 1, anchors)) for _ in range(images)]
    above = {0.0: [anchors] * len(few), 1.0: [0] * len(few)}.get(threshold, few)
    return decoding.Case(
        "random",
        levels,
        tuple(above),
        threshold,
        top_k=pick(rng, 1, 5000, between(rng, 1, 5000), between(rng, 1, 5000)),
        landmarks=bool(rng.integers(2)),
        cascade=bool(rng.integers(2)),
    )


def test_decode(backend: Backend, rng: np.random.Generator) -> None:
    """In float32."""
    case = random_pyramid(rng)
    print(case)
    heads = decoding.random_heads(rng, case)
    results = decoding.run(backend, heads, case.options())
    decoding.check(results, heads, case.options())
    assert results[3].tolist() == [min(above, case.top_k) for above in case.above]


def test_decode_of_ties(backend: Backend, rng: np.random.Generator) -> None:
    """In float16, where many margins are equal to each other or to the threshold."""
    case = random_pyramid(rng)
    print(case)
    heads: decoding.Heads = []
    for logits, *deltas in decoding.random_heads(rng, case):
        # Margins up to 8: above, different margins give equal float32 scores.
        grid = rng.integers(-32, 32, logits.shape) / pick(rng, 8, 64)
        narrow = [None if delta is None else delta.astype(np.float16) for delta in deltas]
        heads.append((grid.astype(np.float16), *narrow))
    options = {**case.options(), "score_threshold": pick(rng, 0.0, 0.5, 1.0)}
    decoding.check(decoding.run(backend, heads, options), heads, options)


# IoUs of random boxes are equal to such a fraction or differ from it by many roundings: see random_candidates.
THRESHOLDS = [a / b for b in range(1, 11) for a in range(b + 1)]


def random_suppression(rng: np.random.Generator) -> suppression.Case:
    """Return K, M and threshold up to their limits; some images have no candidates."""
    slots = pick(rng, 1, 5000, between(rng, 1, 1500), between(rng, 1, 1500), between(rng, 1, 1500))
    return suppression.Case(
        "random",
        slots,
        tuple(pick(rng, 0, slots, int(rng.integers(slots + 1))) for _ in range(rng.integers(0, 4))),
        faces=between(rng, 1, 400),
        iou_threshold=THRESHOLDS[rng.integers(len(THRESHOLDS))],
        max_detections=pick(rng, 1, slots, 5000, between(rng, 1, 5000)),
        voting=bool(rng.integers(2)),
        landmarks=bool(rng.integers(2)),
    )


def test_nms(backend: Backend, rng: np.random.Generator) -> None:
    """Scores in order, unordered, and with many ties."""
    case = random_suppression(rng)
    print(case)
    candidates = suppression.random_candidates(rng, case)
    scores, order = candidates[1], pick(rng, "none", "descending", "ties")
    if order == "descending":
        scores[:] = -np.sort(-scores, axis=1)  # NaN stays last
    elif order == "ties":
        scores[:] = np.ceil(scores * 8) / 8
    results = suppression.run(backend, candidates, case.options())
    suppression.check(results, candidates, case.options())


def test_nms_at_the_threshold(backend: Backend, rng: np.random.Generator) -> None:
    """Pairs, far from each other, whose IoU is the threshold or differs by one grid cell."""
    b = int(rng.integers(2, 30))
    a = int(rng.integers(1, b))
    pairs, cell = 150, 1 / 16
    height = rng.integers(1, 12, pairs)
    times = rng.integers(1, 12, pairs)
    more = rng.integers(-1, 2, pairs)
    x, y = np.arange(pairs) % 15 * 512, np.arange(pairs) // 15 * 64
    outer = np.stack([x, y, x + b * times, y + height], axis=1) * cell
    inner = np.stack([x, y, x + a * times + more, y + height], axis=1) * cell
    scores = rng.permutation(np.linspace(0.1, 0.9, 2 * pairs))
    candidates = suppression.candidates_of(np.concatenate([outer, inner]), scores)
    options = {"iou_threshold": a / b, "max_detections": 2 * pairs, "voting": False}
    results = suppression.run(backend, candidates, options)
    # Compared in integers, without rounding.
    exceeds = (a * times + more) * b > a * b * times
    assert results[0][0] == 2 * pairs - exceeds.sum()
    suppression.check(results, candidates, options)


def test_letterbox(backend: Backend, rng: np.random.Generator) -> None:
    """Batches of images of any size."""
    sizes = [(between(rng, 1, 300), between(rng, 1, 300)) for _ in range(rng.integers(1, 5))]
    size = between(rng, 1, 200), between(rng, 1, 200)
    swap_rb, enlarge = bool(rng.integers(2)), bool(rng.integers(2))
    print(sizes, size, swap_rb, enlarge)
    images = letterboxing.random_images(rng, sizes)
    batch, transforms = letterboxing.run(backend, list(images), size, swap_rb=swap_rb, enlarge=enlarge)
    levels = letterboxing.levels_of(batch)
    for i, image in enumerate(images):
        scale, _, (left, top) = placement(image.shape[0], image.shape[1], size, enlarge)
        np.testing.assert_allclose(transforms[i], [scale, left, top], rtol=1e-7)
        for resize, tolerance in [(bilinear, GREY_LEVELS_EXACT), (opencv, GREY_LEVELS_OPENCV)]:
            expected = letterbox(image, size, letterboxing.PAD, swap_rb, resize, enlarge)
            np.testing.assert_allclose(np.round(levels[i]), expected, atol=tolerance, rtol=0)


def test_align(backend: Backend, rng: np.random.Generator) -> None:
    """Faces of any size, place and angle, in images and crops of any size."""
    sizes = [(between(rng, 1, 300), between(rng, 1, 300)) for _ in range(rng.integers(1, 5))]
    size = between(rng, 1, 200), between(rng, 1, 200)
    faces = [
        aligning.Face(
            int(rng.integers(len(sizes))),
            (float(rng.uniform(-0.3, 1.3)), float(rng.uniform(-0.3, 1.3))),
            between(rng, 1, 10000) / 2000,
            float(rng.uniform(-180, 180)),
            float(pick(rng, 0, 3, 30)),
            bool(rng.integers(2)),
        )
        for _ in range(rng.integers(0, 9))
    ]
    print(sizes, size, faces)
    images = aligning.random_images(rng, sizes)
    landmarks, indices = aligning.landmarks_of(rng, faces, sizes)
    found = aligning.run(backend, list(images), landmarks, indices, size)
    aligning.check(images, landmarks, indices, size, found)


def random_convolution(rng: np.random.Generator) -> convolution.Case:
    """Return random kernels, strides, paddings, groups of both kinds, and small or large offsets."""
    groups, offset_groups = between(rng, 1, 4), between(rng, 1, 4)
    share = int(np.lcm(groups, offset_groups)) * pick(rng, 1, 1, 3, 8, 16)
    kernel = pick(rng, (3, 3), (3, 3), (between(rng, 1, 7), between(rng, 1, 7)))
    dilation = between(rng, 1, 3), between(rng, 1, 3)
    padding = tuple(int(p) for p in rng.integers(0, 5, 4))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    smallest = [max(1, r - padding[i] - padding[i + 2]) for i, r in enumerate(reach)]
    return convolution.Case(
        "random",
        int(rng.integers(1, 4)),
        (share, groups * between(rng, 1, 40)),
        (smallest[0] + between(rng, 1, 16) - 1, smallest[1] + between(rng, 1, 24) - 1),
        kernel,
        (between(rng, 1, 3), between(rng, 1, 3)),
        padding,  # type: ignore[arg-type]
        dilation,
        groups,
        offset_groups,
        bool(rng.integers(2)),
        bool(rng.integers(2)),
        float(pick(rng, 0.5, 2.0, 10.0)),
    )


def test_deform_conv(backend: Backend, rng: np.random.Generator) -> None:
    """In float32."""
    case = random_convolution(rng)
    print(case)
    tensors = case.random(rng)
    y = convolution.run(backend, tensors, case.options())
    np.testing.assert_allclose(y, convolution.expect(tensors, case.options()), rtol=0, atol=DEFORM_CONV_ABSOLUTE)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_deform_conv_in_16_bits(cuda: Backend, rng: np.random.Generator, dtype: str) -> None:
    """On the tensor cores."""
    case = random_convolution(rng)
    print(case)
    tensors = convolution.rounded(case.random(rng), dtype)
    expected = convolution.expect(tensors, case.options())
    y = convolution.run(cuda, tensors, case.options(), dtype).astype(np.float64)
    # One rounding per sample, and one for the sum.
    sizes = [t if i == 2 or t is None else abs(t) for i, t in enumerate(tensors)]
    magnitude = convolution.expect(sizes, case.options())
    bound = convolution.EPSILON[dtype] / 2 * (abs(expected) + magnitude) + DEFORM_CONV_ABSOLUTE
    assert (abs(y - expected) <= bound).all()
