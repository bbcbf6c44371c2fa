"""Go on with the dense branch that dense_faces.py trained, on photos without labels, and draw what it finds there.

Usage: python examples/dense_photos.py run retinaface_fp16.engine photos results

A detector finds the faces. Meshes are put into its boxes, and five places of the mesh are drawn to its landmarks; all
the rest comes from the pixels of the rendered meshes. Each step has as many faces made from the mesh with all their
losses, so that shapes stay those of faces. One in five photos is held out: its faces give the losses before and after,
and the pictures (photos.png): a face, the mesh found in it and the mesh rendered, before; then both after.
docs/dense.md has the result.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from dense_faces import CROP, DenseNetwork, FaceMaker, Faces, Found, crop
from numpy.typing import NDArray
from torch import nn

from engine import Detections, TRTRetinaFace
from engine.mesh.dense.camera import to_image
from engine.mesh.dense.losses import pixel_loss
from engine.mesh.dense.rendering import render
from engine.mesh.dense.weights import load_weights
from engine.pictures.photos import Pictures
from engine.types import Image, IntArray

SIZE = 96  # of pictures, as dense_faces.py has them
PATCH, SHARE = 192, 0.4  # pixels of what is kept of a photo around a face, and the face's part of its side
# The landmarks on MediaPipe's canonical face: between two vertices each.
POINTS = (33, 133, 263, 362, 1, 1, 61, 61, 291, 291)


class PhotoFace(NamedTuple):
    """A face with its surroundings.

    Attributes:
        patch: uint8 [PATCH, PATCH, 3], blue, green, red.
        corners: [7, 2], pixels of the patch: two corners of the box, five landmarks.
    """

    patch: Image
    corners: torch.Tensor


class Views(NamedTuple):
    """N pictures of faces: pictures [N, 3, SIZE, SIZE] as dense_faces.py has them, boxes [N, 4], points [N, 5, 2]."""

    pictures: torch.Tensor
    boxes: torch.Tensor
    points: torch.Tensor


def cut(photo: Image, found: Detections) -> list[PhotoFace]:
    """Return the faces of a photo."""
    faces = []
    for face in found:
        assert face.landmarks is not None, "the engine's model has no landmarks"
        corners = np.concatenate([face.box.reshape(2, 2), face.landmarks])
        scale = SHARE * PATCH / max(face.width, face.height)
        shift = PATCH / 2 - scale * corners[:2].mean(0)
        faces.append(PhotoFace(_warp(photo, scale, shift, PATCH), torch.from_numpy(scale * corners + shift).float()))
    return faces


def _warp(picture: Image, scale: float, shift: NDArray[np.floating[Any]], size: int) -> Image:
    """Move point p, where pixel i has its centre at i + .5, to scale x p + shift."""
    matrix = np.hstack([scale * np.eye(2), (shift + 0.5 * scale - 0.5)[:, None]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(
        cv2.warpAffine(picture, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def views(faces: Sequence[PhotoFace], random: np.random.Generator) -> Views:
    """Show faces in pictures of SIZE, with .42 to .75 of a side, as made ones are, and away from the centre."""
    pictures, corners = [], []
    for face in faces:
        share = random.uniform(0.42, 0.75)
        scale = share * SIZE / (SHARE * PATCH)
        shift = SIZE / 2 - scale * PATCH / 2 + random.uniform(-0.3, 0.3, 2) * (1 - share) * SIZE
        pictures.append(_warp(face.patch, scale, shift, SIZE)[..., ::-1].transpose(2, 0, 1) / np.float32(255))
        corners.append(scale * face.corners + torch.from_numpy(shift).float())
    stacked = torch.stack(corners)
    return Views(torch.from_numpy(np.stack(pictures)), stacked[:, :2].flatten(1), stacked[:, 2:])


def losses(network: DenseNetwork, shown: Views, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of pixels, and the landmarks' mean distance by half of the box's longer side."""
    framed = network.faces.in_frames(values_of(network, shown).values)
    pixels = pixel_loss(
        render(framed.vertices, framed.colours, network.faces.triangles, CROP), crop(shown.pictures, shown.boxes)
    )
    points = to_image(framed.vertices, shown.boxes)[:, places, :2].reshape(-1, 5, 2, 2).mean(2)
    half = (shown.boxes[:, 2:] - shown.boxes[:, :2]).amax(1)[:, None] / 2
    return pixels, (torch.linalg.vector_norm(points - shown.points, dim=2) / half).mean()


def values_of(network: DenseNetwork, shown: Views) -> Found:
    """Return what the network says of the cell where the detector's box is."""
    return network.at(network(shown.pictures), network.cells(shown.boxes))


