"""A topology: the vertices of a mesh and the triangles between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.errors import InvalidArgumentError
from engine.types import FloatArray, IntArray
from engine.untrusted.limits import MAX_MESH_TRIANGLES, MAX_MESH_VERTICES

_SHOWN = 3  # faults that a message names


@dataclass(frozen=True, eq=False)
class Topology:
    """The vertices and triangles of a surface, which may have boundaries, as the mask of a face has.

    It is checked when it is made. Each vertex is in a triangle, no two are at one place, an edge has one triangle or
    two, and neighbouring triangles have the same side in front. Otherwise the graph would be cut where the surface is
    not, or normals would point to both sides.

    Attributes:
        vertices: float32 [V, 3].
        triangles: int32 [F, 3], indices of vertices, counter-clockwise seen from the front.
    """

    vertices: FloatArray
    triangles: IntArray

    def __post_init__(self) -> None:
        """Check everything.

        Raises:
            InvalidArgumentError: what the class promises does not hold; the message names vertices from 1, as OBJ does.
        """
        vertices, triangles = self.vertices, self.triangles
        if vertices.ndim != 2 or vertices.shape[1:] != (3,) or triangles.ndim != 2 or triangles.shape[1:] != (3,):
            raise InvalidArgumentError(
                f"a topology has vertices {vertices.shape} and triangles {triangles.shape}, expected [V, 3] and [F, 3]"
            )
        if not (3 <= len(vertices) <= MAX_MESH_VERTICES and 1 <= len(triangles) <= MAX_MESH_TRIANGLES):
            raise InvalidArgumentError(
                f"the mesh has {len(vertices):,} vertices and {len(triangles):,} triangles, expected 3 to "
                f"{MAX_MESH_VERTICES:,} and 1 to {MAX_MESH_TRIANGLES:,}. Simplify a larger mesh where it was made"
            )
        if not np.isfinite(vertices).all():
            _refuse("vertices that are not finite", np.flatnonzero(~np.isfinite(vertices).all(1)))
        self._check_indices()
        self._check_places()
        self._check_edges()

    def _check_indices(self) -> None:
        count, triangles = len(self.vertices), self.triangles
        outside = (triangles < 0) | (triangles >= count)
        if outside.any():
            raise InvalidArgumentError(
                f"a triangle names vertex {int(triangles[outside][0]) + 1}, but the mesh has {count:,} vertices"
            )
        a, b, c = triangles.T
        flat = (a == b) | (b == c) | (c == a)
        if flat.any():
            corners = ", ".join(str(int(i) + 1) for i in triangles[flat][0])
            raise InvalidArgumentError(f"a triangle names a vertex twice ({corners}), expected three vertices")
        missing = np.setdiff1d(np.arange(count), triangles)
        if len(missing):
            _refuse("vertices that no triangle has", missing, "Remove them, or add the missing triangles")

    def _check_places(self) -> None:
        _, first, group = np.unique(self.vertices, axis=0, return_index=True, return_inverse=True)
        copies = np.flatnonzero(first[group.reshape(-1)] != np.arange(len(self.vertices)))
        if len(copies):
            _refuse(
                "vertices at the place of another one",
                copies,
                "Merge them: the surface would be cut between them. Texture coordinates need no copies of vertices",
            )

    def _check_edges(self) -> None:
        directed = np.sort(self._directed.astype(np.int64) @ [len(self.vertices), 1])
        twice = directed[1:][directed[1:] == directed[:-1]]
        if len(twice):
            a, b = divmod(int(twice[0]), len(self.vertices))
            raise InvalidArgumentError(
                f"two triangles have the edge from vertex {a + 1} to {b + 1} in the same direction, expected one in "
                "each: three triangles share it, one is listed twice, or their fronts are on different sides"
            )

    @property
    def _directed(self) -> IntArray:
        """The sides of the triangles, int32 [3 F, 2]."""
        return np.concatenate([self.triangles[:, [i, (i + 1) % 3]] for i in range(3)])

    @cached_property
    def edges(self) -> IntArray:
        """The edges, int32 [E, 2], each once, its lower vertex first, sorted."""
        return np.unique(np.sort(self._directed, axis=1), axis=0)

    @cached_property
    def boundary(self) -> IntArray:
        """The edges of one triangle only, int32 [B, 2], in the direction of their triangles, sorted."""
        edges, counts = np.unique(np.sort(self._directed, axis=1), axis=0, return_counts=True)
        alone = {(int(a), int(b)) for a, b in edges[counts == 1]}
        found = sorted((int(a), int(b)) for a, b in self._directed if (min(a, b), max(a, b)) in alone)
        return np.array(found, np.int32).reshape(-1, 2)

    def normalised(self) -> Topology:
        """Return it centred on its bounding box, whose longest side is 2."""
        low, high = self.vertices.min(0), self.vertices.max(0)
        scale = 2 / float((high - low).max())
        return Topology(((self.vertices - (low + high) / 2) * scale).astype(np.float32), self.triangles)


def _refuse(what: str, vertices: np.ndarray[tuple[int, ...], np.dtype[np.intp]], advice: str = "") -> None:
    """Raise InvalidArgumentError naming some of the vertices."""
    shown = ", ".join(str(int(i) + 1) for i in vertices[:_SHOWN])
    rest = ", ..." if len(vertices) > _SHOWN else ""
    raise InvalidArgumentError(
        f"the mesh has {len(vertices):,} {what}: {shown}{rest}" + (f". {advice}" if advice else "")
    )
