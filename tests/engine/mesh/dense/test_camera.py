"""Camera and light, against a vertex at a time in NumPy; what the zeros of a fresh network show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.mesh.dense.camera import to_camera, to_frame, to_image
from engine.mesh.dense.light import shade, vertex_normals
from engine.mesh.topology import Topology
from tests.engine.mesh.meshes import icosphere, mask

Floats = NDArray[np.float64]
# Float32 of coordinates up to about 10, of pixels up to about 500.
TOLERANCE, PIXELS = 1e-5, 1e-3


def turn(axis: int, angle: float) -> Floats:
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[j, i], matrix[i, j] = np.sin(angle), -np.sin(angle)
    return matrix


def test_the_camera_turns_moves_and_projects(rng: np.random.Generator) -> None:
    camera, vertices = rng.normal(0, 0.5, (4, 7)), rng.uniform(-1, 1, (4, 20, 3))
    boxes = np.array([[0, 0, 100, 50], [10, 20, 40, 120], [-30, 5, 7, 42], [300.5, 200.25, 460.75, 402]])
    tensor = torch.from_numpy(camera).float()
    points = to_camera(torch.from_numpy(vertices).float(), tensor)
    framed = to_frame(points, tensor)
    pixels = to_image(framed, torch.from_numpy(boxes).float())
    for n, (values, box) in enumerate(zip(camera, boxes, strict=True)):
        distance, focal = 6 * np.exp(np.tanh(values[2])), 6 * np.exp(np.tanh(values[6]))
        rotation = turn(2, values[5]) @ turn(1, values[4]) @ turn(0, values[3])
        side = max(box[2] - box[0], box[3] - box[1])
        for v, vertex in enumerate(vertices[n]):
            place = rotation @ (vertex * [1, -1, -1]) + [values[0], values[1], distance]
            assert np.abs(points[n, v].numpy() - place).max() < TOLERANCE
            x, y, depth = focal * place[0] / place[2], focal * place[1] / place[2], focal * (place[2] / distance - 1)
            assert np.abs(framed[n, v].numpy() - [x, y, depth]).max() < TOLERANCE
            centre = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, 0]
            assert np.abs(pixels[n, v].numpy() - (centre + side / 2 * np.array([x, y, depth]))).max() < PIXELS


def test_of_zeros_the_face_looks_at_the_camera_and_fills_the_frame() -> None:
    """Right is right, up is up, the front is nearer."""
    camera = torch.zeros(1, 7)
    vertices = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, 0]]])
    framed = to_frame(to_camera(vertices, camera), camera)[0]
    assert framed[:, :2].tolist() == [[1, 0], [0, -1], [0, 0], [-1, 1]]
    assert framed[:, 2].tolist() == [0, 0, -1, 0]


def test_no_finite_value_gives_a_mesh_that_is_not_finite() -> None:
    for value in (-1e4, -30.0, 30.0, 1e4):
        camera = torch.full((1, 7), value)
        assert torch.isfinite(to_frame(to_camera(torch.ones(1, 5, 3), camera), camera)).all()


@pytest.mark.parametrize("topology", [icosphere(1), mask(5, 4)])
def test_light_is_ambient_and_scattered(topology: Topology, rng: np.random.Generator) -> None:
    points, colours = (
        rng.normal(0, 0.05, (2, len(topology.vertices), 3)),
        rng.uniform(0, 1, (2, len(topology.vertices), 3)),
    )
    points += topology.vertices + np.array([0, 0, 6])
    light = rng.normal(size=(2, 9))
    triangles = torch.from_numpy(topology.triangles).long()
    tensors = [torch.from_numpy(array).float() for array in (points, colours, light)]
    lit = shade(tensors[0], tensors[1], triangles, tensors[2]).numpy()
    for n in range(2):
        normals = np.zeros_like(points[n])
        for a, b, c in topology.triangles.tolist():
            normals[[a, b, c]] += np.cross(points[n, b] - points[n, a], points[n, c] - points[n, a])
        ambient, colour = 1 / (1 + np.exp(-light[n, 6:])), 1 / (1 + np.exp(-light[n, 3:6]))
        for v, (place, normal) in enumerate(zip(points[n], normals, strict=True)):
            towards = 3 * light[n, :3] - place
            cosine = normal @ towards / np.linalg.norm(normal) / np.linalg.norm(towards)
            expected = colours[n, v] * (ambient + colour * max(cosine, 0))
            assert np.abs(lit[n, v] - expected).max() < TOLERANCE


def test_normals_of_a_sphere_point_outwards() -> None:
    topology = icosphere(1)
    points = torch.from_numpy(topology.vertices)[None]
    normals = vertex_normals(points, torch.from_numpy(topology.triangles).long())
    assert (normals * points).sum(2).min() > 0.99


def test_a_face_in_front_of_the_camera_is_lit_by_the_light_at_the_camera() -> None:
    """Of zeros: half ambient, half from the camera."""
    vertices, triangles = torch.from_numpy(mask(5, 5).vertices)[None], torch.from_numpy(mask(5, 5).triangles).long()
    points = to_camera(vertices, torch.zeros(1, 7))
    lit = shade(points, torch.ones_like(points), triangles, torch.zeros(1, 9))
    assert lit.min() > 0.7
    assert lit.max() <= 1
