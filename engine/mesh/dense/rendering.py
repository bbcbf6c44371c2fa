"""A small differentiable rasteriser: meshes with coloured vertices to pictures, the same bits each time.

Which triangle a pixel shows is found without gradients. Its colour is the mixture of the corners' colours by
barycentric coordinates, which are differentiated for colours and places. So colours and what moves inside of the mesh
have gradients, and what a pixel shows instead at the outline has none: those of Genova et al. 2018, "Unsupervised
Training for 3D Morphable Model Regression", which RetinaFace's dense branch renders with. Colours are mixed in the
picture, not in space, which is nearly the same for a face whose depth is small beside its distance.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Rendered(NamedTuple):
    """Pictures of meshes.

    Attributes:
        colours: [N, S, S, 3]; zero where there is no mesh.
        covered: bool [N, S, S], where there is one.
    """

    colours: torch.Tensor
    covered: torch.Tensor


def render(vertices: torch.Tensor, colours: torch.Tensor, triangles: torch.Tensor, size: int) -> Rendered:
    """Render meshes in their frames. Both sides of triangles are shown, the nearest first.

    Args:
        vertices: [N, V, 3]: x to the right and y down, -1 to 1 in the frame; depth away from the camera. Triangles with
            a vertex that is not finite are not shown.
        colours: [N, V, C].
        triangles: int64 [F, 3].
        size: S, pixels along each side.
    """
    pixels = torch.cat([(vertices[..., :2] + 1) * (size / 2) - 0.5, vertices[..., 2:]], dim=2)
    with torch.no_grad():
        shown = triangles.new_full((len(pixels), size, size), -1)
        for i, places in enumerate(pixels.detach()):  # a mesh at a time, which bounds the memory
            shown[i] = _shown(places, triangles, size)
    covered = shown >= 0
    face, row, column = covered.nonzero(as_tuple=True)
    corners = triangles[shown[covered]]
    places = pixels[face[:, None], corners, :2]
    weights = _barycentric(places, torch.stack([column, row], dim=1).to(places.dtype))
    mixed = (weights[..., None] * colours[face[:, None], corners]).sum(1)
    empty = colours.new_zeros(*covered.shape, colours.shape[2])
    return Rendered(empty.index_put((face, row, column), mixed), covered)


def _barycentric(places: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return the weights [P, 3] of triangles' corners [P, 3, 2] at points [P, 2]."""
    a, b, c = places.unbind(1)
    parts = (
        torch.stack([_cross(b - points, c - points), _cross(c - points, a - points)], dim=1)
        / _cross(b - a, c - a)[:, None]
    )
    return torch.cat([parts, 1 - parts.sum(1, keepdim=True)], dim=1)


def _cross(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _shown(places: torch.Tensor, triangles: torch.Tensor, size: int) -> torch.Tensor:
    """Return which triangle each pixel shows, int64 [S, S], -1 for none; of equal depths the first in the list.

    Args:
        places: [V, 3], in pixels.
        triangles: int64 [F, 3].
        size: S.
    """
    corners = places[triangles]
    index, at = _candidates(corners, size)
    points = torch.stack([at % size, at // size], dim=1).to(places.dtype)
    weights = _barycentric(corners[index, :, :2], points)
    inside = (weights >= 0).all(1)
    index, at, weights = index[inside], at[inside], weights[inside]
    depth = (weights * corners[index, :, 2]).sum(1)
    nearest = depth.new_full((size * size,), torch.inf).scatter_reduce(0, at, depth, "amin")
    first = depth == nearest[at]
    none = len(triangles)
    shown = at.new_full((size * size,), none).scatter_reduce(0, at[first], index[first], "amin")
    return torch.where(shown == none, -1, shown).reshape(size, size)


def _candidates(corners: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pairs of triangles and of pixels inside the rectangles around them: two int64 [P]."""
    low, high = corners[..., :2].amin(1), corners[..., :2].amax(1)
    begin, end = low.clamp(0, size).ceil().nan_to_num(size), (high.clamp(-1, size - 1).floor() + 1).nan_to_num(0)
    width, height = (end - begin).clamp(min=0).long().unbind(1)
    flat = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    count = width * height * (flat.abs() > 0) * corners.isfinite().flatten(1).all(1)
    index = torch.repeat_interleave(torch.arange(len(corners), device=corners.device), count)
    within = torch.arange(len(index), device=index.device) - (count.cumsum(0) - count)[index]
    row, column = within // width[index], within % width[index]
    return index, (begin[index, 1].long() + row) * size + begin[index, 0].long() + column
