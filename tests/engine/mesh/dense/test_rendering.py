"""The rasteriser against one pixel and one triangle at a time, its gradients against differences, and the losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.mesh.dense.losses import edge_loss, pixel_loss, vertex_loss
from engine.mesh.dense.rendering import Rendered, render
from engine.mesh.topology import Topology
from tests.engine.mesh.meshes import icosphere, mask

Floats = NDArray[np.float64]


def drawn(vertices: Floats, colours: Floats, triangles: NDArray[np.int32], size: int) -> Floats:
    """A picture [S, S, 3 + 1] of one mesh; the last channel says what is covered."""
    picture = np.zeros((size, size, 4))
    for row in range(size):
        for column in range(size):
            point = np.array([column + 0.5, row + 0.5]) * 2 / size - 1
            nearest = np.inf
            for corners in triangles:
                matrix = np.vstack([vertices[corners, :2].T, np.ones(3)])
                if abs(np.linalg.det(matrix)) < 1e-15:
                    continue
                weights = np.linalg.solve(matrix, [*point, 1])
                depth = weights @ vertices[corners, 2]
                if (weights >= 0).all() and depth < nearest:
                    nearest = depth
                    picture[row, column] = [*(weights @ colours[corners]), 1]
    return picture


def scene(topology: Topology, number: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Meshes that are turned, moved and partly outside of the frame, in float64."""
    places = topology.vertices @ np.linalg.qr(rng.normal(size=(number, 3, 3)))[0]
    vertices = torch.from_numpy(0.7 * places + rng.uniform(-0.5, 0.5, (number, 1, 3)))
    colours = torch.from_numpy(rng.uniform(0, 1, vertices.shape))
    return vertices, colours, torch.from_numpy(topology.triangles).long()


@pytest.mark.parametrize("topology", [icosphere(0), mask(4, 5)], ids=["closed", "with a boundary"])
def test_pixels_show_the_nearest_triangle(topology: Topology, rng: np.random.Generator) -> None:
    vertices, colours, triangles = scene(topology, 3, rng)
    rendered = render(vertices, colours, triangles, 13)
    for n in range(3):
        expected = drawn(vertices[n].numpy(), colours[n].numpy(), topology.triangles, 13)
        assert np.array_equal(rendered.covered[n].numpy(), expected[..., 3] == 1)
        assert np.abs(rendered.colours[n].numpy() - expected[..., :3]).max() < 1e-9  # float64
    assert rendered.covered.sum() > 100
    again = render(vertices, colours, triangles, 13)
    assert torch.equal(again.colours, rendered.colours)


def test_gradients_are_those_of_places_and_colours(rng: np.random.Generator) -> None:
    vertices, colours, triangles = scene(icosphere(0), 1, rng)
    vertices.requires_grad_()
    colours.requires_grad_()
    # A step of 1e-7 moves no pixel's centre across an edge.
    assert torch.autograd.gradcheck(lambda v, c: render(v, c, triangles, 6).colours, (vertices, colours), eps=1e-7)


def test_what_cannot_be_shown_is_left_out() -> None:
    """Not finite, without area, behind the frame's sides, or nothing at all."""
    triangles = torch.tensor([[0, 1, 2]])
    colours = torch.ones(1, 3, 3)
    corners = torch.tensor([[-0.9, -0.9, 0.0], [0.9, -0.9, 0], [0, 0.9, 0]])
    cases = [corners.clone() for _ in range(5)]
    cases[0][0, 0], cases[1][0, 2] = torch.nan, torch.inf
    cases[2][2] = 0.5 * (corners[0] + corners[1])
    cases[3] += torch.tensor([2.0, 0, 0])
    for vertices in cases[:4]:
        rendered = render(vertices[None], colours, triangles, 8)
        assert not rendered.covered.any()
        assert not rendered.colours.any()
    assert render(cases[4][None], colours, triangles, 8).covered.sum() > 10
    assert render(corners[None][:0], colours[:0], triangles, 8).colours.shape == (0, 8, 8, 3)


def test_a_mesh_is_moved_to_where_its_picture_is() -> None:
    """Pixels alone find the place of a coloured mesh."""
    topology = mask(6, 6)
    triangles, vertices = torch.from_numpy(topology.triangles).long(), 0.7 * torch.from_numpy(topology.vertices)[None]
    colours = 0.5 + 0.5 * torch.sin(4 * vertices)
    picture = render(vertices + torch.tensor([0.08, -0.06, 0]), colours, triangles, 32).colours
    moved = torch.zeros(2, requires_grad=True)
    optimiser = torch.optim.Adam([moved], lr=0.01)
    losses = []
    for _ in range(40):
        place = torch.cat([moved, moved.new_zeros(1)])
        losses.append(pixel_loss(render(vertices + place, colours, triangles, 32), picture))
        optimiser.zero_grad()
        losses[-1].backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert moved.tolist() == pytest.approx([0.08, -0.06], abs=0.02)  # two steps of the optimiser
    assert losses[-1] < 0.3 * losses[0]


def test_losses_of_pixels_vertices_and_edges() -> None:
    covered = torch.tensor([[[True, False], [False, True]]])
    rendered = Rendered(torch.full((1, 2, 2, 3), 0.5), covered)
    pictures = torch.zeros(1, 2, 2, 3)
    pictures[0, 0, 0] = torch.tensor([0.5, 0.8, 1.1])
    assert pixel_loss(rendered, pictures).item() == pytest.approx((0.3 + 0.5) / 2)
    assert pixel_loss(Rendered(rendered.colours, covered & False), pictures).item() == 0
    truth = torch.tensor([[[0.0, 0, 0], [3, 4, 0], [0, 0, 1]]])
    found = truth + torch.tensor([[[0.0, 0, 0], [3, 4, 0], [0, -1, 0]]])
    assert vertex_loss(found, truth).item() == pytest.approx((7 + 1) / 3)
    assert edge_loss(found, truth, torch.tensor([[0, 1], [0, 2]])).item() == pytest.approx((5 + 2**0.5 - 1) / 2)
