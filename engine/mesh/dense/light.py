"""The light on a face: one point light and ambient light, on a surface that scatters evenly.

| value | what | of zero |
|---|---|---|
| 0, 1, 2 | place of the light in the camera's coordinates, in units of 3 halves of the mesh | at the camera |
| 3, 4, 5 | its red, green, blue: sigmoid(v) | one half |
| 6, 7, 8 | the ambient light's | one half |

Source: nine values as in arXiv 1905.00641, section 3.2; the paper leaves the coding open.
"""

from __future__ import annotations

import torch
from torch.nn import functional

_UNIT = 3.0


def shade(points: torch.Tensor, colours: torch.Tensor, triangles: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
    """Return the colours of vertices as the camera sees them: colour x (ambient + light x max(0, cosine)).

    Args:
        points: [N, V, 3], in the camera's coordinates.
        colours: [N, V, 3], of the surface.
        triangles: int64 [F, 3].
        light: [N, 9].

    Returns:
        [N, V, 3].
    """
    to_light = _UNIT * light[:, None, :3] - points
    cosine = (vertex_normals(points, triangles) * functional.normalize(to_light, dim=2)).sum(2, keepdim=True)
    colour, ambient = torch.sigmoid(light[:, None, 3:6]), torch.sigmoid(light[:, None, 6:])
    return colours * (ambient + colour * cosine.clamp(min=0))


def vertex_normals(points: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """Return the normals of vertices to the front, [N, V, 3] of length 1: of their triangles, weighted by areas."""
    a, b, c = (points[:, triangles[:, i]] for i in range(3))
    normals = torch.cross(b - a, c - a, dim=2)
    summed = torch.zeros_like(points)
    for i in range(3):
        summed = summed.index_add(1, triangles[:, i], normals)
    return functional.normalize(summed, dim=2)
