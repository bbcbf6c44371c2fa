"""Train a dense branch on faces that are made from a mesh, and draw the meshes that it finds in new pictures.

Usage: python examples/dense_faces.py face.obj run

Each picture has one face: the mesh with random shape, texture, pose and light on a random background. A mobilenet0.25
learns where it is (score, box) and the 144 values of the dense branch: from vertices, edges and, through the
differentiable renderer, pixels. Faces for judging are made with another seed. The folder of the run gets the error by
steps (curve.csv, curve.png), new faces with the meshes found in them (faces.png), the network (model.pth), and what an
engine is built from: config.json, weights.pth and the decoder, dense.npz. docs/dense.md has the result.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from engine.config.model import HEADS
from engine.config.presets import preset
from engine.mesh.dense.camera import to_camera, to_frame, to_image
from engine.mesh.dense.decoder import MeshDecoder
from engine.mesh.dense.faces import DenseFaces
from engine.mesh.dense.light import shade
from engine.mesh.dense.losses import edge_loss, pixel_loss, vertex_loss
from engine.mesh.dense.rendering import render
from engine.mesh.dense.run import DenseDecoder
from engine.mesh.dense.values import CAMERA, CODE, DENSE_VALUES, LIGHT
from engine.mesh.laplacian import scaled_laplacian
from engine.mesh.levels import MeshLevels, make_levels
from engine.mesh.obj import read_obj
from engine.model.retinaface import Head, RetinaFace
from engine.model.weights.load import load_model
from engine.pictures.backgrounds import texture
from engine.train.targets.anchors import anchors_of
from engine.train.targets.coding import decode_boxes, encode_boxes
from engine.types import Image

# That all faces here belong to: the level of stride 8, whose small cells place a face best, and its larger anchor.
LEVEL, ANCHOR = 0, 32.0
FPN_CHANNELS = 128  # all that is known of a face passes through as many
CROP = 48  # pixels of a side of rendered crops
# Eigenvectors of the mesh's graph. Those of a single face's texture are smooth; what all faces have in common is as
# detailed as eyes and a mouth, which show where a vertex is.
SHAPE_MODES, TEXTURE_MODES, PATTERN_MODES = 12, 30, 100
KEPT, USES = 64, 4  # batches of faces in memory, and how often one is learned from: making costs as much as learning
LEARNING_RATE, FACTOR = 4e-3, 2  # of the published layers, and by what of the new ones


class Sample(NamedTuple):
    """N pictures with a face each.

    Attributes:
        pictures: [N, 3, S, S], red, green, blue, 0 to 1.
        meshes: [N, V, 3], in their own coordinates.
        vertices: [N, V, 3], pixels and depth.
        boxes: [N, 4], around the vertices.
    """

    pictures: torch.Tensor
    meshes: torch.Tensor
    vertices: torch.Tensor
    boxes: torch.Tensor


class FaceMaker:
    """Makes faces: the mesh moved and coloured along the lowest eigenvectors of its graph, functions on its surface."""

    def __init__(self, levels: MeshLevels, size: int, seed: int) -> None:
        self.size, self._random = size, torch.Generator().manual_seed(seed)
        mesh = levels.topology
        self._mean, self._triangles = torch.from_numpy(mesh.vertices), torch.from_numpy(mesh.triangles).long()
        modes = np.linalg.eigh(scaled_laplacian(mesh))[1][:, 1 : PATTERN_MODES + 1]
        modes /= np.abs(modes).max(0)
        # An eigenvector's sign is arbitrary, and differs by machine and by number of threads; faces must not.
        modes *= np.sign(modes[(np.abs(modes) > 0.5).argmax(0), np.arange(modes.shape[1])])
        all_modes = torch.from_numpy(modes).float()
        self._modes = all_modes[:, :TEXTURE_MODES]
        # What all faces have in common, whatever the seed.
        common = torch.Generator().manual_seed(0)
        grey, tint = (torch.randn(all_modes.shape[1], channels, generator=common) for channels in (1, 3))
        self._pattern = all_modes @ (0.06 * grey + 0.015 * tint)
        numbers = np.random.default_rng(seed)
        self._backgrounds = torch.stack([torch.from_numpy(texture((size, size), numbers)) for _ in range(64)])

    def make(self, number: int) -> Sample:
        """Return new faces."""
        steps = torch.arange(1, SHAPE_MODES + 1).sqrt()[:, None]
        shape = self._mean * (1 + 0.05 * self._normal(number, 1, 3))
        shape = shape + self._modes[:, :SHAPE_MODES] @ (0.04 * self._normal(number, SHAPE_MODES, 3) / steps)
        skin = torch.tensor([1.0, 0.8, 0.7]) * (0.4 + 0.45 * self._uniform(number, 1, 1))
        colours = skin + self._pattern + self._modes @ (0.02 * self._normal(number, TEXTURE_MODES, 3))
        camera, light = self._camera(number), 0.7 * self._normal(number, LIGHT)
        points = to_camera(shape, camera)
        lit = shade(points, colours.clamp(0, 1), self._triangles, light)
        framed = to_frame(points, camera)
        rendered = render(framed, lit, self._triangles, self.size)
        chosen = torch.randint(len(self._backgrounds), (number,), generator=self._random)
        pictures = torch.where(rendered.covered[..., None], rendered.colours, self._backgrounds[chosen] / 255)
        pictures = (pictures + 0.02 * self._normal(*pictures.shape)).clamp(0, 1).permute(0, 3, 1, 2)
        vertices = to_image(framed, torch.tensor([[0.0, 0, self.size, self.size]]).expand(number, 4))
        return Sample(pictures, shape, vertices, torch.cat([vertices[..., :2].amin(1), vertices[..., :2].amax(1)], 1))

    def _camera(self, number: int) -> torch.Tensor:
        """Return cameras of the picture as a frame: the face has .42 to .75 of its side, and is inside of it."""
        share = 0.42 + 0.33 * self._uniform(number)
        camera = torch.zeros(number, CAMERA)
        camera[:, 2] = 0.2 * self._normal(number)
        camera[:, 6] = torch.atanh((share.log() + torch.tanh(camera[:, 2])).clamp(-0.99, 0.99))
        free = (1 / share - 1)[:, None]
        camera[:, :2] = 0.8 * free * (2 * self._uniform(number, 2) - 1)
        camera[:, 3:6] = torch.tensor([0.35, 0.7, 0.35]) * (2 * self._uniform(number, 3) - 1)
        return camera

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self._random)

    def _uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self._random)


class Found(NamedTuple):
    """What a network says of one anchor of each picture: values [N, 144], box deltas and anchors, both [N, 4]."""

    values: torch.Tensor
    deltas: torch.Tensor
    anchors: torch.Tensor

    def boxes(self) -> torch.Tensor:
        """Return the boxes [N, 4] in pixels."""
        return decode_boxes(self.deltas, self.anchors, (0.1, 0.2))


class DenseNetwork(nn.Module):
    """A RetinaFace with a score, a box and the values of the dense branch for each cell of one level."""

    def __init__(self, levels: MeshLevels, size: int, weights: str) -> None:
        super().__init__()
        published, _ = load_model(preset("mobilenet0.25"), weights, to_train=True)
        config = replace(published.config, name="dense-faces", fpn_channels=FPN_CHANNELS)
        self.retinaface = RetinaFace(config)
        self.retinaface.body.load_state_dict(published.body.state_dict())
        self._mean = torch.tensor(config.mean)[:, None, None]
        self.score, self.box = Head(config.fpn_channels, 1, 1), Head(config.fpn_channels, 1, 4)
        self.dense = Head(config.fpn_channels, 1, DENSE_VALUES)
        with torch.no_grad():
            self.dense.conv1x1.weight[CODE:].mul_(0.2)  # poses close to the front at first
        self.faces = DenseFaces(levels, MeshDecoder(levels))
        anchors = anchors_of(config, size, size)
        self._anchors = anchors[anchors[:, 2] == ANCHOR]

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return scores [N, A], box deltas [N, A, 4] and values [N, A, 144]."""
        level = self.retinaface.features(255 * pictures.flip(1) - self._mean)[LEVEL]
        scores, deltas, values = (head(level).flatten(2).transpose(1, 2) for head in (self.score, self.box, self.dense))
        return scores[..., 0], deltas, values

    def at(self, outputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor], cells: torch.Tensor) -> Found:
        """Pick one anchor of each picture."""
        rows = torch.arange(len(cells))
        return Found(outputs[2][rows, cells], outputs[1][rows, cells], self._anchors[cells])

    def cells(self, boxes: torch.Tensor) -> torch.Tensor:
        """Return the anchor that is nearest to the centre of each box."""
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        return torch.cdist(centres, self._anchors[:, :2]).argmin(1)

    @torch.no_grad()
    def detector(self, sample: Sample) -> RetinaFace:
        """Return a RetinaFace for engines: one anchor of the level has this network's heads, the others find nothing.

        Scores have been trained to tell the cells of a picture apart. Here those of the faces in a sample become .98
        in the middle.
        """
        config = replace(preset("mobilenet0.25-dense"), name="dense-faces", heads=HEADS[:2], fpn_channels=FPN_CHANNELS)
        model = RetinaFace(config).eval()
        own = self.retinaface.state_dict()
        model.load_state_dict({name: own.get(name, value) for name, value in model.state_dict().items()})
        for kind in config.head_kinds():
            for level in range(len(config.levels)):
                for parameter in model.head(kind, level).parameters():
                    parameter.zero_()
                if kind == "logits":
                    bias = model.head(kind, level).conv1x1.bias
                    assert bias is not None
                    bias[1::2] = -10.0
        place = [size for size, _ in config.levels[LEVEL].anchors].index(ANCHOR)
        for kind, head in (("box_deltas", self.box), ("dense", self.dense)):
            values = config.head_values(kind)
            for to, value in zip(model.head(kind, LEVEL).parameters(), head.parameters(), strict=True):
                to[place * values : (place + 1) * values] = value
        weight, bias = model.head("logits", LEVEL).parameters()
        weight[2 * place + 1] = self.score.conv1x1.weight[0]
        best = self.eval()(sample.pictures)[0].amax(1).median()
        assert self.score.conv1x1.bias is not None
        bias[2 * place + 1] = self.score.conv1x1.bias[0] + 4 - best
        return model

    def loss(self, sample: Sample, edges: torch.Tensor) -> torch.Tensor:
        """Return the sum of all losses, lengths in units of half a face's longer side."""
        outputs, cells = self(sample.pictures), self.cells(sample.boxes)
        found = self.at(outputs, cells)
        boxes = found.boxes()
        classes = functional.cross_entropy(outputs[0], cells)
        place = functional.smooth_l1_loss(found.deltas, encode_boxes(sample.boxes, found.anchors, (0.1, 0.2)))
        framed = self.faces.in_frames(found.values)
        unit = (sample.boxes[:, 2:] - sample.boxes[:, :2]).amax(1)[:, None, None] / 2
        vertices, truth = to_image(framed.vertices, boxes) / unit, sample.vertices / unit
        part = slice(0, None, 8)  # of the batch is rendered
        crops = crop(sample.pictures[part], boxes[part].detach())
        pixels = pixel_loss(render(framed.vertices[part], framed.colours[part], self.faces.triangles, CROP), crops)
        meshes = vertex_loss(framed.meshes, sample.meshes) + edge_loss(framed.meshes, sample.meshes, edges)
        return 0.2 * classes + 0.2 * place + 1.5 * vertex_loss(vertices, truth) + meshes + 0.3 * pixels


