"""The graph of a mesh: its scaled Laplacian and the Chebyshev polynomials of it, as dense matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.mesh.topology import Topology
from engine.types import FloatArray

_COLUMNS = 512  # that are computed at once


def scaled_laplacian(topology: Topology) -> NDArray[np.float64]:
    """Return 2 L / 2 - I, whose eigenvalues are in [-1, 1], with L = I - D^-1/2 A D^-1/2.

    A is the matrix of the edges, D its degrees. No eigenvalue of L is above 2, which stands for the largest one, as in
    CoMA's program: then the scale does not depend on the mesh. What remains is -D^-1/2 A D^-1/2.

    Args:
        topology: of V vertices.

    Returns:
        float64 [V, V], symmetric.

    Source: Defferrard, Bresson and Vandergheynst 2016, section 2.1; Ranjan et al. 2018, section 3.
    """
    count = len(topology.vertices)
    adjacency = np.zeros((count, count))
    a, b = topology.edges.T
    adjacency[a, b] = adjacency[b, a] = 1
    root = 1 / np.sqrt(adjacency.sum(0))  # no vertex is without edges
    return np.asarray(-(root[:, None] * adjacency * root))


def chebyshev_basis(laplacian: NDArray[np.float64], order: int, of: FloatArray | None = None) -> FloatArray:
    """Return T_0(L) U, ..., T_{order - 1}(L) U, with T_0 = I, T_1 = L, T_k = 2 L T_{k-1} - T_{k-2}.

    Args:
        laplacian: [V, V], scaled.
        order: number of polynomials, at least 1: vertices up to order - 1 edges away are mixed.
        of: U, [V, V']; None is I.

    Returns:
        float32 [order, V, V'].

    Raises:
        InvalidArgumentError: the order is below 1.
    """
    if order < 1:
        raise InvalidArgumentError(f"the order is {order}, expected the number of Chebyshev polynomials, 1 or more")
    given = np.eye(len(laplacian), dtype=np.float32) if of is None else of
    basis = np.empty((order, *given.shape), np.float32)
    for begin in range(0, given.shape[1], _COLUMNS):  # so that little is in memory in float64
        columns = slice(begin, begin + _COLUMNS)
        terms = [given[:, columns].astype(np.float64)]
        for k in range(1, order):
            if k == 1:
                terms.append(laplacian[:, columns] if of is None else laplacian @ terms[0])
            else:
                terms.append(2 * (laplacian @ terms[-1]) - terms[-2])
        basis[:, :, columns] = terms
    return basis
