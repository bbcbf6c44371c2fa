"""Letterboxing images into a batch, and mapping faces back to the pixels of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import ops
from engine.config.model import RetinaFaceConfig
from engine.faces import Detections, unchecked
from engine.inputs.device_arrays import shape_of
from engine.types import Color, FloatArray, Image, RawDetections


@dataclass(frozen=True)
class Letterbox:
    """The mapping from images to the input of the network, and back for its faces.

    Attributes:
        size: (height, width) of the input.
        config: mean, std, colour order and padding.
        enlarge: whether images smaller than the input are magnified.
        color: order of the images' channels.
    """

    size: tuple[int, int]
    config: RetinaFaceConfig
    enlarge: bool
    color: Color = "bgr"

    def batch(self, images: Sequence[Image]) -> FloatArray:
        """Return images as a normalised batch, float32 [N, 3, H, W]."""
        batch: FloatArray = np.empty((len(images), 3, *self.size), np.float32)
        self.fill(batch, images)
        return batch

    def fill(
        self, batch: FloatArray, images: Sequence[Image], *, channels_last: bool = False, threads: int = 0
    ) -> None:
        """Write images to a batch, float32 [N, 3, H, W], or [N, H, W, 3] with `channels_last`."""
        transforms = np.empty((len(images), 3), np.float32)
        ops.letterbox(
            images,
            self.size,
            **self._arguments(),
            out=(batch, transforms),
            channels_last=channels_last,
            threads=threads,
        )

    def write(self, images: Sequence[object], out: tuple[object, object], dtype: str, stream: int) -> None:
        """Letterbox device arrays on a CUDA stream; `out` and its `dtype` are those of ops.letterbox."""
        ops.letterbox(images, self.size, **self._arguments(), dtype=dtype, out=out, stream=stream)

    def _arguments(self) -> dict[str, Any]:
        config = self.config
        return {
            "mean": config.mean,
            "std": config.std,
            "swap_rb": config.color_order != self.color,
            "pad_value": config.pad_value,
            "enlarge": self.enlarge,
        }

    def to_images(self, raw: RawDetections, images: Sequence[Image], score_threshold: float) -> list[Detections]:
        """Return the faces of each image with a score above `score_threshold`, in pixels of that image."""
        sizes = [(height, width) for height, width, _ in map(shape_of, images)]
        return [faces.above(score_threshold) for faces in self.undo(_first(raw, score_threshold), sizes)]

    def undo(self, raw: RawDetections, sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        """Return all faces of each image, in pixels of that image; `sizes` are the images' (height, width)."""
        boxes, points = self._undo_places(raw, sizes)
        landmarks, values = points.pop("landmarks", None), {**raw.values, **points}
        names = () if raw.classes is None else self.config.classes
        meshes = self._undo_meshes(raw, sizes)
        return [
            unchecked(
                boxes[i, :count],
                raw.scores[i, :count],
                None if landmarks is None else landmarks[i, :count].reshape(count, landmarks.shape[2] // 2, 2),
                sizes[i],
                None if raw.classes is None else raw.classes[i, :count],
                {name: array[i, :count] for name, array in values.items()},
                names,
                vertices=meshes[i].get("vertices"),
                colours=meshes[i].get("colours"),
            )
            for i, count in enumerate(raw.num_detections)
        ]

    def _undo_places(
        self, raw: RawDetections, sizes: Sequence[tuple[int, int]]
    ) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Return boxes, and by name the landmarks and the values that are points, in pixels of each image."""
        points = {head.name: raw.values[head.name] for head in self.config.values if head.is_points}
        if raw.landmarks is not None:
            points["landmarks"] = raw.landmarks
        together = np.concatenate(list(points.values()), 2) if points else None  # to map all of them at once
        boxes, mapped = ops.unletterbox(raw.boxes, together, raw.num_detections, sizes, self.size, enlarge=self.enlarge)
        if mapped is None:
            return boxes, {}
        ends = np.cumsum([array.shape[2] for array in points.values()])[:-1]
        return boxes, dict(zip(points, np.split(mapped, ends, 2), strict=True))

    def _undo_meshes(self, raw: RawDetections, sizes: Sequence[tuple[int, int]]) -> list[dict[str, FloatArray]]:
        """Return the `vertices` and `colours` of each image's faces, [count, V, 3], if there are any.

        NaN are those of faces behind the first K, and those with a vertex or a colour that is not finite.
        """
        if raw.vertices is None:
            return [{}] * len(sizes)
        height, width = self.size
        whole = np.broadcast_to(np.array([0, 0, width, height], np.float32), (len(sizes), 1, 4))
        ones = np.ones(len(sizes), np.int32)
        edges, _ = ops.unletterbox(np.ascontiguousarray(whole), None, ones, sizes, self.size, enlarge=self.enlarge)
        found = []
        for i, (count, (begin, end)) in enumerate(zip(raw.num_detections, edges.reshape(-1, 2, 2), strict=True)):
            factors = (end - begin) / np.array([width, height], np.float32)
            with np.errstate(over="ignore", invalid="ignore"):
                places = raw.vertices[i, :count] * np.append(factors, factors.mean()) + np.append(begin, np.float32(0))
            meshes = {"vertices": places}
            if raw.colours is not None:
                meshes["colours"] = raw.colours[i, :count]
            there = np.all([np.isfinite(array).all((1, 2)) for array in meshes.values()], axis=0)
            found.append({name: _padded(array, there, count) for name, array in meshes.items()})
        return found


def _padded(meshes: FloatArray, there: NDArray[np.bool_], count: int) -> FloatArray:
    """Return arrays of the meshes that are there, [K, V, 3], as those of `count` faces, NaN for the others."""
    padded = np.full((count, *meshes.shape[1:]), np.nan, np.float32)
    padded[: len(meshes)][there] = meshes[there]
    return padded


def _first(raw: RawDetections, score_threshold: float) -> RawDetections:
    """Return the faces up to the last one with a score above `score_threshold`: no work is done for the others."""
    there = (raw.scores > score_threshold) & (np.arange(raw.scores.shape[1]) < raw.num_detections[:, None])
    last = (there * np.arange(1, raw.scores.shape[1] + 1)).max(axis=1, initial=0)
    return replace(raw, num_detections=last.astype(np.int32))
