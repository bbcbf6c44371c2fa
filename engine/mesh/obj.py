"""Topologies from Wavefront's OBJ files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.errors import InvalidArgumentError
from engine.mesh.topology import Topology
from engine.text import represented
from engine.untrusted.limits import MAX_MESH_TRIANGLES, MAX_MESH_VERTICES
from engine.untrusted.lines import read_lines

_LARGEST = 1e18  # of a coordinate: the squares of larger ones overflow float32


def read_obj(path: Path) -> Topology:
    """Read the vertices and triangles of an OBJ file. Everything else in it, such as textures and groups, is skipped.

    Raises:
        InvalidArgumentError: the file cannot be read, is no OBJ file of triangles, or its mesh is none that Topology
            takes. The message names the file, and the line where one is at fault.
    """
    vertices: list[tuple[float, ...]] = []
    triangles: list[tuple[int, ...]] = []
    number = 0
    try:
        for line in read_lines(path):
            number += 1
            match line.split():
                case ["v", *words]:
                    vertices.append(_vertex(words))
                case ["f", *words]:
                    triangles.append(_triangle(words, len(vertices)))
            _refuse_many(len(vertices), len(triangles))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{path}, line {number}: {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path} is no text in UTF-8, expected an OBJ file") from error
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error.strerror}") from error
    if not vertices or not triangles:
        missing = "vertices (lines of v)" if not vertices else "triangles (lines of f)"
        raise InvalidArgumentError(f"{path} has no {missing}, expected an OBJ file of a mesh")
    try:
        return Topology(np.array(vertices, np.float32), np.array(triangles, np.int32))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{path}: {error}") from error


def _vertex(words: Sequence[str]) -> tuple[float, ...]:
    """Return x, y, z. A weight or a colour may follow, which is skipped."""
    try:
        values = tuple(float(word) for word in words[:3])
    except ValueError:
        values = ()
    if len(values) != 3 or not all(math.isfinite(value) and abs(value) <= _LARGEST for value in values):
        raise InvalidArgumentError(f"a vertex is {represented(' '.join(words))}, expected three finite numbers")
    return values


def _triangle(words: Sequence[str], vertices: int) -> tuple[int, ...]:
    """Return the indices of a triangle's vertices, from 0. In the file they begin at 1, or at -1 from the last one."""
    if len(words) != 3:
        raise InvalidArgumentError(
            f"a face has {len(words)} corners, expected 3. Triangulate the mesh when you export it"
        )
    try:
        named = [int(word.partition("/")[0]) for word in words]
    except ValueError:
        named = [0]
    indices = tuple(index - 1 if index > 0 else vertices + index for index in named)
    if 0 in named or min(indices) < 0 or max(named) > MAX_MESH_VERTICES:
        raise InvalidArgumentError(
            f"a triangle is {represented(' '.join(words))}, expected three numbers of vertices, of which {vertices:,} "
            "came before"
        )
    return indices


def _refuse_many(vertices: int, triangles: int) -> None:
    """Stop reading before a file fills the memory."""
    for count, most, what in ((vertices, MAX_MESH_VERTICES, "vertices"), (triangles, MAX_MESH_TRIANGLES, "triangles")):
        if count > most:
            raise InvalidArgumentError(f"the mesh has more than {most:,} {what}. Simplify it where it was made")
