"""The meshes among an engine's outputs: of the best faces of an image, decoded inside of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from engine.config.detection import Thresholds
from engine.config.model import RetinaFaceConfig
from engine.config.reader import ADDED
from engine.errors import InvalidArgumentError
from engine.mesh.dense.values import DENSE_VALUES
from engine.untrusted.limits import MAX_MESH_VERTICES

HEAD = "dense"  # name of the head whose values are decoded
VERTICES, COLOURS = "vertices", "colours"  # names of the outputs
MAX_MESHES = 256
_LONGEST_PATH = 4096


@dataclass(frozen=True)
class MeshOutput:
    """What an engine says of its meshes.

    Attributes:
        decoder: path of the mesh decoder's file, as it was given.
        sha256: of the file's content, in hexadecimal.
        num_vertices: of a mesh.
        max_meshes: faces of an image that are decoded at most, those of the highest scores.
        colours: whether the colours of vertices are an output too. Only files of engines that have it say so.
    """

    decoder: str
    sha256: str
    num_vertices: int
    max_meshes: int
    colours: bool = field(default=False, metadata={ADDED: True})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return (VERTICES, COLOURS) if self.colours else (VERTICES,)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of each output behind the batch."""
        return self.max_meshes, self.num_vertices, 3

    def to_values(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        values = asdict(self)
        if not self.colours:
            del values["colours"]
        return values

    def check(self, config: RetinaFaceConfig, thresholds: Thresholds) -> None:
        """Raise InvalidArgumentError if an engine of this model has no such meshes."""
        _require(1 <= len(self.decoder) <= _LONGEST_PATH, "decoder", self.decoder, f"1 to {_LONGEST_PATH} characters")
        fits = 1 <= self.num_vertices <= MAX_MESH_VERTICES
        _require(fits, "num_vertices", self.num_vertices, f"1 to {MAX_MESH_VERTICES}")
        check_meshes(config, thresholds, self.max_meshes)


def check_meshes(config: RetinaFaceConfig, thresholds: Thresholds, max_meshes: int) -> None:
    """Raise InvalidArgumentError if a model has no values to decode, or an engine gives fewer faces than meshes."""
    sizes = {head.name: head.size for head in config.values if not head.is_points}
    if sizes.get(HEAD) != DENSE_VALUES:
        raise InvalidArgumentError(
            f"config {config.name} has heads of plain values {sizes or 'of no kind'}, but a mesh decoder takes one "
            f"that is called {HEAD!r} and has {DENSE_VALUES} values, as that of the preset mobilenet0.25-dense"
        )
    most = min(MAX_MESHES, thresholds.max_detections)
    reason = "" if most == MAX_MESHES else ", the faces that the engine gives (max_detections)"
    _require(type(max_meshes) is int and 1 <= max_meshes <= most, "max_meshes", max_meshes, f"1 to {most}{reason}")


def _require(ok: bool, name: str, given: object, expected: str) -> None:
    if not ok:
        raise InvalidArgumentError(f"{name} is {given!r:.200}, expected {expected}")