def crop(pictures: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Return what the frames of boxes show, [N, CROP, CROP, 3]; zero outside of the picture."""
    size = pictures.shape[2]
    steps = (torch.arange(CROP) + 0.5) * 2 / CROP - 1
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    grid = torch.stack([columns, rows, torch.zeros_like(rows)], dim=2).reshape(1, -1, 3)
    places = to_image(grid.expand(len(boxes), -1, 3), boxes)[..., :2] * 2 / size - 1
    sampled = functional.grid_sample(pictures, places.reshape(-1, CROP, CROP, 2), align_corners=False)
    return sampled.permute(0, 2, 3, 1)


class Faces:
    """Batches of faces to learn from: each is used about four times, with a thousand steps' other ones between."""

    def __init__(self, maker: FaceMaker, batch: int) -> None:
        self._maker, self._batch = maker, batch
        self._kept: list[Sample] = []
        self._random, self._steps = random.Random(0), 0

    def next(self) -> Sample:
        """Return a batch; every fourth time there is a new one among those to choose from."""
        if self._steps % USES == 0:
            new = self._maker.make(self._batch)
            if len(self._kept) < KEPT:
                self._kept.append(new)
            else:
                self._kept[self._random.randrange(KEPT)] = new
        self._steps += 1
        return self._random.choice(self._kept)


@torch.no_grad()
def find(network: DenseNetwork, pictures: torch.Tensor) -> tuple[Found, torch.Tensor]:
    """Return the anchors of the best scores, and their boxes, as a detector has them behind suppression."""
    outputs = network.eval()(pictures)
    found = network.at(outputs, outputs[0].argmax(1))
    return found, found.boxes()


def error(network: DenseNetwork, sample: Sample) -> float:
    """Return the mean distance of vertices in the picture and in depth, by the square root of the box's area."""
    found, boxes = find(network, sample.pictures)
    decoder = DenseDecoder(network.faces.decoder.weights())
    vertices = decoder.decode(found.values.numpy(), boxes.numpy()).vertices
    sides = (sample.boxes[:, 2:] - sample.boxes[:, :2]).numpy()
    distances = np.linalg.norm(vertices - sample.vertices.numpy(), axis=2).mean(1)
    return float((distances / np.sqrt(sides[:, 0] * sides[:, 1])).mean())


def draw(network: DenseNetwork, sample: Sample, edges: torch.Tensor, zoom: int = 3) -> Image:
    """Return pictures above, with the meshes found in them below."""
    found, boxes = find(network, sample.pictures)
    decoder = DenseDecoder(network.faces.decoder.weights())
    columns = []
    for picture, mesh in zip(
        sample.pictures, decoder.decode(found.values.numpy(), boxes.numpy()).vertices, strict=True
    ):
        plain = (picture.permute(1, 2, 0).numpy()[..., ::-1] * 255).astype(np.uint8)
        large = cv2.resize(plain, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        lines = np.rint(zoom * mesh[edges.numpy(), :2] * 16).astype(np.int32)
        drawn = cv2.polylines(large.copy(), list(lines), False, (80, 255, 80), 1, cv2.LINE_AA, shift=4)
        columns.append(np.concatenate([large, drawn]))
    return np.concatenate(columns, axis=1)


def plot(points: list[tuple[int, float]], path: Path) -> None:
    """Draw the curve."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*[(step, 100 * value) for step, value in points], strict=True), marker=".")
    axes.set(xlabel="steps", ylabel="mean vertex error, % of the face", yscale="log")
    axes.grid(which="both", alpha=0.3)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Train a dense branch on faces made from a mesh.")
    parser.add_argument("mesh", type=Path, help="a face, an OBJ file of triangles")
    parser.add_argument("run", type=Path, help="folder for all results")
    parser.add_argument("--weights", default="mobilenet0.25", help="to start from (default %(default)s)")
    parser.add_argument("--steps", type=int, default=7200, help="default %(default)s")
    parser.add_argument("--batch", type=int, default=32, help="faces of a step (default %(default)s)")
    parser.add_argument("--size", type=int, default=96, help="side of pictures, a multiple of 32 (default %(default)s)")
    parser.add_argument("--judged", type=int, default=256, help="unseen faces (default %(default)s)")
    arguments = parser.parse_args()
    arguments.run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    levels = make_levels(read_obj(arguments.mesh))
    edges = torch.from_numpy(levels.topology.edges).long()
    network = DenseNetwork(levels, arguments.size, arguments.weights)
    faces = Faces(FaceMaker(levels, arguments.size, seed=1), arguments.batch)
    judged = FaceMaker(levels, arguments.size, seed=2)
    unseen = judged.make(arguments.judged)
    new = [value for name, value in network.named_parameters() if not name.startswith("retinaface.")]
    groups: list[dict[str, Any]] = [{"params": network.retinaface.parameters()}, {"params": new}]
    optimiser = torch.optim.AdamW(groups, weight_decay=1e-4)
    rates = [LEARNING_RATE, FACTOR * LEARNING_RATE]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, arguments.steps + 1, pct_start=0.1)
    every = math.ceil(arguments.steps / 15)
    points, begin = [(0, error(network, unseen))], perf_counter()
    print(f"step 0: mean vertex error {points[0][1]:.2%} of the face", flush=True)
    for step in range(1, arguments.steps + 1):
        network.train()
        loss = network.loss(faces.next(), edges)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % every == 0 or step == arguments.steps:
            points.append((step, error(network, unseen)))
            print(
                f"step {step}: mean vertex error {points[-1][1]:.2%} of the face, loss {loss.item():.3f}, "
                f"{perf_counter() - begin:.0f} s",
                flush=True,
            )
    network.faces.decoder.weights().save(arguments.run / "dense.npz")
    torch.save(network.state_dict(), arguments.run / "model.pth")
    detector = network.detector(unseen)
    torch.save(detector.state_dict(), arguments.run / "weights.pth")
    (arguments.run / "config.json").write_text(json.dumps(detector.config.to_dict(), indent=2))
    cv2.imwrite(str(arguments.run / "faces.png"), draw(network, judged.make(6), edges))
    (arguments.run / "curve.csv").write_text(
        "step,error\n" + "\n".join(f"{step},{value:.5f}" for step, value in points)
    )
    plot(points, arguments.run / "curve.png")


if __name__ == "__main__":
    main()
