"""Losses of the dense branch: of pictures, for faces without meshes, and of meshes."""

from __future__ import annotations

import torch

from engine.mesh.dense.rendering import Rendered


def pixel_loss(rendered: Rendered, pictures: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute difference of colours where there is a mesh; 0 if there is none anywhere.

    Args:
        rendered: N faces of S x S pixels.
        pictures: [N, S, S, 3], what the frames show.

    Returns:
        A scalar.

    Source: arXiv 1905.00641, equation 3. There the sum is divided by all pixels of the frame, which would reward small
    meshes where they are not rendered.
    """
    difference = (rendered.colours - pictures).abs().mean(dim=3)
    return (difference * rendered.covered).sum() / rendered.covered.sum().clamp(min=1)


def vertex_loss(vertices: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the mean of |x| + |y| + |z| of vertices' differences [N, V, 3].

    Source: Deng et al., "RetinaFace", CVPR 2020, equation 2.
    """
    return (vertices - truth).abs().sum(dim=2).mean()


def edge_loss(vertices: torch.Tensor, truth: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute difference of the edges' lengths: it smooths what vertices alone leave rough.

    Args:
        vertices: [N, V, 3].
        truth: [N, V, 3].
        edges: int64 [E, 2].

    Source: Deng et al., "RetinaFace", CVPR 2020, equation 3.
    """
    return (_lengths(vertices, edges) - _lengths(truth, edges)).abs().mean()


def _lengths(vertices: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    lengths: torch.Tensor = torch.linalg.vector_norm(vertices[:, edges[:, 0]] - vertices[:, edges[:, 1]], dim=2)
    return lengths
