"""What is made of faces and their image: drawings, crops, aligned crops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.faces.alignment import Size, Template, align_images
from engine.faces.checks import image_of_faces
from engine.faces.face import Face
from engine.inputs import check_color, reordered
from engine.types import AnyImage, Color, FloatArray, Image, IntArray

DEFAULT_MARGIN = 0.25


class PicturedFaces(ABC):
    """The base of Detections that makes pictures of the faces."""

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray | None
    image_size: tuple[int, int] | None
    classes: IntArray | None
    values: Mapping[str, FloatArray]
    class_names: tuple[str, ...]
    vertices: FloatArray | None
    triangles: IntArray | None
    colours: FloatArray | None

    @property
    @abstractmethod
    def has_mesh(self) -> NDArray[np.bool_]:
        """Whether each face has a mesh, [N]."""

    @abstractmethod
    def __iter__(self) -> Iterator[Face]:
        """Yield every face."""

    def plot(self, image: AnyImage, *, color: Color = "bgr") -> Image:
        """Return a copy of the image with boxes, landmarks, scores, classes and meshes.

        The widths of lines follow the image's size.

        Args:
            image: that of the faces, of any kind that detect() takes, but not in GPU memory.
            color: order of the channels of a given array, and of the returned one.

        Returns:
            uint8 [H, W, 3].

        Raises:
            InvalidArgumentError: no image, or one of another size than that of the faces.
        """
        from engine.faces.drawing import draw

        canvas = self._image(image, color).copy()
        draw(canvas, self, self.triangles)
        return reordered(canvas, "bgr", color)

    def crops(
        self,
        image: AnyImage,
        *,
        margin: float = DEFAULT_MARGIN,
        square: bool = False,
        pad: bool = False,
        color: Color = "bgr",
    ) -> list[Image]:
        """Return the part of the image around each face, as copies: all pixels that the box and its margin touch.

        Args:
            image: that of the faces, of any kind that detect() takes, but not in GPU memory.
            margin: on each side, as a fraction of the box's width and height; 0 to 1000.
            square: extend the shorter sides, evenly, to the length of the longer ones.
            pad: fill what is beyond the image with 0. Else a crop ends where the image does, and so may not be a
                square; a box beside the image has the pixel nearest to it.
            color: order of the channels of a given array, and of the returned ones.

        Returns:
            uint8 [h, w, 3] for each face, of at least one pixel.

        Raises:
            InvalidArgumentError: no image, one of another size than that of the faces, a margin out of range, a box
                that is not finite, or a padded crop with sides of more than 16384 pixels.
        """
        from engine.faces.crops import crop_boxes

        return crop_boxes(self._image(image, color, color), self.boxes, margin, square=square, pad=pad)

    def save_crops(
        self,
        image: AnyImage,
        folder: str | Path,
        *,
        name: str = "face",
        margin: float = DEFAULT_MARGIN,
        square: bool = False,
        pad: bool = False,
        color: Color = "bgr",
    ) -> list[Path]:
        """Write the part of the image around each face to a folder, which is made if needed.

        Args:
            image: see crops.
            folder: for NAME_0.png, NAME_1.png and so on; files of these names are replaced.
            name: of the files.
            margin: see crops.
            square: see crops.
            pad: see crops.
            color: order of the channels of a given array.

        Returns:
            The path of each face's crop.

        Raises:
            InvalidArgumentError: see crops; or the name is that of no file.
            OutputError: a file could not be written.
        """
        from engine.faces.crops import crop_boxes, write_crops

        pixels = self._image(image, color)
        return write_crops(crop_boxes(pixels, self.boxes, margin, square=square, pad=pad), Path(folder), name)

    def align(
        self, image: AnyImage, size: Size = 112, template: Template = "arcface", *, color: Color = "bgr"
    ) -> NDArray[np.uint8]:
        """Return the faces turned upright by their landmarks, uint8 [N, height, width, 3].

        engine.align does this for several images at once, and for images in GPU memory.

        Args:
            image: that of the faces, of any kind that detect() takes, but not in GPU memory.
            size: see engine.align.
            template: see engine.align.
            color: order of the channels of a given array, and of the returned ones.

        Raises:
            InvalidArgumentError: see engine.align.
        """
        pixels = self._image(image, color, color)
        return np.asarray(align_images([pixels], {"faces": self.landmarks}, size, template), np.uint8)

    def _image(self, image: AnyImage, color: Color, to: Color = "bgr") -> Image:
        """Return the image of the faces."""
        return image_of_faces(image, "image", self.image_size, check_color(color), to)