@torch.no_grad()
def judge(network: DenseNetwork, shown: Views, places: torch.Tensor) -> tuple[float, float]:
    """Return both losses of held-out faces, a batch at a time."""
    network.eval()
    parts = [Views(*(array[i : i + 32] for array in shown)) for i in range(0, len(shown.boxes), 32)]
    found = [(len(part.boxes), *losses(network, part, places)) for part in parts]
    pixels, points = (sum(row[0] * float(row[k]) for row in found) / len(shown.boxes) for k in (1, 2))
    return pixels, points


@torch.no_grad()
def draw(network: DenseNetwork, shown: Views, edges: IntArray) -> list[Image]:
    """Return rows of pictures: as they are, with the meshes' edges, with the meshes rendered."""
    network.eval()
    framed = network.faces.in_frames(values_of(network, shown).values)
    zoom, unit = 2, SIZE / 2
    plain = [(picture.permute(1, 2, 0).numpy()[..., ::-1] * 255).astype(np.uint8) for picture in shown.pictures]
    large = [cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC) for picture in plain]
    vertices = to_image(framed.vertices, shown.boxes)
    lines = [np.rint(zoom * mesh.numpy()[edges, :2] * 16).astype(np.int32) for mesh in vertices]
    drawn = [
        cv2.polylines(picture.copy(), list(line), False, (80, 255, 80), 1, cv2.LINE_AA, shift=4)
        for picture, line in zip(large, lines, strict=True)
    ]
    whole = vertices / unit - vertices.new_tensor([1, 1, 0])  # the picture as a frame
    rendered = render(whole, framed.colours, network.faces.triangles, zoom * SIZE)
    faces = (rendered.colours.clamp(0, 1) * 255).byte().numpy()[..., ::-1]
    shaded = [np.where(c[..., None], f, p) for c, f, p in zip(rendered.covered.numpy(), faces, large, strict=True)]
    return [np.concatenate(row, axis=1).astype(np.uint8) for row in (large, drawn, shaded)]


def read_faces(engine: str, photos: Path, smallest: float) -> tuple[list[PhotoFace], list[PhotoFace]]:
    """Return the faces to learn from and those of every fifth photo."""
    learned: list[PhotoFace] = []
    held_out: list[PhotoFace] = []
    with TRTRetinaFace(engine) as detector:
        for i, photo in enumerate(Pictures(photos)):
            (held_out if i % 5 == 0 else learned).extend(
                cut(photo, detector.detect(photo, score_threshold=0.8, min_size=smallest))
            )
    return learned, held_out


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Go on with a trained dense branch on photos without labels.")
    parser.add_argument("run", type=Path, help="what dense_faces.py wrote")
    parser.add_argument("engine", help="NAME.engine of a detector with landmarks")
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("results", type=Path, help="folder for all results")
    parser.add_argument("--steps", type=int, default=300, help="default %(default)s")
    parser.add_argument("--batch", type=int, default=16, help="faces of each kind in a step (default %(default)s)")
    parser.add_argument("--smallest", type=float, default=32, help="side of a face in pixels (default %(default)s)")
    parser.add_argument(
        "--points", type=int, nargs=10, default=POINTS, help="two vertices for each landmark (default: MediaPipe's)"
    )
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    learned, held_out = read_faces(arguments.engine, arguments.photos, arguments.smallest)
    print(f"{len(learned)} faces to learn from, {len(held_out)} held out", flush=True)
    if not learned or not held_out:
        parser.error(f"too few faces in {arguments.photos}")
    levels = load_weights(arguments.run / "dense.npz").levels
    edges = torch.from_numpy(levels.topology.edges).long()
    network = DenseNetwork(levels, SIZE, "random")
    network.load_state_dict(torch.load(arguments.run / "model.pth"))
    made = Faces(FaceMaker(levels, SIZE, seed=3), arguments.batch)
    places, judged = torch.tensor(arguments.points), views(held_out, np.random.default_rng(1))
    shown = Views(*(array[:: max(len(held_out) // 8, 1)][:8] for array in judged))

    def report(when: str) -> list[Image]:
        pixels, points = judge(network, judged, places)
        print(f"{when}: pixel loss {pixels:.4f}, landmarks {points:.2%} of half a face", flush=True)
        return draw(network, shown, levels.topology.edges)

    rows = report("before")
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, arguments.steps + 1, pct_start=0.1)
    for _ in range(arguments.steps):
        network.train()
        chosen = [learned[i] for i in random.integers(len(learned), size=arguments.batch)]
        pixels, points = losses(network, views(chosen, random), places)
        loss = network.loss(made.next(), edges) + 2 * pixels + points
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    rows += report("after")[1:]
    cv2.imwrite(str(arguments.results / "photos.png"), np.concatenate(rows))
    network.faces.decoder.weights().save(arguments.results / "dense.npz")
    torch.save(network.state_dict(), arguments.results / "model.pth")


if __name__ == "__main__":
    main()
