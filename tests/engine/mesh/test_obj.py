"""OBJ files: what is read of them, and what is refused in words that help."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InvalidArgumentError
from engine.mesh.obj import read_obj
from engine.mesh.topology import Topology
from engine.untrusted import limits
from tests.engine.mesh.meshes import icosphere, mask, write_obj

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


@pytest.mark.parametrize("topology", [icosphere(1), mask(4, 3)], ids=["closed", "with a boundary"])
def test_meshes_are_read_as_they_were_written(tmp_path: Path, topology: Topology) -> None:
    found = read_obj(write_obj(tmp_path, topology))
    assert np.array_equal(found.vertices, topology.vertices)
    assert np.array_equal(found.triangles, topology.triangles)


def test_everything_that_files_have_beside_places_and_corners_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "mesh.obj"
    path.write_bytes(
        b"\xef\xbb\xbf# a comment\r\nmtllib skin.mtl\r\no face\r\nv 0 0 0 0.5 0.25 1\r\nv 1 0 0 1.0\r\nvt 0 1\r\n"
        b"v  0 1e0 0\r\nvn 0 0 1\r\ns off\r\nusemtl skin\r\nf 1/1/1 2//1 3/1\r\nv 1 1 0\r\nf -2 -3 -1\r\nl 1 2\r\n"
    )
    found = read_obj(path)
    assert found.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]
    assert found.triangles.tolist() == [[0, 1, 2], [2, 1, 3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no vertices"),
        (TRIANGLE, "has no triangles"),
        (
            "f -1 -2 -3\n" + TRIANGLE,
            "line 1: a triangle is '-1 -2 -3', expected three numbers of vertices, of which 0 came",
        ),
        (TRIANGLE + "f 1 2 4", "names vertex 4, but the mesh has 3 vertices"),
        (TRIANGLE + "f 1 2 0", "line 4: a triangle is '1 2 0'"),
        (TRIANGLE + "f 1 2 -4", "line 4: a triangle is '1 2 -4'"),
        (TRIANGLE + "f 1 2 99999999999999999999", "line 4: a triangle is"),
        (TRIANGLE + "f 1 2 x/1", "line 4: a triangle is '1 2 x/1'"),
        (TRIANGLE + "v 1 1 0\nf 1 2 4 3", "line 5: a face has 4 corners, expected 3. Triangulate"),
        (TRIANGLE + "f 1 2", "has 2 corners, expected 3"),
        ("v 0 0\n", "line 1: a vertex is '0 0', expected three finite numbers"),
        ("v 0 nan 0\n", "a vertex is '0 nan 0', expected three finite numbers"),
        ("v 0 1e30 0\n", "expected three finite numbers"),
        ("v 0 a 0\n", "a vertex is '0 a 0'"),
        (TRIANGLE + "f 1 2 2", r"names a vertex twice \(1, 2, 2\)"),
        (TRIANGLE + "v 5 5 5\nf 1 2 3", "has 1 vertices that no triangle has: 4. Remove them, or add the missing"),
        (TRIANGLE + "v 1 0 0\nv 2 0 0\nf 1 2 3\nf 4 5 3", "has 1 vertices at the place of another one: 4. Merge them"),
        (TRIANGLE + "f 1 2 3\nf 2 3 1", "have the edge from vertex 1 to 2 in the same direction"),
        (TRIANGLE + "v 1 1 0\nf 1 2 3\nf 2 4 3\nv 0 0 1\nf 5 3 2\n", "have the edge from vertex 3 to 2"),
    ],
)
def test_a_mesh_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mesh.obj"
    path.write_text(text)
    with pytest.raises(InvalidArgumentError, match=message) as refused:
        read_obj(path)
    assert str(path) in str(refused.value)


def test_files_that_are_no_text_or_no_files_are_refused(tmp_path: Path) -> None:
    binary, fifo = tmp_path / "binary.obj", tmp_path / "fifo.obj"
    binary.write_bytes(b"v 0 0 \xff")
    os.mkfifo(fifo)
    for path, message in (
        (binary, "no text in UTF-8"),
        (fifo, "it is a FIFO"),
        (tmp_path, "cannot be read: Is a directory"),
        (tmp_path / "none.obj", "cannot be read: No such file"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            read_obj(path)


@pytest.mark.parametrize(
    ("line", "most"), [("v 0 0 0\n", limits.MAX_MESH_VERTICES), ("f 1 2 3\n", limits.MAX_MESH_TRIANGLES)]
)
def test_reading_stops_at_the_first_line_beyond_the_limits(tmp_path: Path, line: str, most: int) -> None:
    path = tmp_path / "huge.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n" * (line[0] == "f") + line * (most + 50))
    first = 3 * (line[0] == "f") + most + 1
    with pytest.raises(InvalidArgumentError, match=rf"line {first}: the mesh has more than {most:,} .* Simplify"):
        read_obj(path)
