"""The levels of a mesh, finest first, and how vertices of one come from the next: made once, kept in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.mesh.arrays import load_arrays, typed, write_arrays
from engine.mesh.decimation import decimate
from engine.mesh.sampling import UpSampling, up_sampling
from engine.mesh.topology import Topology
from engine.types import FloatArray, IntArray

_FACTOR, _COARSEST = 4, 16  # of vertices from level to level, and the fewest
_MOST_LEVELS = 16
_TOLERANCE = 1e-4  # of the sum of three float32 weights, with much room


@dataclass(frozen=True, eq=False)
class MeshLevels:
    """A mesh and coarser ones.

    Attributes:
        topologies: finest first, at least one. The vertices of a level are some of the one before.
        kept: of each level but the first, int32 [v]: its vertices' indices in the level before, which samples it down.
        up: of each level but the last: its vertices from those of the next.
    """

    topologies: tuple[Topology, ...]
    kept: tuple[IntArray, ...]
    up: tuple[UpSampling, ...]

    @property
    def topology(self) -> Topology:
        """The finest level."""
        return self.topologies[0]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays by name, which `levels_of` takes."""
        arrays: dict[str, Any] = {"vertices": self.topology.vertices}
        for i, topology in enumerate(self.topologies):
            arrays[f"triangles_{i}"] = topology.triangles
        for i, (kept, up) in enumerate(zip(self.kept, self.up, strict=True)):
            arrays |= {f"kept_{i}": kept, f"up_indices_{i}": up.indices, f"up_weights_{i}": up.weights}
        return arrays

    def save(self, path: Path) -> None:
        """Write them to a file, which `load_levels` reads.

        Raises:
            OutputError: the file cannot be written.
        """
        write_arrays(path, self.arrays())


def make_levels(topology: Topology, counts: Sequence[int] | None = None) -> MeshLevels:
    """Simplify a mesh level by level, by quadric error. It takes about a second for 1,000 vertices.

    Args:
        topology: the finest level, which is normalised: centred, its longest side 2.
        counts: vertices of the coarser levels, descending; by default a quarter each time, down to 16 at least.

    Raises:
        InvalidArgumentError: a count is out of range, or the mesh cannot be simplified so far.
    """
    topologies, all_kept, ups = [topology.normalised()], [], []
    for count in _counts(len(topology.vertices)) if counts is None else counts:
        kept, coarse = decimate(topologies[-1], count)
        ups.append(up_sampling(topologies[-1], coarse))
        topologies.append(coarse)
        all_kept.append(kept)
    return MeshLevels(tuple(topologies), tuple(all_kept), tuple(ups))


def _counts(vertices: int) -> list[int]:
    counts = []
    while vertices > _FACTOR * _COARSEST:
        vertices = -(-vertices // _FACTOR)
        counts.append(vertices)
    return counts


def load_levels(path: Path) -> MeshLevels:
    """Read the levels of a mesh that `MeshLevels.save` wrote.

    Raises:
        InvalidArgumentError: the file cannot be read or is none of these; the message names it.
    """
    return load_arrays(path, "the levels of a mesh", levels_of)


def levels_of(arrays: Mapping[str, NDArray[Any]]) -> MeshLevels:
    """Check arrays and make levels of them; others are passed over.

    Raises:
        InvalidArgumentError: they are no levels.
        KeyError: one is missing.
    """
    number = sum(name.startswith("triangles_") for name in arrays)
    if number > _MOST_LEVELS:
        raise InvalidArgumentError(f"it has {number} levels, expected at most {_MOST_LEVELS}")
    topologies = [Topology(typed(arrays["vertices"], np.float32), typed(arrays["triangles_0"], np.int32))]
    all_kept, ups = [], []
    for i in range(number - 1):
        fine = topologies[-1]
        kept = typed(arrays[f"kept_{i}"], np.int32)
        if kept.ndim != 1 or not len(kept) or kept.min() < 0 or kept.max() >= len(fine.vertices):
            raise InvalidArgumentError(f"kept_{i} does not name vertices of level {i}")
        if len(kept) >= len(fine.vertices):
            raise InvalidArgumentError(f"level {i + 1} has {len(kept)} vertices, expected fewer than level {i} has")
        coarse = Topology(fine.vertices[kept], typed(arrays[f"triangles_{i + 1}"], np.int32))
        indices = typed(arrays[f"up_indices_{i}"], np.int32)
        weights = typed(arrays[f"up_weights_{i}"], np.float32)
        if indices.shape != fine.vertices.shape or indices.min() < 0 or indices.max() >= len(kept):
            raise InvalidArgumentError(
                f"up_indices_{i} does not name three vertices of level {i + 1} for each of level {i}"
            )
        if weights.shape != indices.shape or not (weights >= 0).all() or not _sums_to_one(weights):
            raise InvalidArgumentError(f"up_weights_{i} has other values than weights of sum 1")
        topologies.append(coarse)
        all_kept.append(kept)
        ups.append(UpSampling(indices, weights))
    return MeshLevels(tuple(topologies), tuple(all_kept), tuple(ups))


def _sums_to_one(weights: FloatArray) -> bool:
    return bool((np.abs(weights.sum(1) - 1) <= _TOLERANCE).all())
