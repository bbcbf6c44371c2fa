"""The same bits in every run, whatever the order of images or candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine import ops
from tests.csrc.ops import test_align as aligning
from tests.csrc.ops import test_anchor_decode as decoding
from tests.csrc.ops import test_batched_nms as suppression
from tests.csrc.ops import test_deform_conv as convolution
from tests.csrc.ops import test_letterbox as letterboxing
from tests.support.backends import Backend

REPEATS = 3


def same_bits(actual: list[Any], expected: list[Any]) -> None:
    """Compare all arrays, the sign of zero included."""
    for a, e in zip(actual, expected, strict=True):
        assert (a is None) == (e is None)
        assert a is None or a.tobytes() == e.tobytes()


def test_decode_repeats_and_follows_the_order_of_images(backend: Backend, rng: np.random.Generator) -> None:
    """Each image's result does not depend on the others."""
    case = decoding.Case("", decoding.FULL[1:], above=(900, 0, 4000, 37), top_k=700)
    heads = decoding.random_heads(rng, case)
    first = decoding.run(backend, heads, case.options())
    for _ in range(REPEATS):
        same_bits(decoding.run(backend, heads, case.options()), first)
    order = rng.permutation(4)
    shuffled: Any = [tuple(None if head is None else head[order] for head in level) for level in heads]
    expected = [None if array is None else array[order] for array in first]
    same_bits(decoding.run(backend, shuffled, case.options()), expected)


@pytest.mark.parametrize("voting", [False, True], ids=["", "voting"])
def test_nms_repeats_and_follows_the_order_of_images(backend: Backend, rng: np.random.Generator, voting: bool) -> None:
    """Each image's result does not depend on the others."""
    case = suppression.Case("", 600, (600, 0, 333, 128), faces=60, voting=voting)
    candidates = suppression.random_candidates(rng, case)
    first = suppression.run(backend, candidates, case.options())
    for _ in range(REPEATS):
        same_bits(suppression.run(backend, candidates, case.options()), first)
    order = rng.permutation(4)
    shuffled: Any = tuple(None if array is None else array[order] for array in candidates)
    expected = [None if array is None else array[order] for array in first]
    same_bits(suppression.run(backend, shuffled, case.options()), expected)


@pytest.mark.parametrize("voting", [False, True], ids=["", "voting"])
def test_nms_finds_the_same_faces_in_any_order(backend: Backend, rng: np.random.Generator, voting: bool) -> None:
    """With distinct scores the order of the slots has no effect. Descending order takes another code path."""
    case = suppression.Case("", 700, (700,), faces=60, voting=voting)
    candidates = suppression.random_candidates(rng, case)
    num, *faces, indices, _ = suppression.run(backend, candidates, case.options())
    for order in (rng.permutation(700), rng.permutation(700), np.argsort(-candidates[1][0])):
        boxes, scores, landmarks, count = candidates
        assert landmarks is not None
        shuffled = boxes[:, order], scores[:, order], landmarks[:, order], count
        others = suppression.run(backend, shuffled, case.options())
        same_bits(others[:-2], [num, *faces])
        kept = int(num[0])
        np.testing.assert_array_equal(order[others[-2][0, :kept]], indices[0, :kept])


def test_letterbox_repeats_and_follows_the_order_of_images(backend: Backend, rng: np.random.Generator) -> None:
    """Also with more images than one launch takes."""
    sizes = [(int(h), int(w)) for h, w in rng.integers(1, 40, (67, 2))]
    images = letterboxing.random_images(rng, sizes)
    first = letterboxing.run(backend, list(images), (24, 31))
    for _ in range(REPEATS):
        same_bits(list(letterboxing.run(backend, list(images), (24, 31))), list(first))
    order = rng.permutation(len(images))
    shuffled = letterboxing.run(backend, [images[i] for i in order], (24, 31))
    same_bits(list(shuffled), [array[order] for array in first])


def test_unletterbox_repeats_and_follows_the_order_of_images(backend: Backend, rng: np.random.Generator) -> None:
    """Each image's result does not depend on the others."""
    sizes = [(int(h), int(w)) for h, w in rng.integers(1, 900, (67, 2))]
    detections = letterboxing.random_detections(rng, len(sizes), 9)

    def run(order: Any) -> list[Any]:
        boxes, landmarks, count = (backend.put(array[order]) for array in detections)
        back = ops.unletterbox(boxes, landmarks, count, [sizes[i] for i in order], (64, 57))
        return [backend.get(array) for array in back]

    same = np.arange(len(sizes))
    first = run(same)
    for _ in range(REPEATS):
        same_bits(run(same), first)
    order = rng.permutation(len(sizes))
    same_bits(run(order), [array[order] for array in first])


def test_align_repeats_and_follows_the_order_of_faces(backend: Backend, rng: np.random.Generator) -> None:
    """Each face's result does not depend on the others, also in crops that do not begin at a word."""
    sizes = [(40, 50), (30, 20), (9, 60)]
    images = aligning.random_images(rng, sizes)
    faces = [aligning.Face(int(i), scale=0.3, degrees=float(d)) for i, d in rng.integers(0, 3, (23, 2)) * (1, 70)]
    landmarks, indices = aligning.landmarks_of(rng, faces, sizes)
    first = aligning.run(backend, list(images), landmarks, indices, (31, 43))
    for _ in range(REPEATS):
        same_bits(list(aligning.run(backend, list(images), landmarks, indices, (31, 43))), list(first))
    order = rng.permutation(len(faces))
    shuffled = aligning.run(backend, list(images), landmarks[order], indices[order], (31, 43))
    same_bits(list(shuffled), [array[order] for array in first])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_deform_conv_repeats_and_follows_the_order_of_images(
    cuda: Backend, rng: np.random.Generator, dtype: str
) -> None:
    """Each image's result does not depend on the others."""
    case = convolution.Case("", 4, (32, 40), (14, 9), spread=3.0)
    tensors = case.random(rng)
    first = convolution.run(cuda, tensors, case.options(), dtype)
    for _ in range(REPEATS):
        same_bits([convolution.run(cuda, tensors, case.options(), dtype)], [first])
    order = rng.permutation(4)
    shuffled = [t if t is None or i in (1, 3) else t[order] for i, t in enumerate(tensors)]
    same_bits([convolution.run(cuda, shuffled, case.options(), dtype)], [first[order]])
