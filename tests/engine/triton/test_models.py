"""Batches of the models inside Triton: who fails, fails alone, and answers come in the order of the requests."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from engine.errors import InvalidArgumentError
from engine.triton.models.backend import each, for_the_rest, together
from engine.triton.models.pictures import PictureReader


def test_a_batch_that_fails_runs_one_by_one() -> None:
    calls = []

    def doubled(items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        if 3 in items:
            raise InvalidArgumentError("three")
        return [2 * item for item in items]

    assert together([1, 2], doubled) == [2, 4]
    first, failed, last = together([1, 3, 2], doubled)
    assert (first, str(failed), last) == (2, "three", 4)
    assert together([], doubled) == []
    assert calls == [[1, 2], [1, 3, 2], [1], [3], [2]]


def test_errors_keep_their_places() -> None:
    errors = [InvalidArgumentError(str(i)) for i in range(2)]
    given: list[int | Exception] = [errors[0], 1, 2, errors[1], 3]
    assert for_the_rest(given, lambda items: [10 * item for item in items]) == [errors[0], 10, 20, errors[1], 30]
    assert [type(done) for done in each([1, 0], lambda item: 1 / item)] == [float, ZeroDivisionError]


def test_pictures_that_claim_too_much_are_not_decoded() -> None:
    image = np.random.default_rng(1).integers(0, 256, (8, 9, 3), np.uint8)
    file = cv2.imencode(".png", image)[1].tobytes()
    large = cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes()
    reader = PictureReader(max_pixels=72)
    requests = [
        {"encoded": np.array([file, file], np.object_)},
        {"encoded": np.array([file, large], np.object_)},
        {"image": image[None]},
        {"encoded": np.array([b""], np.object_)},
        {},
    ]
    files, refused, arrays, empty, nothing = reader.read(requests)
    reader.close()
    for images in (files, [arrays[0], arrays[0]]):  # type: ignore[index]
        assert isinstance(images, list)
        for decoded in images:
            np.testing.assert_array_equal(decoded, image, strict=True)
    assert str(refused) == "picture 1 claims 81 pixels, expected at most 72"
    assert "picture 0" in str(empty)
    assert "expected one: encoded or image" in str(nothing)
    assert all(isinstance(error, InvalidArgumentError) for error in (refused, empty, nothing))


@pytest.mark.parametrize("shape", [(1, 0, 4, 3), (1, 4, 4, 4), (4, 4)])
def test_arrays_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    reader = PictureReader(max_pixels=100)
    (error,) = reader.read([{"image": np.zeros(shape, np.uint8)}])
    reader.close()
    assert "input image: shape is" in str(error)
