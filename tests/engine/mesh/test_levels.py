"""Coarser levels of a mesh: their surfaces, what they keep, and the file that holds them."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.mesh.decimation import decimate
from engine.mesh.levels import MeshLevels, load_levels, make_levels
from engine.mesh.obj import read_obj
from engine.mesh.sampling import up_sampling
from engine.mesh.topology import Topology
from tests.engine.mesh.meshes import icosphere, mask
from tests.support.data import face_model


def euler(topology: Topology) -> int:
    """2 for a closed surface, 1 for a sheet without holes."""
    return len(topology.vertices) - len(topology.edges) + len(topology.triangles)


def area(topology: Topology) -> float:
    a, b, c = (topology.vertices[topology.triangles[:, i]] for i in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


@pytest.mark.parametrize(("topology", "count", "kind"), [(icosphere(2), 40, 2), (mask(12, 11), 33, 1)])
def test_a_coarser_mesh_is_the_same_kind_of_surface(topology: Topology, count: int, kind: int) -> None:
    """Topology checks edges and sides. A coarser mesh cuts corners, so its area is a little smaller."""
    kept, coarse = decimate(topology, count)
    assert len(coarse.vertices) == count
    assert np.array_equal(coarse.vertices, topology.vertices[kept])
    assert euler(coarse) == euler(topology) == kind
    assert 0.8 * area(topology) < area(coarse) < 1.01 * area(topology)


def test_flat_parts_go_first_and_corners_stay() -> None:
    """A folded sheet: any vertex on a plane, or on the straight part of the fold or boundary, costs nothing."""
    flat = mask(5, 5)
    x = np.round(flat.vertices[:, 0] / 0.4) / 2
    vertices = np.stack([x, flat.vertices[:, 1], -np.abs(x)], axis=1).astype(np.float32)
    kept, _ = decimate(Topology(vertices, flat.triangles), 6)
    assert {tuple(place) for place in vertices[kept].tolist()} == {
        (side, end, -abs(side)) for side in (-1.0, 0.0, 1.0) for end in (-1.0, 1.0)
    }


def test_holes_are_kept() -> None:
    sheet = mask(9, 9)
    centre = 4 * 9 + 4
    holed = Topology(
        np.delete(sheet.vertices, centre, axis=0),
        np.array([[i - (i > centre) for i in t] for t in sheet.triangles.tolist() if centre not in t], np.int32),
    )
    _, coarse = decimate(holed, 20)
    assert euler(coarse) == euler(holed) == 0


@pytest.mark.parametrize(("rows", "columns"), [(2, 8), (3, 8)])
def test_a_narrow_strip_is_not_pinched(rows: int, columns: int) -> None:
    """Contracting an edge across it, which costs the least, would leave two parts that have one vertex in common."""
    strip = mask(rows, columns)
    zigzag = np.arange(rows * columns) % columns % 2
    narrow = strip.vertices * [1, 0.0005, 0] + zigzag[:, None] * [0, 0, 0.1]
    topology = Topology(narrow.astype(np.float32), strip.triangles)
    for count in range(rows * columns - 1, rows * columns - 5, -1):
        with contextlib.suppress(InvalidArgumentError):  # it cannot be simplified so far
            _, coarse = decimate(topology, count)
            assert set(np.bincount(coarse.boundary.reshape(-1)).tolist()) <= {0, 2}


def test_what_cannot_be_simplified_is_refused() -> None:
    tetrahedron = Topology(
        np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], np.float32),
        np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 4], [1, 4, 3], [2, 3, 4]], np.int32),
    )
    for count in (3, 5):
        with pytest.raises(
            InvalidArgumentError, match=f"{count} vertices of a mesh of 5 were asked for, expected 4 to 4"
        ):
            decimate(tetrahedron, count)
    strip = mask(2, 4)  # all vertices are on the boundary: its corners fold when they meet
    apart = Topology(
        np.concatenate([strip.vertices, strip.vertices + 5]), np.concatenate([strip.triangles, strip.triangles + 8])
    )
    with pytest.raises(
        InvalidArgumentError, match=r"cannot be simplified to 4 vertices: at . no edge can be contracted"
    ):
        decimate(apart, 4)


@pytest.mark.parametrize(("coarse", "finer"), [(icosphere(0), icosphere(1)), (mask(3, 3), mask(7, 6))])
def test_up_sampling_takes_the_nearest_point_of_the_surface(
    coarse: Topology, finer: Topology, rng: np.random.Generator
) -> None:
    """Against many points on each triangle, none of which may be nearer. Some vertices are beyond the boundary."""
    moved = 1.2 * finer.vertices + rng.normal(0, 0.1, finer.vertices.shape)
    fine = Topology(moved.astype(np.float32), finer.triangles)
    sampled = up_sampling(fine, coarse)
    matrix = sampled.matrix(len(coarse.vertices))
    assert (matrix >= 0).all()
    assert np.allclose(matrix.sum(1), 1, atol=1e-6)  # three float32 weights
    ours = np.linalg.norm(matrix @ coarse.vertices - fine.vertices, axis=1)
    steps = np.array([(i, j, 20 - i - j) for i in range(21) for j in range(21 - i)]) / 20
    points = (steps @ coarse.vertices[coarse.triangles]).reshape(-1, 3)
    nearest = np.linalg.norm(fine.vertices[:, None] - points, axis=2).min(1)
    assert (ours <= nearest + 1e-5).all()
    assert (ours >= nearest - 0.06).all()  # the points are some .05 apart


def test_vertices_that_are_kept_are_up_sampled_to_themselves() -> None:
    levels = make_levels(mask(10, 10), [40, 12])
    assert [len(topology.vertices) for topology in levels.topologies] == [100, 40, 12]
    for fine, coarse, kept, up in zip(levels.topologies, levels.topologies[1:], levels.kept, levels.up, strict=False):
        again = up.matrix(len(kept)) @ coarse.vertices
        assert np.abs(again[kept] - fine.vertices[kept]).max() < 1e-6  # weights of float32
    extent = np.ptp(levels.topology.vertices, axis=0)
    assert extent.max() == pytest.approx(2)


def test_the_file_gives_the_same_levels(tmp_path: Path) -> None:
    levels = make_levels(icosphere(2))
    assert [len(topology.vertices) for topology in levels.topologies] == [162, 41]
    levels.save(tmp_path / "levels.npz")
    again = load_levels(tmp_path / "levels.npz")
    for one, other in zip(arrays(levels), arrays(again), strict=True):
        assert np.array_equal(one, other)


def arrays(levels: MeshLevels) -> list[NDArray[Any]]:
    own = [array for topology in levels.topologies for array in (topology.vertices, topology.triangles)]
    return [*own, *levels.kept, *(array for up in levels.up for array in up)]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("vertices", None, "it has no 'vertices'"),
        ("kept_0", None, "it has no 'kept_0'"),
        ("vertices", np.zeros((5, 3)), "is of float64, expected float32"),
        ("vertices", np.full((42, 3), np.nan, np.float32), "not finite"),
        ("triangles_0", np.array([[0, 1, 50]], np.int32), "names vertex 51"),
        ("kept_0", np.arange(12, dtype=np.int32) + 40, "does not name vertices of level 0"),
        ("kept_0", np.arange(42, dtype=np.int32), "level 1 has 42 vertices, expected fewer than level 0 has"),
        ("up_indices_0", np.full((42, 3), 12, np.int32), "does not name three vertices of level 1"),
        ("up_weights_0", np.ones((42, 3), np.float32), "weights of sum 1"),
        ("up_weights_0", np.full((42, 3), np.nan, np.float32), "weights of sum 1"),
        ("triangles_99", np.zeros((1, 3), np.int32), "it has no 'kept_1'"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, name: str, value: object, message: str) -> None:
    path = tmp_path / "levels.npz"
    make_levels(icosphere(1), [12]).save(path)
    content = dict(np.load(path))
    content = {key: array for key, array in content.items() if key != name}
    if value is not None:
        content[name] = np.asarray(value)
    changed = io.BytesIO()
    np.savez(changed, **content)
    path.write_bytes(changed.getvalue())
    with pytest.raises(InvalidArgumentError, match=message) as refused:
        load_levels(path)
    assert str(path) in str(refused.value)
    path.write_text("no archive")
    with pytest.raises(InvalidArgumentError, match=r"cannot be read from .*levels\.npz: is no zip archive"):
        load_levels(path)


def test_the_face_model_of_468_vertices() -> None:
    levels = make_levels(read_obj(face_model()))
    assert [len(topology.vertices) for topology in levels.topologies] == [468, 117, 30]
    assert {euler(topology) for topology in levels.topologies} == {euler(levels.topology)}
    for fine, coarse, up in zip(levels.topologies, levels.topologies[1:], levels.up, strict=False):
        offsets = np.linalg.norm(up.matrix(len(coarse.vertices)) @ coarse.vertices - fine.vertices, axis=1)
        a, b = coarse.vertices[coarse.edges].transpose(1, 0, 2)
        assert (
            offsets.mean() < 0.1 * np.linalg.norm(a - b, axis=1).mean()
        )  # the coarse surface is close to the fine one
