"""Meshes that tests make: a closed one, and one with a boundary, as the mask of a face has."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.mesh.topology import Topology


def icosphere(subdivisions: int) -> Topology:
    """A sphere of 12, 42, 162, 642, ... vertices: an icosahedron whose triangles are cut into four."""
    golden = (1 + 5**0.5) / 2
    pairs = [(a, b) for a in (-1, 1) for b in (-golden, golden)]
    points = [v for a, b in pairs for v in ((0, a, b), (a, b, 0), (b, 0, a))]
    places = np.array(points) / np.hypot(1, golden)
    near = {frozenset((i, j)) for i in range(12) for j in range(12) if 0 < np.linalg.norm(places[i] - places[j]) < 1.1}
    faces = [
        (i, j, k) if np.linalg.det(places[[i, j, k]]) > 0 else (i, k, j)
        for i in range(12)
        for j in range(i + 1, 12)
        for k in range(j + 1, 12)
        if {frozenset((i, j)), frozenset((j, k)), frozenset((i, k))} <= near
    ]
    rows = [row.tolist() for row in places]
    for _ in range(subdivisions):
        middles: dict[frozenset[int], int] = {}

        def middle(i: int, j: int, middles: dict[frozenset[int], int] = middles) -> int:
            if frozenset((i, j)) not in middles:
                middles[frozenset((i, j))] = len(rows)
                between = np.add(rows[i], rows[j])
                rows.append((between / np.linalg.norm(between)).tolist())
            return middles[frozenset((i, j))]

        finer = []
        for i, j, k in faces:
            ij, jk, ki = middle(i, j), middle(j, k), middle(k, i)
            finer += [(i, ij, ki), (ij, j, jk), (ki, jk, k), (ij, jk, ki)]
        faces = finer
    return Topology(np.array(rows, np.float32), np.array(faces, np.int32))


def mask(rows: int, columns: int) -> Topology:
    """A bulged sheet of rows x columns vertices, with its front towards z."""
    y, x = np.meshgrid(np.linspace(1, -1, rows), np.linspace(-1, 1, columns), indexing="ij")
    places = np.stack([0.8 * x, y, 0.6 - 0.3 * (x**2 + y**2) + 0.1 * np.sin(3 * x + y)], axis=2).reshape(-1, 3)
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate([np.stack([a, c, b], 2).reshape(-1, 3), np.stack([b, c, d], 2).reshape(-1, 3)])
    return Topology(places.astype(np.float32), triangles.astype(np.int32))


def obj_text(topology: Topology) -> str:
    """A topology as an OBJ file has it."""
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in topology.vertices]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in topology.triangles]
    return "\n".join(lines)


def write_obj(folder: Path, topology: Topology) -> Path:
    """Write a topology to an OBJ file, and return its path."""
    path = folder / "mesh.obj"
    path.write_text(obj_text(topology))
    return path
