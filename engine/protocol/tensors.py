"""The names and shapes of the model's tensors; pictures out of the inputs, and faces as the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.faces import Detections
from engine.mesh.dense.output import COLOURS, VERTICES, MeshOutput
from engine.text import represented
from engine.types import FloatArray, Image

MODEL_NAME = "retinaface"
OPTIONS = ("score_threshold", "min_size", "max_faces")  # parameters of a request; see TRTRetinaFace.detect


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of the model.

    Attributes:
        name: of the tensor.
        datatype: of its values, as the protocol names it.
        shape: of one image's part; -1 is any size. The batch comes before it.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the tensor as the protocol's metadata describes it."""
        return {"name": self.name, "datatype": self.datatype, "shape": [-1, *self.shape]}


# A request has one of them: picture files, or arrays in BGR order.
INPUTS = (TensorInfo("encoded", "BYTES", ()), TensorInfo("image", "UINT8", (-1, -1, 3)))


def output_infos(config: RetinaFaceConfig, meshes: MeshOutput | None = None) -> tuple[TensorInfo, ...]:
    """Return the outputs of a model, whose engine may give meshes."""
    return (
        TensorInfo("num_faces", "INT32", ()),
        TensorInfo("boxes", "FP32", (-1, 4)),
        TensorInfo("scores", "FP32", (-1,)),
        *([TensorInfo("landmarks", "FP32", (-1, config.num_points, 2))] if config.has_landmarks else []),
        *([TensorInfo("classes", "INT32", (-1,))] if config.num_classes > 2 else []),
        *(TensorInfo(head.name, "FP32", (-1, head.size)) for head in config.values),
        *([TensorInfo(name, "FP32", (-1, *meshes.shape[1:])) for name in meshes.names] if meshes else []),
    )


def outputs_of(found: Sequence[Detections]) -> dict[str, NDArray[Any]]:
    """Return the faces of one or more images, all of one model, as the output tensors."""
    counts = [len(faces) for faces in found]
    outputs: dict[str, NDArray[Any]] = {"num_faces": np.array(counts, np.int32)}
    arrays = [_arrays(faces) for faces in found]
    for name, first in arrays[0].items():
        most = max(len(of_image[name]) for of_image in arrays)
        outputs[name] = np.zeros((len(found), most, *first.shape[1:]), first.dtype)
        for row, of_image in zip(outputs[name], arrays, strict=True):
            row[: len(of_image[name])] = of_image[name]
    return outputs


def _arrays(faces: Detections) -> dict[str, NDArray[Any]]:
    """Return what an image's faces consist of, in the order of output_infos. Meshes are those up to the last one."""
    optional = {"landmarks": faces.landmarks, "classes": faces.classes}
    there = {name: array for name, array in optional.items() if array is not None}
    return {"boxes": faces.boxes, "scores": faces.scores, **there, **faces.values, **_meshes(faces)}


def _meshes(faces: Detections) -> dict[str, FloatArray]:
    """Return the meshes of the first faces, up to the last one that there is; zeros of faces without one."""
    if faces.vertices is None:
        return {}
    count = np.flatnonzero(faces.has_mesh).max(initial=-1) + 1
    known = {VERTICES: faces.vertices, COLOURS: faces.colours}
    return {name: np.nan_to_num(array[:count], nan=0.0) for name, array in known.items() if array is not None}


def images_of(
    inputs: Mapping[str, NDArray[np.uint8] | list[bytes]], most: int | None = None
) -> Sequence[bytes | Image]:
    """Return the files or the arrays of a request.

    Raises:
        InvalidArgumentError: the inputs are others, or of another type or shape, or there are more images than `most`.
    """
    if len(inputs) != 1 or next(iter(inputs)) not in ("encoded", "image"):
        names = ", ".join(map(represented, inputs)) or "none"
        raise InvalidArgumentError(f"the inputs are {names}, expected one: encoded or image")
    ((name, values),) = inputs.items()
    if name == "encoded":
        if not isinstance(values, list):
            raise InvalidArgumentError("input encoded: datatype is UINT8, expected BYTES")
        _check_count(len(values), most)
        return values
    if isinstance(values, list):
        raise InvalidArgumentError("input image: datatype is BYTES, expected UINT8")
    images = values[None] if values.ndim == 3 else values
    if images.ndim != 4 or images.shape[3] != 3 or not images.size:
        raise InvalidArgumentError(f"input image: shape is {list(values.shape)}, expected [H, W, 3] or [N, H, W, 3]")
    _check_count(len(images), most)  # before there is an object for each
    return list(images)


def _check_count(images: int, most: int | None) -> None:
    if most is not None and images > most:
        raise InvalidArgumentError(f"{images} images, expected at most {most}")
