"""The mesh decoder of an engine, which its network's metadata holds as text."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from engine.errors import InvalidArgumentError
from engine.files import sha256_of
from engine.mesh.dense.output import MeshOutput
from engine.mesh.dense.weights import DecoderWeights, weights_of
from engine.untrusted.limits import MAX_DECODER_BYTES

DECODER_KEY = "retinaface-trt-mesh-decoder"


def packed(decoder: bytes) -> str:
    """Return the content of a mesh decoder's file as text."""
    return base64.b64encode(decoder).decode()


def decoder_of(metadata: Mapping[str, str], meshes: MeshOutput | None) -> DecoderWeights | None:
    """Return the mesh decoder in a network's metadata.

    Raises:
        InvalidArgumentError: it is not there, damaged or another than the sidecar's; or the sidecar has no meshes.
    """
    if meshes is None:
        if DECODER_KEY in metadata:
            raise InvalidArgumentError("has a mesh decoder, but its sidecar has no meshes")
        return None
    text = metadata.get(DECODER_KEY, "")
    if len(text) > MAX_DECODER_BYTES * 4 // 3 + 4:
        raise InvalidArgumentError(f"has a mesh decoder of more than {MAX_DECODER_BYTES:,} bytes")
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError as error:  # also of other letters than ASCII's
        raise InvalidArgumentError(f"has a mesh decoder that is damaged: {error}") from error
    if sha256_of(content) != meshes.sha256:
        raise InvalidArgumentError("has no mesh decoder, or another one than that of its sidecar")
    try:
        weights = weights_of(content)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"has a mesh decoder that cannot be used: {error}") from error
    if len(weights.levels.topology.vertices) != meshes.num_vertices:
        raise InvalidArgumentError(
            f"has a mesh decoder of {len(weights.levels.topology.vertices)} vertices, expected {meshes.num_vertices}"
        )
    return weights
