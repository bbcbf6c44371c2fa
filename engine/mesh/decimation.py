"""A coarser mesh by contracting edges, those first that change the surface least: quadric error."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.mesh.topology import Topology
from engine.types import IntArray

_Floats = NDArray[np.float64]
# A boundary edge counts as a plane through it that stands on its triangle, of so many times the weight: boundaries keep
# their form.
_BOUNDARY = 10.0
_LEAST_TURN = 0.2  # cosine of the largest angle by which a contraction may turn a triangle: none is folded over


def decimate(topology: Topology, count: int) -> tuple[IntArray, Topology]:
    """Contract edges until `count` vertices are left, which stay where they are.

    Args:
        topology: of more vertices.
        count: to keep, at least 4.

    Returns:
        The kept vertices, int32 [count], ascending, and the topology of them.

    Raises:
        InvalidArgumentError: the count is out of range, or no further edge can be contracted without tearing or folding
            the surface.

    Source: Garland and Heckbert 1997; vertices are kept instead of moved, as in Ranjan et al. 2018.
    """
    if not 4 <= count < len(topology.vertices):
        raise InvalidArgumentError(
            f"{count} vertices of a mesh of {len(topology.vertices):,} were asked for, expected 4 to "
            f"{len(topology.vertices) - 1:,}"
        )
    surface = _Surface(topology)
    heap = [surface.contraction(int(a), int(b)) for a, b in topology.edges]
    heapq.heapify(heap)
    left = len(topology.vertices)
    while left > count:
        if not heap:
            raise InvalidArgumentError(
                f"the mesh cannot be simplified to {count} vertices: at {left} no edge can be contracted without "
                "tearing or folding the surface. Ask for more vertices"
            )
        cost, kept, gone = heapq.heappop(heap)
        if not surface.has_edge(kept, gone) or surface.contraction(kept, gone) != (cost, kept, gone):
            continue  # an old entry: what it was made for has changed, and has a new one
        if not surface.may_contract(kept, gone):
            continue  # tried again when something around it changes
        surface.contract(kept, gone)
        left -= 1
        for near in sorted({kept, *surface.neighbours(kept)}):
            for other in surface.neighbours(near):
                heapq.heappush(heap, surface.contraction(near, other))
    return surface.rest()


class _Surface:
    """A mesh whose edges are contracted: triangles by number, and those of each vertex."""

    def __init__(self, topology: Topology) -> None:
        self._places = topology.vertices.astype(np.float64)
        self._triangles = {i: tuple(map(int, corners)) for i, corners in enumerate(topology.triangles)}
        self._around: list[set[int]] = [set() for _ in self._places]
        for i, corners in self._triangles.items():
            for corner in corners:
                self._around[corner].add(i)
        self._quadrics = _quadrics(topology)

    def neighbours(self, vertex: int) -> list[int]:
        """Return the vertices with an edge to a vertex, ascending."""
        return sorted({corner for i in self._around[vertex] for corner in self._triangles[i]} - {vertex})

    def has_edge(self, a: int, b: int) -> bool:
        """Return whether two vertices are left and have an edge."""
        return not self._around[a].isdisjoint(self._around[b])

    def contraction(self, a: int, b: int) -> tuple[float, int, int]:
        """Return the cheaper way to contract an edge: its error, the vertex that is kept, and the other one."""
        quadric = self._quadrics[a] + self._quadrics[b]
        ways = []
        for kept, gone in ((min(a, b), max(a, b)), (max(a, b), min(a, b))):
            place = np.append(self._places[kept], 1.0)
            ways.append((max(float(place @ quadric @ place), 0.0), kept, gone))
        return min(ways)

    def may_contract(self, kept: int, gone: int) -> bool:
        """Return whether the surface stays a surface, with the same boundaries, and no triangle is folded over."""
        shared = self._around[kept] & self._around[gone]
        common = set(self.neighbours(kept)) & set(self.neighbours(gone))
        if len(common) != len(shared):
            return False  # a third path between the ends would become an edge of three triangles
        gone_is_outside, kept_is_outside = self._is_outside(gone), self._is_outside(kept)
        if gone_is_outside and (not kept_is_outside or len(shared) == 2):
            return False  # a boundary would move inwards, or two boundaries would meet
        moved = self._around[gone] - shared
        return bool(moved) and all(self._stays(i, gone, kept) for i in moved)

    def contract(self, kept: int, gone: int) -> None:
        """Move a vertex to another one, and remove the triangles between them."""
        for i in self._around[kept] & self._around[gone]:
            for corner in self._triangles.pop(i):
                self._around[corner].discard(i)
        for i in self._around[gone]:
            self._triangles[i] = tuple(kept if corner == gone else corner for corner in self._triangles[i])
        self._around[kept] |= self._around[gone]
        self._around[gone] = set()
        self._quadrics[kept] += self._quadrics[gone]

    def rest(self) -> tuple[IntArray, Topology]:
        """Return the vertices that are left, and the topology of them."""
        kept = np.array([i for i, around in enumerate(self._around) if around], np.int32)
        triangles = np.array([self._triangles[i] for i in sorted(self._triangles)])
        return kept, Topology(self._places[kept].astype(np.float32), np.searchsorted(kept, triangles).astype(np.int32))

    def _is_outside(self, vertex: int) -> bool:
        """Return whether a vertex is on a boundary: it has more neighbours than triangles."""
        return len(self.neighbours(vertex)) != len(self._around[vertex])

    def _stays(self, triangle: int, gone: int, kept: int) -> bool:
        corners = self._triangles[triangle]
        before = _normal(self._places[list(corners)])
        after = _normal(self._places[[kept if corner == gone else corner for corner in corners]])
        lengths = float(np.linalg.norm(before) * np.linalg.norm(after))
        return float(before @ after) > _LEAST_TURN * lengths


def _normal(corners: _Floats) -> _Floats:
    """Return the normal of a triangle, of twice its area's length."""
    return np.cross(corners[1] - corners[0], corners[2] - corners[0])


def _quadrics(topology: Topology) -> _Floats:
    """Return the quadric of each vertex [V, 4, 4]: squared distances from its triangles' planes, weighted by areas."""
    places = topology.vertices.astype(np.float64)
    quadrics = np.zeros((len(places), 4, 4))
    for vertices, through, normal, weight in _planes(topology, places):
        length = float(np.linalg.norm(normal))
        if length:
            plane = np.append(normal / length, -(normal / length) @ through)
            quadrics[list(vertices)] += weight * np.outer(plane, plane)
    return quadrics


def _planes(topology: Topology, places: _Floats) -> Iterator[tuple[tuple[int, ...], _Floats, _Floats, float]]:
    """Yield planes: their vertices, a point, a normal, a weight."""
    third = {}
    for a, b, c in topology.triangles.tolist():
        normal = _normal(places[[a, b, c]])
        yield (a, b, c), places[a], normal, float(np.linalg.norm(normal)) / 2
        third.update({(a, b): normal, (b, c): normal, (c, a): normal})
    for a, b in topology.boundary.tolist():
        side = places[b] - places[a]
        yield (a, b), places[a], np.cross(side, third[a, b]), _BOUNDARY * float(side @ side)
