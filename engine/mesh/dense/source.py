"""The mesh decoder that a build takes: its file, and how many meshes there will be."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engine.config.detection import Thresholds
from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.files import sha256_of
from engine.mesh.dense.output import MeshOutput, check_meshes
from engine.mesh.dense.weights import DecoderWeights, weights_of
from engine.untrusted.files import read_file
from engine.untrusted.limits import MAX_DECODER_BYTES

USUAL_MESHES = 20


@dataclass(frozen=True)
class MeshOptions:
    """Which meshes of faces a build adds to the outputs.

    Attributes:
        decoder: path of the file that `DecoderWeights.save` wrote; it was trained with the model's weights.
        max_meshes: faces of an image that are decoded at most, those of the highest scores; None is USUAL_MESHES, or
            the number of faces that the engine gives, if that is lower.
        colours: whether the colours of vertices are an output too.
    """

    decoder: str | os.PathLike[str]
    max_meshes: int | None = None
    colours: bool = False


@dataclass(frozen=True)
class MeshSource:
    """A mesh decoder that was read.

    Attributes:
        content: of its file.
        weights: the same.
        output: what an engine says of it.
    """

    content: bytes
    weights: DecoderWeights
    output: MeshOutput


def read_source(options: MeshOptions | None, config: RetinaFaceConfig, thresholds: Thresholds) -> MeshSource | None:
    """Read the decoder of a build; return None if it has none.

    Raises:
        InvalidArgumentError: the file cannot be read or is none of a mesh decoder, or the model has no values for it.
    """
    if options is None:
        return None
    number = options.max_meshes
    if number is None:
        number = min(USUAL_MESHES, thresholds.max_detections)
    check_meshes(config, thresholds, number)
    path = os.fspath(options.decoder)
    try:
        content = read_file(Path(path), MAX_DECODER_BYTES)
        weights = weights_of(content)
    except OSError as error:
        raise InvalidArgumentError(f"mesh decoder {path} cannot be read: {error.strerror}") from error
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"mesh decoder {path}: {error}") from error
    output = MeshOutput(path, sha256_of(content), len(weights.levels.topology.vertices), number, options.colours)
    output.check(config, thresholds)
    return MeshSource(content, weights, output)
