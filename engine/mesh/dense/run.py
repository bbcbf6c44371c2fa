"""The dense branch on the CPU with NumPy: from values and boxes of kept detections to meshes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.mesh.dense.output import HEAD, MeshOutput
from engine.mesh.dense.values import CAMERA_PART, CODE_PART, DENSE_VALUES
from engine.mesh.dense.weights import DecoderWeights, bases, load_weights, values_of_a_face
from engine.types import FloatArray, IntArray, RawDetections

_GREY = np.float32(0.5)
_UNIT = np.float32(6)  # distance and focal length of zeros, as in camera.py
_NEAREST = np.float32(0.5)
_VALUES_AT_ONCE = 1 << 22  # of a layer: 16 MB


class Meshes(NamedTuple):
    """The meshes of M faces.

    Attributes:
        vertices: float32 [M, V, 3]: x and y in pixels of the image; depth behind the mesh's centre in the same unit.
        colours: float32 [M, V, 3]: red, green, blue of the surface, without light, 0 to 1.
    """

    vertices: FloatArray
    colours: FloatArray


class DenseDecoder:
    """Decodes the values of the dense branch. It may be used from several threads at once.

    Attributes:
        triangles: int32 [F, 3], of the meshes.
    """

    def __init__(self, weights: DecoderWeights) -> None:
        """Prepare the matrices: of 1,000 vertices they have 15 MB."""
        tensors, order = weights.tensors, weights.order
        self.triangles: IntArray = weights.levels.topology.triangles
        self._template = weights.levels.topology.vertices
        self._start = (np.ascontiguousarray(tensors["start.weight"].T), tensors["start.bias"])
        self._coarsest = len(weights.levels.topologies[-1].vertices)
        names = [*(f"stages.{i}" for i in range(len(weights.levels.up))), "last"]
        self._layers = [
            (basis, tensors[f"{name}.weight"], tensors[f"{name}.bias"])
            for name, basis in zip(names, bases(weights.levels, order), strict=True)
        ]
        most = max(values_of_a_face(weight.shape, max(basis.shape[1:])) for basis, weight, _ in self._layers)
        self._at_once = max(_VALUES_AT_ONCE // most, 1)

    @classmethod
    def load(cls, path: Path) -> DenseDecoder:
        """Read a file that `DecoderWeights.save` wrote.

        Raises:
            InvalidArgumentError: it cannot be read, or is none of these; the message names it.
        """
        return cls(load_weights(path))

    def decode(self, values: FloatArray, boxes: FloatArray) -> Meshes:
        """Decode the faces that are kept; others cost nothing.

        Args:
            values: float32 [M, 144]: code, camera, light.
            boxes: float32 [M, 4], x1 y1 x2 y2 in pixels of any image: vertices are in the same.

        Raises:
            InvalidArgumentError: shapes do not fit, or a value is not finite.
        """
        if values.ndim != 2 or values.shape[1] != DENSE_VALUES or boxes.shape != (len(values), 4):
            raise InvalidArgumentError(
                f"values {values.shape} and boxes {boxes.shape} were given, expected [M, {DENSE_VALUES}] and [M, 4]"
            )
        if not (np.isfinite(values).all() and np.isfinite(boxes).all()):
            raise InvalidArgumentError("a value or a box is not finite: give those of kept detections only")
        parts = [slice(i, i + self._at_once) for i in range(0, max(len(values), 1), self._at_once)]
        meshes = [self._meshes(values[part], boxes[part]) for part in parts]
        return meshes[0] if len(meshes) == 1 else Meshes(*map(np.concatenate, zip(*meshes, strict=True)))

    def _meshes(self, values: FloatArray, boxes: FloatArray) -> Meshes:
        with np.errstate(over="ignore", invalid="ignore"):  # large values and weights give meshes that are not finite
            decoded = self._decode(values[:, CODE_PART].astype(np.float32, copy=False))
            vertices = _to_image(decoded[..., :3] + self._template, values[:, CAMERA_PART], boxes)
        return Meshes(vertices, np.clip(decoded[..., 3:] + _GREY, 0, 1))

    def _decode(self, codes: FloatArray) -> FloatArray:
        """Return the differences from the template, [M, V, 6]."""
        weight, bias = self._start
        x = codes @ weight + bias
        x = x.reshape(len(codes), self._coarsest, len(bias) // self._coarsest).transpose(1, 0, 2)
        for layer in self._layers:
            x = _convolve(np.where(x > 0, x, np.expm1(np.minimum(x, 0))), *layer)
        return np.asarray(x.transpose(1, 0, 2), np.float32)


class BestMeshes:
    """The meshes of the first faces of each image, as engines give them."""

    def __init__(self, decoder: DenseDecoder, output: MeshOutput) -> None:
        """Decode as many faces of an image, and give what `output` says."""
        self._decoder, self._output = decoder, output

    def add_to(self, raw: RawDetections) -> RawDetections:
        """Return detections with `vertices`, in the pixels of the boxes, and `colours` if they are an output."""
        number = self._output.max_meshes
        there = np.arange(number) < raw.num_detections[:, None]
        values, boxes = (array[:, :number] for array in (raw.values[HEAD], raw.boxes))
        decoded = self._decoder.decode(values[there], boxes[there])
        colours = _padded(decoded.colours, there) if self._output.colours else None
        return replace(raw, vertices=_padded(decoded.vertices, there), colours=colours)


def _padded(of_faces: FloatArray, there: NDArray[np.bool_]) -> FloatArray:
    """Return arrays of faces, [M, V, 3], at the M places [N, K] where one is; zeros at the others."""
    padded = np.zeros((*there.shape, *of_faces.shape[1:]), np.float32)
    padded[there] = of_faces
    return padded


def _convolve(x: FloatArray, basis: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    """See ChebConv: features [V, M, C] to [V', M, C'], in two products."""
    order, channels, out_channels = weight.shape
    out_vertices, vertices = basis.shape[1:]
    faces = x.shape[1]
    if channels <= out_channels:
        mixed = (basis.reshape(-1, vertices) @ x.reshape(vertices, -1)).reshape(order, out_vertices, faces, channels)
        rows = mixed.transpose(1, 2, 0, 3).reshape(-1, order * channels)
        y = rows @ weight.reshape(-1, out_channels)
        return np.asarray(y.reshape(out_vertices, faces, out_channels) + bias, np.float32)
    terms = x.reshape(-1, channels) @ weight.transpose(1, 0, 2).reshape(channels, -1)
    columns = terms.reshape(vertices, faces, order, out_channels).transpose(2, 0, 1, 3).reshape(order, vertices, -1)
    summed = np.asarray(sum(basis[k] @ columns[k] for k in range(order)), np.float32)
    return summed.reshape(out_vertices, faces, out_channels) + bias


def _to_image(vertices: FloatArray, camera: FloatArray, boxes: FloatArray) -> FloatArray:
    """See camera.py."""
    distance, focal = _UNIT * np.exp(np.tanh(camera[:, 2])), _UNIT * np.exp(np.tanh(camera[:, 6]))
    (a, b, c), (p, q, r) = np.cos(camera[:, 3:6]).T, np.sin(camera[:, 3:6]).T
    rotation = np.array(
        [
            [b * c, p * q * c - a * r, a * q * c + p * r],
            [b * r, p * q * r + a * c, a * q * r - p * c],
            [-q, p * b, a * b],
        ]
    )
    facing = rotation.transpose(2, 1, 0) * np.array([1, -1, -1], np.float32)[:, None]
    places = vertices @ facing + np.stack([camera[:, 0], camera[:, 1], distance], axis=1)[:, None]
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) / 2
    image = np.empty_like(places, np.float32)
    scale = (focal * half)[:, None, None]
    image[..., :2] = scale * places[..., :2] / np.maximum(places[..., 2:], _NEAREST)
    image[..., :2] += ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
    image[..., 2:] = scale * (places[..., 2:] / distance[:, None, None] - 1)
    return image
