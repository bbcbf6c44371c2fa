"""Batches of the models inside Triton: who fails, fails alone, and answers come in the order of the requests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from engine.config.presets import preset
from engine.detector import TRTRetinaFace
from engine.errors import DeviceLostError, InferenceError, InvalidArgumentError
from engine.sidecar.schema import read_sidecar
from engine.triton.models import undo
from engine.triton.models.backend import each, for_the_rest, together
from engine.triton.models.detector import TritonPythonModel
from engine.triton.models.pictures import PictureReader
from tests.engine.sidecar.test_content import VALUES


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


@pytest.mark.parametrize(
    ("error", "signals"), [(DeviceLostError("gone"), [signal.SIGTERM]), (InferenceError("no"), [])]
)
def test_the_server_ends_when_the_gpu_is_lost(
    error: Exception, signals: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def detect(self: TRTRetinaFace, images: list[Any], score_threshold: float) -> None:
        raise error

    def end(process: int, number: int) -> None:
        assert process == os.getppid()
        sent.append(number)

    sent: list[int] = []
    backend = SimpleNamespace(
        TritonError=lambda text, code: text,
        InferenceResponse=lambda output_tensors, error: error,
        Logger=SimpleNamespace(),
    )
    backend.TritonError.INTERNAL = backend.TritonError.INVALID_ARG = 0
    backend.Logger.log_error = lambda text: None
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend)
    monkeypatch.setattr(os, "kill", end)
    monkeypatch.setattr(TRTRetinaFace, "detect", detect)
    monkeypatch.setattr(TRTRetinaFace, "check_threshold", lambda self, threshold: 0.5)
    model = TritonPythonModel.__new__(TritonPythonModel)
    model._detector, model._reader = TRTRetinaFace.__new__(TRTRetinaFace), PictureReader(max_pixels=100)
    tensor = SimpleNamespace(name=lambda: "image", as_numpy=lambda: np.zeros((1, 4, 4, 3), np.uint8))
    request = SimpleNamespace(inputs=lambda: [tensor], parameters=lambda: "")
    assert model.execute([request, request]) == [str(error)] * 2
    model._reader.close()
    assert sent == signals


def test_the_last_model_of_the_ensemble_gives_meshes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two pictures, with two faces and one; the plan gives at most one mesh for each."""
    about = replace(read_sidecar(VALUES), config=preset("mobilenet0.25-dense"))
    monkeypatch.setattr(undo, "sidecar_of", lambda folder: about)
    monkeypatch.setattr(undo, "version_folder", lambda arguments: None)
    monkeypatch.setattr(undo, "options_of", lambda request: {})
    height, width = about.io.input.size.optimum
    rng = np.random.default_rng(4)
    tensors = {
        "num_detections": np.array([2, 1], np.int32),
        "boxes": rng.uniform(0, 60, (2, 3, 4)).astype(np.float32),
        "scores": np.full((2, 3), 0.9, np.float32),
        "landmarks": np.zeros((2, 3, 10), np.float32),
        "dense": np.zeros((2, 3, 144), np.float32),
        "vertices": rng.uniform(0, 60, (2, 1, 7, 3)).astype(np.float32),
        "colours": rng.uniform(0, 1, (2, 1, 7, 3)).astype(np.float32),
        "sizes": np.array([[height, width]] * 2, np.int32),
    }
    monkeypatch.setattr(undo, "tensors_of", lambda request: dict(tensors))
    model = undo.TritonPythonModel()
    model.initialize({})
    found = model._undo(None)
    assert found["num_faces"].tolist() == [2, 1]
    np.testing.assert_allclose(found["vertices"], tensors["vertices"], rtol=1e-5)  # pictures of the input's size
    assert np.array_equal(found["colours"], tensors["colours"])
