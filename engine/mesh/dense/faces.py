"""All of the dense branch behind its values: what is exported, and what training compares."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from engine.mesh.dense.camera import to_camera, to_frame, to_image
from engine.mesh.dense.decoder import MeshDecoder
from engine.mesh.dense.light import shade
from engine.mesh.dense.values import CAMERA_PART, CODE_PART, LIGHT_PART
from engine.mesh.levels import MeshLevels


class FramedFaces(NamedTuple):
    """Meshes in the frames of their boxes.

    Attributes:
        meshes: [N, V, 3], in their own coordinates.
        vertices: [N, V, 3], x and y from -1 to 1 in the frame, and depth.
        colours: [N, V, 3], lit, about 0 to 1, red, green, blue.
    """

    meshes: torch.Tensor
    vertices: torch.Tensor
    colours: torch.Tensor


class DenseFaces(nn.Module):
    """From values and boxes of faces to coloured meshes in the image."""

    triangles: torch.Tensor

    def __init__(self, levels: MeshLevels, decoder: MeshDecoder | None = None) -> None:
        """Take a decoder of the mesh, or make one with random weights."""
        super().__init__()
        self.decoder = decoder or MeshDecoder(levels)
        self.register_buffer("triangles", torch.from_numpy(levels.topology.triangles).long(), persistent=False)

    def forward(self, values: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map faces to what is deployed.

        Args:
            values: [N, 144]: code, camera, light.
            boxes: [N, 4], x1 y1 x2 y2 in pixels.

        Returns:
            Vertices [N, V, 3]: x and y in pixels of the image, and depth behind the mesh's centre in the same unit; and
            colours [N, V, 3]: red, green, blue of the surface, without light, 0 to 1.
        """
        decoded, camera = self.decoder(values[:, CODE_PART]), values[:, CAMERA_PART]
        vertices = to_image(to_frame(to_camera(decoded[..., :3], camera), camera), boxes)
        return vertices, decoded[..., 3:].clamp(0, 1)

    def in_frames(self, values: torch.Tensor) -> FramedFaces:
        """Map values [N, 144] to lit meshes in the frames of their boxes, as training compares them."""
        decoded, camera = self.decoder(values[:, CODE_PART]), values[:, CAMERA_PART]
        points = to_camera(decoded[..., :3], camera)
        colours = shade(points, decoded[..., 3:], self.triangles, values[:, LIGHT_PART])
        return FramedFaces(decoded[..., :3], to_frame(points, camera), colours)


class FirstMeshes(nn.Module):
    """The meshes of the first faces of each image, as an engine has them behind suppression."""

    def __init__(self, faces: DenseFaces, number: int, *, colours: bool) -> None:
        """Take the first `number` faces, with or without the colours of vertices."""
        super().__init__()
        self.faces, self.number, self.colours = faces, number, colours

    def forward(self, values: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map values [N, M, 144] and boxes [N, M, 4] to vertices [N, number, V, 3], and colours of the same shape.

        Both are zero for boxes of zeros, which are those of faces that are not there.
        """
        first, places = values[:, : self.number].flatten(0, 1), boxes[:, : self.number].flatten(0, 1)
        vertices, colours = self.faces(first, places)
        outputs = [vertices]
        if self.colours:
            there = places.abs().amax(1) > 0
            outputs.append(torch.where(there[:, None, None], colours, 0.0))
        return tuple(output.unflatten(0, (-1, self.number)) for output in outputs)
