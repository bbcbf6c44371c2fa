"""Faces mapped back from a letterbox: their meshes, and no work for those below the threshold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine import ops
from engine.config.heads import ValueHead
from engine.config.model import HEADS
from engine.config.presets import preset
from engine.runtime.letterbox import Letterbox
from engine.types import DeviceDetections, FloatArray, RawDetections

SIZE, SIZES = (64, 96), [(50, 120), (33, 20), (64, 96)]


def raw_of(vertices: FloatArray | None, scores: FloatArray, counts: list[int]) -> RawDetections:
    boxes = np.random.default_rng(1).uniform(0, 60, (*scores.shape, 4)).astype(np.float32)
    return RawDetections(np.array(counts, np.int32), boxes, scores, vertices=vertices)


@pytest.mark.parametrize("enlarge", [False, True])
def test_meshes_are_mapped_as_boxes_are(rng: np.random.Generator, enlarge: bool) -> None:
    vertices = rng.uniform(0, 96, (3, 2, 5, 3)).astype(np.float32)
    colours = rng.uniform(0, 1, (3, 2, 5, 3)).astype(np.float32)
    letterbox = Letterbox(SIZE, preset("mobilenet0.25"), enlarge)
    raw = replace(raw_of(vertices, np.full((3, 4), 0.5, np.float32), [4, 1, 0]), colours=colours)
    found = letterbox.undo(raw, SIZES)
    # Two vertices are taken for the corners of a box; depths are scaled by the mean of both sides' factors.
    corners = np.concatenate([vertices[..., :2], vertices[..., :2]], axis=3).reshape(3, 10, 4)
    counts = np.full(3, 10, np.int32)
    mapped, _ = ops.unletterbox(corners, None, counts, SIZES, SIZE, enlarge=enlarge)
    unit, _ = ops.unletterbox(
        np.tile(np.array([0, 0, 1, 1], np.float32), (3, 1, 1)), None, counts // 10, SIZES, SIZE, enlarge=enlarge
    )
    for image, faces in enumerate(found):
        meshes = np.asarray(faces.vertices)
        assert meshes.shape == (len(faces), 5, 3)
        there = min(len(faces), 2)
        expected = mapped[image].reshape(2, 5, 4)[:there, :, :2]
        np.testing.assert_allclose(meshes[:there, :, :2], expected, atol=1e-4)
        factor = (unit[image, 0, 2:] - unit[image, 0, :2]).mean()
        np.testing.assert_allclose(meshes[:there, :, 2], vertices[image, :there, :, 2] * factor, rtol=1e-4)
        assert np.isnan(meshes[there:]).all()
        painted = np.asarray(faces.colours)
        assert np.array_equal(painted[:there], colours[image, :there])
        assert np.isnan(painted[there:]).all()


@pytest.mark.parametrize("with_landmarks", [True, False])
@pytest.mark.parametrize("enlarge", [False, True])
def test_values_that_are_points_are_mapped_as_corners_of_boxes_are(
    rng: np.random.Generator, enlarge: bool, with_landmarks: bool
) -> None:
    """Among other values, with and without landmarks; plain ones stay."""
    heads = ValueHead("a", 4, "points"), ValueHead("b", 4), ValueHead("c", 4, "points")
    config = replace(preset("mobilenet0.25"), values=heads)
    config = config if with_landmarks else replace(config, heads=HEADS[:2])
    raw = raw_of(None, np.full((3, 4), 0.5, np.float32), [4, 1, 0])
    payload = rng.uniform(0, 96, (3, 4, 12 + 10 * with_landmarks)).astype(np.float32)
    landmarks, values = config.split_payload(payload)
    letterbox = Letterbox(SIZE, config, enlarge)
    found = letterbox.undo(replace(raw, landmarks=landmarks, values=values), SIZES)
    without = letterbox.undo(replace(raw, landmarks=landmarks, values=dict.fromkeys("abc", values["b"])), SIZES)
    for image, faces in enumerate(found):
        count = len(faces)
        for name in ("a", "c"):
            as_boxes, _ = ops.unletterbox(
                np.ascontiguousarray(values[name]), None, raw.num_detections, SIZES, SIZE, enlarge=enlarge
            )
            np.testing.assert_array_equal(faces.values[name], as_boxes[image, :count])
        np.testing.assert_array_equal(faces.values["b"], values["b"][image, :count])
        assert list(faces.values) == ["a", "b", "c"]
        assert (faces.landmarks is None) != with_landmarks
        assert [face.box.tolist() for face in faces] == [face.box.tolist() for face in without[image]]
        if with_landmarks:
            np.testing.assert_array_equal(np.asarray(faces.landmarks), np.asarray(without[image].landmarks))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, np.float32(3e38)])
def test_a_mesh_that_is_not_finite_is_none(bad: float) -> None:
    vertices = np.ones((1, 2, 5, 3), np.float32)
    vertices[0, 0, 3, 1] = bad
    raw = raw_of(vertices, np.full((1, 2), 0.5, np.float32), [2])
    (found,) = Letterbox(SIZE, preset("mobilenet0.25"), True).undo(raw, [(5000, 9000)])
    assert [face.vertices is None for face in found] == [True, False]
    assert found.colours is None
    colours = np.ones_like(vertices)
    colours[0, 1, 2, 0] = bad if np.abs(bad) > 1e38 else np.nan
    (found,) = Letterbox(SIZE, preset("mobilenet0.25"), True).undo(replace(raw, colours=colours), [(5000, 9000)])
    lost = [True, bool(~np.isfinite(colours).all())]
    assert [face.vertices is None for face in found] == [face.colours is None for face in found] == lost


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 1.0])
def test_faces_below_the_threshold_are_left_out_whatever_their_order(threshold: float) -> None:
    images = [np.zeros((*size, 3), np.uint8) for size in SIZES]
    scores = np.array([[0.9, 0.2, 0.5, 0.1], [0.2, 0.9, 0.9, 0.9], [0.9, 0.8, 0.7, 0.6]], np.float32)
    raw = raw_of(np.ones((3, 4, 2, 3), np.float32), scores, [4, 1, 3])
    letterbox = Letterbox(SIZE, preset("mobilenet0.25"), True)
    for found, every in zip(letterbox.to_images(raw, images, threshold), letterbox.undo(raw, SIZES), strict=True):
        assert found == every.above(threshold)


def test_vertices_are_an_output_of_their_own() -> None:
    outputs = {name: np.zeros((1, 2)) for name in ("num_detections", "boxes", "scores", "vertices", "colours", "dense")}
    for raw in (RawDetections.of(outputs), DeviceDetections.of(outputs)):
        assert raw.colours is outputs["colours"]
        assert raw.vertices is outputs["vertices"]
        assert raw.values.keys() == {"dense"}
