"""The camera of a face: from the mesh's coordinates to those of the camera, of its frame and of the image.

The seven values are differences from a camera that looks at the face from the front, far enough that the mesh, whose
longest side is 2, fills its frame. The frame is the square around the face's box, with the box's longer side.

| value | what | of zero |
|---|---|---|
| 0, 1 | the mesh's centre right of and below the camera's axis, in units of half the mesh | on it |
| 2 | its distance, 6 exp(tanh v) | 6 |
| 3, 4, 5 | pose: angles in radians about the camera's x, y and z axes, in this order | from the front |
| 6 | focal length in units of half the frame, 6 exp(tanh v) | 6 |

Distance and focal length are bounded, so that no value of a network gives a mesh behind the camera.

Source: seven values (place, pose, focal length) as in arXiv 1905.00641, section 3.2; the paper leaves the coding open.
"""

from __future__ import annotations

import torch

DISTANCE = 6.0
FOCAL_LENGTH = 6.0
_NEAREST = 0.5  # what is nearer to the camera is taken as at this depth


def to_camera(vertices: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
    """Rotate and move meshes into the camera's coordinates.

    Args:
        vertices: [N, V, 3]; x to the face's left, y up, z to its front, as face models have them.
        camera: [N, 7].

    Returns:
        [N, V, 3]: x to the right, y down, z away from the camera.
    """
    distance = DISTANCE * torch.exp(torch.tanh(camera[:, 2]))
    place = torch.stack([camera[:, 0], camera[:, 1], distance], dim=1)
    facing = vertices * vertices.new_tensor([1.0, -1.0, -1.0])
    return facing @ _rotation(camera[:, 3:6]).transpose(1, 2) + place[:, None]


def _rotation(angles: torch.Tensor) -> torch.Tensor:
    """Return R_z R_y R_x [N, 3, 3] of angles [N, 3]."""
    (a, b, c), (p, q, r) = torch.cos(angles).unbind(1), torch.sin(angles).unbind(1)
    rows = (
        *(b * c, p * q * c - a * r, a * q * c + p * r),
        *(b * r, p * q * r + a * c, a * q * r - p * c),
        *(-q, p * b, a * b),
    )
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


def to_frame(points: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
    """Project points in the camera's coordinates.

    Args:
        points: [N, V, 3].
        camera: [N, 7].

    Returns:
        [N, V, 3]: x and y, -1 to 1 in the frame, and depth behind the mesh's centre, in the same unit at the centre.
    """
    focal = (FOCAL_LENGTH * torch.exp(torch.tanh(camera[:, 6])))[:, None, None]
    distance = (DISTANCE * torch.exp(torch.tanh(camera[:, 2])))[:, None, None]
    depth = points[..., 2:].clamp(min=_NEAREST)
    return torch.cat([focal * points[..., :2] / depth, focal * (points[..., 2:] - distance) / distance], dim=2)


def to_image(framed: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Map points of frames to images.

    Args:
        framed: [N, V, 3], of `to_frame`.
        boxes: [N, 4], x1 y1 x2 y2 in pixels.

    Returns:
        [N, V, 3] in pixels; depth in the same unit.
    """
    first, second = boxes[:, :2], boxes[:, 2:]
    half = (second - first).amax(dim=1) / 2
    centre = torch.nn.functional.pad((first + second) / 2, (0, 1))
    return framed * half[:, None, None] + centre[:, None]
