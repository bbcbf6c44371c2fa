"""Up-sampling: vertices of a fine mesh as mixtures of those of a coarse one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.mesh.topology import Topology
from engine.types import FloatArray, IntArray

_Floats = NDArray[np.float64]
_PAIRS = 1 << 18  # of a point and a triangle, that are in memory at once: some 100 MB


class UpSampling(NamedTuple):
    """Each vertex of a fine mesh as a mixture of three of a coarse mesh.

    Attributes:
        indices: int32 [V, 3], of coarse vertices.
        weights: float32 [V, 3], barycentric: at least 0, of sum 1.
    """

    indices: IntArray
    weights: FloatArray

    def matrix(self, coarse: int) -> FloatArray:
        """Return it as a matrix, float32 [V, coarse], for a number of coarse vertices."""
        dense = np.zeros((len(self.indices), coarse), np.float32)
        np.add.at(dense, (np.arange(len(self.indices))[:, None], self.indices), self.weights)
        return dense


def up_sampling(fine: Topology, coarse: Topology) -> UpSampling:
    """Take for each fine vertex the nearest point of the coarse surface, as the mixture of its triangle's corners.

    Source: Ranjan et al. 2018, section 3, "Mesh Sampling".
    """
    corners = coarse.vertices.astype(np.float64)[coarse.triangles]
    indices, weights = [], []
    step = max(_PAIRS // len(corners), 1)
    for begin in range(0, len(fine.vertices), step):
        points = fine.vertices[begin : begin + step, None].astype(np.float64)
        mixed = _nearest(points, corners)
        distances = ((np.einsum("pfc,fcx->pfx", mixed, corners) - points) ** 2).sum(2)
        best = distances.argmin(1)
        indices.append(coarse.triangles[best])
        weights.append(mixed[np.arange(len(best)), best])
    return UpSampling(np.concatenate(indices), np.concatenate(weights).astype(np.float32))


def _nearest(points: _Floats, corners: _Floats) -> _Floats:
    """Return the barycentric weights [P, F, 3] of the points of triangles [F, 3, 3] nearest to points [P, 1, 3].

    That is the projection to the plane if it is inside of the triangle, else the nearest point of its three sides.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, ac, ap = b - a, c - a, points - a
    bb, bc, cc = (ab * ab).sum(1), (ab * ac).sum(1), (ac * ac).sum(1)
    pb, pc = (ap * ab).sum(2), (ap * ac).sum(2)
    area = np.maximum(bb * cc - bc * bc, np.finfo(np.float64).tiny)
    v, w = (cc * pb - bc * pc) / area, (bb * pc - bc * pb) / area
    plane = np.stack([1 - v - w, v, w], axis=2)
    best, distance = (
        plane,
        np.where((plane >= 0).all(2), ((v[..., None] * ab + w[..., None] * ac - ap) ** 2).sum(2), np.inf),
    )
    for i, j in ((0, 1), (1, 2), (2, 0)):
        side, away = corners[:, j] - corners[:, i], points - corners[:, i]
        share = np.clip((away * side).sum(2) / (side * side).sum(1), 0, 1)
        gap = ((share[..., None] * side - away) ** 2).sum(2)
        on_side = np.zeros_like(plane)
        on_side[..., i], on_side[..., j] = 1 - share, share
        nearer = gap < distance
        best, distance = np.where(nearer[..., None], on_side, best), np.where(nearer, gap, distance)
    return best
